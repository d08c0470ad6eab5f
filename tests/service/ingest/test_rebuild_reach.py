"""What retention leaves is enough for a start without a snapshot to know again what every event has come to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from retrainer.domain.join.rules import JoinPolicy
from retrainer.domain.values import slot_start
from tests.service.world import MINUTE, World, policy

MAX_DELAY, LATENESS = 4, 1
HORIZON = MAX_DELAY + LATENESS
MODEL = policy(max_delay=MAX_DELAY * MINUTE, lateness=LATENESS * MINUTE)

LATER = (60, 61, 120)
"""When everything that came before is over."""


def told(prediction: float, labels: Sequence[float], until: Sequence[float], *, restarted: bool) -> World:
    """An id's prediction and its labels, then others at some times, each in a commit of its own; then a crash."""
    world = World(models=(MODEL,))
    worker = world.worker()
    world.predict("f1", prediction)
    world.settle(worker)
    for time in labels:
        world.label("f1", time)
        world.settle(worker)
    for minute in until:
        world.predict(f"until {minute}", minute)
        world.settle(worker)
    if restarted:
        forget(world)
        worker = world.worker()
        world.settle(worker)
    for minute in LATER:
        world.predict(f"later {minute}", minute)
        world.label(f"later {minute}", minute)
        world.settle(worker)
    return world


def forget(world: World) -> None:
    """All that retention may take: segments of which every event is too old to matter."""
    first_open = world.state.model_progress()["flights"].progress.first_open
    assert first_open is not None
    older_than = slot_start(first_open) - MODEL.join.reach
    segments = world.manifest._tables.segments
    for number in [number for number, held in segments.items() if held.newest is None or held.newest < older_than]:
        del segments[number]


def assert_alike(prediction: float, labels: Sequence[float], until: Sequence[float]) -> None:
    restarted = told(prediction, labels, until, restarted=True)
    assert restarted.entries.of("shard.assigned")[-1]["snapshot"] is None
    undisturbed = told(prediction, labels, until, restarted=False)
    assert restarted.facts() == undisturbed.facts(), (prediction, labels, until)


def minutes_after(time: float, *, up_to: int = 4 * HORIZON) -> list[list[int]]:
    """The time goes on minute by minute, each time a minute further."""
    return [list(range(int(time) + 1, int(time) + 1 + further)) for further in range(up_to)]


def test_a_label_that_joined_is_not_orphaned_after_a_restart() -> None:
    """Its segment is still there when that of its prediction, older by `max_delay`, is out of two horizons."""
    counts = told(0, [4], [13], restarted=True).counts()
    assert "labels.orphaned" not in counts
    assert "labels.waiting" not in counts
    assert counts["labels.applied"] == 1 + len(LATER)


@pytest.mark.parametrize(("reach", "label"), [(2 * HORIZON, 4), (2 * HORIZON + MAX_DELAY, 5)])
def test_less_is_not_enough(reach: int, label: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the others here are able to fail: of the pair only the label is left, and it is orphaned."""
    monkeypatch.setattr(JoinPolicy, "reach", property(lambda _: reach * MINUTE))
    until = [label + 2 * HORIZON + LATENESS]
    assert told(0, [label], until, restarted=True).counts().get("labels.orphaned") == 1
    assert "labels.orphaned" not in told(0, [label], until, restarted=False).counts()


@pytest.mark.parametrize("delay", range(-HORIZON, MAX_DELAY + 1))
def test_whenever_it_joined_and_whenever_it_is_restarted(delay: int) -> None:
    for until in minutes_after(HORIZON + max(0, delay)):
        assert_alike(HORIZON, [HORIZON + delay], until)


@pytest.mark.parametrize("delay", [MAX_DELAY + 0.5, HORIZON, HORIZON + LATENESS])
def test_a_label_that_was_late_is_not_orphaned_after_a_restart_either(delay: float) -> None:
    for until in minutes_after(delay):
        assert_alike(0, [delay], until)


@pytest.mark.parametrize("labels", [[4, 5], [1, 3, 4], [-3, 4, 5.5]])
def test_corrections_too(labels: Sequence[float]) -> None:
    for until in minutes_after(5):
        assert_alike(0, labels, until)


@pytest.mark.parametrize("labels", [[4], [4.5], [-4], [2, 4.5]])
def test_when_time_jumps_over_what_is_remembered(labels: Sequence[float]) -> None:
    """As in a backlog, of which one commit may hold hours."""
    for until in range(6, 6 * HORIZON):
        assert_alike(0, labels, [until])


def test_what_does_not_matter_is_gone() -> None:
    """So that something was tried."""
    world = told(0, [4], range(5, 60), restarted=True)
    assert world.entries.of("shard.assigned")[-1]["replayed"] < 30
