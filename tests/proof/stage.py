"""The processes around one manifest: how they start, work and die, and what must be true at every moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from retrainer.adapters.decoding import TopicDecoders
from retrainer.adapters.memory.housekeeping import MemoryHousekeepingState
from retrainer.domain.events import Partition, Record
from retrainer.domain.join.ingest import IngestPolicy
from retrainer.domain.values import slot_start
from retrainer.errors import Unreachable
from retrainer.ports.segments import MERGED
from retrainer.service.control.housekeeping import Housekeeping, HousekeepingParts, HousekeepingPolicy
from retrainer.service.ingest.parts import WorkerParts, WorkerPolicy
from retrainer.service.ingest.worker import Worker
from retrainer.service.reading import read_parts
from tests.proof.events import Event
from tests.proof.shadow import Shadow
from tests.proof.twins import Later, Reader, Snapshots
from tests.service.world import LABELS, MINUTE, PREDICTIONS, Crash, World

_ROUNDS = 400
_FOREVER = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large the pieces are. `retention` in minutes, `snapshot_every` in seconds; `patience` see `Later`."""

    batch: int = 10_000
    flush_bytes: int = 2**26
    inline_bytes: int = 2**18
    snapshot_every: int = 3600
    retention: int = 10_000
    patience: int = 0


