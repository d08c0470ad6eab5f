"""A file with a table, CSV or Parquet, as Arrow columns of plain types: numbers, booleans and text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq

from retrainer.errors import Refused

_MAGIC: Final = b"PAR1"
_CONVERSION: Final = re.compile(r"In CSV column #(\d+): .*conversion error to ([a-z0-9]+)", re.DOTALL)
# Types are inferred from the beginning of a file. What does not fit further down is read as the next one.
_WIDER: Final[Mapping[str, pa.DataType]] = {"null": pa.int64(), "int64": pa.float64()}


def read_table(path: Path, as_text: Collection[str] = ()) -> pa.Table:
    """The columns of a file; of a CSV file those named in `as_text` stay text, whatever they look like.

    Raises:
        Refused: the file cannot be read, has no rows, or a column is given twice or has a type that is no feature's.
    """
    try:
        with path.open("rb") as file:
            is_parquet = file.read(len(_MAGIC)) == _MAGIC
        table = pq.read_table(path) if is_parquet else _read_csv(path, as_text)
    except (OSError, pa.ArrowException) as error:
        raise Refused(f"{path}: cannot be read: {_first_line(error)}") from error
    twice = [name for name, n in Counter(table.column_names).items() if n > 1]
    if twice:
        raise Refused(f"{path}: the column {_listed(twice)} is given twice")
    if not table.num_rows:
        raise Refused(f"{path}: it has no rows")
    return _plain(path, table)


def starts_as_numbers(column: pa.ChunkedArray, rows: int) -> int | None:
    """The row at which a text column that begins with nothing but numbers, for so many rows, turns into text."""
    if not pa.types.is_string(column.type) or not len(column.slice(0, rows).drop_null()):
        return None
    if not _are_numbers(column.slice(0, rows)) or _are_numbers(column):
        return None
    good, bad = rows, len(column)  # rows before the one are numbers, before the other not all
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if _are_numbers(column.slice(good, middle - good)) else (good, middle)
    return good


def _are_numbers(texts: pa.ChunkedArray) -> bool:
    try:
        pc.cast(pc.utf8_trim_whitespace(texts), pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _read_csv(path: Path, as_text: Collection[str]) -> pa.Table:
    types: dict[str, pa.DataType] = dict.fromkeys(as_text, pa.string())
    while True:
        options = pc_csv.ConvertOptions(column_types=types, strings_can_be_null=True)
        try:
            return pc_csv.read_csv(path, convert_options=options)
        except pa.ArrowInvalid as error:
            failed = _CONVERSION.search(str(error))
            if failed is None:
                raise
            name = _column(path, int(failed[1]))
            wider = _WIDER.get(failed[2], pa.string())
            if types.get(name) == wider:
                raise
            types[name] = wider


def _column(path: Path, position: int) -> str:
    with pc_csv.open_csv(path) as reader:
        return str(reader.schema.names[position])


def _plain(path: Path, table: pa.Table) -> pa.Table:
    """Dates and times as text, as events in JSON would bring them; decimals as doubles; no dictionaries."""
    columns = {}
    for name in table.column_names:
        column = table[name]
        wanted = _plain_type(column.type)
        if wanted is None:
            raise Refused(f"{path}: the column {name} holds {column.type}: a feature is a number, a boolean or text")
        columns[name] = column if wanted == column.type else pc.cast(column, wanted)
    return pa.table(columns)


def _plain_type(kind: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if types.is_decimal(kind) or types.is_float16(kind):
        return pa.float64()
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    plain = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_string(kind)
    return kind if plain or types.is_temporal(kind) or types.is_null(kind) else None


def _listed(names: Collection[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _first_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).split("\n", 1)[0]
