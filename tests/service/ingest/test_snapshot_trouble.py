"""Snapshots that cannot be taken, and those who take them when they should not."""

from __future__ import annotations

import pytest

from retrainer.adapters.memory.manifest import MemoryManifest
from retrainer.adapters.memory.segments import MemorySegments
from retrainer.service.ingest import cut as storing
from tests.service.ingest.saved import (
    MODELS,
    first_half,
    go_on,
    lose_segments,
    newest_segment,
    save,
    second_half,
    snapshots_of,
    stop,
    third_half,
    told,
    undisturbed,
)
from tests.service.world import FLIGHTS, Crash, Log, World


def test_one_that_cannot_be_written_is_said_and_work_goes_on() -> None:
    world = told(*MODELS)
    worker = world.worker()
    world.settle(worker)
    world.snapshots.go_away()
    save(world, worker)
    assert "away" in world.entries.one("snapshot.failed")["error"]
    second_half(world)
    world.settle(worker)
    assert world.positions() == {"predictions-0": 8, "labels-0": 9}
    assert len(world.entries.of("snapshot.failed")) == 1  # until the next is due
    assert len(snapshots_of(world)) == 1
    world.snapshots.come_back()
    save(world, worker)
    assert len(snapshots_of(world)) == 2
    assert "shard.revoked" not in world.entries.events
    third_half(world)
    world.settle(worker)
    assert world.facts() == undisturbed(*MODELS).facts()


def test_a_stop_without_a_place_for_it_is_a_stop() -> None:
    world = World()
    worker = world.worker()
    first_half(world)
    world.settle(worker)
    world.snapshots.go_away()
    stop(world, worker)
    assert world.entries.one("snapshot.failed")
    world.snapshots.come_back()
    go_on(world)
    assert world.facts() == undisturbed(FLIGHTS).facts()


@pytest.mark.parametrize("away", ["manifest", "segments"])
def test_none_is_taken_while_something_is_not_committed(away: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read cannot become true, and is in no snapshot either, though those could be written."""
    monkeypatch.setattr(storing, "_INLINE_BYTES", -1)
    world = World()
    worker = world.worker()
    world.settle(worker)
    first_half(world)
    worker.run_once()
    outside: MemoryManifest | MemorySegments = world.manifest if away == "manifest" else world.segments
    outside.go_away()
    for _ in range(10):
        save(world, worker)
    stop(world, worker)
    outside.come_back()
    assert snapshots_of(world) == []
    assert world.snapshots.files == {}
    assert world.positions() == {"predictions-0": 0, "labels-0": 0}
    go_on(world)
    assert world.facts() == undisturbed(FLIGHTS).facts()


def test_what_cannot_be_registered_does_not_pile_up() -> None:
    world = told(FLIGHTS)
    worker = go_on(world, [second_half])
    save(world, worker)
    registered = snapshots_of(world)
    world.manifest.go_away()
    for _ in range(5):
        save(world, worker)
    assert len(world.entries.of("snapshot.failed")) == 5
    world.manifest.come_back()
    assert set(world.snapshots.files) == set(registered)
    save(world, worker)
    assert len(snapshots_of(world)) == 2
    assert set(world.snapshots.files) == set(snapshots_of(world))


def test_one_is_taken_once_what_was_read_could_be_committed() -> None:
    world = World()
    worker = world.worker()
    world.settle(worker)
    first_half(world)
    worker.run_once()
    world.manifest.go_away()
    save(world, worker)
    world.manifest.come_back()
    world.settle(worker)
    save(world, worker)
    assert world.positions() == {"predictions-0": 5, "labels-0": 4}
    lose_segments(world, newest_segment(world))
    go_on(world)
    assert world.counts() == undisturbed(FLIGHTS).counts()


@pytest.mark.parametrize("place", ["snapshot.write", "snapshot.written", "snapshot.begin", "snapshot.end"])
def test_a_crash_while_it_is_taken_leaves_no_trace(place: str) -> None:
    world = told(*MODELS)
    worker = go_on(world, [second_half])
    world.crasher.arm(place)
    with pytest.raises(Crash):
        save(world, worker)
    world.crasher.arm("")
    worker = go_on(world, [third_half])
    assert set(world.snapshots.files) == set(snapshots_of(world))
    save(world, worker)
    assert set(world.snapshots.files) == set(snapshots_of(world))
    assert world.facts() == undisturbed(*MODELS).facts()


def test_whoever_lost_the_shard_registers_none() -> None:
    world = told(FLIGHTS)
    reader = world.log.another_reader()
    sleeper, awake = world.worker(reader), world.worker(owner="there/2")
    world.settle(sleeper, reader)
    world.settle(awake)
    before = snapshots_of(world)
    save(world, sleeper)
    assert "shard.revoked" in world.entries.events
    assert snapshots_of(world) == before
    save(world, awake)
    newest = snapshots_of(world)[0]
    assert newest not in before
    assert set(world.snapshots.files) >= set(snapshots_of(world))
    sleeper.stop()
    assert snapshots_of(world)[0] == newest
    assert set(world.snapshots.files) >= set(snapshots_of(world))


def test_a_zombie_that_wakes_after_its_successors_snapshot_leaves_it_alone() -> None:
    """It writes its file, is refused, and neither its file nor its sweep is in anybody's way."""
    world = told(FLIGHTS)
    reader: Log = world.log.another_reader()
    sleeper = world.worker(reader)
    world.settle(sleeper, reader)
    awake = go_on(world, [second_half])
    save(world, awake)
    kept_files = {name: world.snapshots.files[name] for name in snapshots_of(world)}
    sleeper.stop()
    assert {name: world.snapshots.files.get(name) for name in snapshots_of(world)} == kept_files
    lose_segments(world, newest_segment(world))
    go_on(world, [third_half])
    assert set(world.snapshots.files) == set(snapshots_of(world))  # the successor's successor sweeps
    assert world.facts() == undisturbed(FLIGHTS).facts()
