"""The service's own processes: starting them, noticing that their starter is gone, one of each to a folder."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Final

from retrainer.errors import Refused
from retrainer.ports import Stopped

_LIFELINE: Final = "RETRAINER_ROLE_LIFELINE"
_LOCK_WAIT_SECONDS: Final = 12.0
"""Longer than a process whose supervisor was killed takes to leave."""


class RoleProcess:
    """A started role."""

    def __init__(self, command: Sequence[str]) -> None:
        ours, theirs = os.pipe()
        environment = {**os.environ, _LIFELINE: str(ours)}
        # A session of its own: Ctrl-C in a terminal reaches the supervisor alone, which then asks in order.
        self._process = subprocess.Popen(  # noqa: S603  our own interpreter
            command, env=environment, pass_fds=(ours,), start_new_session=True
        )
        os.close(ours)
        self._lifeline = theirs  # closed by our death, whatever kills us

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        return self._process.poll()

    def ask_to_stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class RoleProcesses:
    """`ports.Roles`: `retrainer ROLE CONFIG` as child processes."""

    def __init__(self, config: Path) -> None:
        self._config = config

    def start(self, name: str) -> RoleProcess:
        return RoleProcess([sys.executable, "-m", "retrainer", name, str(self._config)])


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

    def take(self, stop: Stopped | None = None, wait: float = _LOCK_WAIT_SECONDS) -> None:
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
