"""Canonical values: ids and classes as text, times as microseconds since 1970 (UTC).

Producers write the same id as `1`, `"1"` or `1.0`; comparing canonical text lets prediction 1 meet label "1".
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

Micros = int
"""An event time: microseconds since 1970-01-01T00:00Z."""

Slot = int
"""A piece of event time, numbered: minutes since 1970."""

SECOND: Final[Micros] = 1_000_000
SLOT_WIDTH: Final[Micros] = 60 * SECOND

TimeUnit = Literal["s", "ms", "us", "ns"]
_PER_UNIT: Final[dict[str, float]] = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST_EXACT_FLOAT: Final = 2**53
# Numbers are told apart by size: seconds stay below 1e11 until the year 5138.
_UNIT_BELOW: Final[tuple[tuple[float, TimeUnit], ...]] = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (1e20, "ns"))


def canonical(value: object) -> str:
    """The text by which ids and classes compare.

    Raises:
        ValueError: for null, NaN, infinity, lists and objects.
    """
    if type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _canonical_float(value)
    raise ValueError(f"expected text, a number or a boolean, got {_kind(value)}")


def _canonical_float(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value}")
    if value.is_integer() and abs(value) <= _LARGEST_EXACT_FLOAT:
        return str(int(value))
    return repr(value)


def to_micros(value: object, unit: TimeUnit | None = None) -> Micros:
    """An event time from ISO-8601 text or a number; without a unit numbers are told apart by size.

    Raises:
        ValueError: if it is neither, not finite, or outside the years 1 to 9999.
    """
    if isinstance(value, str):
        return _from_text(value, unit)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a time, got {_kind(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"expected a time, got {value}")
    return _from_number(value, unit or _unit_of(value))


def _from_text(text: str, unit: TimeUnit | None) -> Micros:
    """Digits are a number, but for the eight of a date: ISO-8601 takes many a millisecond for a day in 1712."""
    number = _number_in(text)
    found = _moment_in(text) if number is None or (unit is None and len(text) == len("20130415")) else None
    if found is not None:
        return _in_range(micros(found), text)
    if number is None:
        raise ValueError(f"expected an ISO-8601 time or a number, got {text[:40]!r}")
    return to_micros(number, unit)


def _number_in(text: str) -> float | None:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return None


def _moment_in(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _from_number(value: float, unit: TimeUnit) -> Micros:
    if isinstance(value, int):
        return _in_range(value // 1000 if unit == "ns" else value * int(_PER_UNIT[unit]), value)
    return _in_range(value * _PER_UNIT[unit], value)


def _in_range(time: float, given: object) -> Micros:
    if not _MIN <= time <= _MAX:
        raise ValueError(f"expected a time between the years 1 and 9999, got {given}")
    return round(time)


def _unit_of(value: float) -> TimeUnit:
    size = abs(value)
    for limit, unit in _UNIT_BELOW:
        if size < limit:
            return unit
    raise ValueError(f"expected a time, got {value}, which is too large for nanoseconds")


def micros(moment: datetime) -> Micros:
    """The event time of a moment that knows its time zone."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(time: Micros) -> datetime:
    """The moment (UTC) of an event time; the nearest that has a name where the year is not between 1 and 9999."""
    return _EPOCH + timedelta(microseconds=min(max(time, _MIN), _MAX))


def iso(time: Micros) -> str:
    """An event time as people read it: `2013-04-15T06:30:00+00:00`."""
    return moment(time).isoformat()


def duration(span: timedelta) -> Micros:
    """A span of time in microseconds."""
    return span // timedelta(microseconds=1)


def span_text(span: Micros) -> str:
    """A span of time in its largest whole unit: `5d`, `90m`, `1500ms`."""
    for unit, size in (("d", 86_400 * SECOND), ("h", 3600 * SECOND), ("m", 60 * SECOND), ("s", SECOND)):
        if span % size == 0:
            return f"{span // size}{unit}"
    return f"{span / 1000:g}ms"


def slot_of(time: Micros) -> Slot:
    """The slot that holds an event time."""
    return time // SLOT_WIDTH


def slot_start(slot: Slot) -> Micros:
    """The first event time of a slot; also the end of the slot before it."""
    return slot * SLOT_WIDTH


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    return {"dict": "an object", "list": "a list", "bool": "a boolean", "str": "text"}.get(
        type(value).__name__, "a number"
    )


_MIN: Final = micros(datetime.min.replace(tzinfo=UTC))
_MAX: Final = micros(datetime.max.replace(tzinfo=UTC))
