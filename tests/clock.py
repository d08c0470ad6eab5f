"""A clock that tests turn by hand."""

from __future__ import annotations

from retrainer.domain.values import Micros

START: Micros = 1_700_000_000_000_000
"""2023-11-14, 22:13:20 UTC."""


class FakeClock:
    """`Clock`; whoever sleeps on it turns it."""

    def __init__(self, now: Micros = START) -> None:
        self._start = now
        self._passed = 0.0

    def now(self) -> Micros:
        return self._start + round(self._passed * 1e6)

    def monotonic(self) -> float:
        return self._passed

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._passed += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock, forwards or back; monotonic time does not notice."""
        self._start += round(seconds * 1e6)
