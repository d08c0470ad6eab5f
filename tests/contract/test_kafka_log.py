"""What is particular to reading Kafka itself: transactions, compression, and clients that fail."""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.future import Future
from kafka.record.default_records import DefaultRecordBatch

from retrainer.adapters.kafka import client as kafka_client
from retrainer.adapters.kafka import log as kafka_module
from retrainer.adapters.kafka.broker import EmbeddedBroker
from retrainer.adapters.kafka.log import KafkaLog
from retrainer.domain.events import Partition
from retrainer.errors import Refused, Unreachable
from tests.brokers import ApacheKafka
from tests.contract.event_logs import ApacheRig, EmbeddedRig, read
from tests.waiting import eventually

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def embedded(broker: EmbeddedBroker) -> Iterator[EmbeddedRig]:
    with closing(EmbeddedRig(broker.bootstrap_servers)) as rig:
        yield rig


@pytest.fixture
def apache(apache_kafka: ApacheKafka) -> Iterator[ApacheRig]:
    with closing(ApacheRig(apache_kafka.bootstrap_servers)) as rig:
        yield rig


def open_log(rig: EmbeddedRig) -> KafkaLog:
    log = rig.log()
    assert isinstance(log, KafkaLog)
    return log


# Settings


def test_settings_that_promises_rest_on_are_refused() -> None:
    with pytest.raises(Refused, match="enable_auto_commit, group_id"):
        KafkaLog(NOWHERE, "group", {"group_id": "other", "enable_auto_commit": True})


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(Refused, match=r"sasl\.mechanism"):
        KafkaLog(NOWHERE, "group", {"sasl.mechanism": "PLAIN"})


def test_settings_reach_both_clients(broker: EmbeddedBroker) -> None:
    settings = {"client_id": "mine", "max_poll_records": 1}
    with closing(KafkaLog(broker.bootstrap_servers, "group", settings)) as log:
        log.describe([])
        log.assign({})
        log.poll(0)
        assert log._reader.config["client_id"] == log._asker.config["client_id"] == "mine"
        assert log._reader.config["max_poll_records"] == 1


def test_checksums_in_python_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crc32c", None)
    with pytest.raises(Refused, match="crc32c"):
        KafkaLog(NOWHERE, "group", {})


# Clients that fail


def test_a_hung_client_is_given_up_and_replaced(embedded: EmbeddedRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_client, "_HUNG_AFTER_SECONDS", 0.5)
    at = Partition(embedded.topic(), 0)
    log = open_log(embedded)
    log.assign({at: 0})
    embedded.append(at, b"0")
    read(log, 1)
    embedded.append(at, b"1")
    release = threading.Event()
    hung = log._reader
    hung._net.call_soon_threadsafe(lambda: release.wait(10))
    with pytest.raises(Unreachable, match="Hung"):
        log.poll(0.1)
    try:
        assert [record.offset for record in read(log, 1)] == [1]
        assert log._reader is not hung
    finally:
        release.set()


def test_a_partition_that_stays_silent_gets_a_new_client(
    embedded: EmbeddedRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_module, "_STALLED_AFTER_SECONDS", 0.3)
    topic = embedded.topic(partitions=2)
    silent, well = Partition(topic, 0), Partition(topic, 1)
    log = open_log(embedded)
    log.assign({silent: 0, well: 0})
    embedded.append(silent, b"0")
    read(log, 1)
    stalled = log._reader
    stalled.pause(TopicPartition(*silent))
    embedded.append(silent, b"1")
    embedded.append(silent, b"2")  # of two batches the embedded broker tells of the first
    embedded.append(well, b"0")
    assert [record.partition for record in read(log, 1)] == [well]

    def is_replaced() -> bool:
        log.ends()
        return log._reader is not stalled

    eventually(is_replaced)
    assert [record.offset for record in read(log, 2)] == [1, 2]


def test_a_client_that_is_only_idle_is_kept(embedded: EmbeddedRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_module, "_STALLED_AFTER_SECONDS", 0.1)
    at = Partition(embedded.topic(), 0)
    log = open_log(embedded)
    log.assign({at: 0})
    embedded.append(at, b"0")
    read(log, 1)
    reader = log._reader
    for _ in range(3):
        log.poll(0.1)
        assert log.ends() == {at: 1}
    assert log._reader is reader


