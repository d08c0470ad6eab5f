"""The twins of the manifest and of the segments' folder, in memory."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, fields, replace
from threading import RLock
from typing import TypeVar

import msgspec

from retrainer.domain.decisions import Decision, Outcome
from retrainer.domain.events import Partition, Record, RecordQuarantined
from retrainer.domain.ingest import ModelDelta, Progress, imbalance
from retrainer.domain.jobs import Job
from retrainer.domain.join import Status
from retrainer.domain.ledger import LedgerRow
from retrainer.domain.tallies import TallyKey
from retrainer.domain.values import Micros, Slot
from retrainer.errors import Fenced, Refused, Unreachable
from retrainer.stores import (
    Flush,
    IngestView,
    Lease,
    NewSegment,
    Request,
    Step,
    StoredPosition,
    StoredProgress,
    StoredSegment,
)

_Key = TypeVar("_Key")
_Row = TypeVar("_Row")

Boundary = Callable[[str], None]
"""Called where a crash would matter, with the name of the place; a test's own raises there."""


def _pass(_: str) -> None:
    """Nothing happens at a boundary."""


@dataclass
class _Tables:
    """What a manifest holds. What stands in the dicts is never changed, so that a copy of them is a copy of all."""

    leases: dict[str, int] = field(default_factory=dict)
    positions: dict[Partition, StoredPosition] = field(default_factory=dict)
    ends: dict[Partition, int] = field(default_factory=dict)
    segments: dict[str, tuple[StoredSegment, Micros | None]] = field(default_factory=dict)
    progress: dict[str, StoredProgress] = field(default_factory=dict)
    tallies: dict[tuple[str, TallyKey], int] = field(default_factory=dict)
    counts: dict[tuple[str, Status], int] = field(default_factory=dict)
    quarantine: dict[tuple[Partition, int], RecordQuarantined] = field(default_factory=dict)
    memories: dict[str, bytes] = field(default_factory=dict)
    decisions: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    jobs: dict[str, bytes] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    ledger: list[LedgerRow] = field(default_factory=list)

    def copy(self) -> _Tables:
        return _Tables(**{one.name: copy(getattr(self, one.name)) for one in fields(self)})

    def counts_of(self, model: str) -> dict[Status, int]:
        return {status: n for (name, status), n in self.counts.items() if name == model}


class MemoryManifest:
    """One manifest in memory, for the worker's state and the controller's alike. May be used from several threads.

    Attributes:
        fail_at: called with `NAME.begin` before and `NAME.end` after each transaction became true, where NAME is
            claim, begin, commit, take, put_job, append_ledger or ask; and with `commit.middle`.
    """

    def __init__(self, fail_at: Boundary = _pass, identity: str | None = None) -> None:
        """A new manifest, told from others by its `identity`."""
        self.fail_at = fail_at
        self.identity = identity or secrets.token_hex(3)
        self._tables = _Tables()
        self._lock = RLock()
        self._away = False

    def go_away(self) -> None:
        """From now on every call raises `Unreachable`."""
        self._away = True

    def come_back(self) -> None:
        """The outage is over; nothing was lost in it."""
        self._away = False

    @property
    def quarantined(self) -> Sequence[RecordQuarantined]:
        """Every record in quarantine, in order of topic, partition and offset."""
        return [one for _, one in sorted(self._tables.quarantine.items())]

    def reading(self) -> _Tables:
        """What holds now. Not to be changed."""
        if self._away:
            raise Unreachable("the manifest in memory is away")
        return self._tables

    @contextmanager
    def writing(self, name: str, lease: Lease | None = None) -> Iterator[_Tables]:
        """One transaction, refused unless the lease is held: all of it, or nothing."""
        with self._lock:
            tables = self.reading().copy()
            self.fail_at(f"{name}.begin")
            if lease is not None and tables.leases.get(lease.name) != lease.epoch:
                raise Fenced(f"{lease.name} is owned by a newer process than epoch {lease.epoch}")
            yield tables
            self._tables = tables
            self.fail_at(f"{name}.end")

    def claim(self, name: str) -> Lease:
        """Take a lease over."""
        with self.writing("claim") as tables:
            tables.leases[name] = tables.leases.get(name, 0) + 1
            return Lease(name=name, epoch=tables.leases[name], manifest=self.identity)

    def segments(self, reaching: Micros | None) -> Iterator[StoredSegment]:
        """The segments in the order of their commits."""
        for segment, newest in list(self.reading().segments.values()):
            self.reading()
            if reaching is None or (newest is not None and newest >= reaching):
                yield segment


