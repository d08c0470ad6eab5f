"""The machine's clock is set, forwards or back, while the service runs: events have times of their own."""

from __future__ import annotations

import pytest

from tests.service.controlling import Control
from tests.service.world import World

JUMPS = [-86_400 * 365, -3600, 3600, 86_400 * 365]
DAY = 86_400


@pytest.mark.parametrize("seconds", JUMPS)
def test_a_clock_that_jumps_neither_hurries_nor_delays_a_commit(world: World, seconds: float) -> None:
    worker = world.worker()
    world.settle(worker)
    world.predict("f1", 0)
    worker.run_once()
    world.clock.jump(seconds)
    worker.run_once()
    assert world.positions()["predictions-0"] == 0
    world.clock.advance(2)
    worker.run_once()
    assert world.positions()["predictions-0"] == 1


@pytest.mark.parametrize("seconds", JUMPS)
def test_a_clock_that_jumps_changes_no_outcome(world: World, seconds: float) -> None:
    def story(jump: float) -> World:
        told = World()
        worker = told.worker()
        for minute in range(0, 60, 10):
            told.predict(minute, minute)
            told.label(minute, minute + 5, "on_time" if minute % 20 else "late")
            told.settle(worker)
            told.clock.jump(jump)
        told.settle(told.worker())
        return told

    jumped, steady = story(seconds), story(0)
    assert jumped.tallies() == steady.tallies()
    assert jumped.counts() == steady.counts()
    assert jumped.watermark() == steady.watermark()


@pytest.mark.parametrize("seconds", JUMPS)
def test_a_clock_that_jumps_in_an_outage_does_not_stop_the_attempts(world: World, seconds: float) -> None:
    worker = world.worker()
    world.settle(worker)
    world.log.go_away()
    world.flush(worker)
    world.clock.jump(seconds)
    world.log.come_back()
    world.predict("f1", 0)
    world.clock.advance(15)
    world.settle(worker)
    assert world.counts()["predictions.consumed"] == 1
    assert world.entries.one("dependency.recovered")["after_seconds"] < 60


@pytest.mark.parametrize("seconds", JUMPS)
def test_decisions_follow_the_events_and_not_the_clock(control: Control, seconds: float) -> None:
    def story(jump: float) -> list[tuple[str, tuple[str, ...]]]:
        world = control.world
        controller = control.controller()
        controller.round()
        for minute, label in ((0, "late"), (20, "on_time"), (40, "on_time")):
            for key in range(10):
                world.predict(f"{minute}/{key}", minute, "late")
                world.label(f"{minute}/{key}", minute + 1, label)
            world.predict(f"after {minute}", minute + 10)
            world.settle(world.worker())
            world.clock.jump(jump)
            controller.run_once()
            controller.finish_jobs()
        return [(decision.outcome.value, decision.triggers) for decision in control.state.decisions("flights", 10)]

    assert story(seconds)[0] == ("retrain", ("low_accuracy",))
