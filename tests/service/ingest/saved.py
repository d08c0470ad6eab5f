"""A story in three parts for snapshots to be taken in, and what can happen to them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from retrainer.domain.join.ingest import IngestPolicy
from retrainer.service.ingest.worker import Worker
from tests.service.world import FLIGHTS, MINUTE, World, policy

FIVE_MINUTES = 300

MODELS = (FLIGHTS, policy("impatient", max_delay=10 * MINUTE, lateness=1 * MINUTE, corrections="first"))


def first_half(world: World) -> None:
    """An id that joined, one that waits for its label, a label that waits, one corrected, one taken back."""
    for key in ("joined", "pending", "corrected", "twice"):
        world.predict(key, 0)
    world.predict("twice", 1)
    world.label("joined", 5)
    world.label("waiting", 6)
    world.label("corrected", 4, "on_time")
    world.label("corrected", 5)


def second_half(world: World) -> None:
    """What can only be understood by who remembers the first half."""
    world.label("joined", 8, "on_time")
    world.label("pending", 9)
    world.predict("waiting", 3, "on_time")
    world.label("corrected", 9, "diverted")
    world.label("twice", 9)
    world.predict("twice", 2)
    world.predict("new", 40)
    world.label("new", 41)


def third_half(world: World) -> None:
    """Time passes, so that all of it is over."""
    world.label("pending", 10, "on_time")
    world.predict("much later", 500)
    world.label("much later", 501)


HALVES = (first_half, second_half, third_half)


def undisturbed(*models: IngestPolicy) -> World:
    """The same records, read by one worker that takes no snapshot."""
    world = World(models=models)
    worker = world.worker()
    for half in HALVES:
        half(world)
        world.settle(worker)
    assert world.snapshots.files == {}
    return world


def told(*models: IngestPolicy) -> World:
    """The first half is read, and saved at the stop."""
    world = World(models=models)
    worker = world.worker()
    first_half(world)
    world.settle(worker)
    stop(world, worker)
    return world


def stop(world: World, worker: Worker) -> None:
    """Later than the last snapshot would be good enough for."""
    world.clock.advance(11)
    worker.stop()


def save(world: World, worker: Worker) -> None:
    """Let the time to the next snapshot pass."""
    world.clock.advance(FIVE_MINUTES)
    worker.run_once()


def go_on(world: World, halves: Sequence[Callable[[World], None]] = HALVES[1:]) -> Worker:
    """A new process, which begins before the next records are there."""
    worker = world.worker()
    world.settle(worker)
    for half in halves:
        half(world)
        world.settle(worker)
    return worker


def lose_segments(world: World, before: int) -> None:
    """Make the segments up to a number unreadable, so that whoever reads one fails."""
    for number, held in world.manifest._tables.segments.items():
        if number <= before:
            stored = replace(held.stored, content=b"damaged")
            world.manifest._tables.segments[number] = replace(held, stored=stored)


def newest_segment(world: World) -> int:
    return max(world.manifest.reading().segments)


def damage(world: World, names: Collection[str]) -> None:
    for name in names:
        del world.snapshots.files[name]


def snapshots_of(world: World) -> list[str]:
    """Their names, newest first."""
    return [one.name for one in world.state.snapshots("ingest")]