def test_a_batch_that_cannot_be_read_is_refused_each_time(
    embedded: EmbeddedRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = Partition(embedded.topic(), 0)
    embedded.append(at, b"0")
    log = open_log(embedded)
    log.assign({at: 0})
    with monkeypatch.context() as corrupt:
        corrupt.setattr(DefaultRecordBatch, "validate_crc", lambda _: False)
        for _ in range(2):  # kafka-python's own second poll would never end
            with pytest.raises(Refused, match="crc"):
                read(log, 1)
    assert [record.value for record in read(log, 1)] == [b"0"]


def test_the_end_is_known_while_the_last_batch_is_read(embedded: EmbeddedRig) -> None:
    """The embedded broker, asked for the end, tells where the last batch begins."""
    at = Partition(embedded.topic(), 0)
    embedded.append(at, b"0", b"1", b"2")
    with closing(KafkaLog(embedded.bootstrap_servers, "group", {"max_poll_records": 1})) as log:
        log.assign({at: 0})
        assert log.ends() == {}  # not known before anything was read
        read(log, 1)
        assert log.ends() == {at: 3}


def test_closing_waits_for_the_last_commit(embedded: EmbeddedRig) -> None:
    log = open_log(embedded)
    answer = Future()
    log._committing = kafka_module._Commit(answer, deadline=0)
    timer = threading.Timer(0.3, answer.success, [None])
    timer.start()
    start = time.monotonic()
    log.close()
    assert 0.2 < time.monotonic() - start < 1.5
    timer.join()


def test_commits_do_not_pile_up(embedded: EmbeddedRig) -> None:
    at = Partition(embedded.topic(), 0)
    log = open_log(embedded)
    log.assign({at: 0})
    log.poll(0.3)
    unanswered = log._committing = kafka_module._Commit(Future(), deadline=time.monotonic() + 60)
    log.commit_offsets({at: 0})
    assert log._committing is unanswered
    log._committing = kafka_module._Commit(Future(), deadline=time.monotonic())
    log.commit_offsets({at: 0})
    eventually(lambda: embedded.committed(log, at) == 0)


def test_a_header_without_a_value_is_empty() -> None:
    """Kafka allows it; kafka-python's producer does not write it."""
    assert kafka_module._headers([("none", None), ("some", b"1")]) == (("none", b""), ("some", b"1"))


# Apache Kafka alone


@pytest.mark.kafka
def test_reading_creates_no_topic(apache: ApacheRig) -> None:
    missing = Partition(f"missing-{uuid.uuid4().hex}", 0)
    log = open_log(apache)
    log.assign({missing: 0})
    for _ in range(3):  # and it does not come back in between
        with pytest.raises(Unreachable, match=missing.topic):
            log.poll(1.5)
    with pytest.raises(Unreachable, match=missing.topic):
        log.describe([missing.topic])
    assert missing.topic not in apache.admin.list_topics()


@pytest.mark.kafka
def test_a_topic_deleted_while_it_is_read_is_named_and_not_created_again(
    apache: ApacheRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_module, "_PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(kafka_module, "_LOOK_EVERY_SECONDS", 0.3)
    at = Partition(apache.topic(), 0)
    log = open_log(apache)
    log.assign({at: 0})
    apache.append(at, b"0")
    read(log, 1)
    apache.admin.delete_topics([at.topic], timeout_ms=5000)
    with pytest.raises(Unreachable, match=at.topic):
        eventually(lambda: log.poll(0.25))
    assert at.topic not in apache.admin.list_topics()
    apache._topics.remove(at.topic)


@pytest.mark.kafka
def test_the_end_is_known_before_anything_is_read(apache: ApacheRig) -> None:
    at = Partition(apache.topic(), 0)
    apache.append(at, b"0", b"1", b"2")
    log = open_log(apache)
    log.assign({at: 1})
    assert log.ends() == {at: 3}


@pytest.mark.kafka
def test_only_committed_transactions_are_read(apache: ApacheRig) -> None:
    at = Partition(apache.topic(), 0)
    log = open_log(apache)
    log.assign({at: 0})
    with closing(apache.transactional_producer()) as producer:
        producer.begin_transaction()
        producer.send(at.topic, b"aborted", partition=0).get(timeout=10)
        producer.abort_transaction()
        producer.begin_transaction()
        producer.send(at.topic, b"open", partition=0).get(timeout=10)
        # What is written but not committed yet counts as still to come.
        assert log.poll(1) == []
        assert log.ends()[at] > 0
        producer.commit_transaction()
    assert [(record.offset, record.value) for record in read(log, 1)] == [(2, b"open")]
    eventually(lambda: log.poll(0.1) == [] and log.ends() == {at: 3})


@pytest.mark.kafka
@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_topics_are_read(apache: ApacheRig, codec: str) -> None:
    at = Partition(apache.topic(), 0)
    with closing(KafkaProducer(bootstrap_servers=apache.bootstrap_servers, compression_type=codec)) as producer:
        for number in range(5000):
            producer.send(at.topic, b"%d" % number * 100, partition=0)
        producer.flush(timeout=10)
    log = open_log(apache)
    log.assign({at: 0})
    assert [record.value for record in read(log, 5000)] == [b"%d" % number * 100 for number in range(5000)]


def test_an_end_before_the_position_is_no_end(embedded: EmbeddedRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a leader says that was elected just now, and does not know all of its log yet."""
    at = Partition(embedded.topic(), 0)
    embedded.append(at, b"0", b"1")
    with closing(open_log(embedded)) as log:
        log.assign({at: 0})
        read(log, 2)
        assert log.ends() == {at: 2}
        monkeypatch.setattr(log, "_known_ends", lambda: {at: 1})
        assert log.ends() == {}
