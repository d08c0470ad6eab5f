"""How outcomes become known: which labels arrive in which slot, as the join would tally them, and when slots close."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import numpy as np
import numpy.typing as npt

from retrainer.domain.join.rules import JoinPolicy
from retrainer.domain.tally.arrivals import EDGES
from retrainer.domain.values import SLOT_WIDTH, Micros, Slot, slot_of
from retrainer.errors import Refused
from retrainer.replay.table.table import MISSING, Codes, Table
from retrainer.replay.table.times import NEVER, Times

Numbers = npt.NDArray[np.int32] | npt.NDArray[np.int64]
"""Of rows: as small as they can be, as there are millions of them."""

_MOST_ROWS: Final = int(np.iinfo(np.int32).max)


@dataclass(frozen=True, kw_only=True)
class SlotsClosed:
    """Something was read at `now`, by which the slots before `first_open` have closed.

    So many `rows` of the table have been predicted by then.
    """

    now: Micros
    first_open: Slot
    rows: int


def rounds(table: Table, lateness: Micros) -> Iterator[SlotsClosed]:
    """Every event that closes slots, in order: the watermark is the newest event time of all, less the lateness.

    Events are predictions and labels; with the last prediction the stream ends.
    """
    end = table.times[-1]
    begin = table.times[table.warm]
    arrivals = np.sort(table.arrivals[(table.arrivals >= begin) & (table.arrivals <= end)])
    firsts: dict[Slot, Micros] = {}
    for events in (table.times[table.warm :], arrivals):
        opened = (events - lateness) // SLOT_WIDTH
        at = np.flatnonzero(np.diff(opened, prepend=-1))
        for slot, time in zip(opened[at].tolist(), events[at].tolist(), strict=True):
            firsts[slot] = min(time, firsts.get(slot, time))
    ordered = sorted(firsts.items(), key=itemgetter(1, 0))
    rows = np.searchsorted(table.times, [now for _, now in ordered], side="right").tolist()
    reached = -1
    for (slot, now), so_many in zip(ordered, rows, strict=True):
        if slot > reached:
            reached = slot
            yield SlotsClosed(now=now, first_open=slot, rows=so_many)


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Every change of an outcome, in the order in which they become known.

    Attributes:
        at: when it becomes known; row: whose it is.
        truth: the code of the value; sign: 1 where it is added, -1 where it is taken back.
        delay: how long after its row the row's first outcome became known, as a bucket of `arrivals`.
    """

    at: Times
    row: Numbers
    truth: Codes
    sign: npt.NDArray[np.int8]
    delay: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, table: Table, join: JoinPolicy) -> Flow:
        """The changes of every row; the absence of a label means something where the policy says so.

        Raises:
            Refused: what absence means is no class of this table.
        """
        rows = np.arange(len(table), dtype=np.int32 if len(table) <= _MOST_ROWS else np.int64)
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
        at, row, truth, _ = parts[0]
        sign = np.concatenate([np.full(len(part[0]), part[3], np.int8) for part in parts])
        if len(parts) > 1:
            at, row, truth = (np.concatenate([part[column] for part in parts]) for column in range(3))
        if len(parts) > 1 or np.any(at[1:] < at[:-1]):
            order = np.lexsort((row, at))
            at, row, truth, sign = at[order], row[order], truth[order], sign[order]
        delay = np.searchsorted(EDGES, first[row] - table.times[row], side="right").astype(np.uint8)
        return cls(at=at, row=row, truth=truth, sign=sign, delay=delay)

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
    truth = np.where(table.arrivals[span] < known_by, table.labels[span], np.int32(MISSING))
    if join.absent is not None:
        implied = slot_of(known_by) > (table.times[span] + join.absent.after) // SLOT_WIDTH
        truth[(truth == MISSING) & implied] = _code_of(table, join.absent.value)
    known = np.flatnonzero(truth != MISSING)
    return known + first, truth[known]


def known_since(table: Table, join: JoinPolicy, rows: npt.NDArray[np.int64], known_by: Micros) -> Times:
    """When the outcomes of these rows, which have one by a time, became known."""
    arrivals = table.arrivals[place_of(rows)]
    if join.absent is None:
        return arrivals
    return np.where(arrivals < known_by, arrivals, table.times[place_of(rows)] + join.absent.after)


def place_of(rows: npt.NDArray[np.int64]) -> slice | npt.NDArray[np.int64]:
    """Where rows are. A slice where they follow each other: what is there is then looked at and not copied."""
    follow = len(rows) and rows[-1] - rows[0] == len(rows) - 1
    return slice(int(rows[0]), int(rows[-1]) + 1) if follow else rows


def _code_of(table: Table, text: str) -> int:
    if text not in table.classes.texts:
        known = ", ".join(table.classes.texts)
        raise Refused(f"{table.name}: labels.absent says {text}, but the labels are {known}")
    return table.classes.texts.index(text)
