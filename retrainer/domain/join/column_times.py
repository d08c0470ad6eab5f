"""Event times of many records at once; the same as `values.to_micros` where they fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrainer.domain.batches import Column, is_text, kinds_in
from retrainer.domain.join.event_columns import Mask, Times
from retrainer.domain.values import TimeUnit

_LATEST_EXACT: Final = 2**32 * 1_000_000
"""Up to here (the year 2106) seconds in 64-bit floating point tell microseconds apart."""
_DAY: Final = 86_400 * 1_000_000
_WEIGHTS: Final[Mapping[str, tuple[int, int]]] = {
    "Y": (0, 1),
    "M": (1, 1),
    "D": (2, 1),
    "h": (3, 3_600_000_000),
    "m": (3, 60_000_000),
    "s": (3, 1_000_000),
    "f": (3, 1),
}
"""The letters for digits: which number they are part of, and their unit in it."""
_DIGITS: Final = {"f": 6}
"""Of fractions, which may be written with fewer."""
_UNITS: Final[Sequence[TimeUnit]] = ("s", "ms", "us", "ns")
_BELOW: Final = np.array([10**11, 10**14, 10**17], np.int64)
"""Smaller numbers are of the unit at the same place, larger ones of a later one."""
_TIMES: Final = np.array([1_000_000, 1000, 1, 1], np.int64)
_OVER: Final = np.array([1, 1, 1, 1000], np.int64)
"""By what a number of each unit is multiplied, and then divided, to give microseconds."""
_FARTHEST: Final = np.array([6 * 10**10, 6 * 10**13, 6 * 10**16, 2**63 - 1], np.int64)
"""Smaller numbers of each unit lie within the years 1 to 9999, on either side of 1970."""
_KINDS: Final[Mapping[type, int]] = {str: 1, int: 2}
_NO_MOMENT: Final = datetime(1, 1, 2, tzinfo=UTC)


def read_times(column: Column, unit: TimeUnit | None, fit: Mask) -> Times:
    """Microseconds since 1970; rows that have to be read one by one, or are no time, are struck out of `fit`."""
    if is_text(column):
        return _iso_times(column, fit)  # type: ignore[arg-type]  # as was just seen
    if kinds_in(column) == {int}:
        return _whole_times(column, unit, fit)  # type: ignore[arg-type]  # as was just seen
    return _mixed_times(column, unit, fit)


def _iso_times(column: Sequence[str], fit: Mask) -> Times:
    try:
        moments = list(map(datetime.fromisoformat, column))
    except ValueError:
        moments = [_moment(text) for text in column]
    else:
        if (times := _alike_times(column)) is not None:
            fit &= np.abs(times) < _LATEST_EXACT
            return times
    if None in {moment.tzinfo for moment in moments}:
        moments = [moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in moments]
    times = np.rint(np.fromiter(map(datetime.timestamp, moments), np.float64, len(moments)) * 1e6).astype(np.int64)
    fit &= np.abs(times) < _LATEST_EXACT
    # Only with a dash after the year is it never taken for a number.
    fit &= np.fromiter([text[4:5] == "-" for text in column], np.bool_, len(column))
    return times


def _alike_times(moments: Sequence[str]) -> Times | None:
    """Times that one program wrote: in UTC, and all in one of the usual patterns; None where they are not.

    All are known to be moments, so that digits stand where they should if the rest is right.
    """
    lengths = set(map(len, moments))
    pattern = _PATTERNS.get(lengths.pop()) if len(lengths) == 1 else None
    letters = np.frombuffer("".join(moments).encode("utf-8", "replace"), np.uint8)
    if pattern is None or len(letters) != len(moments) * len(pattern.text):
        return None
    letters = letters.reshape(len(moments), -1)
    if (letters[:, pattern.others] != pattern.signs).any():
        return None
    years, months, days, micros = pattern.numbers(letters)
    begins = (years * 12 + months - (1970 * 12 + 1)).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    found: Times = (begins + days - 1) * _DAY + micros
    return found


class _Pattern:
    """A way to write a moment: signs at the places `others`, digits everywhere else."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.others = np.array([place for place, letter in enumerate(text) if letter not in _WEIGHTS])
        self.signs = np.frombuffer("".join(text[place] for place in self.others).encode(), np.uint8)

    def numbers(self, letters: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Year, month, day and microseconds of the day, a row each. Added up in whole numbers: BLAS starts threads."""
        found = np.zeros((4, len(letters)), np.int64)
        for place, letter in enumerate(self.text):
            if letter in _WEIGHTS:
                row, unit = _WEIGHTS[letter]
                last = self.text.index(letter) + _DIGITS.get(letter, self.text.count(letter)) - 1
                found[row] += (letters[:, place] - np.int64(ord("0"))) * (unit * 10 ** (last - place))
        return found


def _moment(text: str) -> datetime:
    """One so far away that it does not fit, where there is none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return _NO_MOMENT


def _whole_times(column: Sequence[int], unit: TimeUnit | None, fit: Mask) -> Times:
    try:
        numbers = np.array(column, np.int64)
    except OverflowError:
        fits = [abs(number) < 2**63 for number in column]
        fit &= np.array(fits, np.bool_)
        numbers = np.array([number if is_fit else 0 for number, is_fit in zip(column, fits, strict=True)], np.int64)
    size = np.abs(numbers)
    fit &= size >= 0  # the smallest number has no opposite
    which = np.searchsorted(_BELOW, size, side="right") if unit is None else np.full(len(size), _UNITS.index(unit))
    fit &= size < _FARTHEST[which]
    return numbers * _TIMES[which] // _OVER[which]


def _mixed_times(column: Column, unit: TimeUnit | None, fit: Mask) -> Times:
    """Of several kinds: texts and whole numbers each in their way; the rest does not fit."""
    found = np.zeros(len(column), np.int64)
    fits = np.zeros(len(column), np.bool_)
    kinds = np.fromiter((_KINDS.get(type(one), 0) for one in column), np.int8, len(column))
    readers: Mapping[int, Callable[[Any, Mask], Times]] = {
        1: _iso_times,
        2: lambda some, own: _whole_times(some, unit, own),
    }
    for kind, read in readers.items():
        rows = np.flatnonzero(kinds == kind)
        own = np.ones(len(rows), np.bool_)
        found[rows] = read([column[row] for row in rows.tolist()], own)
        fits[rows] = own
    fit &= fits
    return found


_PATTERNS: Final[Mapping[int, _Pattern]] = {
    len(text): _Pattern(text)
    for fraction in ("", ".fff", ".ffffff")
    for zone in ("", "Z", "+00:00")
    for text in [f"YYYY-MM-DDThh:mm:ss{fraction}{zone}"]
}
