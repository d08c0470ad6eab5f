"""One commit beside the reading: nothing is lost, doubled or mixed up, however long it takes and however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrainer.adapters.background import InlineBackground, ThreadBackground
from retrainer.adapters.memory.manifest import MemoryManifest
from retrainer.adapters.memory.state import MemoryIngestState
from retrainer.domain.join.ingest import IngestPolicy
from retrainer.errors import Fenced, RetrainerError, Unreachable
from retrainer.ports.manifest.ingest import Flush
from retrainer.ports.process import Background
from retrainer.service.ingest import cut as storing
from retrainer.service.ingest.worker import Worker
from tests.effort import much
from tests.service.ingest.test_worker_restarts import (
    FORGETFUL,
    PATIENT,
    STORIES,
    Story,
    Telling,
    read_in_order_of_offsets,
    tell,
    undisturbed,
)
from tests.service.world import EPOCH, LABELLED, LABELS, MINUTE, PREDICTED, PREDICTIONS, Log, World


class Threaded(ThreadBackground):
    """Calls `at_finish` when somebody begins to wait for work."""

    at_finish: Callable[[], object] = staticmethod(lambda: None)

    def finish(self) -> None:
        self.at_finish()
        super().finish()

    def wait(self) -> None:
        """Until the work is done; whoever began it hears of it later."""
        if self._work is not None:
            wait([self._work], timeout=30)


class Held(MemoryIngestState):
    """A manifest whose commits hang while they are held, and fail as a test says.

    Attributes:
        flushes: every attempt.
        committed: how many have become true.
        errors: what the next attempts raise.
    """

    def __init__(self, manifest: MemoryManifest) -> None:
        super().__init__(manifest)
        self.flushes: list[Flush] = []
        self.committed = 0
        self.errors: list[RetrainerError] = []
        self.begun, self._free = Event(), Event()
        self.release()

    def hold(self) -> None:
        """Commits hang from now on."""
        self.begun.clear()
        self._free.clear()

    def release(self) -> None:
        """Let them go on."""
        self._free.set()

    def commit(self, flush: Flush) -> None:
        self.flushes.append(flush)
        self.begun.set()
        assert self._free.wait(30), "nobody let the commit go on"
        if self.errors:
            raise self.errors.pop(0)
        super().commit(flush)
        self.committed += 1


@dataclass
class Beside:
    """A worker that commits in a thread, to a manifest that can be held."""

    world: World = field(default_factory=partial(World, background=Threaded))

    def __post_init__(self) -> None:
        self.state = Held(self.world.manifest)
        self.world.state = self.state
        self.worker = self.world.worker()

    @property
    def background(self) -> Threaded:
        return cast("Threaded", self.worker.parts.background)

    def settle(self, worker: Worker | None = None) -> None:
        """Everything is read and committed."""
        worker = worker or self.worker
        background = cast("Threaded", worker.parts.background)
        self.world.settle(worker)
        while background.is_begun:
            background.wait()
            worker.run_once()

    def hang(self) -> None:
        """A prediction is read, and its commit hangs."""
        self.state.hold()
        self.world.predict("hangs", 0)
        self.world.flush(self.worker)
        assert self.state.begun.wait(30)

    def go_on(self) -> None:
        """The commit comes to its end; the worker has not heard of it yet."""
        self.state.release()
        self.background.wait()

    def fail(self, *errors: RetrainerError) -> None:
        """It ends with an error, and so do the attempts after it."""
        self.state.errors += errors
        self.go_on()

    @property
    def consumed(self) -> int:
        return self.world.counts().get("predictions.consumed", 0)


@pytest.fixture
def beside() -> Iterator[Beside]:
    """Its worker has read and committed all there was, which was nothing."""
    beside = Beside()
    beside.settle()
    yield beside
    beside.state.release()
    beside.background.at_finish = lambda: None
    beside.background.close()


# While a commit takes its time


def test_reading_goes_on_while_a_commit_hangs(beside: Beside) -> None:
    beside.hang()
    for key in range(5):
        beside.world.predict(key, 0)
        assert beside.worker.run_once()
    assert beside.world.log._positions[PREDICTED] == 6
    assert beside.world.positions()["predictions-0"] == 0
    assert beside.consumed == 0


def test_what_is_read_meanwhile_is_part_of_the_next_commit(beside: Beside, kept: str) -> None:
    beside.hang()
    beside.world.predict("meanwhile", 0)
    beside.world.write(PREDICTED, b"poison")
    beside.worker.run_once()
    beside.go_on()
    assert beside.world.positions()["predictions-0"] == 1
    assert beside.consumed == 1
    assert beside.world.stored() == {PREDICTED: [0]}
    assert beside.world.quarantined() == []
    assert len(beside.world.segments.files) == (1 if kept == "files" else 0)
    beside.settle()
    assert [dict(flush.moves) for flush in beside.state.flushes[-2:]] == [{PREDICTED: (0, 1)}, {PREDICTED: (1, 3)}]
    assert beside.world.stored() == {PREDICTED: [0, 1, 2]}
    assert beside.consumed == 3
    assert [one.record.value for one in beside.world.quarantined()] == [b"poison"]
    assert [told["records"] for told in beside.world.entries.of("flush.committed")[-2:]] == [1, 2]


def test_that_it_is_true_is_told_when_it_is(beside: Beside) -> None:
    """To the log, and to Kafka's group: neither hears of it before, and neither waits for the next commit."""
    beside.world.entries.clear()
    beside.hang()
    beside.worker.run_once()
    assert beside.world.entries.events == []
    assert beside.world.log.committed[PREDICTED] == 0
    beside.go_on()
    beside.worker.run_once()
    assert beside.world.entries.one("flush.committed")["positions"] == {"predictions-0": 1, "labels-0": 0}
    assert beside.world.log.committed[PREDICTED] == 1
    assert not beside.background.is_begun


