"""The twin of the segments' folder, in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import msgspec
import numpy as np

from retrainer.adapters.files.names import is_written_by
from retrainer.domain.batches import RecordBatch, batches_of
from retrainer.domain.events import Record
from retrainer.domain.join.ingest import Remembered
from retrainer.domain.join.rows import COLUMNS, Blocks
from retrainer.errors import Refused, Unreachable

Boundary = Callable[[str], None]
"""Called where a crash would matter, with the name of the place; a test's own raises there."""


def no_crash(_: str) -> None:
    """Nothing happens at a boundary."""


class _Folder:
    """A folder in memory, which may be out of reach."""

    _away = False

    def go_away(self) -> None:
        """From now on nothing can be written, read or swept."""
        self._away = True

    def come_back(self) -> None:
        """The outage is over; nothing was lost in it."""
        self._away = False

    def _reach(self) -> None:
        if self._away:
            raise Unreachable("the folder in memory is away")


class MemorySegments(_Folder):
    """`Segments` in memory.

    Attributes:
        files: what the folder holds, unfinished files included.
        fail_at: called with `segment.write` while a file is unfinished, `segment.written` once it has its name, and
            `segment.removed` after each file that is not needed any more.
    """

    def __init__(self, fail_at: Boundary = no_crash) -> None:
        self.files: dict[str, bytes] = {}
        self.fail_at = fail_at

    def pack(self, batches: Sequence[RecordBatch]) -> bytes:
        return msgspec.msgpack.encode([record for batch in batches for record in batch.records()])

    def unpack(self, content: bytes) -> Sequence[RecordBatch]:
        try:
            records = msgspec.msgpack.decode(content, type=list[Record])
        except msgspec.MsgspecError as error:
            raise Refused(f"a segment cannot be read: {error}") from error
        whole = [record._replace(headers=tuple(record.headers)) for record in records]
        return [batches_of(list(run))[0] for _, run in groupby(whole, key=lambda record: record.partition)]

    def write(self, name: str, content: bytes) -> None:
        self._reach()
        self.files[f"{name}.part"] = content[: len(content) // 2]
        self.fail_at("segment.write")
        del self.files[f"{name}.part"]
        self.files[name] = content
        self.fail_at("segment.written")

    def read(self, name: str) -> bytes:
        self._reach()
        if name not in self.files:
            raise Refused(f"segment {name} is not there")
        return self.files[name]

    def remove(self, name: str) -> None:
        self._reach()
        self.files.pop(name, None)
        self.fail_at("segment.removed")

    def sweep(self, known: Collection[str], *, epoch: int, prefix: str = "") -> Sequence[str]:
        self._reach()
        unknown = sorted(name for name in set(self.files) - set(known) if is_written_by(name, prefix, epoch))
        for name in unknown:
            del self.files[name]
        return unknown


class MemorySnapshots(_Folder):
    """`Snapshots` in memory.

    Attributes:
        files: what the folder holds.
        fail_at: called with `snapshot.write` before and `snapshot.written` after a file is there.
    """

    def __init__(self, fail_at: Boundary = no_crash) -> None:
        self.files: dict[str, Mapping[str, Remembered]] = {}
        self.fail_at = fail_at

    def write(self, name: str, models: Mapping[str, Remembered]) -> int:
        self._reach()
        self.fail_at("snapshot.write")
        self.files[name] = {model: _copy(remembered) for model, remembered in models.items()}
        self.fail_at("snapshot.written")
        return len(name)

    def read(self, name: str) -> Mapping[str, Remembered]:
        if self._away or name not in self.files:
            raise Refused(f"snapshot {name} is not there")
        return {model: _copy(remembered) for model, remembered in self.files[name].items()}

    def sweep(self, known: Collection[str], *, epoch: int) -> Sequence[str]:
        self._reach()
        unknown = sorted(name for name in self.files if name not in known and is_written_by(name, "", epoch))
        for name in unknown:
            del self.files[name]
        return unknown


def _copy(remembered: Remembered) -> Remembered:
    columns: dict[str, Blocks] = {
        name: [np.concatenate([np.empty(0, COLUMNS[name]), *column])]
        for name, column in remembered.table.columns.items()
    }
    return replace(remembered, table=remembered.table._replace(columns=columns, extra=dict(remembered.table.extra)))
