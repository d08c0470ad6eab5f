"""Merged, crashed, forgotten: what is read back from segments stays what was consumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrainer.adapters.memory.housekeeping import MemoryHousekeepingState
from retrainer.domain.deciding.jobs import JobState, job_for
from retrainer.errors import Fenced, Refused, Unreachable
from retrainer.ports.manifest.decisions import Step
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.snapshots import NewSnapshot
from retrainer.service.control import housekeeping as housekeeping_module
from retrainer.service.control import merging
from retrainer.service.control.housekeeping import Housekeeping, HousekeepingParts, HousekeepingPolicy
from retrainer.service.ingest import cut as storing
from retrainer.service.reading import read_parts
from tests.contract.states import decision
from tests.effort import much
from tests.service.controlling import Control, model
from tests.service.world import MINUTE, PREDICTED, Crash, World, at, policy

HORIZON = policy().join.horizon // MINUTE
DAY = 24 * 60


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of three, but for the newest two; every other one of the worker's segments is a file."""
    monkeypatch.setattr(merging, "FAN_IN", 3)
    monkeypatch.setattr(housekeeping_module, "FAN_IN", 3)
    monkeypatch.setattr(housekeeping_module, "NEWEST_KEPT", 2)
    monkeypatch.setattr(housekeeping_module, "_ROWS_AT_ONCE", 8)
    monkeypatch.setattr(storing, "_INLINE_BYTES", 270)


class House:
    """A world with a worker and housekeeping, both of which may die."""

    def __init__(self, retention: float = 10 * DAY) -> None:
        self.world = World()
        self.retention = retention
        self.worker = self.world.worker()
        self.lease = Lease(name="controller", epoch=0)
        self.keeper = self.start()
        self.events = 0

    def start(self) -> Housekeeping:
        """A new controller takes over."""
        world = self.world
        self.lease = world.decisions.claim("controller", "here/1", world.clock.now())
        self.keeper = Housekeeping(
            HousekeepingPolicy(
                retention=round(self.retention * MINUTE),
                reaches={one.model: one.join.reach for one in world.models},
            ),
            HousekeepingParts(
                state=MemoryHousekeepingState(world.manifest),
                segments=world.segments,
                clock=world.clock,
                logger=world.entries.logger,
            ),
        )
        return self.keeper

    def consume(self, commits: int, *, minutes: float = 1) -> None:
        """So many commits of one outcome each, the next so many minutes later; every other is long."""
        for _ in range(commits):
            self.events += 1
            long: dict[str, Any] = {"note": "long" * 40} if self.events % 2 else {}
            self.world.predict(f"f{self.events}", self.events * minutes, **long)
            self.world.label(f"f{self.events}", self.events * minutes)
            self.world.settle(self.worker)

    def save(self) -> None:
        """The worker stops in order, which leaves a snapshot, and starts again."""
        self.world.clock.advance(60)
        self.worker.stop()
        self.worker = self.world.worker()
        self.world.settle(self.worker)

    def keep(self) -> None:
        """Do all there is to do, and let the time pass until superseded files go."""
        for _ in range(2):
            while self.keeper.run_once(self.lease):
                pass
            self.world.clock.advance(60)
        self.keeper.run_once(self.lease)

    @property
    def parts(self) -> list[list[int]]:
        """The parts of each segment."""
        return [[part.number for part in one.parts] for one in self.world.state.segments()]

    @property
    def files(self) -> set[str]:
        return set(self.world.segments.files)


@pytest.fixture
def house() -> House:
    return House()


def undisturbed(commits: int) -> dict[str, object]:
    house = House()
    house.consume(commits)
    return {**house.world.facts(), "stored": house.world.stored()}


# Merging


def test_small_segments_become_few_and_the_newest_are_left_alone(house: House) -> None:
    house.consume(12)
    house.keep()
    assert house.parts == [[1, 2, 3, 4, 5, 6, 7, 8, 9], [10], [11], [12]]
    assert {**house.world.facts(), "stored": house.world.stored()} == undisturbed(12)
    assert house.files == set(house.world.state.segment_files())
    first, *_ = house.world.entries.of("segments.compacted")
    assert (first["segments"], first["records"], first["name"]) == (3, 6, "c-000001-00000001.parquet")


def test_one_call_does_a_bounded_piece(house: House) -> None:
    house.consume(11)
    assert house.keeper.run_once(house.lease)
    assert house.parts == [[1, 2, 3], *([n] for n in range(4, 12))]


def test_a_worker_starts_from_merged_segments_as_from_small_ones(house: House) -> None:
    house.consume(12)
    house.keep()
    house.worker = house.world.worker()
    house.consume(6)
    assert {**house.world.facts(), "stored": house.world.stored()} == undisturbed(18)