class Stage:
    """One world, its worker of the moment, and its housekeeper."""

    def __init__(self, scale: Scale, models: tuple[IngestPolicy, ...]) -> None:
        self.scale = scale
        self.world = World(models=models, partitions={PREDICTIONS: 2, LABELS: 2}, batch=scale.batch)
        self.snapshots = Snapshots()
        self.shadow = Shadow()
        self.forgot = False
        """Whether retention has taken anything."""
        self.unanswered = ""
        """The next time that this place is reached, what was done there is true, and its answer lost."""
        self._positions: Mapping[Partition, int] = {}
        self._compared = -1
        for place in (self.world.manifest, self.world.segments, self.snapshots):
            place.fail_at = self._boundary
        self.start()
        self.start_keeper()

    # Everything is well

    def holds(self) -> None:
        """Nothing is lost, double, in the wrong place, or there for nothing."""
        if self._compared == self.shadow.commits:
            return
        tables = self.world.manifest.reading()
        self.shadow.compare(tables)
        stored = {
            part.number: [(batch.partition, offset) for batch in batches for offset in batch.offsets]
            for part, batches in read_parts(self.world.state, self.world.segments)
        }
        assert stored == self.shadow.parts, "parts"
        assert tables.files() <= set(self.world.segments.files), "segment files"
        assert tables.snapshots.keys() - self.snapshots.damaged <= set(self.snapshots.files), "snapshot files"
        self._compared = self.shadow.commits

    def finish(self) -> None:
        """All is read, swept and, when every horizon has passed, forgotten."""
        self.start()
        self.settle()
        self.holds()
        self.start_keeper()
        self.keep()
        self.world.clock.advance(61)
        self.keep()
        assert set(self.world.segments.files) == set(self.world.state.segment_files()), "files that nobody needs"
        self.shadow.is_over = True
        lasting = [self._write_last(topic, n) for topic in (PREDICTIONS, LABELS) for n in range(self.partitions(topic))]
        self.settle()
        self.holds()
        self.shadow.compare_forgotten(self.world.manifest.reading(), lasting)

    # Processes

    def partitions(self, topic: str) -> int:
        """How many the topic has."""
        return len(self.world.log.describe([topic]))

    def write(self, event: Event) -> None:
        """Append an event to its partition."""
        offset = self.world.log.append(event.partition, **event.record)
        self.shadow.events[event.partition, offset] = event

    def _write_last(self, topic: str, number: int) -> str:
        """An event long after all others; its id."""
        key = 1000 + number + (100 if topic == LABELS else 0)
        self.write(Event(topic=topic, number=number, key=key, twice=10_000, value="a"))
        return str(key)

    def start(self) -> None:
        """A new process; the one before does nothing more, unless it is kept as a zombie."""
        self.log = Reader(batch=self.scale.batch)
        self.log._held, self.log._ids = self.world.log._held, self.world.log._ids
        self.log.fail_at = self._boundary
        self.background = Later(self.scale.patience)
        parts = WorkerParts(
            event_log=self.log,
            state=self.world.state,
            segments=self.world.segments,
            snapshots=self.snapshots,
            disk=self.world.disk,
            memory=self.world.memory,
            background=self.background,
            decoders=TopicDecoders(),
            clock=self.world.clock,
            logger=self.world.entries.logger,
            telemetry=self.world.telemetry,
        )
        policy = WorkerPolicy(
            models=self.world.models,
            start="earliest",
            flush_every=timedelta(seconds=2),
            flush_bytes=self.scale.flush_bytes,
            memory=2 * 2**30,
            snapshot_every=timedelta(seconds=self.scale.snapshot_every),
        )
        self.worker = self.running = Worker(policy, parts, "here/1")

    def start_keeper(self) -> None:
        """A new housekeeper takes over."""
        world = self.world
        self.lease = world.decisions.claim("controller", "here/1", world.clock.now())
        self.keeper = Housekeeping(
            self._keeping(),
            HousekeepingParts(
                state=MemoryHousekeepingState(world.manifest),
                segments=world.segments,
                clock=world.clock,
                logger=world.entries.logger,
            ),
        )

    def _keeping(self) -> HousekeepingPolicy:
        """Segments are forgotten only while every snapshot could be used: without one a start needs all of them."""
        stored = self.world.state.model_progress()
        shots = self.world.state.snapshots("ingest")
        is_safe = bool(shots) and all(
            shot.name not in self.snapshots.damaged
            and model.model in stored
            and shot.fingerprints.get(model.model) == stored[model.model].fingerprint
            and shot.segment > stored[model.model].rebuilt_to
            for shot in shots
            for model in self.world.models
        )
        return HousekeepingPolicy(
            retention=(self.scale.retention if is_safe else _FOREVER) * MINUTE,
            reaches={one.model: one.join.reach for one in self.world.models},
        )

    def run(self, worker: Worker) -> None:
        """One round of a worker. A start leaves no file that nobody needs."""
        self.running = worker
        was_assigned = worker.assigned
        worker.run_once()
        if worker.assigned and not was_assigned:
            own = {name for name in self.world.segments.files if not name.startswith(MERGED)}
            assert own <= set(self.world.state.segment_files()), "segment files that a start has to sweep"
            assert set(self.snapshots.files) <= set(self.world.state.snapshot_files()), "snapshots to sweep"

    def settle(self) -> None:
        """Let the worker read everything there is and commit it."""
        for _ in range(_ROUNDS):
            self.run(self.worker)
            if self.worker.assigned and self._stored() == self._ends():
                break
            self.world.clock.advance(0.3)
        else:
            raise AssertionError("the worker does not come to the end")
        self.world.clock.advance(2)
        self.run(self.worker)
        for _ in range(self.scale.patience + 1):
            if self.background.is_begun:
                self.run(self.worker)
        for policy in self.world.models:
            followed = self.shadow.models.get(policy.model)
            limit = followed.farthest(()) if followed else None
            mark = followed.watermark if followed else None
            assert limit is None or (mark is not None and mark >= limit), f"{policy.model}: the watermark stays behind"

    def stop(self) -> None:
        """A stop in order, and a new process."""
        self.running = self.worker
        self.worker.stop()
        self.start()

    @contextmanager
    def dying(self, place: str, nth: int) -> Iterator[None]:
        """Within, the worker dies when it reaches a place; then there is a new one."""
        self.world.crasher.arm(place, nth)
        try:
            yield
        except Crash:
            self.start()
        self.world.crasher.arm("")

    def keep(self) -> None:
        """Let the housekeeper do all there is to do."""
        self._compared = -1
        self.keeper._policy = self._keeping()
        for _ in range(2):
            for _ in range(_ROUNDS):
                if not self.keeper.run_once(self.lease):
                    break
            self.world.clock.advance(31)
        self.note_forgotten()

    def note_forgotten(self) -> None:
        """Retention may have taken parts: they must have been old enough for every model."""
        held = [part.number for one in self.world.manifest.reading().in_order() for part in one.stored.parts]
        first = min(held, default=1)
        gone = [number for number in self.shadow.parts if number < first]
        if not gone:
            return
        self.forgot = True
        stored = self.world.state.model_progress()
        marks = [(policy, stored[policy.model].progress) for policy in self.world.models]
        needed = [slot_start(mark.first_open or 0) - policy.join.reach for policy, mark in marks]
        older_than = min(max(mark.watermark or 0 for _, mark in marks) - self.scale.retention * MINUTE, *needed)
        newest = max((self.shadow.newest[number] for number in gone), default=0)
        assert newest < older_than, "forgotten too early"
        self.shadow.forget(first)

    def _stored(self) -> Mapping[Partition, int]:
        return {at: stored.position for at, stored in self.world.state.positions().items()}

    def _ends(self) -> Mapping[Partition, int]:
        """Of each partition the offset after its last record."""
        return {at: held.records[-1].offset + 1 if held.records else 0 for at, held in self.world.log._held.items()}

    # Each commit

    def _boundary(self, place: str) -> None:
        if place == "commit.end":
            self._see()
        self.world.crasher(place)
        if place == self.unanswered:
            self.unanswered = ""
            raise Unreachable(f"no answer at {place}")

    def _see(self) -> None:
        """A commit has become true: its records must be those between the positions."""
        tables = self.world.manifest.reading()
        last = max(self.shadow.parts, default=0)
        records: dict[int, Sequence[Record]] = {}
        for held in tables.in_order():
            number = held.stored.number
            if number > last:
                content = held.stored.content
                content = self.world.segments.files[held.stored.name] if content is None else content
                records[number] = [one for batch in self.world.segments.unpack(content) for one in batch.records()]
        read = [record for part in records.values() for record in part]
        for at, stored in tables.positions.items():
            before = self._positions.get(at, 0)
            written = [one for one in self.world.log._held[at].records if before <= one.offset < stored.position]
            assert [one for one in read if one.partition == at] == written, "positions without their records"
        self._positions = {at: stored.position for at, stored in tables.positions.items()}
        self.shadow.see(tables, records, self.running.policy.models)
