"""The heartbeat of a main loop: whoever watches the process from outside sees that it still goes round."""

from __future__ import annotations

from dataclasses import dataclass

from retrainer.ports.clock import Stopped
from retrainer.ports.process import Heart


@dataclass(frozen=True)
class Beating:
    """`Stopped` whose every look is a heartbeat: a loop that asks it once a round needs to know nothing of it."""

    stop: Stopped
    heart: Heart

    def is_set(self) -> bool:
        self.heart.beat()
        return self.stop.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        self.heart.beat()
        return self.stop.wait(timeout)


class Unwatched:
    """`Heart` of a process that nobody watches."""

    def beat(self) -> None:
        """Nobody listens."""
