"""Everything around a worker, in memory, with crashes where a test wants them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from retrainer.adapters.background import InlineBackground
from retrainer.adapters.decoding import TopicDecoders
from retrainer.adapters.memory.disk import MemoryDisk
from retrainer.adapters.memory.event_log import MemoryLog
from retrainer.adapters.memory.manifest import MemoryManifest
from retrainer.adapters.memory.segments import MemorySegments, MemorySnapshots
from retrainer.adapters.memory.state import MemoryDecisionState, MemoryIngestState
from retrainer.adapters.memory.telemetry import MemoryTelemetry
from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Partition, RecordQuarantined
from retrainer.domain.join.ingest import IngestPolicy
from retrainer.domain.join.rules import JoinPolicy
from retrainer.domain.mapping.mapping import EventMapping, Field
from retrainer.domain.values import SECOND, Micros
from retrainer.ports.event_log import Start
from retrainer.ports.manifest.ingest import IngestState
from retrainer.ports.process import Background
from retrainer.ports.segments import Segments
from retrainer.ports.snapshots import Snapshots
from retrainer.service.ingest.parts import WorkerParts, WorkerPolicy
from retrainer.service.ingest.worker import Worker
from retrainer.service.people.status import ReadableState
from tests.clock import FakeClock
from tests.entries import Entries

MINUTE: Micros = 60 * SECOND
EPOCH: Micros = 28_000_000 * MINUTE
"""Where the events of a test begin: the start of a slot."""

PREDICTIONS, LABELS = "predictions", "labels"
PREDICTED, LABELLED = Partition(PREDICTIONS, 0), Partition(LABELS, 0)


class Crash(BaseException):
    """The process died here."""


@dataclass
class Crasher:
    """Dies at the nth time (from 1) that a place is reached, once."""

    place: str = ""
    nth: int = 1

    def __call__(self, place: str) -> None:
        if place == self.place:
            self.nth -= 1
            if self.nth == 0:
                raise Crash(place)

    def arm(self, place: str, nth: int = 1) -> None:
        self.place, self.nth = place, nth


class Log(MemoryLog):
    """A log that never waits, with boundaries `poll`, `ends` and `log.commit`."""

    def __init__(self, topics: Mapping[str, int] | None = None, *, batch: int = 10_000) -> None:
        super().__init__(topics, batch=batch)
        self.fail_at: Callable[[str], None] = lambda _: None
        self.polls = 0

    def another_reader(self) -> Log:
        """Another process's view of the same topics."""
        other = Log(batch=self._batch)
        other._held, other._ids, other._changed = self._held, self._ids, self._changed
        return other

    @property
    def exhausted(self) -> bool:
        """Whether everything assigned has been read."""
        return bool(self._positions) and all(to == self._held[at].end for at, to in self._positions.items())

    def poll(self, _: float, /) -> Sequence[RecordBatch]:
        self.polls += 1
        self.fail_at("poll")
        return super().poll(0)

    def ends(self) -> Mapping[Partition, int]:
        self.fail_at("ends")
        return super().ends()

    def commit_offsets(self, positions: Mapping[Partition, int]) -> None:
        self.fail_at("log.commit")
        super().commit_offsets(positions)


def policy(model: str = "flights", **changes: Any) -> IngestPolicy:
    """How a model's events stand and join; changes are to the join, or `predictions`, `labels`, `where`."""
    where = changes.pop("where", {})
    predictions = EventMapping(
        topic=changes.pop("predictions", PREDICTIONS),
        id=(Field(paths=("id",)),),
        time=Field(paths=("time",), unit="us"),
        value=Field(paths=(changes.pop("value", "prediction"),)),
        version=Field(paths=("version",)),
        where=where,
    )
    labels = EventMapping(
        topic=changes.pop("labels", LABELS),
        id=(Field(paths=("id",)),),
        time=Field(paths=("time",), unit="us"),
        value=Field(paths=("label",)),
        where=where,
    )
    join = JoinPolicy(**{"max_delay": 60 * MINUTE, "lateness": 5 * MINUTE, **changes})
    return IngestPolicy(model=model, predictions=predictions, labels=labels, join=join)


FLIGHTS = policy()


@dataclass
class FixedMemory:
    """`ResidentMemory` that says what it is told to."""

    bytes: int = 0

    def resident(self) -> int:
        return self.bytes


