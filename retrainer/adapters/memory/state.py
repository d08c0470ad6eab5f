"""The twins of the manifest's ports, in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec

from retrainer.adapters.memory.manifest import HeldSegment, MemoryManifest, Tables, add_row
from retrainer.domain.deciding.decisions import Decision, DecisionAnswer
from retrainer.domain.deciding.jobs import Job
from retrainer.domain.deciding.ledger import LedgerRow
from retrainer.domain.deciding.silence import USABLE
from retrainer.domain.events import Partition, Side
from retrainer.domain.join.ingest import ModelDelta, Progress, imbalance
from retrainer.domain.tally.arrivals import ArrivalKey
from retrainer.domain.tally.tallies import ARRIVALS, WHOLE, TallyKey
from retrainer.domain.values import Micros, Slot
from retrainer.errors import Fenced, Refused
from retrainer.ports.manifest.decisions import Request, SlotRange, Step
from retrainer.ports.manifest.ingest import Flush
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.progress import StoredPosition, StoredProgress
from retrainer.ports.manifest.segments import NewSegment, StoredPart, StoredSegment
from retrainer.ports.manifest.snapshots import SNAPSHOTS_KEPT, NewSnapshot, StoredSnapshot
from retrainer.ports.manifest.status import IngestView


class MemoryIngestState:
    """`IngestState` in memory."""

    def __init__(self, manifest: MemoryManifest) -> None:
        self._manifest = manifest

    def claim(self, name: str, owner: str, now: Micros) -> Lease:  # noqa: ARG002  nobody asks who holds it
        return self._manifest.claim(name)

    def positions(self) -> Mapping[Partition, StoredPosition]:
        return dict(self._manifest.reading().positions)

    def begin(self, lease: Lease, positions: Mapping[Partition, StoredPosition]) -> None:
        with self._manifest.writing("begin", lease) as tables:
            for at, stored in positions.items():
                add_row(tables.positions, at, stored, "position")

    def model_progress(self) -> Mapping[str, StoredProgress]:
        return dict(self._manifest.reading().progress)

    def segments(self, *, after: int = 0, reaching: Micros | None = None) -> Iterator[StoredSegment]:
        return self._manifest.segments(after, reaching)

    def segment_files(self) -> Collection[str]:
        return self._manifest.reading().files()

    def register_snapshot(self, lease: Lease, snapshot: NewSnapshot, at: Micros) -> None:
        with self._manifest.writing("snapshot", lease) as tables:
            for partition, position in snapshot.positions.items():
                _check_position(tables, partition, position)
            _add_snapshot(tables, lease.name, snapshot, at)

    def snapshots(self, shard: str) -> Sequence[StoredSnapshot]:
        return _snapshots_of(self._manifest.reading(), shard)

    def snapshot_files(self) -> Collection[str]:
        return set(self._manifest.reading().snapshots)

    def commit(self, flush: Flush) -> None:
        with self._manifest.writing("commit", flush.lease) as tables:
            _move(tables, flush)
            if flush.segment is not None:
                _register(tables, flush.segment)
            self._manifest.fail_at("commit.middle")
            for model, fingerprint in flush.rebuilt.items():
                _forget(tables, model, fingerprint, flush.rebuilt_to)
            for delta in flush.deltas:
                _apply(tables, delta, catching_up=flush.catching_up)
            for one in flush.quarantined:
                add_row(tables.quarantine, (one.record.partition, one.record.offset), one, "quarantined record")
            _check_conservation(tables, flush.deltas)


class MemoryDecisionState:
    """`DecisionState` and `StatusState` in memory."""

    def __init__(self, manifest: MemoryManifest) -> None:
        self._manifest = manifest

    def claim(self, name: str, owner: str, now: Micros) -> Lease:  # noqa: ARG002  nobody asks who holds it
        return self._manifest.claim(name)

    def model_progress(self) -> Mapping[str, StoredProgress]:
        return dict(self._manifest.reading().progress)

    def tallies(
        self, model: str, first: Slot | None, before: Slot, *, whole: bool = False
    ) -> Sequence[tuple[TallyKey, int]]:
        found = [
            (key, n)
            for (name, key), n in self._manifest.reading().tallies.items()
            if n and name == model and key.slot < before and (first is None or key.slot >= first)
        ]
        found = [(key, n) for key, n in found if key.slice == WHOLE or not (whole or key.slice == ARRIVALS)]
        return sorted(found, key=lambda item: item[0].slot)

    def arrivals(self, model: str, first: Slot | None, before: Slot) -> Sequence[tuple[ArrivalKey, int]]:
        found = self.news({model: SlotRange(first, before)}).get(model, ())
        return [(ArrivalKey.of(key), n) for key, n in found if key.slice == ARRIVALS]

    def memory(self, model: str) -> bytes | None:
        return self._manifest.reading().memories.get(model)

    def news(self, wanted: Mapping[str, SlotRange]) -> Mapping[str, Sequence[tuple[TallyKey, int]]]:
        found: dict[str, list[tuple[TallyKey, int]]] = {}
        for (model, key), n in self._manifest.reading().tallies.items():
            first, before = wanted.get(model, (None, key.slot))
            if n and key.slice in (WHOLE, ARRIVALS) and key.slot < before and (first is None or key.slot >= first):
                found.setdefault(model, []).append((key, n))
        return {model: sorted(tallies, key=lambda item: item[0].slot) for model, tallies in found.items()}

    def side_counts(self) -> Mapping[str, Mapping[Side, int]]:
        found: dict[str, dict[Side, int]] = {}
        for (model, (side, status)), n in self._manifest.reading().counts.items():
            if status in USABLE:
                sides = found.setdefault(model, {})
                sides[side] = sides.get(side, 0) + (n if status == "consumed" else -n)
        return found

    def store_steps(self, steps: Sequence[Step]) -> None:
        if not steps:
            return
        with self._manifest.writing("take", steps[0].lease) as tables:
            for step in steps:
                _take(tables, step)

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
            add_row(tables.requests, request.request_id, request, "request")

    def requests(self, model: str | None = None, *, unanswered: bool = True) -> Sequence[Request]:
        return [
            request
            for request in self._manifest.reading().requests.values()
            if model in (None, request.model) and not (unanswered and request.answer)
        ]

    def segments(self, *, after: int = 0, reaching: Micros | None = None) -> Iterator[StoredSegment]:
        return self._manifest.segments(after, reaching)

    def ingest_view(self) -> IngestView:
        tables = self._manifest.reading()
        return IngestView(
            counts={model: Counter(tables.counts_of(model)) for model in {name for name, _ in tables.counts}},
            positions=dict(tables.positions),
            ends=dict(tables.ends),
            quarantined=len(tables.quarantine),
            moved={model: stored.moved for model, stored in tables.progress.items()},
        )


def _move(tables: Tables, flush: Flush) -> None:
    for at, (before, after) in flush.moves.items():
        tables.positions[at] = replace(_check_position(tables, at, before), position=after)
    tables.ends.update({at: end for at, end in flush.ends.items() if at in tables.positions})


def _register(tables: Tables, segment: NewSegment) -> None:
    if any(held.stored.name == segment.name for held in tables.segments.values()):
        raise Refused(f"the manifest holds this segment already: {segment.name}")
    number = tables.last_part = tables.last_part + 1
    part = StoredPart(
        number=number, records=segment.records, newest=segment.newest, watermarks=dict(segment.watermarks)
    )
    stored = StoredSegment(number=number, name=segment.name, content=segment.inline, parts=(part,))
    size = segment.size if segment.inline is None else len(segment.inline)
    tables.segments[number] = HeldSegment(stored=stored, size=size)


def _check_position(tables: Tables, at: Partition, believed: int) -> StoredPosition:
    held = tables.positions.get(at)
    if held is None or held.position != believed:
        raise Fenced(f"the position of {at} is not {believed} any more")
    return held


def _add_snapshot(tables: Tables, shard: str, snapshot: NewSnapshot, at: Micros) -> None:
    number = max((one.number for one in tables.snapshots.values()), default=0) + 1
    stored = StoredSnapshot(
        number=number,
        shard=shard,
        name=snapshot.name,
        segment=max(tables.segments, default=0),
        positions=dict(snapshot.positions),
        fingerprints=dict(snapshot.fingerprints),
        size=snapshot.size,
        taken_at=at,
    )
    add_row(tables.snapshots, snapshot.name, stored, "snapshot")
    for old in _snapshots_of(tables, shard)[SNAPSHOTS_KEPT:]:
        del tables.snapshots[old.name]


def _snapshots_of(tables: Tables, shard: str) -> list[StoredSnapshot]:
    return sorted((one for one in tables.snapshots.values() if one.shard == shard), key=lambda one: -one.number)


def _forget(tables: Tables, model: str, fingerprint: str, rebuilt_to: int) -> None:
    tables.tallies = {key: n for key, n in tables.tallies.items() if key[0] != model}
    tables.counts = {key: n for key, n in tables.counts.items() if key[0] != model}
    held = tables.progress.get(model)
    before = held or StoredProgress(progress=Progress(), fingerprint="")
    tables.progress[model] = replace(before, fingerprint=fingerprint, moved=0, rebuilt_to=rebuilt_to)


def _apply(tables: Tables, delta: ModelDelta, *, catching_up: bool) -> None:
    held = tables.progress.get(delta.model)
    if held is not None:
        moved = held.moved + delta.moved_to_open
        tables.progress[delta.model] = replace(held, progress=delta.progress, catching_up=catching_up, moved=moved)
    for key, n in delta.tallies.items():
        tables.tallies[delta.model, key] = tables.tallies.get((delta.model, key), 0) + n
    for status, n in delta.counts.items():
        tables.counts[delta.model, status] = tables.counts.get((delta.model, status), 0) + n


def _check_conservation(tables: Tables, deltas: Sequence[ModelDelta]) -> None:
    for delta in deltas:
        off = imbalance(tables.counts_of(delta.model))
        if off:
            raise Refused(f"the counts of {delta.model} do not add up, by {off}; nothing was stored")


def _take(tables: Tables, step: Step) -> None:
    for decision in step.decisions:
        if decision.outcome is DecisionAnswer.HOLD and decision.decision_id in tables.decisions:
            continue  # it stays as it was recorded first
        row = (decision.model, msgspec.json.encode(decision))
        add_row(tables.decisions, decision.decision_id, row, "decision")
    for job in step.jobs:
        add_row(tables.jobs, job.job_id, msgspec.json.encode(job), "job")
    for request_id, answer in step.answers.items():
        if request_id in tables.requests:
            tables.requests[request_id] = replace(tables.requests[request_id], answer=answer)
    tables.memories[step.model] = step.memory
