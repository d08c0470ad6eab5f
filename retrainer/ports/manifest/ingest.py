"""What the ingest worker keeps: positions, segments, tallies."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from retrainer.domain.events import Partition, RecordQuarantined
from retrainer.domain.join.ingest import ModelDelta
from retrainer.domain.values import Micros
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.progress import StoredPosition, StoredProgress
from retrainer.ports.manifest.segments import NewSegment, StoredSegment
from retrainer.ports.manifest.snapshots import NewSnapshot, StoredSnapshot


@dataclass(frozen=True, kw_only=True)
class Flush:
    """Everything that one commit makes true, or nothing of it.

    Attributes:
        moves: partition to its position before and after.
        rebuilt: models whose tallies and counts are replaced, not added to (new, or with a changed mapping).
        ends: how far each partition reaches, for lag.
    """

    lease: Lease
    at: Micros
    moves: Mapping[Partition, tuple[int, int]]
    segment: NewSegment | None
    deltas: Sequence[ModelDelta]
    quarantined: Sequence[RecordQuarantined] = ()
    ends: Mapping[Partition, int] = field(default_factory=dict)
    rebuilt: Mapping[str, str] = field(default_factory=dict)
    """Rebuilt models with the fingerprint of their mapping."""
    rebuilt_to: int = 0
    """The number of the last part that rebuilt models were computed from."""
    catching_up: bool = False
    """Far behind the end of the topics; stored for every model that has a delta here."""


class IngestState(Protocol):
    """What the ingest worker keeps: positions, segments, tallies. Any call may raise `Unreachable`."""

    def claim(self, name: str, owner: str, now: Micros) -> Lease:
        """Take a lease over from whoever holds it."""
        ...

    def positions(self) -> Mapping[Partition, StoredPosition]: ...

    def begin(self, lease: Lease, positions: Mapping[Partition, StoredPosition]) -> None:
        """Register partitions that were never consumed before.

        Raises:
            Fenced: the lease is another's now.
        """
        ...

    def model_progress(self) -> Mapping[str, StoredProgress]: ...

    def segments(self, *, after: int = 0, reaching: Micros | None = None) -> Iterator[StoredSegment]:
        """The segments that hold parts after a number, in order; with `reaching` only those with an event as new.

        Every part that was committed before the first step is met once, even where others merge segments meanwhile.
        """
        ...

    def segment_files(self) -> Collection[str]:
        """The names of every registered segment that is a file."""
        ...

    def register_snapshot(self, lease: Lease, snapshot: NewSnapshot, at: Micros) -> None:
        """Make a snapshot the newest of the lease's shard; the shard's newest are kept.

        Raises:
            Fenced: the lease is another's now, or a position is not the stored one.
        """
        ...

    def snapshots(self, shard: str) -> Sequence[StoredSnapshot]:
        """The shard's snapshots, newest first."""
        ...

    def snapshot_files(self) -> Collection[str]:
        """The names of every registered snapshot."""
        ...

    def commit(self, flush: Flush) -> None:
        """One transaction: all of it, or none.

        Raises:
            Fenced: the lease is another's now, or a position is not what this worker believes.
        """
        ...
