"""Restarted from nothing but the manifest, wherever it died, a worker comes to what an undisturbed one comes to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrainer.adapters.files.segments import LocalSegments
from retrainer.adapters.manifest.database import Database
from retrainer.adapters.manifest.ingest import SqlIngestState
from retrainer.adapters.memory.manifest import MemoryManifest
from retrainer.adapters.memory.segments import MemorySegments
from retrainer.domain.events import Label, Origin, Partition, Prediction, RecordQuarantined, Side
from retrainer.domain.join.ingest import IngestPolicy
from retrainer.domain.join.rules import Status
from retrainer.ports.manifest.ingest import Flush
from retrainer.service.ingest import cut as storing
from retrainer.service.ingest import pausing
from tests.contract.states import SqlRig
from tests.domain.oracle import expected, unslotted
from tests.effort import much
from tests.service.world import LABELS, MINUTE, PREDICTIONS, Crash, Log, World, at, policy

BOUNDARIES = (
    "claim.begin",
    "claim.end",
    "begin.begin",
    "begin.end",
    "poll",
    "ends",
    "segment.write",
    "segment.written",
    "commit.begin",
    "commit.middle",
    "commit.end",
    "log.commit",
)
"""Every place of a worker's round where a crash could make a difference."""


@dataclass(frozen=True)
class Event:
    """A record to write. `value` None is poison."""

    topic: str
    number: int
    key: int
    minute: int
    value: str | None

    @property
    def document(self) -> bytes:
        if self.value is None:
            return b"\xff{poison"
        name = "prediction" if self.topic == PREDICTIONS else "label"
        return json.dumps({"id": self.key, "time": at(self.minute), name: self.value, "version": "1"}).encode()


@dataclass(frozen=True)
class Trouble:
    """What happens to a round: a crash at a place, an outage of something, or a successor."""

    kind: str
    place: str = ""
    nth: int = 1


