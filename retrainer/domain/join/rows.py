"""What is remembered about each id, in columns: 61 bytes an id, whatever becomes of it.

A row holds a prediction, a label, or both. What does not fit (a second label, redeliveries) stands beside it in
`extra`; that is rare. Rows that were freed are used again, oldest first, so that neighbours are of one age.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, MutableMapping
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrainer.domain.join.keytable import Keys, KeyTable, Rows
from retrainer.domain.values import Micros

PREDICTED: Final = 1
"""The row holds a prediction."""
LABELLED: Final = 2
"""It holds a label, or the first of several."""
EXTRA: Final = 4
"""There is more about it in `extra`."""
DUE: Final = 8
"""The time from which the absence of a label means something has passed for it."""

NEVER: Final[Micros] = 2**63 - 1

_BLOCK: Final = 2**16
COLUMNS: Final[Mapping[str, type[np.generic]]] = {
    "high": np.uint64,
    "low": np.uint64,
    "predicted_at": np.int64,
    "prediction_origin": np.uint64,
    "labelled_at": np.int64,
    "label_origin": np.uint64,
    "answer": np.int32,
    "truth": np.int32,
    "group": np.int32,
    "state": np.uint8,
}


_ROW_BYTES: Final = sum(np.dtype(kind).itemsize for kind in COLUMNS.values())

Blocks = Iterable[NDArray[Any]]
"""A column, in one piece or several."""


class Extra(NamedTuple):
    """Redeliveries of the prediction; all labels: time, packed origin, code."""

    duplicates: int
    labels: tuple[tuple[Micros, int, int], ...]


class JoinRows:
    """The columns, found by key. A row whose `state` is 0 is free."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    predicted_at: NDArray[np.int64]
    prediction_origin: NDArray[np.uint64]
    labelled_at: NDArray[np.int64]
    label_origin: NDArray[np.uint64]
    answer: NDArray[np.int32]
    truth: NDArray[np.int32]
    group: NDArray[np.int32]
    state: NDArray[np.uint8]

    def __init__(self) -> None:
        self.extra: dict[int, Extra] = {}
        self._table = KeyTable()
        self._used = 0
        self._free: deque[Rows] = deque()
        self._free_rows = 0
        self._due_by = np.full(1, NEVER, np.int64)
        for name, kind in COLUMNS.items():
            setattr(self, name, np.zeros(_BLOCK, kind))

    def __len__(self) -> int:
        return len(self._table)

    @property
    def predicted_bytes(self) -> int:
        """What the rows of predictions take."""
        return int(np.count_nonzero(self.state[: self._used] & PREDICTED)) * _ROW_BYTES

    @property
    def span(self) -> Micros:
        """How far apart the oldest and the newest prediction are in event time."""
        times = self.predicted_at[: self._used][self.state[: self._used] & PREDICTED != 0]
        return int(times.max() - times.min()) if len(times) else 0

    @property
    def free_bytes(self) -> int:
        """What rows take that are free to be used again."""
        return self._free_rows * _ROW_BYTES

    @property
    def keys(self) -> tuple[Keys, Keys]:
        return self.high, self.low

    def find(self, high: Keys, low: Keys) -> Rows:
        """The row of each key; -1 where there is none."""
        return self._table.find(high, low, self.keys)

    def add(self, high: Keys, low: Keys) -> Rows:
        """New rows for keys that differ and have none yet; the caller fills the other columns, `state` above all."""
        rows = self._allocate(len(low))
        self.high[rows] = high
        self.low[rows] = low
        self._table.insert(rows, self.keys)
        return rows

    def remove(self, rows: Rows) -> None:
        """Forget rows."""
        if not len(rows):
            return
        self._table.remove(rows, self.keys)
        if self.extra:
            for row in rows[(self.state[rows] & EXTRA) != 0].tolist():
                del self.extra[row]
        self.state[rows] = 0
        self._free.append(rows)
        self._free_rows += len(rows)

    def look_at(self, rows: Rows, times: NDArray[np.int64]) -> None:
        """Rows that `due` is to name once these times have passed."""
        np.minimum.at(self._due_by, rows // _BLOCK, times)

    def due(self, before: Micros) -> Rows:
        """Every row that may have something due before a time; the caller looks at each, and calls `look_at` again
        for those that stay."""
        blocks = np.flatnonzero(self._due_by < before)
        self._due_by[blocks] = NEVER
        found = [self._in_use(block * _BLOCK) for block in blocks.tolist()]
        return np.concatenate(found) if found else np.empty(0, np.int32)

    def codes_in_use(self, n: int) -> NDArray[np.bool_]:
        """Which of the first n codes of values stand in some row."""
        used = np.zeros(n, np.bool_)
        used[self.answer[self._with(PREDICTED)]] = True
        truth = self.truth[self._with(LABELLED)]
        used[truth[truth >= 0]] = True
        for extra in self.extra.values():
            used[[code for _, _, code in extra.labels if code >= 0]] = True
        return used

    def rename(self, codes: NDArray[np.int32]) -> None:
        """Give every value in use another code: the new one of each old one."""
        rows = self._with(PREDICTED)
        self.answer[rows] = codes[self.answer[rows]]
        rows = self._with(LABELLED)
        rows = rows[self.truth[rows] >= 0]
        self.truth[rows] = codes[self.truth[rows]]
        for row, (duplicates, labels) in self.extra.items():
            renamed = ((time, origin, int(codes[code]) if code >= 0 else code) for time, origin, code in labels)
            self.extra[row] = Extra(duplicates, tuple(renamed))

    def _with(self, state: int) -> NDArray[np.intp]:
        return np.flatnonzero(self.state[: self._used] & state)

    def dump(self) -> dict[str, Blocks]:
        """The columns of the rows in use, block by block, so that no copy of all of them is ever in memory."""
        return {name: self._blocks(name) for name in COLUMNS}

    def dump_extra(self) -> dict[int, Extra]:
        """What does not fit into the columns, by place in the dump."""
        rows = sorted(self.extra)
        used = [int(np.count_nonzero(self.state[first:row])) for first, row in pairwise([0, *rows])]
        return {place: self.extra[row] for place, row in zip(accumulate(used), rows, strict=True)}

    @classmethod
    def load(cls, columns: MutableMapping[str, Blocks], extra: Mapping[int, Extra]) -> JoinRows:
        """What the dumps gave. Takes the columns out one by one, so that no two copies of all are ever in memory."""
        rows = cls()
        for name, kind in COLUMNS.items():
            blocks = list(columns.pop(name))
            whole = blocks[0] if len(blocks) == 1 else np.concatenate([np.empty(0, kind), *blocks])
            rows._used = len(whole)
            setattr(rows, name, _larger(whole, _capacity(len(whole))))
        rows._due_by = np.full(len(rows.state) // _BLOCK, -NEVER, np.int64)  # each is looked at once
        rows._table.insert(np.arange(rows._used, dtype=np.int32), rows.keys)
        rows.extra.update(extra)
        return rows

    def _blocks(self, name: str) -> Blocks:
        for first in range(0, self._used, _BLOCK):
            block = slice(first, min(first + _BLOCK, self._used))
            yield getattr(self, name)[block][self.state[block] != 0]

    def _in_use(self, first: int) -> Rows:
        last = min(first + _BLOCK, self._used)
        return (np.flatnonzero(self.state[first:last]) + first).astype(np.int32)

    def _allocate(self, n: int) -> Rows:
        if self._free_rows < n:
            fresh = n - self._free_rows
            self._grow(self._used + fresh)
            self._free.append(np.arange(self._used, self._used + fresh, dtype=np.int32))
            self._used += fresh
            self._free_rows = n
        taken: list[Rows] = []
        missing = n
        while missing:
            first = self._free.popleft()
            if len(first) > missing:
                self._free.appendleft(first[missing:])
                first = first[:missing]
            taken.append(first)
            missing -= len(first)
        self._free_rows -= n
        return np.concatenate(taken) if taken else np.empty(0, np.int32)

    def _grow(self, rows: int) -> None:
        """Room for so many rows. Memory that was never written to is not resident, so doubling costs nothing yet."""
        size = _capacity(rows)
        if size <= len(self.state):
            return
        for name in COLUMNS:
            setattr(self, name, _larger(getattr(self, name), size))
        blocks = np.full(size // _BLOCK, NEVER, np.int64)
        blocks[: len(self._due_by)] = self._due_by
        self._due_by = blocks


def _larger(column: NDArray[Any], size: int) -> NDArray[Any]:
    """Copied, because an array that is resized in place is filled with zeros, which makes all of it resident."""
    larger = np.empty(size, column.dtype)
    larger[: len(column)] = column
    return larger


def _capacity(rows: int) -> int:
    size = _BLOCK
    while size < rows:
        size *= 2
    return size
