"""What points come to on the first stretches of a history, each played once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from retrainer.domain.metrics import registry as metrics
from retrainer.domain.values import Micros
from retrainer.errors import RetrainerError
from retrainer.replay.table import baselines
from retrainer.replay.table.engine import Played, Tell, play
from retrainer.replay.table.table import MISSING, Codes, Table
from retrainer.service.policy import ModelPolicy
from retrainer.tune.edits import Unplayable
from retrainer.tune.space import Point

_DIGITS: Final = 12
"""Of sums of losses: what lies beyond is noise, and equal policies shall be equal."""

PolicyOf = Callable[[Point], ModelPolicy]


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """What came of some rows.

    Attributes:
        rows: those with a label.
        loss: wrong answers; of a loss metric its value times the rows, of another score what it leaves to 1.
        jobs: retrainings that were started.
    """

    rows: int
    loss: float
    jobs: int

    def cost(self, price: float) -> float:
        """The loss, and so much a retraining."""
        return rounded(self.loss + price * self.jobs)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a play came to, stretch by stretch; the metric is over all of them."""

    stretches: tuple[Stretch, ...]
    metric: float | None

    def cost(self, price: float, first: int = 0) -> float:
        """Of the stretches from the first one on."""
        return rounded(sum(stretch.cost(price) for stretch in self.stretches[first:]))

    def jobs(self, first: int = 0) -> int:
        return sum(stretch.jobs for stretch in self.stretches[first:])

    def loss(self, first: int = 0) -> float:
        return rounded(sum(stretch.loss for stretch in self.stretches[first:]))


@dataclass(kw_only=True)
class Plays:
    """Plays a model's policies over the beginning of a table, which ends where a stretch ends.

    Attributes:
        bounds: the rows where stretches begin, the end of the last one at the end.
        present: the point that the configuration is at; empty while there is no space yet.
        never: what never retraining comes to; known once the present point was played to the end.
    """

    table: Table
    bounds: Sequence[int]
    policy_of: PolicyOf
    training_takes: Micros
    present: Point
    never: Scored | None = None
    _known: dict[tuple[Point, int], Scored | str] = field(default_factory=dict)

    def rows(self, stretches: int) -> int:
        """How many rows a play of so many stretches predicts."""
        return self.bounds[stretches] - self.bounds[0]

    def score(self, point: Point, stretches: int, tell: Tell | None = None) -> Scored:
        """What a point comes to where the table ends with so many stretches.

        Raises:
            Unplayable: its values do not go together, or version 1 cannot be trained with them.
        """
        key = (() if point == self.present else point, stretches)
        if key not in self._known:
            self._known[key] = self._played(point, stretches, tell)
        found = self._known[key]
        if isinstance(found, str):
            raise Unplayable(found)
        return found

    def _played(self, point: Point, stretches: int, tell: Tell | None) -> Scored | str:
        try:
            policy = self.policy_of(point)
            played = play(policy, until(self.table, self.bounds[stretches]), self.training_takes, tell)
        except (Unplayable, RetrainerError) as error:
            if point == self.present:
                raise
            return str(error)
        bounds = self.bounds[: stretches + 1]
        if point == self.present and bounds[-1] == self.bounds[-1]:
            self.never = _scored(played, baselines.never(played), bounds, jobs=False)
        return _scored(played, played.served.answers, bounds)


def bounds_of(table: Table, folds: int) -> list[int]:
    """The rows after the warm part in equal stretches, one more than folds; each has to have rows."""
    parts, rows = folds + 1, len(table) - table.warm
    return [table.warm + number * rows // parts for number in range(parts + 1)]


def until(table: Table, end: int) -> Table:
    """The rows before one, as if the others had never been."""
    if end >= len(table):
        return table
    return replace(
        table,
        features=table.features.iloc[:end],
        labels=table.labels[:end],
        times=table.times[:end],
        arrivals=table.arrivals[:end],
    )


def rounded(number: float) -> float:
    """Without the noise of sums."""
    return float(f"{number:.{_DIGITS}g}")


def _scored(played: Played, answers: Codes, bounds: Sequence[int], *, jobs: bool = True) -> Scored:
    started = np.array([max(ran.row, played.table.warm) for ran in played.jobs if jobs], dtype=np.int64)
    counted = np.histogram(started, bins=[*bounds[:-1], bounds[-1]])[0] if len(started) else [0] * (len(bounds) - 1)
    stretches = tuple(
        _stretch(played, answers, slice(begin, end), int(number))
        for begin, end, number in zip(bounds[:-1], bounds[1:], counted, strict=True)
    )
    return Scored(stretches=stretches, metric=baselines.value(played, answers))


def _stretch(played: Played, answers: Codes, rows: slice, jobs: int) -> Stretch:
    watch, labels = played.policy.watch, played.table.labels[rows]
    metric = watch.metrics[0]
    labelled = int(np.count_nonzero((labels != MISSING) & (answers[rows] != MISSING)))
    value = metrics.value(metric, played.values.cells(labels, answers[rows]), watch.positive) if labelled else None
    if metrics.METRICS[metric].higher_is_better:
        each = 1 - value if value is not None else 1.0
    else:
        each = value if value is not None else 0.0
    return Stretch(rows=labelled, loss=rounded(each * labelled), jobs=jobs)
