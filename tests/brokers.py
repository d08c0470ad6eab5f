"""Brokers for tests: `broker`, embedded and in memory; `apache_kafka`, the real one, for tests marked `kafka`."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrainer.adapters.kafka.broker import EmbeddedBroker
from retrainer.errors import Refused

_SCRIPTS = Path(__file__).parents[1] / "docker" / "kafka"


def pytest_configure(config: pytest.Config) -> None:
    """kafka-python leaves the socket of a refused connection to the garbage collector."""
    refused = r"ignore:unclosed <socket.socket fd=\d+, family=\d+, type=1, proto=6, laddr=\('0.0.0.0':ResourceWarning"
    config.addinivalue_line("filterwarnings", refused)


def pytest_sessionfinish() -> None:
    """Collected while that filter is in force; what is left until the very end would fail the whole run."""
    gc.collect()


class ApacheKafka:
    """The broker of docker/kafka, or the one that KAFKA_BOOTSTRAP names, which is not ours to stop."""

    def __init__(self) -> None:
        self.bootstrap_servers = os.environ.get("KAFKA_BOOTSTRAP", "")
        self._ours = not self.bootstrap_servers
        if self._ours:
            self.bootstrap_servers = f"127.0.0.1:{os.environ.get('KAFKA_PORT', '19092')}"
            self.start()

    def start(self) -> None:
        """Does nothing if it runs; returns once it answers."""
        self._run("start.sh")

    def stop(self, *, kill: bool = False) -> None:
        """In order, or as a crash. What it holds is there again after the next start."""
        if not self._ours:
            pytest.skip("KAFKA_BOOTSTRAP names a broker that is not ours to stop")
        self._run("stop.sh", *(["--kill"] if kill else []))

    def _run(self, script: str, *options: str) -> None:
        # Into a file, not a pipe: the broker that start.sh leaves behind would hold the pipe open.
        subprocess.run([str(_SCRIPTS / script), *options], check=True, timeout=90, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def broker() -> Iterator[EmbeddedBroker]:
    """An embedded broker for the whole run; make topics with names of your own."""
    embedded = EmbeddedBroker()
    try:
        embedded.start()
    except Refused as refused:
        pytest.skip(str(refused))
    yield embedded
    embedded.stop()


@pytest.fixture(scope="session")
def apache_kafka() -> ApacheKafka:
    """Apache Kafka, running; it is left running, `make kafka-stop` stops it."""
    return ApacheKafka()
