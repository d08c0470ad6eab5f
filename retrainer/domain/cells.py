"""Outcomes on their way into the tallies, gathered in columns and summed up when they are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrainer.domain.tallies import WHOLE, TallyKey

Group = tuple[str, tuple[str, ...]]
"""A version and the slices that its predictions belong to; many predictions have the same."""

_SUM_UP_FROM: Final = 200_000


class Cells(NamedTuple):
    """Outcomes in columns: codes of group, label and prediction; slot; and how many of each."""

    group: NDArray[np.int32]
    truth: NDArray[np.int32]
    answer: NDArray[np.int32]
    slot: NDArray[np.int64]
    n: NDArray[np.int64]


class CellSum:
    """A sum over cells, one by one or in columns."""

    def __init__(self) -> None:
        self._single: Counter[TallyKey] = Counter()
        self._many: list[Cells] = []
        self._waiting = 0

    def add(self, key: TallyKey, n: int) -> None:
        self._single[key] += n

    def add_many(self, cells: Cells) -> None:
        if not len(cells.n):
            return
        self._many.append(cells)
        self._waiting += len(cells.n)
        if self._waiting > _SUM_UP_FROM:
            self._many = [_summed(self._many)]
            self._waiting = len(self._many[0].n)

    def drain(self, groups: Sequence[Group], values: Sequence[str]) -> Counter[TallyKey]:
        """Every cell that is not zero, with its codes read; the sum begins anew."""
        cells, self._single = self._single, Counter()
        if self._many:
            summed = _summed(self._many)
            for code, truth, answer, slot, n in zip(*(column.tolist() for column in summed), strict=True):
                version, slices = groups[code]
                for part in (WHOLE, *slices):
                    cells[TallyKey(version, part, slot, values[truth], values[answer])] += n
        self._many, self._waiting = [], 0
        return Counter({key: n for key, n in cells.items() if n})


def _summed(many: Sequence[Cells]) -> Cells:
    """Each different cell once."""
    whole = Cells(*(np.concatenate([getattr(cells, name) for cells in many]) for name in Cells._fields))
    codes = np.zeros(len(whole.n), np.int64)
    for column in (whole.slot, whole.group, whole.truth, whole.answer):
        # Ranked anew after each column, so that the numbers stay below the square of the number of rows.
        different, ranks = np.unique(column, return_inverse=True)
        codes = np.unique(codes * len(different) + ranks, return_inverse=True)[1]
    first = np.unique(codes, return_index=True)[1]
    sums = np.zeros(len(first), np.int64)
    np.add.at(sums, codes, whole.n)
    return Cells(whole.group[first], whole.truth[first], whole.answer[first], whole.slot[first], sums)
