"""The backup that `docs/operations.md` describes, taken while the service works, and what a restore makes of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from retrainer.adapters.files.segments import LocalSegments
from retrainer.adapters.files.snapshots import LocalSnapshots
from retrainer.service.control import housekeeping as housekeeping_module
from retrainer.service.control import merging
from retrainer.service.control.housekeeping import Housekeeping, HousekeepingParts, HousekeepingPolicy
from retrainer.service.ingest import cut as storing
from tests.contract.states import SqlRig
from tests.service.world import World, policy

DOCS = Path(__file__).parents[3] / "docs" / "operations.md"
DAY = 86_400_000_000


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every segment is a file, merged soon, and gone at once."""
    monkeypatch.setattr(merging, "FAN_IN", 3)
    monkeypatch.setattr(housekeeping_module, "FAN_IN", 3)
    monkeypatch.setattr(housekeeping_module, "NEWEST_KEPT", 2)
    monkeypatch.setattr(housekeeping_module, "_FILES_KEPT_SECONDS", 0.0)
    monkeypatch.setattr(storing, "_INLINE_BYTES", -1)
    yield
    SqlRig.close_all()


def script() -> str:
    """The commands of the page."""
    (found,) = re.findall(r"```sh\n(mkdir -p backup.*?)```", DOCS.read_text(), re.DOTALL)
    return str(found)


class Service:
    """A worker and a controller's housekeeping on the state in a folder."""

    def __init__(self, folder: Path, world: World) -> None:
        self.rig = SqlRig(folder / "retrainer.db")
        self.world = world
        world.state, world.decisions = self.rig.ingest, self.rig.decisions
        world.files = LocalSegments(folder / "segments")
        world.saved = LocalSnapshots(folder / "snapshots")
        self.worker = world.worker()
        self.lease = self.rig.decisions.claim("controller", "here/1", 0)
        parts = HousekeepingParts(
            state=self.rig.housekeeping, segments=world.files, clock=world.clock, logger=world.entries.logger
        )
        self.keeper = Housekeeping(HousekeepingPolicy(retention=DAY, reaches={"flights": policy().join.reach}), parts)

    def consume(self, first: int, end: int) -> None:
        """One commit an outcome, keeping house after each."""
        for number in range(first, end):
            self.world.predict(f"f{number}", number)
            self.world.label(f"f{number}", number + 3)
            self.world.settle(self.worker)
            if number % 7 == 6:  # a stop leaves a snapshot
                self.worker.stop()
                self.worker = self.world.worker()
                self.world.settle(self.worker)
            self.keeper.run_once(self.lease)


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the commands need sqlite3's shell")
def test_a_backup_of_the_running_service_is_whole(tmp_path: Path) -> None:
    world, copied = World(), Event()
    service = Service(tmp_path / "state", world)
    service.consume(0, 30)

    def work() -> None:
        number = 30
        while not copied.is_set() or number < 40:
            service.consume(number, number + 1)
            number += 1

    worker = Thread(target=work)
    worker.start()
    try:
        subprocess.run(["bash", "-c", script()], cwd=tmp_path, check=True, timeout=60)
    finally:
        copied.set()
        worker.join()
    service.consume(1000, 1001)
    undisturbed = world.facts(), world.stored()

    (tmp_path / "state").rename(tmp_path / "away")
    (tmp_path / "backup").rename(tmp_path / "state")
    restored = World()
    restored.log = world.log.another_reader()
    again = Service(tmp_path / "state", restored)
    assert sum(stored.position for stored in again.rig.ingest.positions().values()) >= 60  # it does not begin anew
    restored.settle(again.worker)
    assert restored.entries.one("shard.assigned")["snapshot"]
    assert (restored.facts(), restored.stored()) == undisturbed


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the commands need sqlite3's shell")
def test_the_commands_go_on_until_no_file_is_missing(tmp_path: Path) -> None:
    """A segment that vanished between the two copies: the first round's manifest names it, the second's does not."""
    service = Service(tmp_path / "state", World())
    service.consume(0, 4)
    lost = next(iter(sorted(service.rig.ingest.segment_files())))
    hidden = tmp_path / "hidden"
    (tmp_path / "state" / "segments" / lost).rename(hidden)
    slow = subprocess.Popen(["bash", "-c", script()], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert slow.stderr is not None
    assert lost in slow.stderr.readline()  # it says what is missing, and tries again
    hidden.rename(tmp_path / "state" / "segments" / lost)
    assert slow.wait(30) == 0
    slow.stderr.close()
    assert (tmp_path / "backup" / "segments" / lost).is_file()
