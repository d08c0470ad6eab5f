"""Snapshots of what a worker remembers: one file each, its columns as they lie in memory, checked by a hash.

The file is written and read column by column, so that neither needs the memory twice. Layout: a line that names the
format and its version; the columns; a footer (JSON) that says what they are; the footer's length; the hash (XXH3) of
all that comes before it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Annotated, Any, Final

import msgspec
import numpy as np
from xxhash import xxh3_128

from retrainer.adapters.files.names import is_written_by
from retrainer.adapters.files.whole import whole_file
from retrainer.domain.events import Partition
from retrainer.domain.join.cells import Group
from retrainer.domain.join.event_columns import Dump
from retrainer.domain.join.ingest import Progress, Remembered
from retrainer.domain.join.rows import COLUMNS, Extra
from retrainer.domain.values import Micros, Slot
from retrainer.errors import Refused, Unreachable

_MAGIC: Final = b"retrainer snapshot 1\n"
_LENGTH_BYTES: Final = 8
_HASH_BYTES: Final = 16
_ROW_BYTES: Final = sum(np.dtype(kind).itemsize for kind in COLUMNS.values())


class _Model(msgspec.Struct):
    """What the footer says of one model; its columns come in the order of `COLUMNS`, each of so many `rows`."""

    name: str
    rows: Annotated[int, msgspec.Meta(ge=0)]
    watermark: Micros | None
    first_open: Slot | None
    newest: list[tuple[str, int, Micros]]
    values: list[str]
    groups: list[Group]
    extra: list[tuple[int, Extra]]


class LocalSnapshots:
    """`Snapshots` in a local folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, models: Mapping[str, Remembered]) -> int:
        with whole_file(self._folder / name) as file:
            _write(file, models)
            return file.tell()

    def read(self, name: str) -> Mapping[str, Remembered]:
        try:
            with (self._folder / name).open("rb") as file:
                return _read(file)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise Refused(f"snapshot {self._folder / name} cannot be read: {error}") from error

    def sweep(self, known: Collection[str], *, epoch: int) -> Sequence[str]:
        try:
            held = [path for path in self._folder.iterdir() if path.is_file()] if self._folder.is_dir() else []
            unknown = sorted(
                path.name for path in held if path.name not in known and is_written_by(path.name, "", epoch)
            )
            for name in unknown:
                (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise Unreachable(f"the snapshots in {self._folder} cannot be swept: {error}") from error
        return unknown


def _write(file: IO[bytes], models: Mapping[str, Remembered]) -> None:
    digest = xxh3_128()

    def put(content: Any) -> None:
        digest.update(content)
        file.write(content)

    put(_MAGIC)
    described = [_describe(name, remembered, _put_columns(put, remembered)) for name, remembered in models.items()]
    footer = msgspec.json.encode(described)
    put(footer)
    put(len(footer).to_bytes(_LENGTH_BYTES, "big"))
    file.write(digest.digest())


def _put_columns(put: Callable[[Any], None], remembered: Remembered) -> int:
    """Write a model's columns; how many rows they have."""
    rows = 0
    for name in COLUMNS:
        rows = 0
        for block in remembered.table.columns[name]:
            put(np.ascontiguousarray(block))
            rows += len(block)
    return rows


def _describe(name: str, remembered: Remembered, rows: int) -> _Model:
    return _Model(
        name=name,
        rows=rows,
        watermark=remembered.progress.watermark,
        first_open=remembered.progress.first_open,
        newest=[(*partition, time) for partition, time in remembered.newest.items()],
        values=list(remembered.table.values),
        groups=list(remembered.table.groups),
        extra=list(remembered.table.extra.items()),
    )


def _read(file: IO[bytes]) -> Mapping[str, Remembered]:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _HASH_BYTES - _LENGTH_BYTES))
    length = int.from_bytes(file.read(_LENGTH_BYTES), "big")
    expected = file.read(_HASH_BYTES)
    begin = size - _HASH_BYTES - _LENGTH_BYTES - length
    if begin < len(_MAGIC):
        raise ValueError("it is no snapshot, or only a part of one")
    file.seek(begin)
    footer = file.read(length)
    digest = xxh3_128()
    file.seek(0)
    magic = file.read(len(_MAGIC))
    if magic != _MAGIC:
        raise ValueError("it is no snapshot, or of another version")
    digest.update(magic)
    described = msgspec.json.decode(footer, type=list[_Model])
    if sum(one.rows for one in described) * _ROW_BYTES != begin - len(_MAGIC):
        raise ValueError("its parts do not fit together")
    models = {one.name: _remembered(one, file, digest) for one in described}
    digest.update(footer)
    digest.update(length.to_bytes(_LENGTH_BYTES, "big"))
    if file.tell() != begin or digest.digest() != expected:
        raise ValueError("its bytes are not those that were written")
    return models


def _remembered(model: _Model, file: IO[bytes], digest: Any) -> Remembered:
    columns: dict[str, Iterable[np.ndarray[Any, Any]]] = {}
    for name, kind in COLUMNS.items():
        column = np.fromfile(file, kind, model.rows)
        digest.update(column)
        columns[name] = [column]
    return Remembered(
        progress=Progress(watermark=model.watermark, first_open=model.first_open),
        newest={Partition(topic, number): time for topic, number, time in model.newest},
        table=Dump(columns, dict(model.extra), model.values, [(version, tuple(s)) for version, s in model.groups]),
    )
