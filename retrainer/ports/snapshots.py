"""Copies of what a worker remembers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from retrainer.domain.join.ingest import Remembered


class Snapshots(Protocol):
    """Copies of what a worker remembers, in files. Writing and reading take no second copy of it in memory."""

    def write(self, name: str, models: Mapping[str, Remembered]) -> int:
        """Durable once this returns, and never visible in part; its size in bytes."""
        ...

    def read(self, name: str) -> Mapping[str, Remembered]:
        """What was written, for the caller to keep.

        Raises:
            Refused: it is not there, or not as it was written.
        """
        ...

    def sweep(self, known: Collection[str], *, epoch: int) -> Sequence[str]:
        """As that of `Segments`."""
        ...