def test_a_commit_that_is_due_waits_for_the_one_under_way() -> None:
    """So that no more than two are in memory, however fast records come."""
    world = World(batch=10, flush_bytes=1, background=Threaded)
    beside = Beside(world)
    beside.worker.run_once()
    for key in range(50):
        world.predict(key, 0)
    beside.state.hold()
    beside.worker.run_once()
    assert beside.state.begun.wait(30)
    waited: list[tuple[int, int]] = []

    def waits() -> None:
        assert not beside.background.is_done
        waited.append((len(beside.state.flushes), world.log._positions[PREDICTED]))
        beside.state.release()

    beside.background.at_finish = waits
    beside.worker.run_once()
    assert waited == [(1, 20)]
    beside.background.at_finish = lambda: None
    beside.settle()
    assert [len(batch) for batch in world.stored().values()] == [50]
    assert beside.consumed == 50
    beside.worker.stop()


def test_a_segment_carries_the_watermark_that_held_while_its_records_were_read(beside: Beside) -> None:
    """A replay judges by it what was late."""
    world = beside.world
    for minute in (100, 200):
        world.predict(f"at {minute}", minute)
        beside.settle()
    beside.state.hold()
    world.predict("at 300", 300)
    world.flush(beside.worker)  # while its commit hangs 300 is the newest
    world.predict("too late", 201)
    beside.worker.run_once()
    beside.go_on()
    beside.settle()
    marks = [part.watermarks.get("flights") for segment in world.state.segments() for part in segment.parts]
    minutes = [None if mark is None else (mark - EPOCH) / MINUTE for mark in marks]
    assert minutes == [None, 95, 195, 295]
    assert world.counts()["predictions.late"] == 1
    before = world.facts()
    again = world.worker()
    beside.settle(again)
    assert world.facts() == before
    world.label("too late", 202)
    beside.settle(again)
    assert world.counts()["predictions.late"] == 1
    assert "predictions.joined" not in world.counts()
    again.stop()


# When it fails


def test_a_commit_that_fails_is_repeated_as_it_was(beside: Beside, kept: str) -> None:
    places: list[str] = []
    beside.world.segments.fail_at = places.append
    beside.hang()
    beside.world.predict("meanwhile", 0)
    beside.worker.run_once()
    written = dict(beside.world.segments.files)
    beside.fail(Unreachable("the database is locked"))
    attempts = len(beside.state.flushes)
    beside.worker.run_once()
    assert beside.consumed == 0
    beside.settle()
    first, again = beside.state.flushes[attempts - 1 : attempts + 1]
    assert first.segment is not None
    assert again.segment == first.segment
    assert (again.moves, again.at, again.deltas) == (first.moves, first.at, first.deltas)
    assert set(written) == ({first.segment.name} if kept == "files" else set())
    assert {name: beside.world.segments.files[name] for name in written} == written
    assert places.count("segment.written") == (2 if kept == "files" else 0)  # one for each commit
    assert beside.world.stored() == {PREDICTED: [0, 1]}
    assert beside.world.counts() == {"predictions.consumed": 2, "predictions.pending": 2}


def test_a_file_that_cannot_be_written_is_written_later(beside: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "_INLINE_BYTES", -1)
    beside.world.segments.go_away()
    beside.world.predict("f1", 0)
    beside.world.flush(beside.worker)
    beside.background.wait()
    beside.worker.run_once()
    assert beside.world.entries.one("dependency.lost")["dependency"] == "database"
    beside.world.segments.come_back()
    beside.settle()
    assert beside.world.stored() == {PREDICTED: [0]}


