"""What an `EventLog` promises while no broker answers, and after that."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from retrainer.adapters.kafka import broker as broker_module
from retrainer.adapters.kafka import log as kafka_module
from retrainer.adapters.kafka.broker import EmbeddedBroker
from retrainer.adapters.kafka.log import KafkaLog
from retrainer.adapters.memory.event_log import MemoryLog
from retrainer.domain.events import Partition
from retrainer.errors import PositionLost, Unreachable
from retrainer.ports.event_log import EventLog
from tests.brokers import ApacheKafka
from tests.contract.event_logs import PATIENCE, ApacheRig, EmbeddedRig, read
from tests.waiting import eventually

AT = Partition("outage", 0)


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    """A broker that a test may harm, with one topic of three records."""
    with EmbeddedBroker() as own:
        fill(own)
        yield own


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage is called one after a second; the tests on Apache Kafka take the time that it really takes."""
    monkeypatch.setattr(kafka_module, "_PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(kafka_module, "_LOOK_EVERY_SECONDS", 0.3)


@pytest.fixture
def log(own_broker: EmbeddedBroker, impatient: None) -> Iterator[KafkaLog]:
    with closing(KafkaLog(own_broker.bootstrap_servers, "group", {"bootstrap_timeout_ms": 500})) as log:
        log.assign({AT: 0})
        read(log, 3)
        yield log


def fill(broker: EmbeddedBroker) -> None:
    broker.create_topics({AT.topic: 1})
    with closing(EmbeddedRig(broker.bootstrap_servers)) as rig:
        rig.append(AT, b"0", b"1", b"2")


def seconds_until_unreachable(poll: Callable[[], object]) -> float:
    start = time.monotonic()
    while time.monotonic() < start + PATIENCE:
        begun = time.monotonic()
        try:
            poll()
        except Unreachable:
            return time.monotonic() - start
        finally:
            assert time.monotonic() - begun < 6, "one call takes too long"
    pytest.fail("it was never unreachable")


def test_a_log_in_memory_goes_away_and_comes_back() -> None:
    log = MemoryLog({AT.topic: 1})
    log.append(AT, b"0")
    log.assign({AT: 0})
    read(log, 1)
    log.go_away()
    for ask in (lambda: log.poll(0), log.ends, lambda: log.describe([AT.topic]), lambda: log.extents([AT])):
        with pytest.raises(Unreachable):
            ask()
    log.commit_offsets({AT: 1})
    assert log.committed == {}
    log.append(AT, b"1")
    log.come_back()
    assert [record.value for record in read(log, 1)] == [b"1"]


def test_a_poll_in_memory_ends_at_an_outage() -> None:
    log = MemoryLog({AT.topic: 1})
    log.assign({AT: 0})
    outage = threading.Timer(0.1, log.go_away)
    start = time.monotonic()
    outage.start()
    with pytest.raises(Unreachable):
        log.poll(PATIENCE)
    assert time.monotonic() - start < PATIENCE / 2
    outage.join()


def test_a_broker_that_died_is_noticed(own_broker: EmbeddedBroker, log: KafkaLog) -> None:
    own_broker.stop()
    assert 0.5 < seconds_until_unreachable(lambda: log.poll(0.25)) < 4
    # From now on every call says so, and none takes long.
    for call in (lambda: log.poll(0.25), log.ends, lambda: log.describe([AT.topic]), lambda: log.extents([AT])):
        start = time.monotonic()
        with pytest.raises(Unreachable, match=own_broker.bootstrap_servers):
            call()
        assert time.monotonic() - start < 2
    log.commit_offsets({AT: 3})
    start = time.monotonic()
    log.close()
    assert time.monotonic() - start < 4


def test_ends_are_unknown_at_first_and_unreachable_then(own_broker: EmbeddedBroker, log: KafkaLog) -> None:
    assert log.ends() == {AT: 3}
    own_broker.stop()
    assert log.ends() == {}
    assert 0.5 < seconds_until_unreachable(log.ends) < 4


def test_a_broker_that_hangs_is_noticed(own_broker: EmbeddedBroker, log: KafkaLog) -> None:
    assert own_broker._process is not None
    os.killpg(own_broker._process.pid, signal.SIGSTOP)
    try:
        assert 0.5 < seconds_until_unreachable(lambda: log.poll(0.25)) < 8
    finally:
        os.killpg(own_broker._process.pid, signal.SIGCONT)
    eventually(lambda: polls(log))
    with closing(EmbeddedRig(own_broker.bootstrap_servers)) as rig:
        rig.append(AT, b"3")
    assert [record.offset for record in read(log, 1)] == [3]


def test_a_broker_that_was_never_there_may_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    port = broker_module._free_port()
    before = threading.active_count()
    with closing(KafkaLog(f"127.0.0.1:{port}", "group", {"bootstrap_timeout_ms": 500})) as log:
        assert threading.active_count() == before  # making it connects to nothing
        log.assign({AT: 0})
        for call in (lambda: log.poll(0.25), log.ends, lambda: log.describe([AT.topic])):
            start = time.monotonic()
            with pytest.raises(Unreachable):
                call()
            assert time.monotonic() - start < 2
        assert threading.active_count() == before  # kafka-python would leave a thread behind each time
        monkeypatch.setattr(broker_module, "_free_port", lambda: port)
        with EmbeddedBroker() as late:
            fill(late)
            assert [record.value for record in read(log, 3)] == [b"0", b"1", b"2"]


def test_a_broker_that_forgot_its_records_is_noticed(
    own_broker: EmbeddedBroker, log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "_free_port", lambda: int(own_broker.bootstrap_servers.split(":")[1]))
    own_broker.stop()
    with EmbeddedBroker() as other:
        other.create_topics({AT.topic: 1})
        with pytest.raises(PositionLost) as lost:
            eventually(lambda: not polls(log))
    assert lost.value.positions == {str(AT): 3}


@pytest.mark.kafka
@pytest.mark.parametrize("kill", [False, True], ids=["in order", "by a crash"])
def test_reading_goes_on_after_an_outage_with_nothing_lost(apache_kafka: ApacheKafka, *, kill: bool) -> None:
    with closing(ApacheRig(apache_kafka.bootstrap_servers)) as rig:
        topic = rig.topic(partitions=2)
        partitions = [Partition(topic, 0), Partition(topic, 1)]
        log = rig.log()
        log.assign(dict.fromkeys(partitions, 0))
        for at in partitions:
            rig.append(at, *(b"%d" % number for number in range(100)))
        records = read(log, 200)
        apache_kafka.stop(kill=kill)
        assert 2 < seconds_until_unreachable(lambda: log.poll(0.25)) < 10
        apache_kafka.start()
        for at in partitions:
            rig.append(at, *(b"%d" % number for number in range(100, 200)))
        records += read(log, 200)
    for at in partitions:
        assert [r.offset for r in records if r.partition == at] == list(range(200))
        assert [r.value for r in records if r.partition == at] == [b"%d" % number for number in range(200)]


@pytest.mark.kafka
def test_a_short_outage_goes_unnoticed(apache_kafka: ApacheKafka) -> None:
    with closing(ApacheRig(apache_kafka.bootstrap_servers)) as rig:
        at = Partition(rig.topic(), 0)
        log = rig.log()
        log.assign({at: 0})
        rig.append(at, b"0")
        read(log, 1)
        apache_kafka.stop()
        apache_kafka.start()
        rig.append(at, b"1")
        assert [record.offset for record in read(log, 1)] == [1]
        eventually(lambda: log.ends() == {at: 2})


def polls(log: EventLog) -> bool:
    """Whether a broker answers a poll; it finds no records."""
    try:
        assert log.poll(0.25) == []
    except Unreachable:
        return False
    return True
