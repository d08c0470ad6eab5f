"""What must survive a crash, and what the roles need from the place that keeps it: the manifest's ports.

The ingest worker and the controller talk only through these. Any call may raise `Unreachable`; every write is one
transaction that is refused with `Fenced` once another process holds the lease.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from retrainer.domain.decisions import Decision
from retrainer.domain.events import Partition, RecordQuarantined
from retrainer.domain.ingest import ModelDelta, Progress
from retrainer.domain.jobs import Job
from retrainer.domain.join import Status
from retrainer.domain.ledger import LedgerRow
from retrainer.domain.tallies import TallyKey
from retrainer.domain.values import Micros, Slot


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to write for a shard (or as the controller). Whoever claims it next has a higher epoch.

    `manifest` tells one manifest from another, so that jobs of a new one are never taken for those of an old one.
    """

    name: str
    epoch: int
    manifest: str = ""


@dataclass(frozen=True, kw_only=True)
class StoredPosition:
    """How far a partition has been consumed, and which topic that was (a recreated one has another id)."""

    position: int
    topic_id: str


@dataclass(frozen=True, kw_only=True)
class StoredProgress:
    """A model's progress, and the fingerprint of the mapping that it was computed with."""

    progress: Progress
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class NewSegment:
    """A segment about to be registered; its bytes are `inline`, or in a file of that `name`."""

    name: str
    inline: bytes | None
    ranges: Mapping[Partition, tuple[int, int]]
    """Offsets that it covers: first, and one past the last."""
    records: int
    newest: Micros | None
    """The newest event time in it."""
    watermarks: Mapping[str, Micros]
    """Each model's watermark while it was read: what was late then is late in a replay too."""


@dataclass(frozen=True, kw_only=True)
class StoredSegment:
    """A registered segment. `content` is None where its bytes are in the file of that `name`."""

    number: int
    name: str
    content: bytes | None
    watermarks: Mapping[str, Micros]


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

    def segments(self, *, reaching: Micros | None = None) -> Iterator[StoredSegment]:
        """The segments in the order of their commits; with `reaching` only those whose newest event is as new."""
        ...

    def segment_files(self) -> Collection[str]:
        """The names of every registered segment that is a file."""
        ...

    def commit(self, flush: Flush) -> None:
        """One transaction: all of it, or none.

        Raises:
            Fenced: the lease is another's now, or a position is not what this worker believes.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asked for: `retrain`, `pause`, `resume`. `answer` is empty until it has been taken up."""

    request_id: str
    model: str
    kind: str
    reason: str
    asked_at: Micros
    answer: str = ""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one round of deciding about a model makes true, or nothing of it."""

    lease: Lease
    model: str
    memory: bytes
    """The controller's memory of the model, as JSON."""
    decisions: Sequence[Decision] = ()
    jobs: Sequence[Job] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    """Request id to the id of the decision that answered it."""


class DecisionState(Protocol):
    """What the controller keeps: decisions, jobs, the promotion ledger. Any call may raise `Unreachable`."""

    def claim(self, name: str, owner: str, now: Micros) -> Lease: ...

    def model_progress(self) -> Mapping[str, StoredProgress]: ...

    def tallies(self, model: str, first: Slot | None, before: Slot) -> Sequence[tuple[TallyKey, int]]:
        """The tallies of slots from `first` (inclusive; None: all) to `before` (exclusive)."""
        ...

    def memory(self, model: str) -> bytes | None:
        """What the last step of the model left."""
        ...

    def take(self, step: Step) -> None:
        """One transaction.

        Raises:
            Fenced: another controller is active now.
        """
        ...

    def decisions(self, model: str, last: int) -> Sequence[Decision]:
        """The newest decisions, oldest of them first."""
        ...

    def jobs(self, model: str | None = None, *, unfinished: bool = False) -> Sequence[Job]:
        """Jobs in the order of their making."""
        ...

    def put_job(self, lease: Lease, job: Job) -> None:
        """Store a job's next state.

        Raises:
            Fenced: another controller is active now.
        """
        ...

    def append_ledger(self, lease: Lease, row: LedgerRow) -> LedgerRow:
        """Append a row; answers with its number filled in.

        Raises:
            Fenced: another controller is active now.
        """
        ...

    def ledger(self, model: str) -> Sequence[LedgerRow]: ...

    def ask(self, request: Request) -> None: ...

    def requests(self, model: str | None = None, *, unanswered: bool = True) -> Sequence[Request]: ...

    def segments(self, *, reaching: Micros | None = None) -> Iterator[StoredSegment]: ...


@dataclass(frozen=True, kw_only=True)
class IngestView:
    """What has been consumed, for people."""

    counts: Mapping[str, Mapping[Status, int]]
    positions: Mapping[Partition, StoredPosition]
    ends: Mapping[Partition, int]
    quarantined: int


class StatusState(Protocol):
    """What `status` and `explain` read."""

    def ingest_view(self) -> IngestView: ...