def test_a_commit_whose_answer_was_lost_is_not_made_twice(beside: Beside) -> None:
    def lose(place: str) -> None:
        if place == "commit.end":
            beside.world.manifest.fail_at = lambda _: None
            raise Unreachable("the answer was lost")

    beside.world.manifest.fail_at = lose
    beside.world.predict("f1", 0)
    beside.world.label("f1", 5)
    beside.settle()
    beside.settle()
    assert beside.world.tallies() == {("1", 5, "late", "late"): 1}
    assert beside.world.stored() == {PREDICTED: [0], LABELLED: [0]}


def test_while_commits_fail_nothing_is_read_and_it_is_said_once(beside: Beside) -> None:
    """That another attempt was begun does not mean that it succeeded."""
    beside.hang()
    beside.fail(*[Unreachable("the database is locked")] * 20)
    beside.worker.run_once()
    polls = beside.world.log.polls
    for key in range(60):
        beside.world.predict(key, 0)
        beside.worker.run_once()
        beside.background.wait()
        beside.world.clock.advance(1)
    assert beside.state.errors
    assert beside.world.log.polls == polls
    assert beside.world.entries.one("dependency.lost")["dependency"] == "database"
    assert "dependency.recovered" not in beside.world.entries.events
    beside.state.errors.clear()
    beside.settle()
    assert beside.world.entries.one("dependency.recovered")["dependency"] == "database"
    assert beside.consumed == 61


def test_a_full_disk_gets_its_reserve_as_soon_as_a_commit_has_failed(beside: Beside) -> None:
    assert beside.world.disk.reserved
    beside.hang()
    beside.world.disk.used = beside.world.disk.size - beside.world.disk.reserved
    beside.fail(Unreachable("database or disk is full"))
    beside.worker.run_once()
    assert beside.world.disk.reserved == 0
    assert beside.world.entries.one("disk.reserve_released")


def test_an_error_that_is_no_outage_ends_the_worker(beside: Beside) -> None:
    beside.hang()
    beside.state.errors.append(cast("RetrainerError", ZeroDivisionError("a mistake")))
    beside.go_on()
    with pytest.raises(ZeroDivisionError):
        beside.worker.run_once()
    beside.settle(beside.world.worker())
    assert beside.consumed == 1


# When another has taken over


def test_a_worker_that_was_succeeded_during_a_commit_starts_again(beside: Beside) -> None:
    beside.hang()
    beside.world.predict("meanwhile", 0)
    beside.worker.run_once()
    beside.state.claim("ingest", "there/2", 0)
    beside.go_on()
    beside.worker.run_once()
    assert "newer process" in beside.world.entries.one("shard.revoked")["reason"]
    assert not beside.background.is_begun
    beside.settle()
    assert len(beside.world.entries.of("shard.assigned")) == 2
    assert beside.world.stored() == {PREDICTED: [0, 1]}
    assert beside.consumed == 2


@pytest.mark.parametrize("error", [None, Unreachable("gone"), Fenced("succeeded")], ids=["made", "failed", "fenced"])
def test_an_assignment_that_ends_during_a_commit_waits_for_it(beside: Beside, error: RetrainerError | None) -> None:
    """Whatever becomes of it: the next assignment begins where the manifest then says."""
    beside.hang()
    beside.world.log.create_topic(PREDICTIONS, 2)
    beside.world.predict("on another", 0, number=1)
    beside.world.predict("meanwhile", 0)
    beside.world.clock.advance(31)
    beside.state.errors += [error] if error else []
    beside.background.at_finish = beside.state.release
    beside.worker.run_once()
    assert beside.world.entries.one("shard.revoked")
    assert beside.state.committed == (0 if error else 1) + len(beside.world.entries.of("flush.committed"))
    beside.settle()
    assert beside.world.positions() == {"labels-0": 0, "predictions-0": 2, "predictions-1": 1}
    assert beside.consumed == 3


# Leaving, and saving


def test_a_stop_waits_for_the_commit_under_way_and_commits_the_rest(beside: Beside) -> None:
    beside.hang()
    beside.world.predict("meanwhile", 0)
    beside.worker.run_once()
    beside.world.predict("never read", 0)
    beside.world.clock.advance(11)
    beside.background.at_finish = beside.state.release
    beside.worker.stop()
    assert beside.world.positions()["predictions-0"] == 2
    assert beside.world.stored() == {PREDICTED: [0, 1]}
    (snapshot,) = beside.world.state.snapshots("ingest")
    assert snapshot.positions == {PREDICTED: 2, LABELLED: 0}
    beside.settle(beside.world.worker())
    assert beside.consumed == 3


