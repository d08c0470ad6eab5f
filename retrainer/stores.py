"""What must survive a crash, and what the roles need from the place that keeps it: the manifest's ports.

The ingest worker and the controller talk only through these. Any call may raise `Unreachable`; every write is one
transaction that is refused with `Fenced` once another process holds the lease.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from retrainer.domain.deciding.decisions import Decision
from retrainer.domain.deciding.jobs import Job
from retrainer.domain.deciding.ledger import LedgerRow
from retrainer.domain.events import Partition, RecordQuarantined, Side
from retrainer.domain.join.ingest import ModelDelta, Progress
from retrainer.domain.join.rules import Status
from retrainer.domain.tally.arrivals import ArrivalKey
from retrainer.domain.tally.tallies import TallyKey
from retrainer.domain.values import Micros, Slot

SNAPSHOTS_KEPT: Final = 2
"""Of a shard: the newest, and the one before it in case that the newest cannot be read."""


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
    """A model's progress, and the fingerprint of the mapping that it was computed with.

    Attributes:
        catching_up: the worker was far behind the end of the topics when it stored this.
        rebuilt_to: the number of the last part from which the model was computed anew, when its mapping changed.
        moved: outcomes that came for a closed slot and were counted in a later one.
    """

    progress: Progress
    fingerprint: str
    catching_up: bool = False
    rebuilt_to: int = 0
    moved: int = 0


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
    size: int | None = None
    """Bytes of its file; None where nobody knows, which keeps it from being merged. Inline bytes are counted."""


@dataclass(frozen=True, kw_only=True)
class StoredPart:
    """What one commit put into a segment. Numbers follow the order of the commits and are never given again.

    `newest` is the newest time of an event in it, `watermarks` each model's while it was read.
    """

    number: int
    records: int
    newest: Micros | None
    watermarks: Mapping[str, Micros]


@dataclass(frozen=True, kw_only=True)
class StoredSegment:
    """A registered segment: the records of its parts, one after the other.

    Attributes:
        number: that of its last part.
        content: None where its bytes are in the file of that `name`.
        skip: so many records at its beginning belong to parts that the reader has had already.
    """

    number: int
    name: str
    content: bytes | None
    parts: tuple[StoredPart, ...]
    skip: int = 0


@dataclass(frozen=True, kw_only=True)
class NewSnapshot:
    """A snapshot about to be registered; its bytes are in a file of that `name`."""

    name: str
    positions: Mapping[Partition, int]
    fingerprints: Mapping[str, str]
    """Each model in it with the fingerprint of its mapping."""
    size: int
    """In bytes."""


@dataclass(frozen=True, kw_only=True)
class StoredSnapshot:
    """A registered snapshot. `segment` is the number of the newest part that it includes; 0: none."""

    number: int
    shard: str
    name: str
    segment: int
    positions: Mapping[Partition, int]
    fingerprints: Mapping[str, str]
    size: int
    taken_at: Micros


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


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asked for: `retrain`, `pause`, `resume`. `answer` is empty until it has been taken up."""

    request_id: str
    model: str
    kind: str
    reason: str
    asked_at: Micros
    answer: str = ""


class SlotRange(NamedTuple):
    """Slots from `first` (inclusive; None: from the beginning) to `before` (exclusive)."""

    first: Slot | None
    before: Slot


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
    def tallies(
        self, model: str, first: Slot | None, before: Slot, *, whole: bool = False
    ) -> Sequence[tuple[TallyKey, int]]:
        """The tallies of slots from `first` (inclusive; None: all) to `before` (exclusive); `whole`: of no slice."""
        ...

    def memory(self, model: str) -> bytes | None:
        """What the last step of the model left."""
        ...

    def arrivals(self, model: str, first: Slot | None, before: Slot) -> Sequence[tuple[ArrivalKey, int]]: ...

    def news(self, wanted: Mapping[str, SlotRange]) -> Mapping[str, Sequence[tuple[TallyKey, int]]]:
        """Outcomes and arrivals of several models, without slices, by slot; a model that has none is left out."""
        ...

    def side_counts(self) -> Mapping[str, Mapping[Side, int]]:
        """Each model's usable events: those that belong to it and are not in quarantine."""
        ...

    def take(self, steps: Sequence[Step]) -> None:
        """All of them in one transaction; they have one lease.

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

    def segments(self, *, after: int = 0, reaching: Micros | None = None) -> Iterator[StoredSegment]: ...


@dataclass(frozen=True, kw_only=True)
class SegmentOutline:
    """A registered segment without its content.

    Attributes:
        first: the number of its first part.
        size: in bytes; None where nobody knows.
        newest: the newest time of an event in it; None where it holds none.
    """

    number: int
    first: int
    name: str
    size: int | None
    records: int
    newest: Micros | None


@dataclass(frozen=True, kw_only=True)
class MergedSegment:
    """One file, of `size` bytes, in the place of consecutive segments, whose numbers are `replaces`, with all parts."""

    name: str
    size: int
    replaces: Sequence[int]


class HousekeepingState(Protocol):
    """What housekeeping needs. Any call may raise `Unreachable`."""

    def model_progress(self) -> Mapping[str, StoredProgress]: ...

    def segments(self, *, after: int = 0, reaching: Micros | None = None) -> Iterator[StoredSegment]: ...

    def segment_files(self) -> Collection[str]: ...

    def outlines(self, *, after: int, limit: int) -> Sequence[SegmentOutline]:
        """The first segments with a number greater than `after`, in order."""
        ...

    def last_part(self) -> int:
        """The number of the newest part; 0: there is none."""
        ...

    def oldest_snapshot(self) -> int | None:
        """The part from which the oldest snapshot goes on; None: there is no snapshot."""
        ...

    def merge_segments(self, lease: Lease, merged: MergedSegment) -> Sequence[str]:
        """Put one segment in the place of several; the names of the files that are not needed any more.

        Raises:
            Fenced: another controller is active now.
            Refused: one of the segments is not there any more, or another lies between them.
        """
        ...

    def remove_segments(self, lease: Lease, numbers: Sequence[int], models: Collection[str]) -> Sequence[str] | None:
        """Forget segments; the names of their files. None, and nothing is forgotten, while a model's job is unfinished.

        Raises:
            Fenced: another controller is active now.
        """
        ...

    def shrink(self) -> bool:
        """Give room that is not needed any more back to the disk, as much as takes no long time; is there more?"""
        ...


@dataclass(frozen=True, kw_only=True)
class IngestView:
    """What has been consumed, for people; `moved` are each model's outcomes that came for a closed slot."""

    counts: Mapping[str, Mapping[Status, int]]
    positions: Mapping[Partition, StoredPosition]
    ends: Mapping[Partition, int]
    quarantined: int
    moved: Mapping[str, int] = field(default_factory=dict)


class StatusState(Protocol):
    """What `status` and `explain` read."""

    def ingest_view(self) -> IngestView: ...
