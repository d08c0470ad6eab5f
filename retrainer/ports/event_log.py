"""The topics, read by positions that the caller keeps."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Partition

Start = Literal["earliest", "latest"] | datetime | timedelta
"""Where the first start begins: an end of the log, a moment, or so long ago (by Kafka's own timestamps)."""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What a partition holds: offsets `first` (inclusive) to `end` (exclusive)."""

    first: int
    end: int


class EventLog(Protocol):
    """The topics, read by positions that the caller keeps. Not thread-safe."""

    def describe(self, topics: Sequence[str]) -> Mapping[Partition, str]:
        """Every partition of the topics with its topic's id (empty where the broker has none).

        Raises:
            Unreachable: no broker answers, or a topic does not exist (yet).
        """
        ...

    def starting_positions(self, partitions: Sequence[Partition], start: Start) -> Mapping[Partition, int]:
        """The position at which each partition's first start begins."""
        ...

    def extents(self, partitions: Sequence[Partition]) -> Mapping[Partition, Extent]:
        """What each partition holds now, as the broker says."""
        ...

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Read exactly these partitions from exactly these positions on; replaces what was assigned before."""
        ...

    def poll(self, timeout: float, /) -> Sequence[RecordBatch]:
        """The next records, in offset order within each partition; none after `timeout` seconds without any.

        No batch is empty.

        Raises:
            Unreachable: no broker has answered for some seconds; polling again goes on where it stopped.
            PositionLost: a position lies outside what its partition holds.
        """
        ...

    def pause(self, partitions: Collection[Partition]) -> None:
        """Read nothing more from just these partitions until told otherwise; `assign` forgets it."""
        ...

    def ends(self) -> Mapping[Partition, int]:
        """The end of each assigned partition as of now; a partition whose end is not known is left out."""
        ...

    def commit_offsets(self, positions: Mapping[Partition, int]) -> None:
        """Tell the group's committed offsets, for lag tools only: in the background, failures are swallowed."""
        ...

    def close(self) -> None:
        """Leave; no call may follow. Takes at most a few seconds."""
        ...
