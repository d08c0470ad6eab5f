"""Outcomes on their way into the tallies, gathered in columns and summed up when they are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrainer.domain.join.codes import Codes
from retrainer.domain.join.column_sums import Columns, ColumnSum, spread, summed
from retrainer.domain.tally.measures import Expand
from retrainer.domain.tally.tallies import ARRIVALS, WHOLE, TallyKey
from retrainer.domain.values import Slot

Group = tuple[str, tuple[str, ...]]
"""A version and the slices that its predictions belong to; many predictions have the same."""


class Cells(NamedTuple):
    """Outcomes in columns: codes of group, label and prediction; slot; and how many of each."""

    group: NDArray[np.int32]
    truth: NDArray[np.int32]
    answer: NDArray[np.int32]
    slot: NDArray[np.int64]
    n: NDArray[np.int64]


class CellSum:
    """A sum over cells, one by one or in columns; what is drained are the cells that `expand` makes of each outcome.

    None: the outcome itself is the cell.
    """

    def __init__(self, expand: Expand | None = None) -> None:
        self._expand = expand or _as_it_is
        self._single: Counter[TallyKey] = Counter()
        self._many = ColumnSum()
        self._begin()

    def _begin(self) -> None:
        self._cells: Codes[tuple[str, str]] = Codes()
        self._parts: Codes[tuple[str, str]] = Codes()
        """Versions and slices."""
        self._settled: dict[tuple[int, Slot], dict[int, int]] = {}
        """By codes: part and slot, then cell."""

    def add(self, key: TallyKey, n: int) -> None:
        self._single[key] += n

    def add_many(self, cells: Cells) -> None:
        self._many.add(cells[:-1], cells.n)

    def settle(self, groups: Codes[Group], values: Codes[str]) -> None:
        """Read the codes of everything that was added: none of them is needed any more."""
        columns, sums = self._many.take()
        for begin in range(0, len(sums), _AT_ONCE):
            rows = slice(begin, begin + _AT_ONCE)
            group, truth, answer, slot = (column[rows] for column in columns)
            self._settle(Cells(group, truth, answer, slot, sums[rows]), groups, values)

    def drain(self, groups: Codes[Group], values: Codes[str]) -> Counter[TallyKey]:
        """Every cell that is not zero, with its codes read; the sum begins anew."""
        self.settle(groups, values)
        single, self._single = self._single, Counter()
        for key, n in single.items():
            part = self._parts.of((key.version, key.slice))
            expand = _as_it_is if key.slice == ARRIVALS else self._expand
            for cell, times in expand(key.truth, key.answer):
                self._add(part, key.slot, self._cells.of(cell), n * times)
        drained = Counter(
            {
                TallyKey(*self._parts[part], slot, *self._cells[cell]): n
                for (part, slot), sums in self._settled.items()
                for cell, n in sums.items()
                if n
            }
        )
        self._begin()
        return drained

    def _settle(self, outcomes: Cells, groups: Codes[Group], values: Codes[str]) -> None:
        """In columns, as an outcome with a score is in a dozen cells of each of its slices."""
        group, truth, answer, slot, n = outcomes
        some, which = np.unique(truth.astype(np.int64) << _HALF | answer, return_inverse=True)
        pairs = [divmod(code, 1 << _HALF) for code in some.tolist()]
        rows, columns = spread(which, [self._cells_of(values[truth], values[answer]) for truth, answer in pairs])
        if not len(rows):
            return
        cells, times = columns
        (group, slot, cells), n = summed([group[rows], slot[rows], cells], n[rows] * times)
        some, which = np.unique(group, return_inverse=True)
        rows, (parts,) = spread(which, [[self._parts_of(groups[code])] for code in some.tolist()])
        (parts, slot, cells), n = summed([parts, slot[rows], cells[rows]], n[rows])
        for one in zip(parts.tolist(), slot.tolist(), cells.tolist(), n.tolist(), strict=True):
            self._add(*one)

    def _cells_of(self, truth: str, answer: str) -> Columns:
        """Of one outcome: the codes of its cells, and how much each has of it."""
        found = list(self._expand(truth, answer))
        codes = self._cells.column([cell for cell, _ in found])
        return codes, np.array([times for _, times in found], np.int64)

    def _parts_of(self, group: Group) -> NDArray[np.int32]:
        version, slices = group
        return self._parts.column([(version, part) for part in (WHOLE, *slices)])

    def _add(self, part: int, slot: Slot, cell: int, n: int) -> None:
        sums = self._settled.setdefault((part, slot), {})
        sums[cell] = sums.get(cell, 0) + n


_AT_ONCE: Final = 20_000
"""Outcomes that are settled together, which bounds the memory for all their cells."""
_HALF: Final = 32


def _as_it_is(truth: str, answer: str) -> Sequence[tuple[tuple[str, str], int]]:
    return (((truth, answer), 1),)
