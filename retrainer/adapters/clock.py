"""The system's clock: the only place that reads it."""

from __future__ import annotations

import time


class SystemClock:
    """`Clock` of this machine."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
