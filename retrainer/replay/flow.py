"""How outcomes become known: which labels arrive in which slot, as the join would tally them, and when slots close."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrainer.domain.arrivals import EDGES
from retrainer.domain.join import JoinPolicy
from retrainer.domain.values import SLOT_WIDTH, Micros, Slot, slot_of
from retrainer.errors import Refused
from retrainer.replay.table import MISSING, Codes, Table
from retrainer.replay.times import NEVER, Times


@dataclass(frozen=True, kw_only=True)
class Round:
    """Something was read at `now`, by which the slots before `first_open` have closed."""

    now: Micros
    first_open: Slot


def rounds(table: Table, lateness: Micros) -> Iterator[Round]:
    """Every event that closes slots, in order: the watermark is the newest event time of all, less the lateness.

    Events are predictions and labels; with the last prediction the stream ends.
    """
    end = table.times[-1]
    begin = table.times[table.warm]
    arrivals = np.sort(table.arrivals[(table.arrivals >= begin) & (table.arrivals <= end)])
    firsts: dict[Slot, Micros] = {}
    for events in (table.times[table.warm :], arrivals):
        opened, at = np.unique((events - lateness) // SLOT_WIDTH, return_index=True)
        for slot, time in zip(opened.tolist(), events[at].tolist(), strict=True):
            firsts[slot] = min(time, firsts.get(slot, time))
    reached = -1
    for slot, now in sorted(firsts.items(), key=lambda item: (item[1], item[0])):
        if slot > reached:
            reached = slot
            yield Round(now=now, first_open=slot)


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Every change of an outcome, in the order in which they become known.

    Attributes:
        at: when it becomes known; row: whose it is.
        truth: the code of the value; sign: 1 where it is added, -1 where it is taken back.
        delay: how long after its row the row's first outcome became known, as a bucket of `arrivals`.
    """

    at: Times
    row: npt.NDArray[np.int64]
    truth: Codes
    sign: npt.NDArray[np.int64]
    delay: npt.NDArray[np.int64]

    @classmethod
    def of(cls, table: Table, join: JoinPolicy) -> Flow:
        """The changes of every row; the absence of a label means something where the policy says so.

        Raises:
            Refused: what absence means is no class of this table.
        """
        rows = np.arange(len(table))
        due = first = table.arrivals
        known = rows[due != NEVER]
        parts = [(table.arrivals[known], known, table.labels[known], 1)]
        if join.absent is not None:
            meant = table.times + join.absent.after
            first = np.minimum(due, meant)
            implied = rows[due > meant]
            code = np.full(len(implied), _code_of(table, join.absent.value), np.int32)
            parts.append((meant[implied], implied, code, 1))
            undone = np.intersect1d(implied, known)
            parts.append((table.arrivals[undone], undone, code[: len(undone)], -1))
        at, row, truth = (np.concatenate([part[column] for part in parts]) for column in range(3))
        sign = np.concatenate([np.full(len(part[0]), part[3], np.int64) for part in parts])
        order = np.lexsort((row, at))
        row = row[order]
        delay = np.searchsorted(EDGES, first[row] - table.times[row], side="right")
        return cls(at=at[order], row=row, truth=truth[order], sign=sign[order], delay=delay)

    def before(self, end: Micros) -> Iterator[tuple[Slot, int]]:
        """How many outcomes became known in each slot before a time."""
        last = int(np.searchsorted(self.at, end))
        slots, places = np.unique(self.at[:last] // SLOT_WIDTH, return_inverse=True)
        sums = np.bincount(places, weights=self.sign[:last]).astype(np.int64)
        return zip(slots.tolist(), sums.tolist(), strict=True)


def known_outcomes(
    table: Table, join: JoinPolicy, known_by: Micros, first: int = 0
) -> tuple[npt.NDArray[np.int64], Codes]:
    """The rows, `first` and later ones, that have an outcome by a time, and its code: their label, or what its absence
    means."""
    end = max(first, int(np.searchsorted(table.times, known_by)))
    span = slice(first, end)
    truth = np.where(table.arrivals[span] < known_by, table.labels[span], MISSING).astype(np.int32)
    if join.absent is not None:
        implied = slot_of(known_by) > (table.times[span] + join.absent.after) // SLOT_WIDTH
        truth[(truth == MISSING) & implied] = _code_of(table, join.absent.value)
    known = np.flatnonzero(truth != MISSING)
    return known + first, truth[known]


def known_since(table: Table, join: JoinPolicy, rows: npt.NDArray[np.int64], known_by: Micros) -> Times:
    """When the outcomes of these rows, which have one by a time, became known."""
    arrivals = table.arrivals[rows]
    after = 0 if join.absent is None else join.absent.after
    return np.where(arrivals < known_by, arrivals, table.times[rows] + after)


def _code_of(table: Table, text: str) -> int:
    if text not in table.classes.texts:
        known = ", ".join(table.classes.texts)
        raise Refused(f"{table.name}: labels.absent says {text}, but the labels are {known}")
    return table.classes.texts.index(text)
