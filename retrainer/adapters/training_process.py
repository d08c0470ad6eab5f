"""Training processes on this machine: each alone in its folder, in a process group of its own, within limits."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final, Literal

import psutil

from retrainer.adapters.clock import SystemClock
from retrainer.domain.judging.order import LOG_FILE
from retrainer.ports.clock import Clock, Stopped
from retrainer.ports.training import Limits, TrainingEnded

_LIFELINE: Final = "RETRAINER_LIFELINE"
_LOOK_EVERY_SECONDS: Final = 0.1
_WEIGH_EVERY_SECONDS: Final = 0.3
_GRACE_SECONDS: Final = 1.0
_LAST_WORDS: Final = 2048

# Credentials of Kafka, MLflow or a cloud are in none of these.
_PASSED: Final = ("PATH", "HOME", "LANG", "LANGUAGE", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")
_THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)

Killed = Literal["time", "memory", "stop"]


class ChildTrainers:
    """Runs `python -m retrainer.training .` in the job's folder. Needs POSIX process groups."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()

    def train(self, folder: Path, limits: Limits, stopped: Stopped) -> TrainingEnded:
        """Run the order in `folder/spec.json` to its end; what it prints goes to training.log.

        The child holds the reading end of a pipe of ours, and ends with its group when the kernel closes our end.
        """
        with _lifeline() as lifeline, (folder / LOG_FILE).open("wb") as log:
            child = _start(folder, limits, lifeline, log)
            watch = _ChildWatch(child, limits, stopped, self._clock)
            try:
                killed = watch.run()
            finally:
                _end(child)
        return TrainingEnded(
            exit_code=child.returncode,
            killed=killed,
            last_words=_last_words(folder / LOG_FILE),
            peak_memory=watch.peak_memory,
        )


def environment(limits: Limits, ours: Mapping[str, str]) -> dict[str, str]:
    """What a child gets of our environment, and how many threads it may use."""
    passed = {name: value for name, value in ours.items() if name in _PASSED or name.startswith("LC_")}
    return {**passed, **dict.fromkeys(_THREADS, str(limits.cpus)), "PYTHONUNBUFFERED": "1"}


@contextlib.contextmanager
def _lifeline() -> Iterator[int]:
    """A pipe whose writing end only this process holds; its reading end is for the child."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(writing)
        os.close(reading)


def _start(folder: Path, limits: Limits, lifeline: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    # -P: a file in the job's folder must not be imported in place of a module.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "retrainer.training", "."],
        cwd=folder,
        env={**environment(limits, os.environ), _LIFELINE: str(lifeline)},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        pass_fds=(lifeline,),
        start_new_session=True,
    )


class _ChildWatch:
    """Waits for a child's end, a limit or a stop, whichever comes first."""

    def __init__(self, child: subprocess.Popen[bytes], limits: Limits, stopped: Stopped, clock: Clock) -> None:
        self._child = child
        self._limits = limits
        self._stopped = stopped
        self._now = clock.monotonic
        self._ends_at = self._now() + limits.time.total_seconds()
        self._weigh_at = 0.0
        self.peak_memory = 0

    def run(self) -> Killed | None:
        """None where the child ended by itself; else why it must be killed."""
        while self._child.poll() is None:
            if reason := self._reason():
                return reason
            self._stopped.wait(_LOOK_EVERY_SECONDS)
        return None

    def _reason(self) -> Killed | None:
        now = self._now()
        if self._stopped.is_set():
            return "stop"
        if now >= self._ends_at:
            return "time"
        if now >= self._weigh_at:
            self._weigh_at = now + _WEIGH_EVERY_SECONDS
            self.peak_memory = max(self.peak_memory, resident(self._child.pid))
        return "memory" if self.peak_memory > self._limits.memory else None


def resident(group: int) -> int:
    """The resident memory of a process group, in bytes; pages that its processes share count for each."""
    total = 0
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):  # it ended since it was listed
            if os.getpgid(pid) == group:
                total += psutil.Process(pid).memory_info().rss
    return total


def _end(child: subprocess.Popen[bytes]) -> None:
    """Leave nobody of the child's group behind: ask, then kill; also what a child that has ended left running."""
    if child.poll() is None:
        _signal(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE_SECONDS)
    _signal(child.pid, signal.SIGKILL)
    child.wait()


def _signal(group: int, number: signal.Signals) -> None:
    # PermissionError is what macOS answers for a group of which only a zombie is left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _last_words(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _LAST_WORDS))
        return file.read().decode("utf-8", errors="replace").strip()
