"""A start from a snapshot comes to what a start without one comes to, and reads no more than it has to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from retrainer.domain.join.ingest import IngestPolicy
from retrainer.domain.mapping.slices import SlicePolicy
from retrainer.errors import Refused
from retrainer.service.ingest import snapshotting as saving
from tests.service.ingest.saved import (
    MODELS,
    damage,
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
from tests.service.world import FLIGHTS, PREDICTED, Crash, World, policy

# Going on from one


@pytest.mark.parametrize("models", [(FLIGHTS,), MODELS], ids=["one", "two"])
def test_a_start_goes_on_from_the_snapshot_of_the_stop(models: tuple[IngestPolicy, ...]) -> None:
    world = told(*models)
    taken = world.entries.one("snapshot.taken")
    assert [taken["name"]] == snapshots_of(world) == list(world.snapshots.files)
    lose_segments(world, newest_segment(world))
    world.entries.clear()
    go_on(world)
    started = world.entries.one("shard.assigned")
    assert (started["snapshot"], started["replayed"]) == (taken["name"], 0)
    assert started["remembered"] == taken["remembered"] == dict.fromkeys((model.model for model in models), 5)
    assert world.facts() == undisturbed(*models).facts()


def test_the_outcomes_are_those_of_the_events() -> None:
    """So that what the worlds are compared with is right itself."""
    world = told(FLIGHTS)
    go_on(world, [second_half])
    assert world.counts() == {
        "predictions.consumed": 8,
        "predictions.joined": 6,
        "predictions.duplicate": 2,
        "labels.consumed": 9,
        "labels.applied": 6,
        "labels.superseded": 3,
    }


def test_only_what_came_after_it_is_read() -> None:
    world = told(*MODELS)
    before = newest_segment(world)
    worker = world.worker()
    second_half(world)
    world.settle(worker)
    lose_segments(world, before)
    world.entries.clear()
    go_on(world, [third_half])  # as after a crash: the second half is in segments alone
    started = world.entries.one("shard.assigned")
    assert (started["snapshot"], started["replayed"]) == (snapshots_of(world)[-1], 1)
    assert world.facts() == undisturbed(*MODELS).facts()


def test_one_is_taken_every_five_minutes() -> None:
    world = World()
    worker = world.worker()
    first_half(world)
    world.settle(worker)
    for _ in range(100):
        world.clock.advance(2.9)
        worker.run_once()
    assert world.entries.of("snapshot.taken") == []
    world.clock.advance(10)
    worker.run_once()
    assert len(world.entries.of("snapshot.taken")) == 1
    for _ in range(99):
        world.clock.advance(3)
        worker.run_once()
    assert len(world.entries.of("snapshot.taken")) == 1
    world.clock.advance(4)
    worker.run_once()
    assert len(world.entries.of("snapshot.taken")) == 2


def test_one_is_taken_sooner_where_much_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "_MANY_RECORDS", 9)
    world = World()
    worker = world.worker()
    first_half(world)
    world.settle(worker)
    for _ in range(8):
        world.flush(worker)
    assert world.entries.of("snapshot.taken") == []  # a backlog would have it do nothing else
    for _ in range(4):
        world.flush(worker)
    assert len(world.entries.of("snapshot.taken")) == 1
    for _ in range(100):
        world.flush(worker)
    assert len(world.entries.of("snapshot.taken")) == 1


def test_one_that_was_taken_while_reading_serves_as_well() -> None:
    world = World(models=MODELS)
    worker = world.worker()
    first_half(world)
    world.settle(worker)
    save(world, worker)
    lose_segments(world, newest_segment(world))
    go_on(world)
    assert world.facts() == undisturbed(*MODELS).facts()


def test_the_newest_is_used() -> None:
    world = told(*MODELS)
    worker = go_on(world, [second_half])
    save(world, worker)
    lose_segments(world, newest_segment(world))
    world.entries.clear()
    go_on(world, [third_half])
    assert world.entries.one("shard.assigned")["snapshot"] == snapshots_of(world)[0]
    assert world.facts() == undisturbed(*MODELS).facts()


def test_at_most_two_are_kept() -> None:
    world = told(FLIGHTS)
    worker = world.worker()
    world.settle(worker)
    taken = snapshots_of(world)
    for _ in range(5):
        save(world, worker)
        taken.insert(0, snapshots_of(world)[0])
        assert snapshots_of(world) == taken[:2]
        assert sorted(world.snapshots.files) == sorted(taken[:2])
    assert len(set(taken)) == 6


def test_the_last_records_before_a_stop_are_in_it() -> None:
    world = World()
    worker = world.worker()
    world.settle(worker)
    first_half(world)
    worker.run_once()
    stop(world, worker)
    assert world.positions() == {"predictions-0": 5, "labels-0": 4}
    lose_segments(world, newest_segment(world))
    go_on(world)
    assert world.counts() == undisturbed(FLIGHTS).counts()


def test_a_stop_soon_after_a_snapshot_takes_no_other() -> None:
    world = World()
    worker = world.worker()
    first_half(world)
    world.settle(worker)
    save(world, worker)
    world.clock.advance(5)
    worker.stop()
    assert len(world.entries.of("snapshot.taken")) == 1


# Those that cannot be used


def test_a_damaged_one_is_passed_over_for_the_one_before() -> None:
    world = told(*MODELS)
    between = newest_segment(world)
    worker = go_on(world, [second_half])
    save(world, worker)
    newest, older = snapshots_of(world)
    damage(world, [newest])
    lose_segments(world, between)
    world.entries.clear()
    go_on(world, [third_half])
    assert world.entries.one("snapshot.unreadable")["name"] == newest
    started = world.entries.one("shard.assigned")
    assert (started["snapshot"], started["replayed"]) == (older, 1)
    assert world.facts() == undisturbed(*MODELS).facts()


def test_without_any_the_segments_are_enough(kept: str) -> None:
    world = told(*MODELS)
    worker = go_on(world, [second_half])
    save(world, worker)
    damaged = snapshots_of(world)
    damage(world, damaged)
    world.entries.clear()
    go_on(world, [third_half])
    assert [entry["name"] for entry in world.entries.of("snapshot.unreadable")] == damaged
    started = world.entries.one("shard.assigned")
    assert (started["snapshot"], started["replayed"]) == (None, 2)
    assert world.facts() == undisturbed(*MODELS).facts()


def test_the_next_one_takes_a_damaged_ones_place() -> None:
    world = told(FLIGHTS)
    damage(world, snapshots_of(world))
    worker = go_on(world, [second_half])
    save(world, worker)
    lose_segments(world, newest_segment(world))
    go_on(world, [third_half])
    assert world.facts() == undisturbed(FLIGHTS).facts()


def test_what_was_restored_is_not_counted_again() -> None:
    world = told(*MODELS)
    before = world.facts()
    for _ in range(3):
        worker = world.worker()
        world.settle(worker)
        stop(world, worker)
        assert world.facts() == before


# Models that change


CHANGED = policy(value="prediction", corrections="first")
SLICED = replace(FLIGHTS, predictions=replace(FLIGHTS.predictions, slices=(SlicePolicy(name="version"),)))


@pytest.mark.parametrize("now", [CHANGED, SLICED], ids=["join", "mapping"])
def test_a_changed_model_is_rebuilt_while_others_go_on(now: IngestPolicy) -> None:
    world = told(*MODELS)
    world.models = (now, MODELS[1])
    world.entries.clear()
    go_on(world)
    assert world.entries.one("model.backfilled")["model"] == "flights"
    started = world.entries.one("shard.assigned")
    assert started["snapshot"] == snapshots_of(world)[0]
    assert started["remembered"] == {"flights": 5, "impatient": 5}
    assert world.counts("impatient") == undisturbed(*MODELS).counts("impatient")
    ideal = undisturbed(now, MODELS[1])
    assert world.counts() == ideal.counts()
    assert world.tallies() == ideal.tallies()
    assert world.tallies("impatient") == ideal.tallies("impatient")


def test_a_model_that_is_not_in_it_is_computed_from_the_segments() -> None:
    world = told(FLIGHTS)
    world.models = MODELS
    go_on(world)
    ideal = undisturbed(*MODELS)
    for model in ("flights", "impatient"):
        assert world.counts(model) == ideal.counts(model)
        assert world.tallies(model) == ideal.tallies(model)


def test_none_is_taken_of_a_model_that_is_not_stored_yet() -> None:
    """A crash before the rebuilt counts are stored: the rebuilding begins again."""
    world = told(*MODELS)
    world.models = (CHANGED, MODELS[1])
    worker = world.worker()
    world.crasher.arm("commit.begin")
    with pytest.raises(Crash):
        world.settle(worker)
    world.crasher.arm("")
    assert len(snapshots_of(world)) == 1
    go_on(world)
    ideal = undisturbed(CHANGED, MODELS[1])
    assert (world.counts(), world.counts("impatient")) == (ideal.counts(), ideal.counts("impatient"))


def test_segments_that_are_damaged_are_needed_without_one() -> None:
    """That losing them proves something."""
    world = told(FLIGHTS)
    damage(world, snapshots_of(world))
    lose_segments(world, newest_segment(world))
    with pytest.raises(Refused):
        world.settle(world.worker())
    assert PREDICTED in world.state.positions()


def test_a_start_that_had_much_to_read_again_is_followed_by_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "_MUCH_TO_REPLAY", 10)
    world = World()
    for number in range(10):
        world.predict(number, number)
    world.settle(world.worker())
    assert world.snapshots.files == {}
    world.settle(world.worker())  # killed, not stopped
    assert len(world.snapshots.files) == 1
    world.settle(world.worker())
    assert [one["replayed"] for one in world.entries.of("shard.assigned")] == [0, 1, 0]