@dataclass(frozen=True)
class Story:
    """Rounds of events, each with its trouble."""

    rounds: Sequence[tuple[Sequence[Event], Trouble | None]]
    batch: int
    flush_bytes: int
    inline_bytes: int


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Early and late, of few ids, so that much meets. An id is not used again once its horizon has passed."""
    topic = draw(st.sampled_from([PREDICTIONS, LABELS]))
    key = draw(st.integers(0, 5))
    return Event(
        topic=topic,
        number=draw(st.integers(0, 1)) if topic == PREDICTIONS else 0,
        key=key,
        minute=8 * key + draw(st.integers(0, 4) if topic == PREDICTIONS else st.integers(-12, 20)),
        value=draw(st.sampled_from(["a", "b", "a", "b", None])),
    )


CRASHES = st.builds(Trouble, st.just("crash"), st.sampled_from(BOUNDARIES), st.integers(1, 3))
OUTAGES = st.builds(Trouble, st.sampled_from(["broker", "database", "segments", "successor", "stop"]))


def rounds(troubles: st.SearchStrategy[Trouble]) -> st.SearchStrategy[list[tuple[list[Event], Trouble | None]]]:
    return st.lists(st.tuples(st.lists(events(), max_size=8), st.none() | troubles), min_size=1, max_size=6)


STORIES = st.one_of(
    # A crash takes no time, so that the commits after it are cut where they were cut without it.
    st.builds(
        Story,
        rounds(CRASHES),
        batch=st.sampled_from([2, 5, 10_000]),
        flush_bytes=st.sampled_from([100, 2**26]),
        inline_bytes=st.sampled_from([-1, 2**18]),
    ),
    # With the others each round is one commit.
    st.builds(
        Story,
        rounds(CRASHES | OUTAGES),
        batch=st.just(10_000),
        flush_bytes=st.just(2**26),
        inline_bytes=st.sampled_from([-1, 2**18]),
    ),
)

FORGETFUL = policy(max_delay=4 * MINUTE, lateness=1 * MINUTE)
"""Events of this are often late, and ids are soon forgotten."""

PATIENT = policy("patient", max_delay=90 * MINUTE, lateness=90 * MINUTE)
"""Nothing of this is ever late."""


class Telling:
    """One run of a story, and what was true after each of its rounds."""

    def __init__(self, story: Story, world: World) -> None:
        self.world = world
        self.seen: list[dict[str, object]] = []
        self.written: list[Prediction | Label] = []
        self.poison: Counter[Status] = Counter()
        self._worker = world.worker()
        for round_events, trouble in story.rounds:
            self._write(round_events)
            self._meet(trouble)
            self.seen.append(world.facts())

    def _write(self, round_events: Sequence[Event]) -> None:
        for event in round_events:
            offset = self.world.write(Partition(event.topic, event.number), event.document)
            if event.value is None:
                side = Side(event.topic)
                self.poison += Counter({(side, "consumed"): 1, (side, "quarantined"): 1})
            else:
                facts = (str(event.key), at(event.minute), Origin(event.topic, event.number, offset), event.value)
                self.written.append(Prediction(*facts, "1") if event.topic == PREDICTIONS else Label(*facts))

    def _meet(self, trouble: Trouble | None) -> None:
        if trouble is None:
            self.world.settle(self._worker)
        elif trouble.kind == "crash":
            self._crash(trouble)
        elif trouble.kind == "successor":
            self._succeed()
        elif trouble.kind == "stop":
            self._stop()
        else:
            self._outage(trouble.kind)

    def _crash(self, trouble: Trouble) -> None:
        self.world.crasher.arm(trouble.place, trouble.nth)
        try:
            self.world.settle(self._worker)
        except Crash:
            self._worker = self.world.worker()
            self.world.settle(self._worker)
        self.world.crasher.arm("")

    def _outage(self, kind: str) -> None:
        """Something goes away with records in memory, and comes back."""
        outside: dict[str, Log | MemoryManifest | MemorySegments] = {
            "broker": self.world.log,
            "database": self.world.manifest,
            "segments": self.world.segments,
        }
        self._worker.run_once()
        outside[kind].go_away()
        for _ in range(4):
            self._worker.run_once()
            self.world.clock.advance(1)
        outside[kind].come_back()
        self.world.settle(self._worker)

    def _succeed(self) -> None:
        """Another process takes over while this one sleeps with records in memory, and then wakes."""
        sleeper, reader = self._worker, self.world.log.another_reader()
        sleeper.run_once()
        successor = self.world.worker(reader, owner="there/2")
        self.world.settle(successor, reader)
        before = self.world.facts()
        self.world.clock.advance(2)
        sleeper.run_once()
        assert self.world.facts() == before
        self._worker = self.world.worker()
        self.world.settle(self._worker)

    def _stop(self) -> None:
        """A stop in order, wherever it stands, and a new start."""
        self._worker.run_once()
        self._worker.stop()
        self._worker = self.world.worker()
        self.world.settle(self._worker)


class CrashingSql(SqlIngestState):
    """SQL with boundaries around a commit."""

    def __init__(self, database: Database, fail_at: Callable[[str], None]) -> None:
        super().__init__(database)
        self._fail_at = fail_at

    def commit(self, flush: Flush) -> None:
        self._fail_at("commit.begin")
        super().commit(flush)
        self._fail_at("commit.end")


class SqlWorld(World):
    """A world whose manifest is a file, and its segments a folder."""

    def keep_in(self, folder: Path) -> None:
        self._rig = SqlRig(folder / "retrainer.db")
        self.state = CrashingSql(self._rig.database, self.crasher)
        self.decisions = self._rig.decisions
        self.files = LocalSegments(folder / "segments")

    def quarantined(self) -> Sequence[RecordQuarantined]:
        return self._rig.quarantined()


def tell(story: Story, *models: IngestPolicy, folder: Path | None = None) -> Telling:
    """The story in a world of its own."""
    world = (SqlWorld if folder else World)(
        models=models,
        partitions={PREDICTIONS: 2, LABELS: 1},
        batch=story.batch,
        flush_bytes=story.flush_bytes,
    )
    if folder is not None and isinstance(world, SqlWorld):
        world.keep_in(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(storing, "_INLINE_BYTES", story.inline_bytes)
        read_in_order_of_offsets(patched)
        return Telling(story, world)


def read_in_order_of_offsets(patched: pytest.MonkeyPatch) -> None:
    """Without waiting for slow partitions: a start knows nothing of who waited before it, so that afterwards records
    would be read in another order, and where events come too late that makes a difference."""
    patched.setattr(pausing, "ahead", lambda *_: set())


def undisturbed(story: Story) -> Story:
    """The same records in the same rounds, and no trouble."""
    return replace(story, rounds=[(written, None) for written, _ in story.rounds])


@settings(max_examples=much(100, slow=400), deadline=None)
@given(story=STORIES, models=st.sampled_from([(FORGETFUL,), (FORGETFUL, PATIENT)]))
def test_trouble_leaves_no_trace(story: Story, models: tuple[IngestPolicy, ...]) -> None:
    assert tell(story, *models).seen == tell(undisturbed(story), *models).seen


@settings(max_examples=much(12), deadline=None)
@given(story=st.builds(Story, rounds(CRASHES), batch=st.just(5), flush_bytes=st.just(100), inline_bytes=st.just(300)))
def test_trouble_leaves_no_trace_on_sqlite_and_a_disk(tmp_path_factory: pytest.TempPathFactory, story: Story) -> None:
    troubled = tell(story, FORGETFUL, folder=tmp_path_factory.mktemp("state"))
    SqlRig.close_all()
    assert troubled.seen == tell(undisturbed(story), FORGETFUL).seen


@settings(max_examples=much(200), deadline=None)
@given(story=STORIES)
def test_through_all_trouble_the_outcomes_are_those_of_the_events(story: Story) -> None:
    told = tell(story, PATIENT)
    ideal = expected(PATIENT.join, told.written)
    assert told.world.counts("patient") == {
        f"{side}.{status}": n for (side, status), n in (ideal.counts + told.poison).items()
    }
    tallies = dict(told.world.decisions.tallies("patient", None, 2**62))
    assert unslotted(tallies) == unslotted(ideal.tallies)


@settings(max_examples=much(200), deadline=None)
@given(story=STORIES)
def test_every_record_is_in_one_segment_and_every_position_behind_its_records(story: Story) -> None:
    world = tell(story, FORGETFUL).world
    stored = world.stored()
    for partition, found in world.state.positions().items():
        assert stored.get(partition, []) == list(range(found.position))
    assert set(world.segments.files) >= set(world.state.segment_files())