@dataclass
class World:
    """Clock, topics, manifest and segments; workers come and go."""

    models: tuple[IngestPolicy, ...] = (FLIGHTS,)
    partitions: Mapping[str, int] = field(default_factory=lambda: {PREDICTIONS: 1, LABELS: 1})
    batch: int = 10_000
    flush_bytes: int = 2**26
    start: Start = "earliest"
    memory_limit: int = 2 * 2**30
    poison_limit: int = 1000
    background: Callable[[], Background] = InlineBackground

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.crasher = Crasher()
        self.entries = Entries()
        self.log = Log(self.partitions, batch=self.batch)
        self.log.fail_at = self.crasher
        self.manifest = MemoryManifest(self.crasher, identity="twin")
        self.segments = MemorySegments(self.crasher)
        self.state: IngestState = MemoryIngestState(self.manifest)
        self.decisions: ReadableState = MemoryDecisionState(self.manifest)
        self.files: Segments = self.segments
        self.snapshots = MemorySnapshots(self.crasher)
        self.saved: Snapshots = self.snapshots
        self.disk = MemoryDisk(100 * 2**30)
        self.memory = FixedMemory()
        self.telemetry = MemoryTelemetry()

    def predict(self, key: object, minute: float, value: str = "late", *, number: int = 0, **fields: Any) -> int:
        """Write a prediction; its offset."""
        document = {"id": key, "time": at(minute), "prediction": value, "version": "1", **fields}
        return self.write(Partition(PREDICTIONS, number), json.dumps(document).encode())

    def label(self, key: object, minute: float, value: str = "late", *, number: int = 0, **fields: Any) -> int:
        """Write a label; its offset."""
        document = {"id": key, "time": at(minute), "label": value, **fields}
        return self.write(Partition(LABELS, number), json.dumps(document).encode())

    def write(self, to: Partition, value: bytes | None, **kwargs: Any) -> int:
        """Write any record, long after every event, so that no event time lies in its future."""
        return self.log.append(to, value, **{"timestamp": at(100_000) // 1000, **kwargs})

    def worker(self, log: Log | None = None, owner: str = "here/1") -> Worker:
        """A new process."""
        parts = WorkerParts(
            event_log=log or self.log,
            state=self.state,
            segments=self.files,
            snapshots=self.saved,
            disk=self.disk,
            memory=self.memory,
            background=self.background(),
            decoders=TopicDecoders(),
            clock=self.clock,
            logger=self.entries.logger,
            telemetry=self.telemetry,
        )
        policy = WorkerPolicy(
            models=self.models,
            start=self.start,
            flush_every=timedelta(seconds=2),
            flush_bytes=self.flush_bytes,
            memory=self.memory_limit,
            poison_limit=self.poison_limit,
        )
        return Worker(policy, parts, owner)

    def settle(self, worker: Worker, log: Log | None = None) -> None:
        """Let a worker read everything there is and commit it."""
        reader = log or self.log
        for _ in range(500):
            if not worker.run_once():
                self.clock.advance(1)  # it waits for something that is away
            elif worker.assigned and reader.exhausted:
                break
        else:
            raise AssertionError("the worker does not come to the end")
        self.flush(worker)

    def flush(self, worker: Worker) -> None:
        """Let the time to the next flush pass."""
        self.clock.advance(2)
        worker.run_once()

    # What is true

    def counts(self, model: str = "flights") -> dict[str, int]:
        """The counts by `side.status`, without those that are zero."""
        counts = self.decisions.ingest_view().counts.get(model, {})
        return {f"{side}.{status}": n for (side, status), n in counts.items() if n}

    def tallies(self, model: str = "flights") -> dict[tuple[str, int, str, str], int]:
        """Outcomes by version, minute, label and prediction."""
        return {
            (key.version, key.slot - EPOCH // MINUTE, key.truth, key.answer): n
            for key, n in self.decisions.tallies(model, None, 2**62)
        }

    def positions(self) -> dict[str, int]:
        return {str(at): stored.position for at, stored in self.state.positions().items()}

    def watermark(self, model: str = "flights") -> float | None:
        """In minutes since the events began."""
        watermark = self.state.model_progress()[model].progress.watermark
        return None if watermark is None else (watermark - EPOCH) / MINUTE

    def stored(self) -> dict[Partition, list[int]]:
        """The offsets of the records in the registered segments, in the order of the segments."""
        offsets: dict[Partition, list[int]] = {}
        for segment in self.state.segments():
            content = segment.content if segment.content is not None else self.files.read(segment.name)
            for batch in self.files.unpack(content):
                offsets.setdefault(batch.partition, []).extend(batch.offsets)
        return offsets

    def quarantined(self) -> Sequence[RecordQuarantined]:
        return self.manifest.quarantined

    def facts(self) -> dict[str, object]:
        """All of it, to be compared with another world."""
        return {
            "positions": self.positions(),
            "progress": self.state.model_progress(),
            "tallies": {model.model: self.tallies(model.model) for model in self.models},
            "counts": {model.model: self.counts(model.model) for model in self.models},
            "quarantined": self.quarantined(),
        }


def at(minute: float) -> Micros:
    """An event time."""
    return EPOCH + round(minute * MINUTE)
