"""What else one could do: a line five points below, and a fixed beat; both train the same recipe and always promote."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from retrainer.domain.judging.order import TrainingResult
from retrainer.replay.table.learning import Served, Trainer
from retrainer.replay.table.models import Costs, Version
from retrainer.replay.table.table import Table
from retrainer.replay.table.values import LabelCodes, form_for
from retrainer.service.policy import ModelPolicy
from retrainer.training.fit import Fitter

Hits = NDArray[np.bool_]
"""Of each row of a table whether it was answered right."""


DROP: Final = 0.05
INTERVALS: Final = (1, 2, 4, 8, 16)
"""Of the schedules that are tried, in fiftieths of the stream."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """Five points below the champion's first window of outcomes, or below its best one so far."""

    window: int
    below: Literal["first", "best"]

    def __str__(self) -> str:
        return f"line, {self.below} {self.window}"


@dataclass(frozen=True, kw_only=True)
class Rival:
    """What one came to: its accuracy after the warm part, and how often it retrained."""

    name: str
    accuracy: float
    retrains: int


@dataclass(frozen=True, kw_only=True)
class Fits:
    """The recipe fitted on stretches of a table, each once: what a fit says depends on nothing but its rows."""

    policy: ModelPolicy
    table: Table
    _known: dict[tuple[int, int], Version] = field(default_factory=dict, init=False)

    def hits(self, learnt: tuple[int, int], begin: int, end: int) -> Hits:
        """Rows from `begin` up to `end`, answered by a model that has learnt from a stretch of rows before them."""
        if learnt not in self._known:
            self._known[learnt] = self._fitted(*learnt)
        return np.asarray(self._known[learnt].codes(begin, end) == self.table.labels[begin:end])

    def _fitted(self, first: int, end: int) -> Version:
        table, costs = self.table, Costs()
        values = LabelCodes(form_for(self.policy), table)
        trainer = Trainer(policy=self.policy, table=table, values=values, costs=costs)
        rows = np.arange(first, end)
        learnt = trainer.rows(rows, table.labels[rows], table.arrivals[rows], Served.nothing(len(table)))
        fitter = Fitter(recipe=self.policy.recipe, cpus=self.policy.limits.cpus, form=values.form)
        return trainer.version("", fitter.fit(learnt), TrainingResult(job_id="", verdict=None))


def naive(fits: Fits, never: Hits, late: int, line: Line) -> Rival:
    """Retrains on all rows known whenever a window of outcomes is below the line.

    Args:
        never: of version 1, which begins.
        late: rows until a label is known.
    """
    hits, retrains, begin = never.copy(), 0, fits.table.warm
    while (offset := _fires(hits[begin:], late, line)) is not None:
        retrains, begin = retrains + 1, begin + offset
        hits[begin:] = fits.hits((0, begin - late), begin, len(hits))
    return _rival(fits, str(line), hits, retrains)


def periodic(fits: Fits, never: Hits, late: int, step: int, finest: int) -> Rival:
    """The best of the schedules on all rows known, or on as many of the newest as version 1 had: known in hindsight.

    Args:
        step: a fiftieth of the stream, in rows; intervals shorter than `finest` of them are left out.
    """
    intervals = [step * interval for interval in INTERVALS if interval >= finest]
    tried = [_on_a_beat(fits, never, late, interval, rows) for interval in intervals for rows in ("all", "last")]
    return max(tried, key=lambda rival: rival.accuracy)


def _on_a_beat(fits: Fits, never: Hits, late: int, interval: int, rows: Literal["all", "last"]) -> Rival:
    hits, warm = never.copy(), fits.table.warm
    begins = range(warm + interval, len(hits), interval)
    for begin in begins:
        known, end = begin - late, min(begin + interval, len(hits))
        first = 0 if rows == "all" else max(0, known - warm)
        hits[begin:end] = fits.hits((first, known), begin, end)
    return _rival(fits, f"{rows}, {interval:,} rows", hits, len(begins))


def _fires(hits: Hits, late: int, line: Line) -> int | None:
    """How many rows after its beginning a champion is given up, looked at every tenth of the window."""
    total = np.concatenate([[0], np.cumsum(hits)])
    ends = np.arange(line.window, len(hits) - late, line.window // 10)
    if not len(ends):
        return None
    right = total[ends] - total[ends - line.window]
    expected = right[0] if line.below == "first" else np.maximum.accumulate(right)
    beyond = right < expected - DROP * line.window
    return int(ends[np.argmax(beyond)]) + late if beyond.any() else None


def _rival(fits: Fits, name: str, hits: Hits, retrains: int) -> Rival:
    return Rival(name=name, accuracy=float(hits[fits.table.warm :].mean()), retrains=retrains)
