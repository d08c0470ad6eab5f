"""A worker, its predecessors and the housekeeper through every kind of trouble, checked after each step.

The state machine drives the service's own code over the twins in memory. After each commit `shadow.Shadow` knows what
the manifest has to hold; after each step all of it is compared.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from retrainer.adapters.decoding import JsonDecoder
from retrainer.adapters.memory_housekeeping import MemoryHousekeepingState
from retrainer.adapters.memory_segments import MemorySnapshots
from retrainer.domain import cells as cells_module
from retrainer.domain import keytable as keytable_module
from retrainer.domain import rows as rows_module
from retrainer.domain.events import Partition, Record
from retrainer.domain.ingest import IngestPolicy, Remembered
from retrainer.domain.values import slot_start
from retrainer.errors import Refused, RetrainerError, Unreachable
from retrainer.ports import MERGED
from retrainer.service import housekeeping as housekeeping_module
from retrainer.service import merging as merging_module
from retrainer.service import storing as storing_module
from retrainer.service.housekeeping import Housekeeping, HousekeepingParts, HousekeepingPolicy
from retrainer.service.ingesting import WorkerParts, WorkerPolicy
from retrainer.service.reading import read_parts
from retrainer.service.worker import Worker
from tests.proof.events import LAST_KEY, VARIANTS, Event, drafts
from tests.proof.shadow import Shadow
from tests.service.world import LABELS, MINUTE, PREDICTIONS, Crash, Log, World

WORKER_BOUNDARIES: Final = (
    *("claim.begin", "claim.end", "begin.begin", "begin.end", "assign", "poll", "ends"),
    *("segment.write", "segment.written", "commit.begin", "commit.middle", "commit.end", "log.commit"),
    *("snapshot.write", "snapshot.written", "snapshot.begin", "snapshot.end"),
)
"""Every place of a worker's round where a crash could make a difference."""

KEEPER_BOUNDARIES: Final = (
    *("segment.write", "segment.written", "compact.begin", "compact.end"),
    *("remove.begin", "remove.end", "segment.removed"),
)
CASTS: Final = (("still", "hasty"), ("brisk",), ("brisk", "terse"), ("hasty", "terse"), ("hasty",), ("terse",))
"""Which models there are at first."""

_SMALL: Final[Sequence[tuple[Any, str, int]]] = (
    (rows_module, "_BLOCK", 4),
    (keytable_module, "_FEWEST", 8),
    (cells_module, "_SUM_UP_FROM", 6),
    (merging_module, "FAN_IN", 3),
    (housekeeping_module, "FAN_IN", 3),
    (housekeeping_module, "NEWEST_KEPT", 2),
    (housekeeping_module, "_ROWS_AT_ONCE", 8),
)
"""What is large in production is small here, so that a few records reach every limit."""


class Snapshots(MemorySnapshots):
    """Snapshots that may be damaged."""

    def __init__(self) -> None:
        super().__init__()
        self.damaged: set[str] = set()

    def read(self, name: str) -> Mapping[str, Remembered]:
        if name in self.damaged:
            raise Refused(f"snapshot {name} cannot be read")
        return super().read(name)


class Reader(Log):
    """A process's own view of the topics, with one boundary more: `assign`."""

    def assign(self, positions: Mapping[Partition, int]) -> None:
        self.fail_at("assign")
        super().assign(positions)


class Later:
    """`ports.Background` that does its work only after it was asked a few times whether it is done, or at the finish.

    So work lies between its beginning and its end while the worker reads on, is killed, or is succeeded.
    """

    def __init__(self, patience: int) -> None:
        self.is_begun = False
        self._patience = patience
        self._asked = 0
        self._work: Callable[[], None] | None = None
        self._error: RetrainerError | None = None

    @property
    def is_done(self) -> bool:
        if self._work is not None:
            self._asked += 1
            if self._asked > self._patience:
                self.work()
        return self.is_begun and self._work is None

    def start(self, work: Callable[[], None], /) -> None:
        assert not self.is_begun, "one piece of work at a time"
        self.is_begun, self._work, self._asked, self._error = True, work, 0, None

    def finish(self) -> None:
        assert self.is_begun, "nothing was begun"
        self.work()
        self.is_begun = False
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.work()
        self.is_begun = False

    def work(self) -> None:
        """Do what was begun, if it was not done yet."""
        work, self._work = self._work, None
        if work is not None:
            try:
                work()
            except RetrainerError as error:
                self._error = error


