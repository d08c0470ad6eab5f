"""Durations and sizes as people write them: `90m`, `64MiB`. Each has a parser and its inverse."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_MICROSECOND: Final = timedelta(microseconds=1)
_DURATION_UNITS: Final = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_SIZE_UNITS: Final = {
    "TiB": 2**40,
    "GiB": 2**30,
    "MiB": 2**20,
    "KiB": 2**10,
    "TB": 10**12,
    "GB": 10**9,
    "MB": 10**6,
    "kB": 10**3,
    "B": 1,
}

DURATION_PATTERN: Final = "^([0-9]+(us|ms|s|m|h|d))+$"
SIZE_PATTERN: Final = "^[0-9]+(TiB|GiB|MiB|KiB|TB|GB|MB|kB|B)$"

_DURATION: Final = re.compile(DURATION_PATTERN)
_PART: Final = re.compile("([0-9]+)([a-z]+)")
_SIZE: Final = re.compile("([0-9]+) ?([A-Za-z]+)")


def parse_duration(text: str) -> timedelta:
    """A duration such as `6h`, `500ms` or `1h30m`.

    Raises:
        ValueError: it is not written like one.
    """
    if not _DURATION.fullmatch(text):
        raise ValueError("expected a duration such as 6h")
    micros = sum(int(count) * _DURATION_UNITS[unit] for count, unit in _PART.findall(text))
    try:
        return timedelta(microseconds=micros)
    except OverflowError:
        raise ValueError("expected a duration of less than 2.7 million years") from None


def format_duration(duration: timedelta) -> str:
    """The shortest text of one unit that means exactly this duration."""
    micros = duration // _MICROSECOND
    if not micros:
        return "0s"
    unit = next(unit for unit, size in _DURATION_UNITS.items() if micros % size == 0)
    return f"{micros // _DURATION_UNITS[unit]}{unit}"


def parse_size(text: str) -> int:
    """A number of bytes such as `64MiB` or `2GB`.

    Raises:
        ValueError: it is not written like one.
    """
    found = _SIZE.fullmatch(text)
    if not found or found[2] not in _SIZE_UNITS:
        raise ValueError("expected a size such as 64MiB")
    return int(found[1]) * _SIZE_UNITS[found[2]]


def format_size(size: int) -> str:
    """The shortest text in binary units that means exactly this many bytes."""
    unit = next(unit for unit in ("TiB", "GiB", "MiB", "KiB", "B") if size % _SIZE_UNITS[unit] == 0)
    return f"{size // _SIZE_UNITS[unit]}{unit}"