class MemoryIngestState:
    """`stores.IngestState` in memory."""

    def __init__(self, manifest: MemoryManifest) -> None:
        self._manifest = manifest

    def claim(self, name: str, owner: str, now: Micros) -> Lease:  # noqa: ARG002  nobody asks who holds it
        return self._manifest.claim(name)

    def positions(self) -> Mapping[Partition, StoredPosition]:
        return dict(self._manifest.reading().positions)

    def begin(self, lease: Lease, positions: Mapping[Partition, StoredPosition]) -> None:
        with self._manifest.writing("begin", lease) as tables:
            for at, stored in positions.items():
                _insert(tables.positions, at, stored, "position")

    def model_progress(self) -> Mapping[str, StoredProgress]:
        return dict(self._manifest.reading().progress)

    def segments(self, *, reaching: Micros | None = None) -> Iterator[StoredSegment]:
        return self._manifest.segments(reaching)

    def segment_files(self) -> Collection[str]:
        return {name for name, (segment, _) in self._manifest.reading().segments.items() if segment.content is None}

    def commit(self, flush: Flush) -> None:
        with self._manifest.writing("commit", flush.lease) as tables:
            _move(tables, flush)
            if flush.segment is not None:
                _register(tables, flush.segment)
            self._manifest.fail_at("commit.middle")
            for model, fingerprint in flush.rebuilt.items():
                _forget(tables, model, fingerprint)
            for delta in flush.deltas:
                _apply(tables, delta)
            for one in flush.quarantined:
                _insert(tables.quarantine, (one.record.partition, one.record.offset), one, "quarantined record")
            _check_conservation(tables, flush.deltas)


class MemoryDecisionState:
    """`stores.DecisionState` and `stores.StatusState` in memory."""

    def __init__(self, manifest: MemoryManifest) -> None:
        self._manifest = manifest

    def claim(self, name: str, owner: str, now: Micros) -> Lease:  # noqa: ARG002  nobody asks who holds it
        return self._manifest.claim(name)

    def model_progress(self) -> Mapping[str, StoredProgress]:
        return dict(self._manifest.reading().progress)

    def tallies(self, model: str, first: Slot | None, before: Slot) -> Sequence[tuple[TallyKey, int]]:
        found = [
            (key, n)
            for (name, key), n in self._manifest.reading().tallies.items()
            if n and name == model and key.slot < before and (first is None or key.slot >= first)
        ]
        return sorted(found, key=lambda item: item[0].slot)

    def memory(self, model: str) -> bytes | None:
        return self._manifest.reading().memories.get(model)

    def take(self, step: Step) -> None:
        with self._manifest.writing("take", step.lease) as tables:
            for decision in step.decisions:
                if decision.outcome is Outcome.HOLD and decision.decision_id in tables.decisions:
                    continue  # it stays as it was recorded first
                row = (decision.model, msgspec.json.encode(decision))
                _insert(tables.decisions, decision.decision_id, row, "decision")
            for job in step.jobs:
                _insert(tables.jobs, job.job_id, msgspec.json.encode(job), "job")
            for request_id, answer in step.answers.items():
                if request_id in tables.requests:
                    tables.requests[request_id] = replace(tables.requests[request_id], answer=answer)
            tables.memories[step.model] = step.memory

    def decisions(self, model: str, last: int) -> Sequence[Decision]:
        bodies = [body for name, body in self._manifest.reading().decisions.values() if name == model]
        return [msgspec.json.decode(body, type=Decision) for body in (bodies[-last:] if last else [])]

    def jobs(self, model: str | None = None, *, unfinished: bool = False) -> Sequence[Job]:
        jobs = [msgspec.json.decode(body, type=Job) for body in self._manifest.reading().jobs.values()]
        return [job for job in jobs if model in (None, job.model) and not (unfinished and job.ended)]

    def put_job(self, lease: Lease, job: Job) -> None:
        with self._manifest.writing("put_job", lease) as tables:
            if job.job_id in tables.jobs:
                tables.jobs[job.job_id] = msgspec.json.encode(job)

    def append_ledger(self, lease: Lease, row: LedgerRow) -> LedgerRow:
        with self._manifest.writing("append_ledger", lease) as tables:
            numbered = replace(row, number=len(tables.ledger) + 1)
            tables.ledger.append(numbered)
            return numbered

    def ledger(self, model: str) -> Sequence[LedgerRow]:
        return [row for row in self._manifest.reading().ledger if row.model == model]

    def ask(self, request: Request) -> None:
        with self._manifest.writing("ask") as tables:
            _insert(tables.requests, request.request_id, request, "request")

    def requests(self, model: str | None = None, *, unanswered: bool = True) -> Sequence[Request]:
        return [
            request
            for request in self._manifest.reading().requests.values()
            if model in (None, request.model) and not (unanswered and request.answer)
        ]

    def segments(self, *, reaching: Micros | None = None) -> Iterator[StoredSegment]:
        return self._manifest.segments(reaching)

    def ingest_view(self) -> IngestView:
        tables = self._manifest.reading()
        return IngestView(
            counts={model: Counter(tables.counts_of(model)) for model in {name for name, _ in tables.counts}},
            positions=dict(tables.positions),
            ends=dict(tables.ends),
            quarantined=len(tables.quarantine),
        )


