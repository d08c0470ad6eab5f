"""The kinds of event log that the contract holds for, each with a producer's and an operator's hands on it."""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing, suppress
from itertools import pairwise
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import OffsetSpec

from retrainer.adapters.kafka.log import KafkaLog
from retrainer.adapters.memory.event_log import MemoryLog
from retrainer.domain.events import Partition, Record
from retrainer.errors import Unreachable
from retrainer.ports.event_log import EventLog
from tests.waiting import eventually

PATIENCE = 20.0


class Rig(ABC):
    """One kind of event log. What a kind cannot do skips the test."""

    @abstractmethod
    def log(self, batch: int = 10_000) -> EventLog:
        """A new reader of it, whose polls bring at most so many records."""

    @abstractmethod
    def topic(self, partitions: int = 1) -> str:
        """A new topic, ready for use."""

    @abstractmethod
    def append(
        self,
        at: Partition,
        *values: bytes | None,
        key: bytes | None = None,
        timestamp: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> list[int]:
        """Write records in one go; their offsets."""

    def grow(self, topic: str, partitions: int) -> None:
        """Raise the number of partitions."""
        pytest.skip(f"the topics of {type(self).__name__} do not grow")

    def truncate_before(self, at: Partition, offset: int) -> None:
        """Delete records, as retention does."""
        pytest.skip(f"{type(self).__name__} does not delete records")

    def leave_gap(self, at: Partition) -> None:
        """Use up offsets without a record to read."""
        pytest.skip(f"{type(self).__name__} has no transactions")

    @abstractmethod
    def committed(self, log: EventLog, at: Partition) -> int | None:
        """What the group of a reader has committed."""


class MemoryRig(Rig):
    def __init__(self) -> None:
        self.memory = MemoryLog()

    def log(self, batch: int = 10_000) -> EventLog:
        self.memory._batch = batch
        return self.memory

    def topic(self, partitions: int = 1) -> str:
        name = uuid.uuid4().hex
        self.memory.create_topic(name, partitions)
        return name

    def append(self, at: Partition, *values: bytes | None, **kwargs: Any) -> list[int]:
        return [self.memory.append(at, value, **kwargs) for value in values]

    def grow(self, topic: str, partitions: int) -> None:
        self.memory.create_topic(topic, partitions)

    def truncate_before(self, at: Partition, offset: int) -> None:
        self.memory.truncate_before(at, offset)

    def leave_gap(self, at: Partition) -> None:
        self.memory.leave_gap(at, 2)

    def committed(self, log: EventLog, at: Partition) -> int | None:
        return self.memory.committed.get(at)


class EmbeddedRig(Rig):
    """Kafka's adapter on the embedded broker."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers, reconnect_backoff_max_ms=500)
        self.producer = self._producer()
        self._topics: list[str] = []
        self._opened: list[KafkaLog] = []
        self._groups: dict[int, str] = {}

    def log(self, batch: int = 10_000) -> EventLog:
        group = uuid.uuid4().hex
        log = KafkaLog(self.bootstrap_servers, group, {"max_poll_records": batch})
        self._opened.append(log)
        self._groups[id(log)] = group
        return log

    def topic(self, partitions: int = 1) -> str:
        name = uuid.uuid4().hex
        self.admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1}}, timeout_ms=5000)
        self._topics.append(name)
        eventually(lambda: [p["leader_id"] >= 0 for p in self._partitions(name)] == [True] * partitions)
        return name

    def append(
        self,
        at: Partition,
        *values: bytes | None,
        key: bytes | None = None,
        timestamp: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> list[int]:
        sent = [
            self.producer.send(
                at.topic, value, key=key, partition=at.number, timestamp_ms=timestamp, headers=list(headers)
            )
            for value in values
        ]
        self.producer.flush(timeout=10)
        return [future.get(timeout=10).offset for future in sent]

    def committed(self, log: EventLog, at: Partition) -> int | None:
        group = self._groups[id(log)]
        found = self.admin.list_group_offsets({group: None})[group].get(TopicPartition(*at))
        return None if found is None else int(found.offset)

    def close_logs(self) -> None:
        while self._opened:
            self._opened.pop().close()

    def close(self) -> None:
        self.close_logs()
        self.producer.close(timeout=5)
        self.admin.close()

    def _producer(self) -> Any:
        return KafkaProducer(
            bootstrap_servers=self.bootstrap_servers,
            linger_ms=50,  # makes one batch of what is sent in one go
            reconnect_backoff_max_ms=500,
        )

    def _partitions(self, topic: str) -> list[Any]:
        return list(self.admin.describe_topics([topic])[0]["partitions"])


class ApacheRig(EmbeddedRig):
    """Kafka's adapter on Apache Kafka."""

    def grow(self, topic: str, partitions: int) -> None:
        self.admin.create_partitions({topic: partitions})
        eventually(lambda: [p["leader_id"] >= 0 for p in self._partitions(topic)] == [True] * partitions)
        self.producer.close()
        self.producer = self._producer()  # it would learn of them within five minutes

    def truncate_before(self, at: Partition, offset: int) -> None:
        self.admin.delete_records({TopicPartition(*at): offset})

    def leave_gap(self, at: Partition) -> None:
        end = self.end(at)
        with closing(self.transactional_producer()) as producer:
            producer.begin_transaction()
            producer.send(at.topic, b"aborted", partition=at.number).get(timeout=10)
            producer.abort_transaction()
        eventually(lambda: self.end(at) == end + 2)  # the mark comes a little later

    def end(self, at: Partition) -> int:
        """Where the log ends, whatever can be read of it."""
        return int(self.admin.list_partition_offsets({TopicPartition(*at): OffsetSpec.LATEST})[at].offset)

    def close(self) -> None:
        super().close()
        # By a new client: after an outage the other one may be waiting before it tries again.
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap_servers)) as admin:
            admin.delete_topics(self._topics, timeout_ms=5000)

    def transactional_producer(self) -> Any:
        producer = KafkaProducer(bootstrap_servers=self.bootstrap_servers, transactional_id=uuid.uuid4().hex)
        producer.init_transactions()
        return producer


def read(log: EventLog, count: int) -> list[Record]:
    """Poll until so many records have come, through outages; fails where there are more, or out of order."""
    deadline = time.monotonic() + PATIENCE
    records: list[Record] = []
    while len(records) < count:
        assert time.monotonic() < deadline, f"{len(records)} of {count} records came in time"
        with suppress(Unreachable):
            records += [record for batch in log.poll(0.25) for record in batch.records()]
    assert len(records) == count
    for at in {record.partition for record in records}:
        offsets = [record.offset for record in records if record.partition == at]
        assert all(before < after for before, after in pairwise(offsets))
    return records