class Ingest(RuleBasedStateMachine):
    """The ingest under test, as many processes over one manifest."""

    def __init__(self) -> None:
        super().__init__()
        self.patched = pytest.MonkeyPatch()
        for module, name, value in _SMALL:
            self.patched.setattr(module, name, value)
        self.shadow = Shadow()
        self.newest = 0
        self.zombies: list[Worker] = []
        self.forgot = False
        self.positions: Mapping[Partition, int] = {}
        self.compared = -1
        self.unanswered = ""

    @initialize(
        names=st.sampled_from(CASTS),
        batch=st.sampled_from([1, 3, 7, 10_000]),
        flush_bytes=st.sampled_from([150, 600, 2**26]),
        inline_bytes=st.sampled_from([-1, 300, 2**18]),
        snapshot_every=st.sampled_from([0, 20, 3600]),
        retention=st.sampled_from([5, 30, 10_000]),
        patience=st.sampled_from([0, 1, 3]),
    )
    def begin(
        self,
        names: Sequence[str],
        batch: int,
        flush_bytes: int,
        inline_bytes: int,
        snapshot_every: int,
        retention: int,
        patience: int,
    ) -> None:
        self.patched.setattr(storing_module, "_INLINE_BYTES", inline_bytes)
        self.chosen = dict.fromkeys(names, 0)
        self.world = World(models=self._models(), partitions={PREDICTIONS: 2, LABELS: 2}, batch=batch)
        self.flush_bytes, self.batch, self.patience = flush_bytes, batch, patience
        self.snapshot_every, self.retention = timedelta(seconds=snapshot_every), retention * MINUTE
        self.snapshots = Snapshots()
        for place in (self.world.manifest, self.world.segments, self.snapshots):
            place.fail_at = self._boundary
        self._start()
        self.running = self.worker
        self._start_keeper()

    # What happens to the topics

    @rule(
        batch=st.lists(drafts(), min_size=1, max_size=6),
        onward=st.integers(0, 2),
        then=st.sampled_from(["settle", "settle", "read", "nothing"]),
    )
    def write(self, batch: Sequence[Event], onward: int, then: str) -> None:
        for draft in batch:
            self._write(draft.placed(self.newest, self._partitions(draft.topic)))
        self.newest = min(self.newest + onward, LAST_KEY)
        if then == "settle":
            self._settle()
        elif then == "read":
            self._run(self.worker)

    @rule(topic=st.sampled_from([PREDICTIONS, LABELS]), number=st.integers(0, 2))
    def gap(self, topic: str, number: int) -> None:
        self.world.log.leave_gap(Partition(topic, number % self._partitions(topic)), 2)

    @rule(topic=st.sampled_from([PREDICTIONS, LABELS]))
    def grow(self, topic: str) -> None:
        self.world.log.create_topic(topic, min(3, self._partitions(topic) + 1))

    # What the worker does

    @rule(rounds=st.integers(1, 3), seconds=st.sampled_from([0, 1, 2.5, 31]))
    def go_on(self, rounds: int, seconds: float) -> None:
        for _ in range(rounds):
            self._run(self.worker)
            self.world.clock.advance(seconds)

    @rule()
    def settle(self) -> None:
        self._settle()

    @rule(rounds=st.integers(0, 1))
    def stop(self, rounds: int) -> None:
        for _ in range(rounds):
            self._run(self.worker)
        self._stop()

    @rule(rounds=st.integers(0, 2), stores=st.booleans())
    def kill(self, rounds: int, stores: bool) -> None:
        """It dies between two rounds; what it was storing beside them may have become true by then."""
        for _ in range(rounds):
            self._run(self.worker)
        if stores:
            self.background.work()
        self._start()

    @rule(place=st.sampled_from(WORKER_BOUNDARIES), nth=st.integers(1, 3), after=st.sampled_from(["nothing", "settle"]))
    def crash(self, place: str, nth: int, after: str) -> None:
        self.world.clock.advance(21)  # it is time for a snapshot
        with self._dying(place, nth):
            self._settle()
        if after == "settle":
            self._settle()

    @rule(
        what=st.sampled_from(["broker", "database", "segments", "snapshots"]),
        rounds=st.integers(0, 3),
        end=st.sampled_from(["back", "stop", "crash"]),
    )
    def outage(self, what: str, rounds: int, end: str) -> None:
        self._run(self.worker)
        world: dict[str, Any] = {"database": self.world.manifest, "segments": self.world.segments}
        outside = {**world, "broker": self.log, "snapshots": self.snapshots}[what]
        outside.go_away()
        for _ in range(rounds):
            self.world.clock.advance(2.5)
            self._run(self.worker)
        if end == "stop":
            self.world.clock.advance(11)
            self._stop()
        elif end == "crash":
            self._start()
        outside.come_back()

    @rule(place=st.sampled_from(["claim.end", "begin.end", "commit.end", "snapshot.end"]))
    def lose_answer(self, place: str) -> None:
        """A transaction becomes true, but nobody says so."""
        self.world.clock.advance(21)
        self.unanswered = place
        self._settle()
        self.unanswered = ""

    @rule()
    def succeed(self) -> None:
        """Another process takes over while this one sleeps, perhaps with records in memory."""
        self.zombies.append(self.worker)
        self._start()
        for _ in range(20):
            self._run(self.worker)
            if self.worker.assigned:
                return
            self.world.clock.advance(1)
        raise AssertionError("the successor does not start")

    @precondition(lambda self: self.zombies)
    @rule(stops=st.booleans())
    def wake(self, stops: bool) -> None:
        """One that was succeeded goes on where it was: it may change nothing."""
        zombie = self.zombies.pop(0)
        before = self.world.manifest.reading()
        self.world.clock.advance(21)
        for _ in range(0 if stops else 4):
            if zombie.assigned:
                self._run(zombie)
        if stops:
            zombie.stop()
        assert self.world.manifest.reading() == before, "a zombie changed the manifest"

    @rule(which=st.sampled_from(["newest", "all"]), how=st.sampled_from(["lost", "damaged"]))
    def spoil(self, which: str, how: str) -> None:
        """A snapshot is gone, or cannot be read; then a start."""
        names = sorted(self.snapshots.files)[-1 if which == "newest" else 0 :]
        for name in names:
            if how == "lost":
                del self.snapshots.files[name]
            self.snapshots.damaged.add(name)
        self._start()

    @precondition(lambda self: not self.forgot)
    @rule(name=st.sampled_from(sorted(VARIANTS)), variant=st.integers(0, 1))
    def change(self, name: str, variant: int) -> None:
        """A start with a model more, or one that is configured otherwise."""
        self.chosen[name] = variant
        self.world.models = self._models()
        self._start()
        self._start_keeper()

    # What the housekeeper does

    @rule()
    def keep(self) -> None:
        self._keep()

    @rule(place=st.sampled_from(KEEPER_BOUNDARIES), nth=st.integers(1, 2))
    def keep_and_die(self, place: str, nth: int) -> None:
        self.world.crasher.arm(place, nth)
        try:
            self._keep()
        except Crash:
            self._start_keeper()
        self.world.crasher.arm("")
        self._note_forgotten()

    # What must be true

    @invariant()
    def holds(self) -> None:
        """Nothing is lost, double, in the wrong place, or there for nothing."""
        if self.compared == self.shadow.commits:
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
        self.compared = self.shadow.commits

    def teardown(self) -> None:
        """At the end all is read, swept and, when every horizon has passed, forgotten."""
        try:
            if sys.exc_info()[0] is None and hasattr(self, "world"):
                self._finish()
        finally:
            self.patched.undo()

    def _finish(self) -> None:
        self._start()
        self._settle()
        self.holds()
        self._start_keeper()
        self._keep()
        self.world.clock.advance(61)
        self._keep()
        assert set(self.world.segments.files) == set(self.world.state.segment_files()), "files that nobody needs"
        self.shadow.is_over = True
        lasting = [
            self._write_last(topic, n) for topic in (PREDICTIONS, LABELS) for n in range(self._partitions(topic))
        ]
        self._settle()
        self.holds()
        self.shadow.compare_forgotten(self.world.manifest.reading(), lasting)

    # How it is done

    def _models(self) -> tuple[IngestPolicy, ...]:
        return tuple(VARIANTS[name][variant] for name, variant in sorted(self.chosen.items()))

    def _partitions(self, topic: str) -> int:
        return len(self.world.log.describe([topic]))

    def _write(self, event: Event) -> None:
        offset = self.world.log.append(event.partition, **event.record)
        self.shadow.events[event.partition, offset] = event

    def _write_last(self, topic: str, number: int) -> str:
        """An event long after all others; its id."""
        key = 1000 + number + (100 if topic == LABELS else 0)
        self._write(Event(topic=topic, number=number, key=key, twice=10_000, value="a"))
        return str(key)

    def _start(self) -> None:
        """A new process; the one before does nothing more, unless it is kept as a zombie."""
        self.log = Reader(batch=self.batch)
        self.log._held, self.log._ids = self.world.log._held, self.world.log._ids
        self.log.fail_at = self._boundary
        self.background = Later(self.patience)
        parts = WorkerParts(
            log=self.log,
            state=self.world.state,
            segments=self.world.segments,
            snapshots=self.snapshots,
            disk=self.world.disk,
            memory=self.world.memory,
            background=self.background,
            decoder=JsonDecoder(),
            clock=self.world.clock,
            logger=self.world.entries.logger,
        )
        policy = WorkerPolicy(
            models=self.world.models,
            start="earliest",
            flush_bytes=self.flush_bytes,
            snapshot_every=self.snapshot_every,
        )
        self.worker = Worker(policy, parts, "here/1")

    def _start_keeper(self) -> None:
        world = self.world
        self.lease = world.decisions.claim("controller", "here/1", world.clock.now())
        self.keeper = Housekeeping(
            HousekeepingPolicy(retention=self.retention, reaches={one.model: one.join.reach for one in world.models}),
            HousekeepingParts(
                state=MemoryHousekeepingState(world.manifest),
                segments=world.segments,
                clock=world.clock,
                logger=world.entries.logger,
            ),
        )

    def _run(self, worker: Worker) -> None:
        self.running = worker
        was_assigned = worker.assigned
        worker.run_once()
        if worker.assigned and not was_assigned:
            own = {name for name in self.world.segments.files if not name.startswith(MERGED)}
            assert own <= set(self.world.state.segment_files()), "segment files that a start has to sweep"
            assert set(self.snapshots.files) <= set(self.world.state.snapshot_files()), "snapshots to sweep"

    def _settle(self) -> None:
        """Let the worker read everything there is and commit it."""
        for _ in range(400):
            self._run(self.worker)
            if self.worker.assigned and self._stored() == self._ends():
                break
            self.world.clock.advance(0.3)
        else:
            raise AssertionError("the worker does not come to the end")
        self.world.clock.advance(2)
        self._run(self.worker)
        while self.background.is_begun:
            self._run(self.worker)
        for policy in self.world.models:
            followed = self.shadow.models.get(policy.model)
            limit = followed.farthest(()) if followed else None
            assert limit is None or (followed and followed.watermark is not None and followed.watermark >= limit), (
                f"{policy.model}: the watermark stays behind"
            )

    def _stop(self) -> None:
        self.running = self.worker
        self.worker.stop()
        self._start()

    @contextmanager
    def _dying(self, place: str, nth: int) -> Iterator[None]:
        self.world.crasher.arm(place, nth)
        try:
            yield
        except Crash:
            self._start()
        self.world.crasher.arm("")

    def _keep(self) -> None:
        self.compared = -1
        for _ in range(2):
            for _ in range(10):
                if not self.keeper.run_once(self.lease):
                    break
            self.world.clock.advance(31)
        self._note_forgotten()

    def _note_forgotten(self) -> None:
        """What retention took must have been old enough for every model."""
        held = [part.number for one in self.world.manifest.reading().in_order() for part in one.stored.parts]
        first = min(held, default=1)
        gone = [part for number, part in self.shadow.parts.items() if number < first]
        if not gone:
            return
        self.forgot = True
        stored = self.world.state.model_progress()
        marks = [(policy, stored[policy.model].progress) for policy in self.world.models]
        needed = [slot_start(mark.first_open or 0) - policy.join.reach for policy, mark in marks]
        older_than = min(max(mark.watermark or 0 for _, mark in marks) - self.retention, *needed)
        newest = max((self.shadow.newest_of(part, self.world.models) for part in gone), default=0)
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
            before = self.positions.get(at, 0)
            written = [one for one in self.world.log._held[at].records if before <= one.offset < stored.position]
            assert [one for one in read if one.partition == at] == written, "positions without their records"
        self.positions = {at: stored.position for at, stored in tables.positions.items()}
        self.shadow.see(tables, records, self.running.policy.models)
