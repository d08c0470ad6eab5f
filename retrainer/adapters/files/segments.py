"""Segments as Arrow tables: packed into Parquet, and kept in a local folder where they are too large for a row."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retrainer.adapters.files.names import is_written_by
from retrainer.adapters.files.whole import whole_file
from retrainer.domain.batches import Headers, RecordBatch
from retrainer.domain.events import Partition
from retrainer.errors import Refused, Unreachable

_HEADERS: Final = pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))
_SCHEMA: Final = pa.schema(
    [
        ("topic", pa.dictionary(pa.int32(), pa.string())),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp", pa.int64()),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("headers", _HEADERS),
    ]
)


class LocalSegments:
    """`Segments` in a local folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pack(self, batches: Sequence[RecordBatch]) -> bytes:
        tables = [_table(batch) for batch in batches]
        buffer = io.BytesIO()
        pq.write_table(
            pa.concat_tables(tables) if tables else _SCHEMA.empty_table(),
            buffer,
            compression="zstd",
            compression_level=1,  # the next ones take twice the time for a tenth of the bytes
            use_dictionary=["topic", "partition"],  # everything else hardly ever comes twice
            write_statistics=False,
        )
        return buffer.getvalue()

    def unpack(self, content: bytes) -> Sequence[RecordBatch]:
        try:
            table = pq.read_table(io.BytesIO(content))
            return [_batch(table.slice(first, size), at) for at, first, size in _runs(table)]
        except (pa.ArrowInvalid, OSError) as error:
            raise Refused(f"a segment cannot be read: {error}") from error

    def write(self, name: str, content: bytes) -> None:
        with whole_file(self._folder / name) as file:
            file.write(content)

    def read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError as error:
            raise Refused(f"segment {self._folder / name} is gone: {error}") from error
        except OSError as error:
            raise Unreachable(f"segment {self._folder / name} cannot be read: {error}") from error

    def remove(self, name: str) -> None:
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise Unreachable(f"segment {self._folder / name} cannot be removed: {error}") from error

    def sweep(self, known: Collection[str], *, epoch: int, prefix: str = "") -> Sequence[str]:
        if not self._folder.is_dir():
            return []
        try:
            unknown = [
                path
                for path in self._folder.iterdir()
                if path.name not in known and is_written_by(path.name, prefix, epoch) and path.is_file()
            ]
            for path in unknown:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise Unreachable(f"the segments in {self._folder} cannot be swept: {error}") from error
        return sorted(path.name for path in unknown)


def _table(batch: RecordBatch) -> pa.Table:
    n = len(batch.offsets)
    headers = None if batch.headers is None else [_named(found) for found in batch.headers]
    topic = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([batch.partition.topic]))
    return pa.table(
        {
            "topic": topic,
            "partition": pa.array(np.full(n, batch.partition.number, np.int32)),
            "offset": pa.array(batch.offsets, pa.int64()),
            "timestamp": pa.array(batch.timestamps, pa.int64()),
            "key": pa.array(batch.keys, pa.binary()),
            "value": pa.array(batch.values, pa.binary()),
            "headers": pa.nulls(n, _HEADERS) if headers is None else pa.array(headers, _HEADERS),
        },
        schema=_SCHEMA,
    )


def _named(headers: Headers) -> list[dict[str, object]] | None:
    return [{"name": name, "value": value} for name, value in headers] or None


def _runs(table: pa.Table) -> Iterator[tuple[Partition, int, int]]:
    """Neighbours of one partition: which, from where, and how many."""
    first = 0
    both = zip(table.column("topic").to_pylist(), table.column("partition").to_pylist(), strict=True)
    for (topic, number), run in groupby(both):
        size = sum(1 for _ in run)
        yield Partition(topic, number), first, size
        first += size


def _batch(table: pa.Table, at: Partition) -> RecordBatch:
    offsets, timestamps, keys, values = (
        table.column(name).to_pylist() for name in ("offset", "timestamp", "key", "value")
    )
    headers = None
    if table.column("headers").null_count < table.num_rows:
        found = table.column("headers").to_pylist()
        headers = [tuple((header["name"], header["value"]) for header in some or ()) for some in found]
    return RecordBatch(at, offsets, timestamps, keys, values, headers)