def test_a_stop_after_a_commit_failed_makes_it_and_commits_the_rest(beside: Beside) -> None:
    beside.hang()
    beside.world.predict("meanwhile", 0)
    beside.worker.run_once()
    beside.fail(Unreachable("the database is locked"))
    beside.worker.run_once()
    beside.worker.stop()
    assert beside.world.positions()["predictions-0"] == 2
    assert beside.consumed == 2


def test_a_stop_during_a_commit_that_fails_loses_nothing(beside: Beside) -> None:
    beside.hang()
    beside.world.predict("meanwhile", 0)
    beside.worker.run_once()
    beside.state.errors += [Unreachable("the database is locked")] * 5
    beside.world.clock.advance(11)
    beside.background.at_finish = beside.state.release
    beside.worker.stop()
    assert beside.world.positions()["predictions-0"] == 0
    assert list(beside.world.state.snapshots("ingest")) == []
    assert "shard.revoked" not in beside.world.entries.events  # none was tried either
    beside.state.errors.clear()
    beside.settle(beside.world.worker())
    assert beside.consumed == 2


def test_a_snapshot_holds_what_is_committed_and_nothing_more(beside: Beside) -> None:
    beside.hang()
    beside.world.predict("meanwhile", 0)
    beside.world.clock.advance(300)  # one is due
    beside.background.at_finish = beside.state.release
    beside.worker.run_once()
    (snapshot,) = beside.world.state.snapshots("ingest")
    assert snapshot.positions == {PREDICTED: 2, LABELLED: 0}
    assert beside.world.positions()["predictions-0"] == 2
    assert (
        beside.world.snapshots.read(snapshot.name)["flights"].progress
        == beside.world.state.model_progress()["flights"].progress
    )


def test_no_snapshot_is_taken_of_what_could_not_be_committed(beside: Beside) -> None:
    beside.state.errors += [Unreachable("the database is locked")] * 3
    beside.world.predict("f1", 0)
    beside.world.clock.advance(300)
    for _ in range(3):
        beside.worker.run_once()
        beside.background.wait()
        beside.world.clock.advance(10)
        assert list(beside.world.state.snapshots("ingest")) == []
    beside.settle()
    (snapshot,) = beside.world.state.snapshots("ingest")
    assert snapshot.positions == {PREDICTED: 1, LABELLED: 0}


# Against a worker that does one thing after the other


class BesideWorld(World):
    """A world whose workers commit in threads. One that died did so after the commit that was under way."""

    _backgrounds: list[Threaded]

    def worker(self, log: Log | None = None, owner: str = "here/1") -> Worker:
        begun = self.__dict__.setdefault("_backgrounds", [])
        for background in begun:
            background.wait()
        worker = super().worker(log, owner)
        begun.append(cast("Threaded", worker.parts.background))
        return worker

    def settle(self, worker: Worker, log: Log | None = None) -> None:
        super().settle(worker, log)
        background = cast("Threaded", worker.parts.background)
        while background.is_begun:
            background.wait()
            worker.run_once()


@settings(max_examples=much(150), deadline=None)
@given(story=STORIES, models=st.sampled_from([(FORGETFUL,), (FORGETFUL, PATIENT)]))
def test_what_is_committed_beside_the_reading_is_what_is_committed_in_turn(
    story: Story, models: tuple[IngestPolicy, ...]
) -> None:
    world = BesideWorld(
        models=models,
        partitions={PREDICTIONS: 2, LABELS: 1},
        batch=story.batch,
        flush_bytes=story.flush_bytes,
        background=Threaded,
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(storing, "_INLINE_BYTES", story.inline_bytes)
        read_in_order_of_offsets(patched)
        seen = Telling(story, world).seen
    assert seen == tell(undisturbed(story), *models).seen
    stored = world.stored()
    for partition, found in world.state.positions().items():
        assert stored.get(partition, []) == list(range(found.position))


# The port


@pytest.fixture(params=[ThreadBackground, InlineBackground])
def background(request: pytest.FixtureRequest) -> Background:
    return cast("Background", request.param())


def test_work_is_begun_done_and_finished(background: Background) -> None:
    for _ in range(2):
        done = Event()
        assert (background.is_begun, background.is_done) == (False, False)
        background.start(done.set)
        assert background.is_begun
        assert done.wait(30)
        background.finish()
    assert (background.is_begun, background.is_done) == (False, False)
    background.close()


def test_its_error_is_raised_where_it_is_finished_and_other_work_can_begin(background: Background) -> None:
    def fail() -> None:
        raise Unreachable("away")

    background.start(fail)
    with pytest.raises(Unreachable, match="away"):
        background.finish()
    assert not background.is_begun
    background.start(lambda: None)
    background.finish()
    background.start(fail)
    background.close()