def test_a_file_is_kept_for_those_who_may_be_reading_it(house: House) -> None:
    house.consume(5)
    superseded = house.files
    house.keeper.run_once(house.lease)
    assert superseded & {"000001-00000001.parquet", "000001-00000003.parquet"}
    house.world.clock.advance(59)
    house.keeper.run_once(house.lease)
    assert superseded <= house.files
    house.world.clock.advance(1)
    house.keeper.run_once(house.lease)
    assert house.files == set(house.world.state.segment_files())


def test_a_reader_goes_on_where_files_are_merged_away_under_it(house: House) -> None:
    house.consume(12)
    reading = read_parts(house.world.state, house.world.segments)
    met = [next(reading), next(reading)]
    house.keep()
    met += reading
    assert [part.number for part, _ in met] == list(range(1, 13))
    offsets = [
        offset for _, batches in met for batch in batches if batch.partition == PREDICTED for offset in batch.offsets
    ]
    assert offsets == list(range(12))


def test_a_segment_that_is_really_gone_is_refused(house: House) -> None:
    house.consume(3)
    house.world.segments.remove("000001-00000001.parquet")
    with pytest.raises(Refused, match="000001-00000001"):
        list(read_parts(house.world.state, house.world.segments))


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_one_that_cannot_be_read_is_told_once_and_left(house: House, damage: str) -> None:
    house.consume(12)
    if damage == "gone":
        house.world.segments.remove("000001-00000003.parquet")
    else:
        house.world.segments.files["000001-00000003.parquet"] = b"\xc1"
    house.keep()
    (told,) = house.world.entries.of("segments.unreadable")
    assert told["name"] == "000001-00000003.parquet"
    assert house.parts == [[1], [2], [3], [4, 5, 6], [7, 8, 9], [10], [11], [12]]


# Dying


PLACES = ("segment.write", "segment.written", "compact.begin", "compact.end", "segment.removed")


@pytest.mark.parametrize("nth", [1, 2, 4])
@pytest.mark.parametrize("place", PLACES)
def test_wherever_it_dies_nothing_is_lost_or_doubled(house: House, place: str, nth: int) -> None:
    house.consume(15)
    house.world.crasher.arm(place, nth)
    with pytest.raises(Crash):
        house.keep()
    assert house.world.stored() == undisturbed(15)["stored"]
    house.start()
    house.keep()
    house.worker = house.world.worker()
    house.world.settle(house.worker)
    assert {**house.world.facts(), "stored": house.world.stored()} == undisturbed(15)
    assert house.files == set(house.world.state.segment_files())


@settings(max_examples=much(60), deadline=None)
@given(
    st.lists(
        st.sampled_from(["consume", "keep", "keep", "restart_worker", "restart_keeper", "minute"])
        | st.tuples(st.sampled_from(PLACES), st.integers(1, 3)),
        max_size=25,
    )
)
def test_whatever_happens_in_whatever_order(acts: list[Any]) -> None:
    house = House()
    steps: dict[str, Callable[[], object]] = {
        "consume": lambda: house.consume(3),
        "keep": lambda: house.keeper.run_once(house.lease),
        "restart_worker": lambda: setattr(house, "worker", house.world.worker()),
        "restart_keeper": house.start,
        "minute": lambda: house.world.clock.advance(60),
    }
    for act in acts:
        if isinstance(act, tuple):
            house.world.crasher.arm(*act)
            try:
                house.keeper.run_once(house.lease)
            except Crash:
                house.start()
            house.world.crasher.arm("")
        else:
            steps[act]()
    house.keep()
    assert {**house.world.facts(), "stored": house.world.stored()} == undisturbed(house.events)


def test_an_outage_leaves_nothing_behind(house: House) -> None:
    house.consume(5)

    def away(place: str) -> None:
        if place == "compact.begin":
            house.world.manifest.fail_at = house.world.crasher
            raise Unreachable("the manifest is away")

    house.world.manifest.fail_at = away
    with pytest.raises(Unreachable):
        house.keeper.run_once(house.lease)
    assert "c-000001-00000001.parquet" in house.files
    house.keep()
    assert "c-000001-00000001.parquet" not in house.files
    assert house.parts == [[1, 2, 3], [4], [5]]


def test_a_controller_that_lost_its_lease_changes_nothing(house: House) -> None:
    house.consume(5)
    old, stale = house.keeper, house.lease
    house.start()
    house.world.segments.write("c-000002-00000009.parquet", b"the new one's, about to be registered")
    with pytest.raises(Fenced):
        old.run_once(stale)
    assert house.parts == [[1], [2], [3], [4], [5]]
    assert "c-000002-00000009.parquet" in house.files


def test_a_worker_that_starts_leaves_a_file_that_is_being_merged_alone(house: House) -> None:
    house.consume(5)
    house.world.segments.write("c-000001-00000009.parquet", b"about to be registered")
    house.worker = house.world.worker()
    house.consume(1)
    assert "c-000001-00000009.parquet" in house.files


# Forgetting


def old_house() -> House:
    """Thirty hours of outcomes, one an hour, of which the last two hours count as retained."""
    house = House(retention=2 * 60)
    house.consume(30, minutes=60)
    house.save()
    return house


