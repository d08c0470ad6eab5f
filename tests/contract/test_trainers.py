"""What every trainer promises; real processes for the real one, killed in every way that it can happen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from retrainer.adapters.memory.training import InlineTrainers
from retrainer.adapters.training_process import ChildTrainers, environment
from retrainer.domain.judging.order import LOG_FILE, SPEC_FILE
from retrainer.ports.training import Trainers
from retrainer.training.child import run
from tests.plain import plain_limits
from tests.training.orders import flights, place, result_in
from tests.waiting import eventually

CHECKOUT = Path(__file__).parents[2]
MEGABYTE = 2**20


@pytest.fixture(params=["memory", "processes"])
def trainers(request: pytest.FixtureRequest) -> Trainers:
    """The twin in memory and the real adapter in turn."""
    return InlineTrainers(run) if request.param == "memory" else ChildTrainers()


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """An order that a process waits for and never gets, before it has imported much."""
    os.mkfifo(tmp_path / SPEC_FILE)
    return tmp_path


# Python runs a module of this name first of all. The process is deaf to SIGTERM and has a child of its own.
STUBBORN = """
import json, os, pathlib, signal, subprocess, sys
if "retrainer.training" in sys.orig_argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleeper = subprocess.Popen(["sleep", "600"])
    seen = {"pids": [os.getpid(), sleeper.pid], "environment": dict(os.environ)}
    hoard = b"x" * int(pathlib.Path("bytes").read_text())
    print("stubborn", flush=True)
    pathlib.Path("part").write_text(json.dumps(seen))
    pathlib.Path("part").rename("seen.json")
"""


@pytest.fixture
def stubborn(waiting: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An order for which a process waits that does not want to end."""
    (waiting / "modules").mkdir()
    (waiting / "modules" / "sitecustomize.py").write_text(STUBBORN)
    (waiting / "bytes").write_text("0")
    monkeypatch.setenv("PYTHONPATH", str(waiting / "modules"), prepend=os.pathsep)
    return waiting


def seen_by(folder: Path) -> dict[str, Any]:
    """What the stubborn process saw, once it has begun."""
    log = folder / "seen.json"
    eventually(log.exists, 30, (folder / LOG_FILE).read_text)
    seen: dict[str, Any] = json.loads(log.read_text())
    return seen


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has reaped has ended too."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def training_children() -> list[int]:
    """The training processes that this process has started, and that live."""
    return [
        child.pid
        for child in psutil.Process().children()
        if not gone(child.pid) and "retrainer.training" in child.cmdline()
    ]


def all_gone(pids: list[int]) -> bool:
    return eventually(lambda: all(map(gone, pids)))


class TestEveryTrainer:
    def test_carries_an_order_out(self, trainers: Trainers, tmp_path: Path) -> None:
        place(tmp_path, flights())
        ended = trainers.train(tmp_path, plain_limits(), threading.Event())
        assert (ended.exit_code, ended.killed) == (0, None), ended.last_words
        verdict = result_in(tmp_path).verdict
        assert verdict is not None
        assert verdict.accepted
        assert (tmp_path / "model" / "MLmodel").exists()

    def test_an_order_that_fails_ends_with_its_reason(self, trainers: Trainers, tmp_path: Path) -> None:
        (tmp_path / SPEC_FILE).write_text("{}")
        ended = trainers.train(tmp_path, plain_limits(), threading.Event())
        assert (ended.exit_code, ended.killed) == (1, None)
        assert "cannot read spec.json" in (result_in(tmp_path).error or "")

    def test_a_stop_before_the_start_leaves_no_result(self, trainers: Trainers, waiting: Path) -> None:
        stopped = threading.Event()
        stopped.set()
        ended = trainers.train(waiting, plain_limits(), stopped)
        assert ended.killed == "stop"
        assert ended.exit_code != 0
        assert [path.name for path in waiting.iterdir() if path.name != LOG_FILE] == [SPEC_FILE]

    def test_without_time_nothing_is_trained(self, trainers: Trainers, waiting: Path) -> None:
        ended = trainers.train(waiting, plain_limits(time=timedelta()), threading.Event())
        assert ended.killed == "time"
        assert ended.exit_code != 0


