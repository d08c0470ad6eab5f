"""Segments as Arrow tables: packed into Parquet, and kept in a local folder where they are too large for a row."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from retrainer.domain.events import Partition, Record
from retrainer.errors import Refused, Unreachable

_SCHEMA: Final = pa.schema(
    [
        ("topic", pa.dictionary(pa.int32(), pa.string())),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp", pa.int64()),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("headers", pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))),
    ]
)
_UNFINISHED: Final = ".part"


class LocalSegments:
    """`ports.Segments` in a local folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pack(self, records: Sequence[Record]) -> bytes:
        table = pa.table(
            {
                "topic": pa.array([one.partition.topic for one in records], pa.string()).dictionary_encode(),
                "partition": [one.partition.number for one in records],
                "offset": [one.offset for one in records],
                "timestamp": [one.timestamp for one in records],
                "key": [one.key for one in records],
                "value": [one.value for one in records],
                "headers": [[{"name": n, "value": v} for n, v in one.headers] or None for one in records],
            },
            schema=_SCHEMA,
        )
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        return buffer.getvalue()

    def unpack(self, content: bytes) -> Sequence[Record]:
        try:
            table = pq.read_table(io.BytesIO(content))
        except (pa.ArrowInvalid, OSError) as error:
            raise Refused(f"a segment cannot be read: {error}") from error
        known: dict[tuple[str, int], Partition] = {}
        columns = [table.column(name).to_pylist() for name in _SCHEMA.names]
        return [
            Record(
                known.setdefault((topic, number), Partition(topic, number)),
                offset,
                timestamp,
                key,
                value,
                tuple((header["name"], header["value"]) for header in headers or ()),
            )
            for topic, number, offset, timestamp, key, value, headers in zip(*columns, strict=True)
        ]

    def write(self, name: str, content: bytes) -> None:
        """The bytes are on the disk before the name is; the folder's entry too before this returns."""
        path = self._folder / name
        unfinished = path.with_name(name + _UNFINISHED)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(path)
            _sync_folder(self._folder)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise Unreachable(f"segment {path} cannot be written: {error}") from error

    def read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError as error:
            raise Refused(f"segment {self._folder / name} is gone: {error}") from error
        except OSError as error:
            raise Unreachable(f"segment {self._folder / name} cannot be read: {error}") from error

    def sweep(self, known: Collection[str]) -> Sequence[str]:
        if not self._folder.is_dir():
            return []
        try:
            unknown = [path for path in self._folder.iterdir() if path.is_file() and path.name not in known]
            for path in unknown:
                path.unlink()
        except OSError as error:
            raise Unreachable(f"the segments in {self._folder} cannot be swept: {error}") from error
        return sorted(path.name for path in unknown)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
