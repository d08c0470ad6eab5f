"""What would have come of doing something simpler: never retraining, no model at all, retraining on a fixed beat."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from retrainer.domain.metrics import registry as metrics
from retrainer.domain.values import Micros
from retrainer.replay.table.engine import Played
from retrainer.replay.table.learning import Served, Trainer
from retrainer.replay.table.models import CannotAnswer, Costs
from retrainer.replay.table.table import MISSING, Codes, Table
from retrainer.replay.table.times import NEVER, Times
from retrainer.replay.table.values import LabelCodes
from retrainer.replay.table.warm import FIRST

Rows = npt.NDArray[np.int64]

_BLOCK: Final = 65_536
"""So many rows are looked at at once: of a large table there is memory for little more than itself."""
_SIDES: Final[tuple[Literal["left"], Literal["right"]]] = ("left", "right")


@dataclass(frozen=True, kw_only=True)
class Periodic:
    """Retraining every so many rows, as often as the policy did."""

    every: int | None
    retrains: int
    value: float | None


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """The metric of each over the rows after the warm part; None where it has no value."""

    never: float | None
    no_change: float | None
    periodic: Periodic


def baselines(played: Played, training_takes: Micros) -> Baselines:
    """The baselines beside what a policy came to."""
    first = never(played)
    return Baselines(
        never=value(played, first),
        no_change=value(played, no_change(played.table, played.values)),
        periodic=_periodic(played, first, training_takes),
    )


def value(played: Played, answers: Codes) -> float | None:
    """The metric that judges, of these answers (one for each row of the table) to the rows that have a label."""
    table, policy = played.table, played.policy
    rows = slice(table.warm, len(table))
    cells = played.values.cells(table.labels[rows], answers[rows])
    return metrics.value(policy.watch.metrics[0], cells, policy.watch.positive)


def never(played: Played) -> Codes:
    """Version 1 throughout."""
    table = played.table
    answers = played.served.answers.copy()
    others = np.flatnonzero(played.served.versions != int(FIRST))
    others = others[others >= table.warm]
    if len(others):
        begin = int(others[0])
        fresh = played.first.aside()
        answers[begin:] = fresh.codes(begin, len(table))
    return answers


def no_change(table: Table, values: LabelCodes) -> Codes:
    """For each row the label that was the last to arrive before it; before any has, what was usual in the warm part."""
    warm = table.labels[: table.warm]
    usual = values.usual(warm[warm != MISSING])[0]
    labelled = np.flatnonzero(table.arrivals != NEVER)
    labelled = labelled[np.argsort(table.arrivals[labelled], kind="stable")]
    arrivals, answers = table.arrivals[labelled], np.empty(len(table), np.int32)
    for first in range(0, len(table), _BLOCK):
        rows = slice(first, first + _BLOCK)
        before = _arrived(arrivals, labelled, table.times[rows], first)
        answers[rows] = np.where(before > 0, table.labels[labelled[before - 1]], usual) if len(labelled) else usual
    return values.certain(answers)


def _arrived(arrivals: Times, owners: Rows, times: Times, first: int) -> Rows:
    """How many labels have arrived before each row of a block that begins with the row `first`.

    At the same time a label of an earlier row comes first, then the row itself, then its own label.
    """
    begin, end = (np.searchsorted(arrivals, times, side=side) for side in _SIDES)
    at_once = np.flatnonzero(begin < end)
    if len(at_once):
        # Labels that arrive at one time are in the order of their rows: the earlier ones are found by halving.
        low, high, own = begin[at_once], end[at_once], first + at_once
        while np.any(low < high):
            middle = (low + high) // 2
            earlier = (low < high) & (owners[np.minimum(middle, len(owners) - 1)] < own)
            low, high = np.where(earlier, middle + 1, low), np.where(earlier, high, np.minimum(middle, high))
        begin[at_once] = low
    return begin


def _periodic(played: Played, first: Codes, training_takes: Micros) -> Periodic:
    """The rows that the policy takes of those known by then, without a contest, and without a judgement."""
    table, retrains = played.table, len(played.jobs)
    predicted = len(table) - table.warm
    if not retrains:
        return Periodic(every=None, retrains=0, value=value(played, first))
    trainer = Trainer(policy=played.policy, table=table, values=played.values, costs=Costs())
    times = [int(table.times[table.warm + number * predicted // (retrains + 1)]) for number in range(1, retrains + 1)]
    begins = np.searchsorted(table.times, np.array(times) + training_takes, side="right").tolist()
    answers, version = first.copy(), None
    for time, begin, end in zip(times, begins, [*begins[1:], len(table)], strict=True):
        version = trainer.refit(time, Served.nothing(len(table))) or version
        if version is not None:
            with suppress(CannotAnswer):
                answers[begin:end] = version.codes(begin, end)
    return Periodic(every=predicted // (retrains + 1), retrains=retrains, value=value(played, answers))
