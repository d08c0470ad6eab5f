"""Fixtures for the contracts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from retrainer.ports.event_log import EventLog
from tests.contract.event_logs import ApacheRig, EmbeddedRig, MemoryRig, Rig


@pytest.fixture(scope="session", params=["memory", "embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Each kind of event log in turn."""
    if request.param == "memory":
        yield MemoryRig()
    elif request.param == "embedded":
        yield from _on(EmbeddedRig(request.getfixturevalue("broker").bootstrap_servers))
    else:
        yield from _on(ApacheRig(request.getfixturevalue("apache_kafka").bootstrap_servers))


def _on(rig: EmbeddedRig) -> Iterator[Rig]:
    yield rig
    rig.close()


@pytest.fixture
def log(rig: Rig) -> Iterator[EventLog]:
    """A reader, closed after the test."""
    yield rig.log()
    if isinstance(rig, EmbeddedRig):
        rig.close_logs()