class TestChildren:
    def test_a_stop_ends_it_within_two_seconds(self, waiting: Path) -> None:
        stopped = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            training = pool.submit(ChildTrainers().train, waiting, plain_limits(), stopped)
            (child,) = eventually(training_children)
            began = time.monotonic()
            stopped.set()
            ended = training.result(timeout=2)
        assert time.monotonic() - began < 2
        assert (ended.killed, ended.exit_code) == ("stop", -signal.SIGTERM)
        assert gone(child)

    def test_the_time_limit_ends_it(self, waiting: Path) -> None:
        began = time.monotonic()
        ended = ChildTrainers().train(waiting, plain_limits(time=timedelta(seconds=0.5)), threading.Event())
        assert 0.5 <= time.monotonic() - began < 3
        assert (ended.killed, ended.exit_code) == ("time", -signal.SIGTERM)

    def test_the_memory_limit_ends_it_and_its_children_deaf_as_it_is(
        self, stubborn: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It also sees nothing of our environment that could be a secret."""
        for name in ("KAFKA_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "secret")
        (stubborn / "bytes").write_text(str(300 * MEGABYTE))
        ended = ChildTrainers().train(stubborn, plain_limits(memory=200 * MEGABYTE, cpus=3), threading.Event())
        seen = seen_by(stubborn)
        assert (ended.killed, ended.exit_code) == ("memory", -signal.SIGKILL)
        assert ended.peak_memory > 200 * MEGABYTE
        assert all_gone(seen["pids"])
        assert "secret" not in seen["environment"].values()
        assert seen["environment"]["OMP_NUM_THREADS"] == "3"

    def test_what_it_leaves_running_is_ended_too(self, stubborn: Path) -> None:
        """It is killed alone, as the kernel does when memory runs out; what it printed last is kept."""
        with ThreadPoolExecutor(1) as pool:
            training = pool.submit(ChildTrainers().train, stubborn, plain_limits(), threading.Event())
            pids = seen_by(stubborn)["pids"]
            os.kill(pids[0], signal.SIGKILL)
            ended = training.result(timeout=5)
        assert (ended.killed, ended.exit_code) == (None, -signal.SIGKILL)
        assert ended.last_words == "stubborn"
        assert all_gone(pids)


PARENT = """
import sys, threading, pathlib
from retrainer.adapters.training_process import ChildTrainers
from tests.plain import plain_limits
ChildTrainers().train(pathlib.Path(sys.argv[1]), plain_limits(), threading.Event())
"""


def test_a_parent_that_is_killed_takes_child_and_grandchildren_with_it(stubborn: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(stubborn)], cwd=CHECKOUT) as parent:
        pids = seen_by(stubborn)["pids"]
        assert not any(map(gone, pids))
        parent.kill()
    assert all_gone(pids)


class TestEnvironment:
    def test_only_what_a_training_needs_is_handed_on(self) -> None:
        ours = {
            "PATH": "/bin",
            "HOME": "/home/me",
            "LC_ALL": "C",
            "TMPDIR": "/tmp",
            "VIRTUAL_ENV": "/venv",
            "KAFKA_SASL_PASSWORD": "secret",
            "MLFLOW_TRACKING_URI": "https://user:secret@host",
            "AWS_ACCESS_KEY_ID": "secret",
            "DATABASE_URL": "secret",
            "OMP_NUM_THREADS": "64",
        }
        found = environment(plain_limits(cpus=2), ours)
        assert {name for name in ours if found.get(name) == ours[name]} == {
            "PATH",
            "HOME",
            "LC_ALL",
            "TMPDIR",
            "VIRTUAL_ENV",
        }
        threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
        assert {found[name] for name in threads} == {"2"}

    def test_the_lifeline_holds_before_anything_heavy_is_imported(self) -> None:
        heavy = "{'pandas', 'pyarrow', 'sklearn', 'mlflow'}"
        script = f"import sys, retrainer.training.child; sys.exit(bool({heavy} & set(sys.modules)))"
        assert subprocess.run([sys.executable, "-c", script], check=False, cwd=CHECKOUT).returncode == 0
