"""Far behind the end of the topics, and back there; and where the very first start begins."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from retrainer.adapters.clock import SystemClock
from retrainer.domain.deciding.jobs import JobState
from retrainer.domain.values import SECOND, duration, moment
from retrainer.ports.event_log import Start
from retrainer.service.ingest.worker import Worker
from tests.service.controlling import Control, model
from tests.service.world import FLIGHTS, LABELLED, LABELS, PREDICTED, PREDICTIONS, World, at, policy

TRAINS = policy("trains", predictions="train-predictions", labels="train-labels")


def is_catching_up(world: World) -> dict[str, bool]:
    """What is stored of each model."""
    return {name: stored.catching_up for name, stored in world.state.model_progress().items()}


def begun(world: World) -> Worker:
    """A worker that has made its first commit, of one batch."""
    worker = world.worker()
    worker.run_once()
    world.flush(worker)
    return worker


@pytest.mark.parametrize(
    ("batch", "behind", "is_far"),
    [(1, 1000, False), (1, 1001, True), (200, 1000, False), (200, 1001, True), (400, 2000, False), (400, 2001, True)],
)
def test_far_behind_is_more_than_a_few_commits_like_the_last(batch: int, behind: int, is_far: bool) -> None:
    world = World(batch=batch)
    for number in range(batch + behind):
        world.predict(number, 0)
    begun(world)
    assert world.positions()["predictions-0"] == batch
    assert is_catching_up(world) == {"flights": is_far}


def test_what_every_topic_holds_counts_together() -> None:
    world = World(batch=1)
    for number in range(501):
        world.predict(number, 0)
        world.label(number, 0)
    begun(world)
    assert is_catching_up(world) == {"flights": True}


def test_it_is_stored_for_every_model_and_told_once() -> None:
    topics = {PREDICTIONS: 1, LABELS: 1, "train-predictions": 1, "train-labels": 1}
    world = World(models=(FLIGHTS, TRAINS), partitions=topics, batch=100)
    for number in range(5000):
        world.predict(number, 0)
    worker = begun(world)
    for _ in range(5):
        world.flush(worker)
        assert is_catching_up(world) == {"flights": True, "trains": True}
    assert world.entries.one("catch_up.began") == {"log_level": "info", "behind": 4900}
    assert "catch_up.ended" not in world.entries.events
    world.settle(worker)
    assert is_catching_up(world) == {"flights": False, "trains": False}
    world.predict("later", 0)
    world.settle(worker)
    assert world.entries.one("catch_up.began")
    assert world.entries.one("catch_up.ended")["behind"] <= 1000


def test_who_is_near_the_end_is_never_catching_up(world: World) -> None:
    worker = world.worker()
    for number in range(900):
        world.predict(number, 0)
    world.settle(worker)
    assert is_catching_up(world) == {"flights": False}
    assert not {"catch_up.began", "catch_up.ended"} & set(world.entries.events)


def test_it_ends_although_nothing_else_changes() -> None:
    """What was still to be read was compacted away."""
    world = World(batch=1)
    for number in range(1500):
        world.predict(number, 0)
    worker = begun(world)
    assert is_catching_up(world) == {"flights": True}
    before = world.positions()
    del world.log._held[PREDICTED].records[1:]
    world.flush(worker)
    assert is_catching_up(world) == {"flights": False}
    assert world.positions() == before


def test_a_start_without_what_was_far_behind_ends_it() -> None:
    """The model whose topics were far behind is not in the configuration any more, and the others stand still."""
    topics = {PREDICTIONS: 1, LABELS: 1, "train-predictions": 1, "train-labels": 1}
    world = World(models=(FLIGHTS, TRAINS), partitions=topics, batch=1)
    for number in range(1500):
        world.predict(number, 0)
    begun(world)
    assert is_catching_up(world)["trains"]
    world.models = (TRAINS,)
    world.settle(world.worker())
    assert not is_catching_up(world)["trains"]


@pytest.mark.parametrize("restarted", [False, True])
def test_while_the_broker_is_away_it_goes_on(restarted: bool) -> None:
    """That nobody can say where the ends are does not mean that they were reached."""
    world = World(batch=100)
    for number in range(3000):
        world.predict(number, 0)
    worker = begun(world)
    if restarted:
        worker = world.worker()
        worker.run_once()
    worker.run_once()  # there is something to commit
    world.log.go_away()
    for _ in range(5):
        world.flush(worker)
    assert world.positions()["predictions-0"] == 200
    assert is_catching_up(world) == {"flights": True}
    world.log.come_back()
    world.settle(worker)
    assert is_catching_up(world) == {"flights": False}
    assert world.entries.one("catch_up.ended")


def test_nobody_waits_for_the_end_of_a_halted_topic() -> None:
    """It would keep every other model's decisions waiting until somebody mends it."""
    topics = {PREDICTIONS: 1, LABELS: 1, "train-predictions": 1, "train-labels": 1}
    world = World(models=(FLIGHTS, TRAINS), partitions=topics, batch=50, poison_limit=50)
    worker = begun(world)
    for _ in range(3000):
        world.write(LABELLED, b"poison")
    for _ in range(5):
        world.flush(worker)
    assert world.entries.one("topic.halted")
    assert is_catching_up(world) == {"flights": False, "trains": False}


