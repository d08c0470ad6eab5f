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
from retrainer.replay.table.dialect import Dialect, dialect_of

_MAGIC: Final = b"PAR1"
_CONVERSION: Final = re.compile(r"In CSV column #(\d+): .*conversion error to ([a-z0-9]+)", re.DOTALL)
_NUMBER: Final = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
_GAPS: Final = ("?", "-", "--", ".", "none", "missing", "unknown")
"""What people write for a number that they do not have, beside what Arrow takes for nothing in any column."""
_BUFFER: Final = 1 << 20
_BLOCK: Final = 1 << 22
"""Large enough that Arrow gives each column of a block its own pages, which can be given back without the others."""
# Types are inferred from the beginning of a file. What does not fit further down is read as the next one.
_WIDER: Final[Mapping[str, pa.DataType]] = {"null": pa.int64(), "int64": pa.float64()}


def read_table(path: Path, *, time: str | None = None, label: str | None = None) -> pa.Table:
    """The columns of a file. In CSV that of the time stays text, whatever it looks like, and that of the label is
    taken as it is written; in the others of numbers what stands for a missing one (`?`, `unknown`) is missing.

    Raises:
        Refused: the file cannot be read, has no rows, or a column is given twice.
    """
    try:
        with path.open("rb") as file:
            is_parquet = file.read(len(_MAGIC)) == _MAGIC
        table = _read_parquet(path) if is_parquet else _read_csv(path, time, label)
        names = table.column_names
    except UnicodeDecodeError as error:
        raise Refused(f"{path}: the names of its columns are not UTF-8 text") from error
    except (OSError, EOFError, pa.ArrowException) as error:
        raise Refused(f"{path}: cannot be read: {_first_line(error)}") from error
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise Refused(f"{path}: the column {_listed(twice)} is given twice")
    if not table.num_rows:
        raise Refused(f"{path}: it has no rows")
    return table


def plain(path: Path, table: pa.Table, label: str) -> pa.Table:
    """Plain types: dates and times as they are, decimals as doubles unless they are the label, no dictionaries.

    Raises:
        Refused: a column has a type that is no feature's.
    """
    columns = {}
    for name in table.column_names:
        column = table[name]
        wanted = _plain_type(column.type)
        if wanted is None:
            told = "the label is a class or a number" if name == label else "a feature is a number, a boolean or text"
            held = "bytes, or text that is not UTF-8" if _is_binary(column.type) else column.type
            raise Refused(f"{path}: the column {name} holds {held}: {told}; or --drop it")
        is_kept = wanted == column.type or (name == label and pa.types.is_decimal(column.type))
        columns[name] = column if is_kept else pc.cast(column, wanted)
    return pa.table(columns)


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


def mostly_numbers(column: pa.ChunkedArray) -> tuple[float, str | None]:
    """The share of numbers in a text column where that is most of it, and not all, with a value that is none."""
    if not pa.types.is_string(column.type):
        return 0.0, None
    texts = column.drop_null()
    is_number = pc.match_substring_regex(texts, _NUMBER)
    share = pc.mean(is_number).as_py() or 0.0
    return (share, texts.filter(pc.invert(is_number))[0].as_py()) if 0.5 < share < 1 else (share, None)


def _are_numbers(texts: pa.ChunkedArray) -> bool:
    try:
        pc.cast(pc.utf8_trim_whitespace(texts), pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _read_parquet(path: Path) -> pa.Table:
    """Bit by bit: else Arrow holds the whole file beside the table."""
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER) as file:
        return file.read()


def _read_csv(path: Path, time: str | None, label: str | None) -> pa.Table:
    table = _typed_csv(path, dialect_of(path), () if time is None else (time,))
    for place, name in enumerate(table.column_names):
        numbers = _with_gaps(table.column(place)) if name not in (time, label) else None
        if numbers is not None:
            table = table.set_column(place, name, numbers)
    return table


def _typed_csv(path: Path, dialect: Dialect, as_text: Collection[str]) -> pa.Table:
    types: dict[str, pa.DataType] = dict.fromkeys(as_text, pa.string())
    parsing = pc_csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True)
    read = _bit_by_bit
    while True:
        converting = pc_csv.ConvertOptions(
            column_types=types, strings_can_be_null=True, decimal_point=dialect.decimal_point
        )
        try:
            with pa.input_stream(str(path), compression=dialect.compression) as stream:
                return read(stream, parsing, converting)
        except pa.ArrowInvalid as error:
            if read is _bit_by_bit:
                read = _at_once
                continue
            failed = _CONVERSION.search(str(error))
            if failed is None:
                raise
            with pa.input_stream(str(path), compression=dialect.compression) as stream:
                name = pc_csv.open_csv(stream, parse_options=parsing).schema.names[int(failed[1])]
            wider = _WIDER.get(failed[2], pa.string())
            if types.get(name) == wider:
                raise
            types[name] = wider


def _bit_by_bit(stream: pa.NativeFile, parsing: pc_csv.ParseOptions, converting: pc_csv.ConvertOptions) -> pa.Table:
    """With the types of its beginning.

    Raises:
        pa.ArrowInvalid: they do not fit further down, or the file cannot be read.
    """
    reading = pc_csv.ReadOptions(block_size=_BLOCK)
    with pc_csv.open_csv(stream, read_options=reading, parse_options=parsing, convert_options=converting) as reader:
        return reader.read_all()


def _at_once(stream: pa.NativeFile, parsing: pc_csv.ParseOptions, converting: pc_csv.ConvertOptions) -> pa.Table:
    """With the types of all of it; until they are known its text is kept, which is several times the table."""
    return pc_csv.read_csv(stream, parse_options=parsing, convert_options=converting)


def _with_gaps(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Text as numbers, where nothing else is in it but what stands for a missing one; else None."""
    if not pa.types.is_string(column.type):
        return None
    texts = pc.utf8_trim_whitespace(column)
    is_gap = pc.is_in(pc.utf8_lower(texts), value_set=pa.array(_GAPS))
    if not pc.any(is_gap).as_py():
        return None
    try:
        numbers = pc.cast(pc.if_else(is_gap, None, texts), pa.float64())
    except pa.ArrowInvalid:
        return None
    return numbers if numbers.null_count < len(numbers) else None


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


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _listed(names: Collection[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _first_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).split("\n", 1)[0]
