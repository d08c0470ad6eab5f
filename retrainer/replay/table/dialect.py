"""How a CSV file is written: compressed or not, what stands between its columns, and what before its decimals."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from retrainer.errors import Refused

_COMPRESSIONS: Final = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS: Final = ",;\t|"
"""In the order in which they win where none is commoner."""

_QUOTED: Final = re.compile(r'"[^"]*"')
_WITH_POINT: Final = re.compile(r"[-+]?\d*\.\d+")
_WITH_COMMA: Final = re.compile(r"[-+]?\d*,\d+")
_LOOKED_AT: Final = 2**18


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """What a file's own beginning says of it."""

    compression: str | None
    delimiter: str
    decimal_point: str


def dialect_of(path: Path) -> Dialect:
    """Look at the beginning of a file.

    Raises:
        Refused: it is no text in UTF-8.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        begin = file.read(4)
    compression = next((name for magic, name in _COMPRESSIONS.items() if begin.startswith(magic)), None)
    with pa.input_stream(str(path), compression=compression) as stream:
        head: bytes = stream.read(_LOOKED_AT)
    if head.startswith(_UTF_16):
        raise Refused(f"{path}: it is UTF-16 text: save it as UTF-8")
    if b"\0" in head:
        raise Refused(f"{path}: it is neither CSV nor Parquet")
    lines = [line for line in head.decode("utf-8", "replace").splitlines() if line.strip()]
    delimiter = _delimiter(lines[0]) if lines else ","
    point = "," if delimiter != "," and _has_decimal_commas(lines[1:-1] or lines[1:], delimiter) else "."
    return Dialect(compression=compression, delimiter=delimiter, decimal_point=point)


def _delimiter(header: str) -> str:
    bare = _QUOTED.sub("", header)
    return max(_DELIMITERS, key=bare.count)


def _has_decimal_commas(lines: list[str], delimiter: str) -> bool:
    cells = {cell.strip(' "') for line in lines for cell in line.split(delimiter)}
    return any(map(_WITH_COMMA.fullmatch, cells)) and not any(map(_WITH_POINT.fullmatch, cells))