def test_what_fires_meanwhile_is_held_and_taken_up_at_the_end(tmp_path: Path) -> None:
    world = World(batch=50)
    for number in range(20):
        world.label(number, number + 1, "on_time")
    for number in range(1300):
        world.predict(number, min(number, 30), "late")
    control = Control(world, tmp_path / "jobs", model())
    control.registry.seed()
    controller = control.controller()
    worker = begun(world)
    controller.round()
    (held,) = control.state.decisions("flights", 10)
    assert (held.outcome.value, held.reason, held.triggers) == ("hold", "catching_up", ("low_accuracy",))
    assert control.trainings.specs == []
    world.settle(worker)
    controller.round()
    told = [(one.outcome.value, one.reason) for one in control.state.decisions("flights", 10)]
    assert told == [("hold", "catching_up"), ("retrain", "fired")]
    (job,) = control.state.jobs()
    assert job.state in (JobState.PROMOTED, JobState.REJECTED)
    assert len(control.trainings.specs) == 1


# Where the very first start begins


@pytest.mark.parametrize(
    ("start", "position"),
    [
        ("earliest", 0),
        ("latest", 4),
        (timedelta(days=7), 2),
        (timedelta(days=30), 0),
        (timedelta(seconds=1), 4),
        (moment(SystemClock().now() - duration(timedelta(days=2))), 3),
    ],
    ids=["earliest", "latest", "7d", "30d", "1s", "time"],
)
def test_only_the_very_first_start_asks_where_to_begin(start: Start, position: int) -> None:
    world = World(start=start)
    now = SystemClock().now()
    for days in (20, 10, 5, 1):
        world.log.append(PREDICTIONS, b"{}", timestamp=(now - duration(timedelta(days=days)) - SECOND) // 1000)
    world.settle(world.worker())
    assert [*world.stored().get(PREDICTED, [])] == list(range(position, 4))
    for other in ("earliest", "latest", timedelta(days=7), moment(at(0))):
        world.start = other
        world.log.append(PREDICTIONS, b"{}")
        world.settle(world.worker())
    assert [*world.stored()[PREDICTED]] == list(range(position, 8))


def test_a_first_start_so_long_ago_begins_where_the_log_does() -> None:
    world = World(start=timedelta(days=36_500))
    world.predict("f1", 0)
    world.log.append(LABELS, b"{}", timestamp=1)
    world.settle(world.worker())
    assert world.positions() == {"predictions-0": 1, "labels-0": 1}
    assert world.counts()["predictions.consumed"] == world.counts()["labels.consumed"] == 1
