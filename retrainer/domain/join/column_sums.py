"""Sums over rows of columns that are equal: many small batches, kept as few rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Columns = Sequence[NDArray[Any]]
"""Whole numbers, equally long."""

_Part = tuple[Columns, NDArray[np.int64]]
_SUM_UP_FROM: Final = 200_000
_ROOM: Final = 2**62


class ColumnSum:
    """Adds up how many of each row there are."""

    def __init__(self) -> None:
        self._many: list[_Part] = []
        self._waiting = 0
        self._most = _SUM_UP_FROM

    def __len__(self) -> int:
        """How many rows are held, equal ones among them."""
        return self._waiting

    def add(self, columns: Columns, n: NDArray[np.int64]) -> None:
        """Add `n` of each row."""
        if not len(n):
            return
        self._many.append((columns, n))
        self._waiting += len(n)
        if self._waiting > self._most:
            self._sum_up()
            self._most = max(_SUM_UP_FROM, 2 * self._waiting)  # rows that all differ are not sorted again each time

    def take(self) -> _Part:
        """Each different row once, and its sum, which may be zero; it begins anew. No columns where there are none."""
        if not self._many:
            return (), np.empty(0, np.int64)
        self._sum_up()
        taken = self._many[0]
        self._many, self._waiting, self._most = [], 0, _SUM_UP_FROM
        return taken

    def _sum_up(self) -> None:
        columns = [np.concatenate(parts) for parts in zip(*(columns for columns, _ in self._many), strict=True)]
        self._many = [summed(columns, np.concatenate([n for _, n in self._many]))]
        self._waiting = len(self._many[0][1])


def summed(columns: Columns, n: NDArray[np.int64]) -> _Part:
    """Each different row once, with the sum of its `n`. There must be a row."""
    codes = _packed(columns)
    order = np.argsort(codes, kind="stable")
    codes = codes[order]
    first = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
    return [column[order[first]] for column in columns], np.add.reduceat(n[order], first)


def spread(which: NDArray[Any], parts: Sequence[Columns]) -> tuple[NDArray[np.intp], list[NDArray[Any]]]:
    """In place of each row all of its parts: the number of the row that each came from, and the parts' columns.

    `which` says for each row which of the `parts` are its own; each of these has the same columns.
    """
    lengths = np.array([len(part[0]) for part in parts], np.int64)
    begins = np.cumsum(lengths) - lengths
    of_row = lengths[which]
    rows = np.repeat(np.arange(len(which)), of_row)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(of_row) - of_row, of_row)
    at = begins[which][rows] + within
    return rows, [np.concatenate(columns)[at] for columns in zip(*parts, strict=True)]


def _packed(columns: Columns) -> NDArray[np.int64]:
    """One number for each row, the same for equal rows alone."""
    codes, size = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        low, high = int(column.min()), int(column.max())
        digits, width = column.astype(np.int64) - low, high - low + 1
        if size * width > _ROOM:  # by rank, which is below the number of rows
            codes, size = _ranked(codes)
            digits, width = _ranked(digits)
        codes, size = codes * width + digits, size * width
    return codes


def _ranked(column: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    different, ranks = np.unique(column, return_inverse=True)
    return ranks.astype(np.int64), len(different)