def first_part(house: House) -> int:
    return house.parts[0][0]


def test_what_is_beyond_the_retention_is_forgotten() -> None:
    house = old_house()
    house.keep()
    needed = 30 * 60 - 5 - policy().join.reach // MINUTE  # before the watermark: more than the retention keeps
    newest = [max(part.newest or 0 for part in one.parts) for one in house.world.state.segments()]
    assert newest[0] >= at(needed)  # and what was merged goes as a whole
    assert first_part(house) > 15
    assert house.files == set(house.world.state.segment_files())
    told = house.world.entries.of("segments.removed")
    assert sum(one["records"] for one in told) == 2 * (first_part(house) - 1)


@pytest.mark.parametrize("place", ["remove.begin", "remove.end", "segment.removed"])
def test_a_crash_while_it_forgets_leaves_nothing_behind(place: str) -> None:
    house, other = old_house(), old_house()
    house.world.crasher.arm(place)
    with pytest.raises(Crash):
        house.keep()
    house.start()
    house.keep()
    other.keep()
    house.worker = house.world.worker()
    house.consume(1, minutes=60)
    other.consume(1, minutes=60)
    assert first_part(house) == first_part(other) > 15
    assert house.world.facts() == other.world.facts()
    assert house.files == set(house.world.state.segment_files())


def test_the_join_goes_on_after_forgetting_as_before() -> None:
    house, other = old_house(), old_house()
    house.keep()
    assert house.parts[0][0] > 1
    for one in (house, other):
        one.worker = one.world.worker()
        one.world.label("f30", 30 * 60 + 10, "on_time")  # a correction of what is remembered
        one.consume(2, minutes=60)
    assert house.world.facts() == other.world.facts()


def test_within_the_retention_nothing_is_forgotten() -> None:
    house = old_house()
    house.retention = 40 * 60
    house.start()
    house.keep()
    assert first_part(house) == 1


def test_within_two_horizons_nothing_is_forgotten_whatever_the_retention() -> None:
    house = House(retention=1)
    house.consume(20, minutes=2)
    house.keep()
    assert first_part(house) == 1


def test_nothing_is_forgotten_before_every_model_can_say_what_it_needs() -> None:
    house = House(retention=2 * 60)
    house.world.models = (*house.world.models, policy("new"))
    house.consume(30, minutes=60)
    house.start()
    house.keep()
    assert first_part(house) == 1
    house.worker = house.world.worker()
    house.consume(1, minutes=60)
    house.save()
    house.keep()
    assert first_part(house) > 1


def test_nothing_is_forgotten_while_a_job_may_read_it() -> None:
    house = old_house()
    job, decided = job_for(decision("flights@1"), 1), [decision("flights@1")]
    step = Step(lease=house.lease, model="flights", memory=b"{}", decisions=decided, jobs=[job])
    house.world.decisions.store_steps([step])
    house.keep()
    assert first_part(house) == 1
    house.world.decisions.put_job(house.lease, job.end(JobState.FAILED, 0))
    house.keep()
    assert first_part(house) > 1


def test_nothing_is_forgotten_before_there_is_a_snapshot() -> None:
    house = House(retention=2 * 60)
    house.consume(30, minutes=60)
    house.keep()
    assert first_part(house) == 1
    house.save()
    house.keep()
    assert first_part(house) > 1


def test_nothing_is_forgotten_while_a_snapshot_is_older_than_a_changed_mapping() -> None:
    house = House(retention=2 * 60)
    house.consume(30, minutes=60)
    house.save()
    house.world.models = (policy(value="prediction", lateness=6 * MINUTE),)
    house.worker = house.world.worker()
    house.consume(1, minutes=60)
    house.keep()
    assert first_part(house) == 1
    for _ in range(2):
        house.save()
        house.consume(1, minutes=60)
    house.keep()
    assert first_part(house) > 1


def test_what_comes_after_the_oldest_snapshot_is_kept() -> None:
    house = House(retention=2 * 60)
    house.consume(9, minutes=60)
    worker = house.world.state.claim("ingest", "here/1", 0)
    taken = NewSnapshot(name="one", positions={PREDICTED: 9}, fingerprints={}, size=1)
    house.world.state.register_snapshot(worker, taken, 0)
    house.worker = house.world.worker()
    house.consume(21, minutes=60)
    house.keep()
    assert first_part(house) == 10


# In the controller


def test_the_controller_keeps_house_until_it_stops(tmp_path: Any) -> None:
    control = Control(World(), tmp_path, model())
    done = Event()

    class Keeper(Housekeeping):
        def run_once(self, lease: Lease) -> bool:
            assert lease.name == "controller"
            done.set()
            return False

    controller = control.controller()
    keeper = Keeper(HousekeepingPolicy(retention=0, reaches={}), House().keeper._parts)
    controller.parts = replace(controller.parts, housekeeping=keeper)
    controller.run_once()
    assert done.wait(10)
    controller.stop()
    assert not any(helper.is_alive() for helper in controller._helpers)
