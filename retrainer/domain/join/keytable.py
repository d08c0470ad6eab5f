"""A hash table from 128-bit keys to row numbers, asked about whole arrays of keys at a time.

Open addressing with linear probing over one array of row numbers; the keys themselves stand in the rows. A lookup
works on all of its keys in rounds, each round settling those whose slot is empty or their own, so that the cost per
key is a few array operations however many keys are held. Ten million rows cost 64 MiB here.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
"""One array of 64 bits a key; two of them make the 128."""
Rows = NDArray[np.int32]
"""Row numbers; negative where there is none."""

_EMPTY: Final = -1
_REMOVED: Final = -2
_FEWEST: Final = 1024
_FULLEST: Final = 0.7


class KeyTable:
    """Where each key's row is. `high` and `low` are the rows' own columns; the caller fills them before `insert`."""

    def __init__(self) -> None:
        self._slots = np.full(_FEWEST, _EMPTY, np.int32)
        self._held = 0
        self._removed = 0

    def __len__(self) -> int:
        return self._held

    def find(self, high: Keys, low: Keys, columns: tuple[Keys, Keys]) -> Rows:
        """The row of each key, -1 where it is not held; `columns` are the rows' keys."""
        places = self._places(high, low, columns)
        return np.where(places >= 0, self._slots[places], _EMPTY)

    def insert(self, rows: Rows, columns: tuple[Keys, Keys]) -> None:
        """Take rows in whose keys differ from each other and are not held yet."""
        self._make_room(len(rows), columns)
        self._put(rows, columns)
        self._held += len(rows)

    def remove(self, rows: Rows, columns: tuple[Keys, Keys]) -> None:
        """Forget rows that are held."""
        places = self._places(columns[0][rows], columns[1][rows], columns)
        self._slots[places] = _REMOVED
        self._held -= len(rows)
        self._removed += len(rows)

    def _places(self, high: Keys, low: Keys, columns: tuple[Keys, Keys]) -> NDArray[np.int64]:
        """Each key's slot, or -1."""
        found = np.full(len(low), -1, np.int64)
        open_ = np.arange(len(low))
        at = self._home(low)
        while len(open_):
            rows = self._slots[at]
            ours = (rows >= 0) & (columns[1][rows] == low[open_]) & (columns[0][rows] == high[open_])
            found[open_[ours]] = at[ours]
            going_on = ~ours & (rows != _EMPTY)
            open_, at = open_[going_on], self._after(at[going_on])
        return found

    def _put(self, rows: Rows, columns: tuple[Keys, Keys]) -> None:
        at = self._home(columns[1][rows])
        while len(rows):
            held = self._slots[at]
            free = held < 0
            self._slots[at[free]] = rows[free]
            won = free & (self._slots[at] == rows)  # of several that want one slot the last has it
            self._removed -= int(np.count_nonzero(held[won] == _REMOVED))
            rows, at = rows[~won], self._after(at[~won])

    def _make_room(self, more: int, columns: tuple[Keys, Keys]) -> None:
        if self._held + self._removed + more <= _FULLEST * len(self._slots):
            return
        rows = self._slots[self._slots >= 0]
        size = len(self._slots)
        while self._held + more > _FULLEST * 0.75 * size:  # room for some that will be removed
            size *= 2
        self._slots = np.full(size, _EMPTY, np.int32)
        self._removed = 0
        self._put(rows, columns)

    def _home(self, low: Keys) -> NDArray[np.int64]:
        return (low & np.uint64(len(self._slots) - 1)).astype(np.int64)

    def _after(self, at: NDArray[Any]) -> NDArray[np.int64]:
        after: NDArray[np.int64] = (at + 1) & (len(self._slots) - 1)
        return after


def repeats(low: Keys) -> NDArray[np.bool_]:
    """Which keys come more than once; a key that only looks alike may be among them."""
    order = np.argsort(low, kind="stable")
    alike = low[order[1:]] == low[order[:-1]]
    repeated = np.zeros(len(low), np.bool_)
    repeated[order[1:][alike]] = True
    repeated[order[:-1][alike]] = True
    return repeated
