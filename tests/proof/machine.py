"""A worker, its predecessors and the housekeeper through every kind of trouble, checked after each step.

The state machine drives the service's own code over the twins in memory. After each commit `shadow.Shadow` knows what
the manifest has to hold; after each step all of it is compared.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from retrainer.domain.events import Partition
from retrainer.domain.join import cells as cells_module
from retrainer.domain.join import column_sums as sums_module
from retrainer.domain.join import keytable as keytable_module
from retrainer.domain.join import rows as rows_module
from retrainer.domain.join import table as index_module
from retrainer.domain.join.ingest import IngestPolicy
from retrainer.service.control import housekeeping as housekeeping_module
from retrainer.service.control import merging as merging_module
from retrainer.service.ingest import cut as storing_module
from retrainer.service.ingest.worker import Worker
from tests.proof.events import LAST_KEY, PATIENT, VARIANTS, Event, drafts
from tests.proof.stage import Scale, Stage
from tests.service.world import LABELS, PREDICTIONS, Crash

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
CASTS: Final = (
    ("still", "hasty"),
    ("brisk",),
    ("brisk", "terse"),
    ("hasty", "terse"),
    ("hasty",),
    ("hasty",),
    ("terse",),
)
"""Which models there are at first."""

SCALES: Final = st.builds(
    Scale,
    batch=st.sampled_from([1, 3, 7, 10_000]),
    flush_bytes=st.sampled_from([150, 600, 2**26]),
    inline_bytes=st.sampled_from([-1, 300, 2**18]),
    snapshot_every=st.sampled_from([0, 20, 3600]),
    retention=st.sampled_from([5, 30, 10_000]),
    patience=st.sampled_from([0, 1, 3]),
)

_SMALL: Final[Sequence[tuple[Any, str, int]]] = (
    (rows_module, "_BLOCK", 4),
    (keytable_module, "_FEWEST", 8),
    (sums_module, "_SUM_UP_FROM", 6),
    (cells_module, "_AT_ONCE", 3),
    (index_module, "_SPARE_VALUES", 2),
    (merging_module, "FAN_IN", 2),
    (housekeeping_module, "FAN_IN", 2),
    (housekeeping_module, "NEWEST_KEPT", 1),
    (housekeeping_module, "_ROWS_AT_ONCE", 8),
)
"""What is large in production is small here, so that a few records reach every limit."""


FEW: Final = st.lists(drafts(), max_size=3)
SOME: Final = st.lists(drafts(), min_size=1, max_size=6)


class Ingest(RuleBasedStateMachine):
    """The ingest under test: as many processes as come and go, over one manifest."""

    def __init__(self) -> None:
        super().__init__()
        self.patched = pytest.MonkeyPatch()
        for module, name, value in _SMALL:
            self.patched.setattr(module, name, value)
        self.newest = 0  # of every key there are two events on average
        self.zombies: list[Worker] = []
        self.chosen: dict[str, int] = {}

    @initialize(names=st.sampled_from(CASTS), scale=SCALES)
    def begin(self, names: Sequence[str], scale: Scale) -> None:
        self.patched.setattr(storing_module, "_INLINE_BYTES", scale.inline_bytes)
        self.chosen = dict.fromkeys(names, 0)
        self.stage = Stage(scale, self._models())

    # What happens to the topics

    @rule(batch=SOME, then=st.sampled_from(["settle", "settle", "read", "nothing"]))
    def write(self, batch: Sequence[Event], then: str) -> None:
        self._write(batch)
        if then == "settle":
            self.stage.settle()
        elif then == "read":
            self.stage.run(self.stage.worker)

    @rule(batches=st.lists(FEW, min_size=1, max_size=5))
    def go_through(self, batches: Sequence[Sequence[Event]]) -> None:
        """One commit after the other."""
        for batch in batches:
            self._write(batch)
            self.stage.settle()

    @rule(topic=st.sampled_from([PREDICTIONS, LABELS]), number=st.integers(0, 2))
    def gap(self, topic: str, number: int) -> None:
        self.stage.world.log.leave_gap(Partition(topic, number % self.stage.partitions(topic)), 2)

    @rule(batch=SOME, topic=st.sampled_from([PREDICTIONS, LABELS]), is_noticed=st.booleans())
    def grow(self, batch: Sequence[Event], topic: str, is_noticed: bool) -> None:
        """A partition is added; perhaps the worker notices while it is storing something."""
        self.stage.world.log.create_topic(topic, min(4, self.stage.partitions(topic) + 1))
        self._write(batch)
        for seconds in (2.5, 31, 0) if is_noticed else ():
            self.stage.run(self.stage.worker)
            self.stage.world.clock.advance(seconds)

    # What the worker does

    @rule(rounds=st.integers(1, 3), seconds=st.sampled_from([0, 1, 2.5, 31]))
    def go_on(self, rounds: int, seconds: float) -> None:
        for _ in range(rounds):
            self.stage.run(self.stage.worker)
            self.stage.world.clock.advance(seconds)

    @rule()
    def settle(self) -> None:
        self.stage.settle()

    @rule(batch=FEW, rounds=st.integers(0, 1))
    def stop(self, batch: Sequence[Event], rounds: int) -> None:
        self._write(batch)
        for _ in range(rounds):
            self.stage.run(self.stage.worker)
        self.stage.stop()

    @rule(batch=FEW, rounds=st.integers(0, 2), stores=st.booleans())
    def kill(self, batch: Sequence[Event], rounds: int, stores: bool) -> None:
        """It dies between two rounds; what it was storing beside them may have become true by then."""
        self._write(batch)
        for _ in range(rounds):
            self.stage.run(self.stage.worker)
        if stores:
            self.stage.background.work()
        self.stage.start()

    @rule(batch=SOME, place=st.sampled_from(WORKER_BOUNDARIES), nth=st.integers(1, 2), settles=st.booleans())
    def crash(self, batch: Sequence[Event], place: str, nth: int, settles: bool) -> None:
        self._write(batch)
        self.stage.world.clock.advance(21)  # it is time for a snapshot
        with self.stage.dying(place, nth):
            self.stage.settle()
        if settles:
            self.stage.settle()

    @rule(
        batch=FEW,
        what=st.sampled_from(["broker", "database", "segments", "snapshots"]),
        rounds=st.integers(0, 3),
        end=st.sampled_from(["back", "stop", "crash"]),
    )
    def outage(self, batch: Sequence[Event], what: str, rounds: int, end: str) -> None:
        self._write(batch)
        self.stage.run(self.stage.worker)
        world: dict[str, Any] = {"database": self.stage.world.manifest, "segments": self.stage.world.segments}
        outside = {**world, "broker": self.stage.log, "snapshots": self.stage.snapshots}[what]
        outside.go_away()
        for _ in range(rounds):
            self.stage.world.clock.advance(2.5)
            self.stage.run(self.stage.worker)
        if end == "stop":
            self.stage.world.clock.advance(11)
            self.stage.stop()
        elif end == "crash":
            self.stage.start()
        outside.come_back()

    @rule(batch=SOME, place=st.sampled_from(["claim.end", "begin.end", "commit.end", "commit.end", "snapshot.end"]))
    def lose_answer(self, batch: Sequence[Event], place: str) -> None:
        """A transaction becomes true, but nobody says so."""
        self._write(batch)
        self.stage.world.clock.advance(21)
        self.stage.unanswered = place
        self.stage.settle()
        self.stage.unanswered = ""

    @rule(batch=FEW, rounds=st.integers(0, 2))
    def succeed(self, batch: Sequence[Event], rounds: int) -> None:
        """Another process takes over while this one sleeps, perhaps with records in memory."""
        self._write(batch)
        for _ in range(rounds):
            self.stage.run(self.stage.worker)
        self.zombies.append(self.stage.worker)
        self.stage.start()
        for _ in range(20):
            self.stage.run(self.stage.worker)
            if self.stage.worker.assigned:
                return
            self.stage.world.clock.advance(1)
        raise AssertionError("the successor does not start")

    @precondition(lambda self: self.zombies)
    @rule(stops=st.booleans())
    def wake(self, stops: bool) -> None:
        """One that was succeeded goes on where it was: it may change nothing."""
        zombie = self.zombies.pop(0)
        before = self.stage.world.manifest.reading()
        self.stage.world.clock.advance(21)
        for _ in range(0 if stops else 4):
            if zombie.assigned:
                self.stage.run(zombie)
        if stops:
            zombie.stop()
        assert self.stage.world.manifest.reading() == before, "a zombie changed the manifest"

    @precondition(lambda self: not self.stage.forgot)
    @rule(which=st.sampled_from(["newest", "all"]), how=st.sampled_from(["lost", "damaged"]))
    def spoil(self, which: str, how: str) -> None:
        """A snapshot is gone, or cannot be read; then a start."""
        names = sorted(self.stage.snapshots.files)[-1 if which == "newest" else 0 :]
        for name in names:
            if how == "lost":
                del self.stage.snapshots.files[name]
            self.stage.snapshots.damaged.add(name)
        self.stage.start()

    @precondition(lambda self: not self.stage.forgot)
    @rule(
        name=st.sampled_from(sorted(VARIANTS)),
        variants=st.lists(st.integers(0, 1), min_size=1, max_size=3),
        restarts=st.booleans(),
    )
    def change(self, name: str, variants: Sequence[int], restarts: bool) -> None:
        """A start with a model more, or one that is configured otherwise; perhaps again, perhaps back."""
        if not PATIENT & self.chosen.keys():
            name = {"still": "hasty", "brisk": "terse"}.get(name, name)  # with a patient one nothing is ever forgotten
        for variant in variants:
            self.chosen[name] = variant
            self.stage.world.models = self._models()
            self.stage.start()
            self.stage.start_keeper()
            if variants[1:] or restarts:
                self.stage.settle()
        if restarts:
            self.stage.start()

    # What the housekeeper does

    @rule()
    def keep(self) -> None:
        self.stage.keep()

    @rule(
        batches=st.lists(FEW, min_size=2, max_size=4),
        place=st.sampled_from(KEEPER_BOUNDARIES),
        nth=st.integers(1, 2),
    )
    def keep_and_die(self, batches: Sequence[Sequence[Event]], place: str, nth: int) -> None:
        self.go_through(batches)
        self.stage.world.crasher.arm(place, nth)
        try:
            self.stage.keep()
        except Crash:
            self.stage.start_keeper()
        self.stage.world.crasher.arm("")
        self.stage.note_forgotten()

    # What must be true

    @invariant()
    def holds(self) -> None:
        self.stage.holds()

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None and hasattr(self, "stage"):
                self.stage.finish()
        finally:
            self.patched.undo()

    def _write(self, batch: Sequence[Event]) -> None:
        """Append events, the next of ids a little later than before."""
        for draft in batch:
            self.stage.write(draft.placed(self.newest // 2, self.stage.partitions(draft.topic)))
            self.newest = min(self.newest + 1, 2 * LAST_KEY)

    def _models(self) -> tuple[IngestPolicy, ...]:
        return tuple(VARIANTS[name][variant] for name, variant in sorted(self.chosen.items()))
