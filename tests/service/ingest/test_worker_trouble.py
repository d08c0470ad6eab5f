"""A worker whose place is taken, whose world goes away, or who is told to leave."""

from __future__ import annotations

from threading import Event

import pytest

from retrainer.errors import Unreachable
from tests.service.world import World

# Owners


def test_a_worker_that_was_succeeded_drops_what_it_holds(world: World) -> None:
    sleeper = world.worker()
    world.settle(sleeper)
    world.predict("f1", 0)
    sleeper.run_once()
    reader = world.log.another_reader()
    successor = world.worker(reader, owner="there/2")
    world.settle(successor, reader)
    before = world.facts()
    world.clock.advance(2)
    sleeper.run_once()
    assert not sleeper.assigned
    assert world.facts() == before
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}
    assert "newer process" in world.entries.one("shard.revoked")["reason"]


def test_a_worker_that_was_succeeded_notices_although_it_is_idle(world: World) -> None:
    sleeper = world.worker()
    world.settle(sleeper)
    reader = world.log.another_reader()
    world.settle(world.worker(reader, owner="there/2"), reader)
    world.predict("f1", 0)
    world.settle(world.worker(reader, owner="there/2"), reader)
    world.flush(sleeper)
    assert not sleeper.assigned
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}


def test_a_commit_whose_answer_was_lost_is_not_made_twice(world: World, kept: str) -> None:
    worker = world.worker()
    world.settle(worker)
    world.predict("f1", 0)
    world.label("f1", 5)

    def lose(place: str) -> None:
        if place == "commit.end":
            world.manifest.fail_at = lambda _: None
            raise Unreachable("the answer was lost")

    world.manifest.fail_at = lose
    world.flush(worker)
    world.settle(worker)
    assert world.tallies() == {("1", 5, "late", "late"): 1}
    assert len(list(world.state.segments())) == 1


# Outages


def test_a_database_that_is_away_is_said_once_and_nothing_is_read_meanwhile(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.predict("f1", 0)
    worker.run_once()
    world.manifest.go_away()
    world.clock.advance(2)
    worker.run_once()
    polls = world.log.polls
    for _ in range(60):
        world.predict("more", 0)
        assert not worker.run_once()
        world.clock.advance(1)
    assert world.log.polls == polls
    assert world.entries.one("dependency.lost")["dependency"] == "database"
    world.manifest.come_back()
    world.settle(worker)
    assert world.entries.one("dependency.recovered")["dependency"] == "database"
    assert world.counts()["predictions.consumed"] == 61


def test_a_broker_that_is_away_is_said_once_and_what_was_read_is_committed(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.predict("f1", 0)
    worker.run_once()
    world.log.go_away()
    for _ in range(60):
        worker.run_once()
        world.clock.advance(1)
    assert world.entries.one("dependency.lost")["dependency"] == "broker"
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}
    world.log.come_back()
    world.predict("f2", 0)
    world.settle(worker)
    assert world.entries.one("dependency.recovered")["dependency"] == "broker"
    assert world.counts()["predictions.consumed"] == 2


def test_a_database_that_is_away_at_the_start_is_called_by_its_name(world: World) -> None:
    def away(place: str) -> None:
        if place == "begin.begin":
            raise Unreachable("the database is locked")

    worker = world.worker()
    world.manifest.fail_at = away
    for _ in range(10):
        worker.run_once()
        world.clock.advance(1)
    assert not worker.assigned
    assert world.entries.one("dependency.lost")["dependency"] == "database"
    world.manifest.fail_at = lambda _: None
    world.settle(worker)
    assert world.entries.one("dependency.recovered")["dependency"] == "database"


@pytest.mark.parametrize("seconds", [-86_400, 86_400])
def test_a_wall_clock_that_jumps_changes_nothing(world: World, seconds: float) -> None:
    worker = world.worker()
    for number in range(4):
        world.predict(number, 0)
        world.settle(worker)
        world.clock.jump(seconds)
    assert world.counts() == {"predictions.consumed": 4, "predictions.pending": 4}
    assert world.watermark() == -5


# Leaving


def test_a_stop_commits_what_was_read(world: World) -> None:
    worker = world.worker()
    worker.run_once()
    world.predict("f1", 0)
    worker.run_once()
    stop = Event()
    stop.set()
    worker.run(stop)
    assert world.positions() == {"predictions-0": 1, "labels-0": 0}


def test_a_worker_that_has_nothing_to_do_but_wait_waits_for_the_stop(world: World) -> None:
    class Stop:
        waits = 0

        def is_set(self) -> bool:
            return self.waits > 5

        def wait(self, timeout: float | None = None) -> bool:
            world.clock.advance(timeout or 0)
            self.waits += 1
            return self.is_set()

    world.log.go_away()
    stop = Stop()
    world.worker().run(stop)
    assert stop.waits == 6
    assert world.entries.events == ["dependency.lost"]


@pytest.mark.parametrize("away", ["database", "broker"])
def test_a_stop_during_an_outage_loses_nothing(world: World, away: str) -> None:
    worker = world.worker()
    worker.run_once()
    world.predict("f1", 0)
    worker.run_once()
    outside = world.manifest if away == "database" else world.log
    outside.go_away()
    worker.stop()
    outside.come_back()
    world.settle(world.worker())
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}


def test_a_stop_before_the_first_round(world: World) -> None:
    world.worker().stop()
    assert world.positions() == {}


def test_a_stop_of_one_that_was_succeeded(world: World) -> None:
    sleeper = world.worker()
    world.settle(sleeper)
    world.predict("f1", 0)
    sleeper.run_once()
    reader = world.log.another_reader()
    world.settle(world.worker(reader), reader)
    sleeper.stop()
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}
