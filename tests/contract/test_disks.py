"""What a `Disk` promises: of the real one, on a file system of a few megabytes that exists for one test."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrainer.adapters.files.disk import RESERVE, LocalDisk
from retrainer.adapters.memory.disk import MemoryDisk
from retrainer.ports.disk import Disk
from tests.small_disk import on_a_small_disk

MIB = 2**20


@pytest.fixture(params=["memory", "local"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return MemoryDisk(2**30) if request.param == "memory" else LocalDisk(tmp_path / "state")


def test_a_disk_has_a_size_and_space_on_it(disk: Disk) -> None:
    assert 0 < disk.free() <= disk.total()


def test_a_reserve_is_made_once_and_given_up_once(disk: Disk) -> None:
    assert not disk.release()
    assert disk.reserve(MIB)
    assert disk.reserve(MIB)
    assert disk.release()
    assert not disk.release()
    assert disk.reserve(2 * MIB)


def test_a_reserve_that_does_not_fit_takes_nothing(disk: Disk) -> None:
    assert not disk.reserve(disk.total() * 2)
    assert not disk.release()


def test_a_reserve_is_of_real_blocks(tmp_path: Path) -> None:
    assert LocalDisk(tmp_path).reserve(MIB)
    assert (tmp_path / RESERVE).stat().st_blocks * 512 >= MIB


def test_a_reserve_that_was_left_half_made_is_made_whole(tmp_path: Path) -> None:
    (tmp_path / RESERVE).write_bytes(b"\0" * 10)
    assert LocalDisk(tmp_path).reserve(MIB)
    assert (tmp_path / RESERVE).stat().st_size == MIB


def test_of_several_disks_the_fullest_counts(tmp_path: Path) -> None:
    both = LocalDisk(tmp_path, Path("/dev/shm") / "not-there-yet")
    alone = [LocalDisk(tmp_path), LocalDisk(Path("/dev/shm"))]
    fullest = min(alone, key=lambda disk: disk.free())
    assert both.total() == fullest.total()


def test_a_folder_that_cannot_be_used_reserves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    disk = LocalDisk(tmp_path / "file" / "state")
    assert not disk.reserve(MIB)
    assert not disk.release()


SCRIPT = """
import os
from pathlib import Path
from retrainer.adapters.files.disk import LocalDisk

MIB = 2**20
state = Path(FOLDER)
disk = LocalDisk(state)
assert 7 * MIB <= disk.total() <= 8 * MIB, disk.total()
assert disk.reserve(2 * MIB)
assert disk.free() <= 6 * MIB
try:
    (state / "fill").write_bytes(b"x" * 7 * MIB)
    raise SystemExit("the reserve took no space")
except OSError as error:
    assert error.errno == 28, error
assert disk.free() == 0
assert disk.reserve(2 * MIB)  # it is there still
assert disk.release()
assert disk.free() >= 2 * MIB
assert not disk.reserve(4 * MIB)
assert not (state / "reserve").exists()
"""


def test_a_reserve_on_a_disk_that_fills_up(tmp_path: Path) -> None:
    on_a_small_disk(SCRIPT, tmp_path, "8m")
