"""Case 24: the disk is full, or its writes fail. The worker pauses in time, loses nothing, and goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from retrainer.adapters.files.segments import LocalSegments
from retrainer.adapters.memory.disk import MemoryDisk
from retrainer.service.ingest.space import DiskSpace
from tests.service.world import World
from tests.small_disk import on_a_small_disk

FULL = """
import random
from pathlib import Path

from retrainer.adapters.files.disk import LocalDisk
from retrainer.adapters.files.segments import LocalSegments
from retrainer.service.ingest.space import DiskSpace
from tests.contract.states import SqlRig
from tests.service.world import World

folder = Path(FOLDER)
rig = SqlRig(folder / "retrainer.db")
world = World()
world.state, world.decisions, world.files = rig.ingest, rig.decisions, LocalSegments(folder / "segments")
space = DiskSpace(LocalDisk(folder, folder / "segments"), world.flush_bytes, world.clock, world.entries.logger)
worker = world.worker()
world.predict("f1", 0)
world.settle(worker)
assert space.allowed()
reserve = (folder / "reserve").stat().st_size
assert reserve > 200_000

def fill():
    try:
        with (folder / "others").open("ab") as others:
            while True:
                others.write(bytes(4096))
                others.flush()
    except OSError as error:
        assert error.errno == 28, error

SIZES = {"row": 10, "file": 80_000}
for kind, size in SIZES.items():
    world.entries.clear()
    fill()
    before = world.counts()
    world.predict(kind, 1, note=random.Random(kind).randbytes(size).hex() * (1 if kind == "row" else 4))
    for _ in range(10):
        worker.run_once()
        world.clock.advance(1)
    assert world.entries.one("dependency.lost")["dependency"] == "database", world.entries.events
    assert world.counts() == before
    assert not list((folder / "segments").glob("*.part"))
    space.failed()
    assert world.entries.events[-2:] == ["disk.low", "disk.reserve_released"], world.entries.events
    world.clock.advance(10)
    world.flush(worker)  # the reserve makes room for what is in memory
    assert world.counts()["predictions.consumed"] == before["predictions.consumed"] + 1, world.entries.events
    world.clock.advance(1)
    assert not space.allowed()
    (folder / "others").unlink()
    world.clock.advance(1)
    assert space.allowed()
    assert (folder / "reserve").stat().st_size == reserve
    assert world.entries.events.count("disk.recovered") == 1
rig.close_all()
"""


def test_case_24_a_full_disk_gets_the_reserve_and_what_was_read_is_committed(tmp_path: Path) -> None:
    on_a_small_disk(FULL, tmp_path, "32m")


def test_case_24_reading_pauses_before_the_disk_is_full(world: World) -> None:
    disk = MemoryDisk(100 * 2**30)
    space = DiskSpace(disk, world.flush_bytes, world.clock, world.entries.logger)
    assert space.allowed()
    disk.used = disk.size - disk.reserved - 200 * 2**20
    world.clock.advance(1)
    assert not space.allowed()
    assert world.entries.one("disk.low")["log_level"] == "error"
    disk.used = 0
    world.clock.advance(1)
    assert space.allowed()
    assert world.entries.one("disk.recovered")["reserved"]


@pytest.mark.parametrize("at", ["bytes", "folder"])
def test_case_24_after_a_failed_sync_the_file_is_written_anew(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """The kernel has dropped the pages that it could not write: another sync of that file would wrongly succeed."""
    folder = tmp_path / "segments"
    world.files = LocalSegments(folder)
    sync, synced = os.fsync, list[str]()

    def fsync(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").resolve()
        synced.append("folder" if target == folder else "bytes")
        if synced.count(at) == 1 and synced[-1] == at:
            raise OSError(5, "input/output error")
        sync(descriptor)

    worker = world.worker()
    world.settle(worker)
    world.predict("f1", 0, note=os.urandom(300_000).hex())
    monkeypatch.setattr(os, "fsync", fsync)
    world.flush(worker)
    assert "input/output error" in world.entries.one("dependency.lost")["error"]
    assert world.counts() == {}
    assert not list(folder.glob("*.part"))
    world.settle(worker)
    assert synced == (["bytes", "bytes", "folder"] if at == "bytes" else ["bytes", "folder"] * 2)
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}
    world.label("f1", 5)
    world.settle(world.worker())
    assert world.tallies() == {("1", 5, "late", "late"): 1}


def test_case_24_a_worker_reads_nothing_while_the_disk_is_low_and_goes_on_after_it(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.predict("read before", 0)
    worker.run_once()
    world.disk.used = world.disk.size - world.disk.reserved
    world.clock.advance(2)
    worker.run_once()
    assert world.counts()["predictions.consumed"] == 1  # what was read is committed all the same
    polls = world.log.polls
    for key in range(20):
        world.predict(key, 0)
        worker.run_once()
        world.clock.advance(1)
    assert world.log.polls == polls
    assert world.entries.events.count("disk.low") == 1
    world.disk.used = 0
    world.clock.advance(1)
    world.settle(worker)
    assert world.counts()["predictions.consumed"] == 21
    assert world.entries.one("disk.recovered")


def test_case_24_a_commit_that_fails_on_a_full_disk_gets_the_reserve(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.predict("f1", 0)
    worker.run_once()
    world.disk.used = world.disk.size - world.disk.reserved
    world.manifest.go_away()  # as SQLite says it: the disk is full
    world.clock.advance(2)
    worker.run_once()
    assert world.disk.reserved == 0
    assert world.entries.one("disk.reserve_released")
    world.manifest.come_back()
    world.clock.advance(15)
    worker.run_once()
    assert world.counts()["predictions.consumed"] == 1
