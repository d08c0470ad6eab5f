"""When each row of a table was predicted, and when its label arrives, as microseconds since 1970."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from retrainer.domain.values import SECOND, Micros, iso, span_text
from retrainer.errors import Refused
from retrainer.replay.options import WrongOption

Times = npt.NDArray[np.int64]

NEVER: Final = np.iinfo(np.int64).max
"""The arrival of a label that does not come."""

BEGINNING: Final[Micros] = 946_684_800 * SECOND
"""2000-01-01T00:00Z, where the clock begins for rows that have no times."""

_DATE: Final = r"^\d{8}$"
_NO_TIME: Final = 1e20
"""What is as large is no time even in nanoseconds."""


_FIRST_YEAR: Final[Micros] = -62_135_596_800 * SECOND
_LAST_YEAR: Final[Micros] = 253_402_300_800 * SECOND
"""Times are of the years 1 to 9999, as those of events are."""
_LONGEST: Final = 300_000_000_000
"""Seconds after which no label comes any more: longer than all those years, and far from what no number holds."""


def evenly(rows: int, every: Micros) -> Times:
    """Times for rows without any.

    Raises:
        WrongOption: they reach beyond the year 9999.
    """
    if BEGINNING + every * rows > _LAST_YEAR:
        raise WrongOption(f"--every: {rows} rows {span_text(every)} apart reach beyond the year 9999")
    return BEGINNING + every * np.arange(rows, dtype=np.int64)


def times_of(name: str, column: pa.ChunkedArray) -> Times:
    """The times in a column: timestamps, dates, ISO-8601 text, or numbers that are told apart by size.

    Raises:
        Refused: a value is missing or no time, or the rows are not in time order.
    """
    if column.null_count:
        raise Refused(f"the row {_first(pc.is_null(column))} has no time in {name}")
    try:
        times = _parsed(name, column)
    except pa.ArrowInvalid as error:
        raise Refused(f"{name} cannot be read as times: {error}") from error
    odd = np.flatnonzero((times < _FIRST_YEAR) | (times >= _LAST_YEAR))
    if len(odd):
        raise Refused(f"{name} of row {odd[0]} is no time: {column[int(odd[0])]} is not of the years 1 to 9999")
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        row = int(back[0]) + 1
        told = f"{iso(int(times[row]))} comes after {iso(int(times[row - 1]))}"
        raise Refused(f"the rows are not in time order: {name} of row {row}: {told}")
    return times


def arrivals_of(times: Times, delay: Micros | tuple[str, pa.ChunkedArray], is_labelled: npt.NDArray[np.bool_]) -> Times:
    """When each label arrives; never where a row has no label, or no delay.

    Args:
        delay: the same for all rows, or the name and the column of their seconds.

    Raises:
        Refused: a delay is no number, or below zero.
    """
    if isinstance(delay, int):
        return np.where(is_labelled, times + min(delay, _LONGEST * SECOND), NEVER)
    name, column = delay
    seconds = _seconds(name, column)
    wrong = np.flatnonzero(seconds < 0)
    if len(wrong):
        raise Refused(f"the delay of row {wrong[0]} is below zero: {name} is {seconds[wrong[0]]:g}")
    known = seconds <= _LONGEST
    late = np.rint(np.where(known, seconds, 0.0) * SECOND).astype(np.int64)
    return np.where(is_labelled & known, times + late, NEVER)


def _seconds(name: str, column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    if pa.types.is_duration(column.type):
        micros = pc.cast(pc.cast(column, pa.duration("us"), safe=False), pa.int64())
        return np.asarray(pc.cast(micros, pa.float64()).to_numpy(), dtype=np.float64) / SECOND
    try:
        return np.asarray(pc.cast(column, pa.float64()).to_numpy(), dtype=np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise Refused(f"{name} is no column of seconds: {error}") from error


def _parsed(name: str, column: pa.ChunkedArray) -> Times:
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        found = pc.cast(column, pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=False)  # of ns the rest is cut
        return np.asarray(found.to_numpy(), dtype="datetime64[us]").astype(np.int64)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _from_numbers(name, column)
    if pa.types.is_string(kind):
        return _from_texts(name, column)
    raise Refused(f"{name} holds {kind}: expected times")


def _from_texts(name: str, column: pa.ChunkedArray) -> Times:
    """Eight digits are a date, other digits a number, as in events; the rest is ISO-8601."""
    is_date = pc.match_substring_regex(column, _DATE)
    if pc.all(is_date).as_py():
        return _from_iso(name, column, "%Y%m%d")
    for number in (pa.int64(), pa.float64()):
        try:
            return _from_numbers(name, pc.cast(column, number))
        except pa.ArrowInvalid:
            continue
    return _from_iso(name, column, "ISO8601")


def _from_iso(name: str, column: pa.ChunkedArray, form: str) -> Times:
    found = pd.to_datetime(column.to_pandas(), format=form, utc=True, errors="coerce")
    missing = np.flatnonzero(found.isna().to_numpy())
    if len(missing):
        row = int(missing[0])
        wanted = "expected ISO-8601, such as 2026-01-31T12:00:00Z, or a number"
        raise Refused(f'{name} of row {row} is no time: "{column[row].as_py()}"; {wanted}')
    return np.asarray(found.dt.tz_localize(None).to_numpy(dtype="datetime64[us]"), dtype=np.int64)


def _from_numbers(name: str, column: pa.ChunkedArray) -> Times:
    """Seconds, or finer units where the number is too large for seconds."""
    values = column.to_numpy()
    sizes = np.abs(values.astype(np.float64))
    odd = np.flatnonzero(~(sizes < _NO_TIME))
    if len(odd):
        raise Refused(f"{name} of row {odd[0]} is no time: {values[odd[0]]}")
    units = [sizes < 1e11, sizes < 1e14, sizes < 1e17]
    scaled = np.select(units, [values * SECOND, values * 1000, values], values // 1000)
    return np.asarray(np.rint(scaled), dtype=np.int64)


def _first(mask: pa.ChunkedArray) -> int:
    return int(pc.index(mask, pa.scalar(True)).as_py())
