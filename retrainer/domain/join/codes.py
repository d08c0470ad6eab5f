"""Small whole numbers in place of values that come again and again, so that they stand in columns."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=Hashable)


class _Numbering(dict[Value, int]):
    """Gives the next number to a value that it is asked for the first time."""

    def __init__(self, values: Iterable[Value]) -> None:
        self.seen = list(dict.fromkeys(values))
        super().__init__((value, code) for code, value in enumerate(self.seen))

    def __missing__(self, value: Value) -> int:
        code = self[value] = len(self.seen)
        self.seen.append(value)
        return code


class Codes(Generic[Value]):
    """Numbers the values that it sees, from 0 on.

    Attributes:
        generation: goes up whenever the values get other numbers.
    """

    def __init__(self, values: Iterable[Value] = ()) -> None:
        self.generation = 0
        self._codes: _Numbering[Value] = _Numbering(values)

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, code: int) -> Value:
        return self._codes.seen[code]

    @property
    def values(self) -> Sequence[Value]:
        """Every value, in the order of their codes."""
        return tuple(self._codes.seen)

    def of(self, value: Value) -> int:
        """The code of a value, a new one if it was never seen."""
        return self._codes[value]

    def column(self, values: Sequence[Value]) -> NDArray[np.int32]:
        """The codes of many values."""
        return np.fromiter(map(self._codes.__getitem__, values), np.int32, len(values))

    def keep(self, used: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Forget every value that is not used, by code; the new code of each old one, -1 where it is gone."""
        renamed = np.where(used, np.cumsum(used) - 1, -1).astype(np.int32)
        self._codes = _Numbering(value for value, kept in zip(self._codes.seen, used.tolist(), strict=True) if kept)
        self.generation += 1
        return renamed