class MemorySegments:
    """`ports.Segments` in memory.

    Attributes:
        files: what the folder holds, unfinished files included.
        fail_at: called with `segment.write` while a file is unfinished and `segment.written` once it has its name.
    """

    def __init__(self, fail_at: Boundary = _pass) -> None:
        self.files: dict[str, bytes] = {}
        self.fail_at = fail_at
        self._away = False

    def go_away(self) -> None:
        """From now on files can be neither written, read nor swept."""
        self._away = True

    def come_back(self) -> None:
        """The outage is over; nothing was lost in it."""
        self._away = False

    def pack(self, records: Sequence[Record]) -> bytes:
        return msgspec.msgpack.encode(records)

    def unpack(self, content: bytes) -> Sequence[Record]:
        try:
            records = msgspec.msgpack.decode(content, type=list[Record])
        except msgspec.MsgspecError as error:
            raise Refused(f"a segment cannot be read: {error}") from error
        return [record._replace(headers=tuple(record.headers)) for record in records]

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

    def sweep(self, known: Collection[str]) -> Sequence[str]:
        self._reach()
        unknown = sorted(set(self.files) - set(known))
        for name in unknown:
            del self.files[name]
        return unknown

    def _reach(self) -> None:
        if self._away:
            raise Unreachable("the segments in memory are away")


def _insert(table: dict[_Key, _Row], key: _Key, row: _Row, what: str) -> None:
    if key in table:
        raise Refused(f"the manifest holds this {what} already: {key}")
    table[key] = row


def _move(tables: _Tables, flush: Flush) -> None:
    for at, (before, after) in flush.moves.items():
        held = tables.positions.get(at)
        if held is None or held.position != before:
            raise Fenced(f"the position of {at} is not {before} any more")
        tables.positions[at] = replace(held, position=after)
    tables.ends.update({at: end for at, end in flush.ends.items() if at in tables.positions})


def _register(tables: _Tables, segment: NewSegment) -> None:
    stored = StoredSegment(
        number=len(tables.segments) + 1,
        name=segment.name,
        content=segment.inline,
        watermarks=dict(segment.watermarks),
    )
    _insert(tables.segments, segment.name, (stored, segment.newest), "segment")


def _forget(tables: _Tables, model: str, fingerprint: str) -> None:
    tables.tallies = {key: n for key, n in tables.tallies.items() if key[0] != model}
    tables.counts = {key: n for key, n in tables.counts.items() if key[0] != model}
    held = tables.progress.get(model)
    tables.progress[model] = StoredProgress(progress=held.progress if held else Progress(), fingerprint=fingerprint)


def _apply(tables: _Tables, delta: ModelDelta) -> None:
    held = tables.progress.get(delta.model)
    if held is not None:
        tables.progress[delta.model] = replace(held, progress=delta.progress)
    for key, n in delta.tallies.items():
        tables.tallies[delta.model, key] = tables.tallies.get((delta.model, key), 0) + n
    for status, n in delta.counts.items():
        tables.counts[delta.model, status] = tables.counts.get((delta.model, status), 0) + n


def _check_conservation(tables: _Tables, deltas: Sequence[ModelDelta]) -> None:
    for delta in deltas:
        off = imbalance(tables.counts_of(delta.model))
        if off:
            raise Refused(f"the counts of {delta.model} do not add up, by {off}; nothing was stored")
