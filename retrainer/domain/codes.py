"""Small whole numbers in place of values that come again and again, so that they stand in columns."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=Hashable)


class _Numbering(dict[Value, int]):
    """Gives the next number to a value that it is asked for the first time."""

    def __missing__(self, value: Value) -> int:
        code = self[value] = len(self)
        return code


class Codes(Generic[Value]):
    """Numbers the values that it sees, from 0 on."""

    def __init__(self, values: Iterable[Value] = ()) -> None:
        self._codes: _Numbering[Value] = _Numbering((value, code) for code, value in enumerate(values))
        self._values = list(self._codes)

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, code: int) -> Value:
        if code >= len(self._values):
            self._values = list(self._codes)
        return self._values[code]

    @property
    def values(self) -> Sequence[Value]:
        """Every value, in the order of their codes."""
        return tuple(self._codes)

    def of(self, value: Value) -> int:
        """The code of a value, a new one if it was never seen."""
        return self._codes[value]

    def column(self, values: Sequence[Value]) -> NDArray[np.int32]:
        """The codes of many values."""
        return np.fromiter(map(self._codes.__getitem__, values), np.int32, len(values))
