"""Reading pauses before the disk is full, and the reserve is there for a commit that finds it full all the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.adapters.memory.disk import MemoryDisk
from retrainer.service.ingest.space import DiskSpace, space_policy
from tests.clock import FakeClock
from tests.entries import Entries

MIB, GIB = 2**20, 2**30


class Full:
    """A disk that fills up, and what watches it."""

    def __init__(self, size: int = 100 * GIB, flush_bytes: int = 64 * MIB) -> None:
        self.clock = FakeClock()
        self.entries = Entries()
        self.disk = MemoryDisk(size)
        self.space = DiskSpace(self.disk, flush_bytes, self.clock, self.entries.logger)

    def allowed(self) -> bool:
        self.clock.advance(1)
        return self.space.allowed()

    def leave(self, free: int) -> None:
        """Others fill or empty the disk; the reserve counts as used."""
        self.disk.used = self.disk.size - self.disk.reserved - free


@pytest.fixture
def full() -> Full:
    return Full()


def test_with_space_nothing_is_said_and_a_reserve_is_made(full: Full) -> None:
    assert full.allowed()
    assert full.disk.reserved == 64 * MIB
    assert full.entries.events == []


def test_reading_pauses_below_one_mark_and_goes_on_above_another(full: Full) -> None:
    full.allowed()
    full.leave(256 * MIB)
    assert full.allowed()
    full.leave(256 * MIB - 1)
    assert not full.allowed()
    full.leave(319 * MIB)
    assert not full.allowed()
    full.leave(320 * MIB)
    assert full.allowed()
    assert full.entries.events == ["disk.low", "disk.recovered"]
    assert full.entries.one("disk.low") == {"log_level": "error", "free": 256 * MIB - 1, "needed": 320 * MIB}
    assert full.entries.one("disk.recovered") == {
        "log_level": "info",
        "free": 320 * MIB,
        "after_seconds": 2,
        "reserved": True,
    }


def test_a_pause_is_said_once(full: Full) -> None:
    full.leave(0)
    assert not any(full.allowed() for _ in range(100))
    assert full.entries.events == ["disk.low"]


def test_a_write_that_failed_on_a_full_disk_gets_the_reserve(full: Full) -> None:
    full.allowed()
    full.leave(0)
    full.space.failed()
    assert full.disk.free() == 64 * MIB
    assert not full.allowed()
    full.space.failed()
    assert full.entries.events == ["disk.low", "disk.reserve_released"]
    assert full.entries.one("disk.reserve_released") == {"log_level": "error", "free": 0}


def test_the_reserve_is_made_again_when_space_is_back(full: Full) -> None:
    full.allowed()
    full.leave(0)
    full.space.failed()
    full.leave(10 * GIB)
    assert full.allowed()
    assert full.disk.reserved == 64 * MIB
    assert full.entries.one("disk.recovered")["reserved"]


def test_a_write_that_failed_for_another_reason_keeps_the_reserve(full: Full) -> None:
    full.allowed()
    full.space.failed()
    assert full.disk.reserved == 64 * MIB
    assert full.entries.events == []


def test_a_reserve_is_never_what_makes_it_pause(full: Full) -> None:
    full.leave(300 * MIB)
    assert full.allowed()
    assert full.disk.reserved == 0
    assert full.allowed()


def test_the_disk_is_asked_once_a_second(full: Full) -> None:
    full.allowed()
    full.leave(0)
    assert full.space.allowed()
    full.clock.advance(1)
    assert not full.space.allowed()


@pytest.mark.parametrize(
    ("total", "flush", "low", "reserve"),
    [
        (100 * GIB, 64 * MIB, 256 * MIB, 64 * MIB),
        (100 * GIB, GIB, 2 * GIB, 64 * MIB),
        (2000 * MIB, 64 * MIB, 100 * MIB, 20 * MIB),
        (100 * MIB, 64 * MIB, 5 * MIB, MIB),
    ],
)
def test_the_marks_follow_the_flush_but_leave_a_small_disk_usable(
    total: int, flush: int, low: int, reserve: int
) -> None:
    policy = space_policy(total, flush)
    assert (policy.low, policy.reserve) == (low, reserve)


def test_a_disk_of_unknown_size_never_pauses() -> None:
    full = Full(size=0)
    assert full.allowed()
    full.space.failed()
    assert full.entries.events == []


@given(st.integers(0, 2**44), st.integers(1, 2**34))
def test_an_empty_disk_is_never_too_full_and_going_on_leaves_room_for_the_reserve(total: int, flush: int) -> None:
    policy = space_policy(total, flush)
    assert policy.low <= total // 20
    assert not policy.pauses(total - policy.reserve, paused=True)
    assert policy.enough - policy.reserve >= policy.low - 1
