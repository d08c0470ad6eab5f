"""The watchdog outside the process, with real processes: a role that hangs is killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from retrainer.adapters.clock import SystemClock
from retrainer.adapters.role_processes import RoleProcess, SystemdHeart
from retrainer.service import supervisor as supervisor_module
from retrainer.service.supervisor import Supervisor
from tests.entries import Entries
from tests.waiting import eventually

ROLE = """
import time
from threading import Event
from retrainer.adapters.role_processes import heart_of_this_process, watch_starter
from retrainer.service.heart import Beating

watch_starter(lambda: __import__("os")._exit(1))
stop = Beating(Event(), heart_of_this_process())
while not stop.is_set():
    time.sleep(0.02)
"""


class Started:
    """`Roles`: small processes that beat as a role's main loop does."""

    def __init__(self) -> None:
        self.processes: list[RoleProcess] = []

    def start(self, name: str) -> RoleProcess:
        self.processes.append(RoleProcess([sys.executable, "-c", ROLE]))
        return self.processes[-1]


@pytest.fixture
def roles() -> Iterator[Started]:
    roles = Started()
    yield roles
    for process in roles.processes:
        process.kill()
        assert process.exit_code() is not None


def test_case_17_a_role_that_hangs_is_killed_and_started_again(roles: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "_SILENT_FOR_SECONDS", 1.5)
    entries = Entries()
    supervisor = Supervisor(("worker",), roles, SystemClock(), entries.logger)

    def beats(process: RoleProcess) -> bool:
        supervisor.run_once()
        return process.beats() > 5

    def is_replaced() -> bool:
        supervisor.run_once()
        return len(roles.processes) == 2

    supervisor.run_once()
    (first,) = roles.processes
    eventually(lambda: beats(first))
    os.kill(first.pid, signal.SIGSTOP)  # it cannot answer a SIGTERM either
    eventually(is_replaced)
    assert first.exit_code() == -signal.SIGKILL
    assert entries.events == ["role.hung", "role.restarted"]
    eventually(lambda: beats(roles.processes[1]))
    supervisor.stop()
    assert "role.killed" not in entries.events


def test_a_heartbeat_outlives_a_supervisor_that_does_not_listen(roles: Started) -> None:
    """The pipe holds so many beats; a role never waits for somebody to take them out."""
    script = (
        "from retrainer.adapters.role_processes import heart_of_this_process\n"
        "heart = heart_of_this_process()\n"
        "for _ in range(200_000): heart.beat()\n"
        "raise SystemExit(7)\n"
    )
    process = RoleProcess([sys.executable, "-c", script])
    roles.processes.append(process)
    assert eventually(process.exit_code, 60) == 7


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_the_heartbeat(tmp_path: Path, abstract: bool) -> None:
    address = f"@retrainer-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        systemd.bind("\0" + address[1:] if abstract else address)
        systemd.settimeout(20)
        script = (
            "import os\n"
            "from retrainer.adapters.role_processes import heart_of_this_process\n"
            "heart_of_this_process().beat()\n"
            "assert 'NOTIFY_SOCKET' not in os.environ\n"
        )
        environment = {**os.environ, "NOTIFY_SOCKET": address}
        subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)
        assert systemd.recv(100) == b"WATCHDOG=1"


def test_a_systemd_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    SystemdHeart(str(tmp_path / "nobody")).beat()
