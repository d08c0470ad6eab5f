"""Time: the clock, the moments at which a schedule fires, and waiting for a stop."""

from __future__ import annotations

from typing import Protocol

from retrainer.domain.values import Micros


class Clock(Protocol):
    """Wall and monotonic time."""

    def now(self) -> Micros:
        """The present moment, in microseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def sleep(self, seconds: float) -> None: ...


class Stopped(Protocol):
    """Whether the caller wants to stop (`threading.Event.is_set` and `wait` fit)."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float | None = None) -> bool: ...
