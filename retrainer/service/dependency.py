"""Something outside that may be away: says so once, keeps trying, says when it is back."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType

from retrainer.errors import Unreachable
from retrainer.logs import Logger
from retrainer.ports.clock import Clock
from retrainer.ports.telemetry import DependencyLost, DependencyRecovered, Telemetry

_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 5.0


@dataclass
class Dependency:
    """One thing outside. `with dependency:` around each attempt; it swallows `Unreachable`."""

    name: str
    logger: Logger
    clock: Clock
    telemetry: Telemetry
    lost_at: float | None = None
    _wait: float = field(default=_FIRST_WAIT_SECONDS)
    _retry_at: float = 0.0

    @property
    def due(self) -> bool:
        """Whether the next attempt may be made; waits grow while it stays away."""
        return self.lost_at is None or self.clock.monotonic() >= self._retry_at

    def __enter__(self) -> None:
        """One attempt: without an error it is there, with `Unreachable` it is away."""

    def __exit__(self, kind: object, error: BaseException | None, _: TracebackType | None) -> bool:
        if isinstance(error, Unreachable):
            self._lost(error)
            return True
        if error is None:
            self._found()
        return False

    def _lost(self, error: Unreachable) -> None:
        now = self.clock.monotonic()
        if self.lost_at is None:
            self.lost_at = now
            self.telemetry.tell(DependencyLost(name=self.name))
            self.logger.error("dependency.lost", dependency=self.name, error=str(error))
        self._retry_at = now + self._wait
        self._wait = min(2 * self._wait, _LONGEST_WAIT_SECONDS)

    def _found(self) -> None:
        if self.lost_at is not None:
            away = self.clock.monotonic() - self.lost_at
            self.telemetry.tell(DependencyRecovered(name=self.name, seconds=away))
            self.logger.info("dependency.recovered", dependency=self.name, after_seconds=round(away, 3))
        self.lost_at, self._wait = None, _FIRST_WAIT_SECONDS
