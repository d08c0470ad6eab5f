"""The demo's processes: what they say is heard, and none stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from retrainer.demo.children import Child, Entry, stop_all
from tests.waiting import eventually

PATIENT = """
import json, os, signal, sys, time
def stop(*_):
    print(json.dumps({"event": "stopping"}), flush=True)
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
print("not JSON")
print(json.dumps({"event": "started", "pid": os.getpid()}), flush=True)
time.sleep(60)
"""


def start(folder: Path, program: str = PATIENT, name: str = "child") -> tuple[Child, list[Entry]]:
    """A running child that has started, and what it says."""
    said: list[Entry] = []
    child = Child(name, [sys.executable, "-c", program], folder, {"PYTHONUNBUFFERED": "1"}, said.append)
    eventually(lambda: said)
    return child, said


def test_its_lines_are_told_and_all_its_output_is_kept(tmp_path: Path) -> None:
    child, said = start(tmp_path)

    assert child.stop() == 7

    assert [entry["event"] for entry in said] == ["started", "stopping"]
    assert (tmp_path / "child.log").read_text().splitlines()[0] == "not JSON"
    assert child.last_words(lines=1) == '{"event": "stopping"}'


def test_its_exit_code_is_its_own(tmp_path: Path) -> None:
    child, _ = start(tmp_path, 'print(\'{"event": "x"}\'); raise SystemExit(3)')

    assert child.wait() == 3
    assert child.exit_code() == 3
    child.stop()


def test_all_are_asked_before_any_is_waited_for(tmp_path: Path) -> None:
    slow = PATIENT.replace("sys.exit(7)", "time.sleep(1); sys.exit(7)")
    children = [start(tmp_path, slow, name)[0] for name in ("one", "other")]

    stop_all(children)

    assert [child.exit_code() for child in children] == [7, 7]


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    child, said = start(tmp_path, PATIENT.replace("sys.exit(7)", "pass"))

    child.kill()

    assert child.wait() == -signal.SIGKILL
    eventually(lambda: not psutil.pid_exists(said[0]["pid"]))


def test_it_ends_when_the_demo_is_killed(tmp_path: Path) -> None:
    (tmp_path / "patient.py").write_text(PATIENT)
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], cwd=tmp_path, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())

    os.kill(parent.pid, signal.SIGKILL)

    parent.wait()
    parent.stdout.close()
    eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


_PARENT = """
import sys, time
from pathlib import Path
from retrainer.demo.children import Child
child = Child("child", [sys.executable, "patient.py"], Path.cwd(), {}, lambda entry: print(entry["pid"], flush=True))
time.sleep(60)
"""
