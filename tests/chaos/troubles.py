"""What goes wrong, and when: chosen by lot from the seed, paced by what has been committed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.chaos.broker import Broker
from tests.chaos.disk import Disk
from tests.chaos.plan import Plan
from tests.chaos.service import Service, Worker

_HOUR_SECONDS: Final = 3600
_SOON: Final = 30.0


@dataclass
class Tally:
    """What was done to the service, and what could not be."""

    kills: int = 0
    controller_kills: int = 0
    zombies: int = 0
    fenced: int = 0
    broker_kills: int = 0
    outages: int = 0
    jumps: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


Until = Callable[[Callable[[], object], str, float], bool]
"""Waits until something is true, minding the run meanwhile: what, in words, at most so many seconds."""


class Troubles:
    """Each trouble leaves a worker that can go on."""

    def __init__(self, service: Service, broker: Broker, disk: Disk, chance: Random, until: Until) -> None:
        self._service = service
        self._broker = broker
        self._disk = disk
        self._chance = chance
        self._until = until
        self.tally = Tally()

    def schedule(self, plan: Plan) -> list[tuple[float, Callable[[], None]]]:
        """Which trouble comes after which share of the records has been committed, in order."""
        kinds: list[Callable[[], None]] = [self.kill] * plan.kills + [self.zombie] * plan.zombies
        kinds += [self.kill_broker] * plan.broker_kills + [self.fill_disk] * plan.outages + [self.jump] * plan.jumps
        self._chance.shuffle(kinds)
        width = 0.9 / len(kinds)
        return [(0.02 + width * (i + self._chance.random()), kind) for i, kind in enumerate(kinds)]

    def kill(self) -> None:
        """kill -9 of the worker at any moment, its start included; at times of the controller too."""
        self._pause(0.3)
        if self._service.controllers and self._chance.random() < 0.3:
            self._service.controllers[-1].kill()
            self._service.start_controller()
            self.tally.controller_kills += 1
        self._kill()
        self._service.start()
        if self._chance.random() < 0.3:
            self._pause(3)  # while it starts: before it has read anything, or while it rebuilds its memory
            self._kill()
            self._service.start()

    def zombie(self) -> None:
        """Freeze a worker at work, let another take over, then wake the first: it has to notice before it writes."""
        self._kill()
        zombie = self._service.start(locked=False)
        self._works(zombie)
        self._pause(0.3)
        zombie.freeze()
        successor = self._service.start()
        while not self._until(lambda: successor.entries("shard.assigned"), "", 8):
            zombie.thaw()  # it was frozen in the middle of a transaction, which nobody can take from it
            self._pause(0.2)
            zombie.freeze()
        self._works(successor)
        zombie.thaw()
        self.tally.zombies += 1
        if self._until(lambda: zombie.entries("shard.revoked"), "", _SOON):
            self.tally.fenced += 1
        else:
            self.tally.failures.append(f"a zombie was not fenced: {zombie.log}")
        zombie.kill()

    def kill_broker(self) -> None:
        """kill -9 of the broker, and a start a little later."""
        self._pause(0.3)
        self._broker.kill()
        self.tally.broker_kills += 1
        self._pause(2)
        self._broker.start()

    def fill_disk(self) -> None:
        """No room for a while, one way and then the other; each second time the worker is killed meanwhile."""
        if not self._disk.ways:
            self.tally.notes.append("the disk was never full: neither mounts nor limits on file sizes here")
            return
        way = self._disk.ways[self.tally.outages % len(self._disk.ways)]
        worker = self._service.worker
        self._works(worker)
        before = _full(worker)
        self._disk.fill(way, worker.pid, worker.log)
        try:
            felt = self._until(lambda: _full(worker) > before, "", _SOON)
            self._pause(1)
            if self.tally.outages // 2 % 2:
                self._kill()
                worker = self._service.start()
                self._pause(4)
        finally:
            self._disk.free(way, worker.pid)
        self.tally.outages += 1
        if not felt:
            self.tally.failures.append(f"nobody noticed that the disk was full ({way}): {worker.log}")

    def jump(self) -> None:
        """The wall clock is suddenly hours off."""
        self._service.move_clock(self._chance.randint(-9, 9) * _HOUR_SECONDS + self._chance.randint(0, 59))
        self.tally.jumps += 1

    def _kill(self) -> None:
        self._service.worker.kill()
        self.tally.kills += 1

    def _works(self, worker: Worker) -> None:
        """Wait until a worker has begun, and commits have followed."""
        self._until(lambda: worker.entries("shard.assigned"), "", _SOON)
        before = self._service.manifest.committed()
        self._until(lambda: self._service.manifest.committed() > before, "", _SOON)

    def _pause(self, longest: float) -> None:
        """A moment that nobody can know, so that trouble comes at any point of a round."""
        time.sleep(self._chance.uniform(0, longest))


def _full(worker: Worker) -> int:
    """How often a worker has said that it has no room."""
    lost = [entry for entry in worker.entries("dependency.lost") if entry["dependency"] == "database"]
    return len(lost) + len(worker.entries("disk.low"))
