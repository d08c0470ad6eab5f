"""The service's own processes: starting them, their heartbeats, noticing that the starter is gone, one to a folder."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Final

import psutil

from retrainer.errors import Refused
from retrainer.ports.clock import Stopped
from retrainer.ports.process import Heart

_LIFELINE: Final = "RETRAINER_ROLE_LIFELINE"
_HEART: Final = "RETRAINER_ROLE_HEART"
_NOTIFY: Final = "NOTIFY_SOCKET"
_LOCK_WAIT_SECONDS: Final = 12.0
"""Longer than a process whose supervisor was killed takes to leave."""
_KILL_WITHIN_SECONDS: Final = 5.0
"""A killed process that is deep in the kernel (a dead network disk) may not end at all; nobody waits for it longer."""


class RoleProcess:
    """A started role. Two pipes lead to it: one tells it that we live, the other tells us that it does."""

    def __init__(self, command: Sequence[str]) -> None:
        life, self._lifeline = os.pipe()  # our end is closed by our death, whatever kills us
        self._heart, beating = os.pipe()
        os.set_blocking(self._heart, False)
        os.set_blocking(beating, False)
        environment = {**os.environ, _LIFELINE: str(life), _HEART: str(beating)}
        # A session of its own: Ctrl-C in a terminal reaches the supervisor alone, which then asks in order.
        self._process = subprocess.Popen(  # noqa: S603  our own interpreter
            command, env=environment, pass_fds=(life, beating), start_new_session=True
        )
        os.close(life)
        os.close(beating)
        self._beats = 0
        self._closed = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        code = self._process.poll()
        if code is not None:
            self._close()
        return code

    def beats(self) -> int:
        with suppress(BlockingIOError):
            while not self._closed and (heard := os.read(self._heart, 65536)):
                self._beats += len(heard)
        return self._beats

    def cpu_seconds(self) -> float:
        try:
            used = psutil.Process(self.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(used.user + used.system)

    def ask_to_stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_WITHIN_SECONDS)

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._lifeline)
            os.close(self._heart)


class RoleProcesses:
    """`Roles`: `retrainer ROLE CONFIG` as child processes."""

    def __init__(self, config: Path) -> None:
        self._config = config

    def start(self, name: str) -> RoleProcess:
        return RoleProcess([sys.executable, "-m", "retrainer", name, str(self._config)])


class PipeHeart:
    """`Heart` that the supervisor listens to."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def beat(self) -> None:
        with suppress(OSError):  # the pipe is full of beats that nobody has read yet, or the supervisor is gone
            os.write(self._descriptor, b".")


class SystemdHeart:
    """`Heart` that systemd listens to, where the unit has `WatchdogSec`."""

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def beat(self) -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.setblocking(False)
            notify.sendto(b"WATCHDOG=1", self._address)


def heart_of_this_process() -> Heart | None:
    """Where to beat; None if nobody listens. Taken from the environment, so that no child beats in our place."""
    notify = os.environ.pop(_NOTIFY, None)
    descriptor = os.environ.pop(_HEART, None)
    if descriptor is not None:
        return PipeHeart(int(descriptor))
    return SystemdHeart(notify) if notify else None


def watch_starter(gone: Callable[[], None]) -> None:
    """Call `gone` once the process that started this one has died; does nothing in a process started by hand."""
    descriptor = os.environ.pop(_LIFELINE, None)
    if descriptor is None:
        return

    def wait() -> None:
        os.read(int(descriptor), 1)  # returns when every copy of the other end is closed
        gone()

    Thread(target=wait, name="lifeline", daemon=True).start()


class FolderLock:
    """The right to be the only one of a kind on a state folder; it goes with the process."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.lock"

    def acquire(self, stop: Stopped | None = None, wait: float = _LOCK_WAIT_SECONDS) -> None:
        """Take it, waiting a little for one that is just leaving.

        Raises:
            Refused: another process holds it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+")
        pause = stop or Event()
        for _ in range(max(1, int(wait / 0.2))):
            if self._try():
                return
            if pause.wait(0.2):
                break
        self._file.seek(0)
        raise Refused(f"another retrainer works on {self._path.parent} (process {self._file.read().strip() or '?'})")

    def _try(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
        return True
