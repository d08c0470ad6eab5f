"""Cases 10, 11, 13 and 14: two processes on one state, by mistake or because one was believed dead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.service.world import World


def test_case_10_a_worker_that_was_succeeded_can_commit_nothing(world: World) -> None:
    zombie = world.worker()
    world.settle(zombie)
    world.predict("f1", 0)
    zombie.run_once()
    reader = world.log.another_reader()
    world.settle(world.worker(reader, owner="there/2"), reader)
    before = world.facts()
    world.flush(zombie)
    assert world.facts() == before
    assert not zombie.assigned
    assert "newer process" in world.entries.one("shard.revoked")["reason"]


LOCKED = """
import sys
from pathlib import Path
from retrainer.adapters.role_processes import FolderLock
from retrainer.errors import Refused

lock = FolderLock(Path(sys.argv[1]), sys.argv[2])
try:
    lock.acquire(wait=0)
except Refused as refused:
    raise SystemExit(str(refused))
print("taken", flush=True)
sys.stdin.read()
"""


def test_case_11_a_second_process_on_a_state_folder_is_refused_with_the_number_of_the_first(tmp_path: Path) -> None:
    def start(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", LOCKED, str(tmp_path), name]
        return subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True)

    with start("worker") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "taken\n"
        with start("worker") as second, start("controller") as other:
            _, said = second.communicate("")
            assert said == f"another retrainer works on {tmp_path} (process {first.pid})\n"
            assert other.communicate("")[0] == "taken\n"
        first.kill()
    with start("worker") as third:  # the lock went with the process, however it ended
        assert third.communicate("")[0] == "taken\n"


def test_case_13_what_a_revoked_worker_had_read_does_not_leak_into_its_next_turn(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.predict("f1", 0)
    world.label("f1", 5)
    worker.run_once()
    reader = world.log.another_reader()
    world.settle(world.worker(reader, owner="there/2"), reader)
    world.flush(worker)
    assert "shard.revoked" in world.entries.events
    world.predict("f2", 6)
    world.settle(worker)  # its turn again
    assert worker.assigned
    assert world.tallies() == {("1", 5, "late", "late"): 1}
    assert world.counts() == {
        "predictions.consumed": 2,
        "predictions.joined": 1,
        "predictions.pending": 1,
        "labels.consumed": 1,
        "labels.applied": 1,
    }


def test_case_14_a_worker_that_is_succeeded_in_its_recovery_starts_again(world: World) -> None:
    world.predict("f1", 0)
    world.settle(world.worker())
    reader = world.log.another_reader()
    successor = world.worker(reader, owner="there/2")

    def succeed(place: str) -> None:
        if place == "claim.end":
            world.manifest.fail_at = world.crasher
            world.predict("f2", 0)
            world.settle(successor, reader)

    world.manifest.fail_at = succeed
    late = world.worker()
    late.run_once()
    assert world.counts()["predictions.consumed"] == 2
    world.label("f1", 5)
    world.flush(late)
    assert "newer process" in world.entries.one("shard.revoked")["reason"]
    world.settle(late)
    assert world.tallies() == {("1", 5, "late", "late"): 1}
    assert world.counts() == {
        "predictions.consumed": 2,
        "predictions.joined": 1,
        "predictions.pending": 1,
        "labels.consumed": 1,
        "labels.applied": 1,
    }
