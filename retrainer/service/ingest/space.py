"""Whether the disk has space for what reading would bring: pauses it in time, and gives up a reserve if need be.

What is read must be stored, and what cannot be stored must not be read. Kafka keeps it meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

from retrainer.logs import Logger
from retrainer.ports.clock import Clock
from retrainer.ports.disk import Disk

_MIB = 2**20
_RESERVE = 64 * _MIB
_RESERVE_SHARE = 100
_LOW = 256 * _MIB
_LOW_SHARE = 20
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class SpacePolicy:
    """Marks in bytes: below `low` reading pauses, at `enough` it goes on. `reserve` is put aside for the worst."""

    low: int
    enough: int
    reserve: int

    def pauses(self, free: int, *, paused: bool) -> bool:
        """Whether to pause; in between the marks it stays as it is."""
        return free < (self.enough if paused else self.low)

    def may_reserve(self, free: int) -> bool:
        """Whether the reserve would leave enough to go on with."""
        return self.reserve > 0 and free - self.reserve >= self.low


def space_policy(total: int, flush_bytes: int) -> SpacePolicy:
    """The marks for a disk of `total` bytes and flushes of `flush_bytes`.

    Low is room for two flushes with their index and WAL, and at least 256 MiB; but never more than a twentieth of
    the disk, so that a small one can be used. The reserve is 64 MiB, at most a hundredth.
    """
    low = min(max(_LOW, 2 * flush_bytes), total // _LOW_SHARE)
    return SpacePolicy(low=low, enough=low + low // 4, reserve=min(_RESERVE, total // _RESERVE_SHARE))


class DiskSpace:
    """The space left for a worker. `allowed` before each read, `failed` after a commit that could not be made."""

    def __init__(self, disk: Disk, flush_bytes: int, clock: Clock, logger: Logger) -> None:
        self.policy = space_policy(disk.total(), flush_bytes)
        self._disk = disk
        self._clock = clock
        self._logger = logger
        self._low_since: float | None = None
        self._look_at = 0.0
        self._reserved = False

    def allowed(self) -> bool:
        """Whether there is space for what reading would bring; looks at most once a second."""
        now = self._clock.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._look(now)
        return self._low_since is None

    def failed(self) -> None:
        """A write failed, for whatever reason: if the disk is nearly full the reserve is given up for it."""
        now = self._clock.monotonic()
        free = self._disk.free()
        if self.policy.pauses(free, paused=False):
            self._low(free, now)
            if self._disk.release():
                self._reserved = False
                self._logger.error("disk.reserve_released", free=free)

    def _look(self, now: float) -> None:
        free = self._disk.free()
        if self.policy.pauses(free, paused=self._low_since is not None):
            self._low(free, now)
            return
        if not self._reserved and self.policy.may_reserve(free):
            self._reserved = self._disk.reserve(self.policy.reserve)
        if self._low_since is not None:
            away = round(now - self._low_since, 3)
            self._low_since = None
            self._logger.info("disk.recovered", free=free, after_seconds=away, reserved=self._reserved)

    def _low(self, free: int, now: float) -> None:
        if self._low_since is None:
            self._low_since = now
            self._logger.error("disk.low", free=free, needed=self.policy.enough)
