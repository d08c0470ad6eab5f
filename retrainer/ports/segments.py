"""The bytes of consumed records, kept as they came."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Protocol

from retrainer.domain.batches import RecordBatch

MERGED: Final = "c-"
"""How the names of files begin that the controller made of many segments; no name that a worker gives begins so."""


class Segments(Protocol):
    """Immutable batches of records: packed into bytes, and kept as files where they are too large for a row."""

    def pack(self, batches: Sequence[RecordBatch], /) -> bytes: ...

    def unpack(self, content: bytes, /) -> Sequence[RecordBatch]:
        """The records in the order in which they were packed; neighbours of one partition are one batch."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Durable once this returns; never visible in part. A name is written once and its bytes never change."""
        ...

    def read(self, name: str) -> bytes: ...

    def remove(self, name: str) -> None:
        """Remove a file that nothing needs any more; fine where it is gone already."""
        ...

    def sweep(self, known: Collection[str], *, epoch: int, prefix: str = "") -> Sequence[str]:
        """Remove what interrupted writes left, and files that no manifest knows; says which.

        Only files named `PREFIX EPOCH -...` (without the spaces) with at most this epoch: another's, and those of
        whoever took the lease over, may be about to be registered.
        """
        ...
