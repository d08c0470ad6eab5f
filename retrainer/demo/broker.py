"""The Kafka of the demo: an embedded broker, or the one that KAFKA_BOOTSTRAP names, with topics of the demo's own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from retrainer.adapters.kafka import client as kafka_client
from retrainer.adapters.kafka.broker import EmbeddedBroker
from retrainer.errors import Unreachable

VARIABLE: Final = "KAFKA_BOOTSTRAP"
PARTITIONS: Final = 3

_TIMEOUT_MS: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class Kafka:
    """Where the events go. `prefix` sets the demo's topics and group apart from what others keep on the broker."""

    bootstrap_servers: str
    prefix: str = ""

    @property
    def predictions(self) -> str:
        return f"{self.prefix}predictions"

    @property
    def labels(self) -> str:
        return f"{self.prefix}labels"

    @property
    def topics(self) -> dict[str, int]:
        """Both, with their numbers of partitions."""
        return {self.predictions: PARTITIONS, self.labels: PARTITIONS}

    def configured(self, text: str) -> str:
        """A configuration file for these topics. On a broker of our own it stays as it is."""
        if not self.prefix:
            return text
        text = text.replace("topic: predictions", f"topic: {self.predictions}")
        text = text.replace("topic: labels", f"topic: {self.labels}")
        return text.replace("kafka:\n", f"kafka:\n  group_id: {self.prefix}retrainer\n", 1)


@contextmanager
def running(log: Path) -> Iterator[Kafka]:
    """A broker with both topics, for as long as the context lasts.

    Raises:
        Refused: there is no embedded broker for this machine.
        Unreachable: the broker that was named does not answer.
    """
    named = os.environ.get(VARIABLE)
    if named:
        with _topics_of_our_own(named) as kafka:
            yield kafka
    else:
        with EmbeddedBroker(output=log) as broker:
            kafka = Kafka(bootstrap_servers=broker.bootstrap_servers)
            broker.create_topics(kafka.topics)
            yield kafka


@contextmanager
def _topics_of_our_own(bootstrap_servers: str) -> Iterator[Kafka]:
    """New topics on somebody's broker, removed at the end."""
    kafka = Kafka(bootstrap_servers=bootstrap_servers, prefix=f"retrainer-demo-{uuid.uuid4().hex[:8]}-")
    with _admin(bootstrap_servers) as admin:
        wanted = {name: {"num_partitions": count, "replication_factor": -1} for name, count in kafka.topics.items()}
        admin.create_topics(wanted, timeout_ms=_TIMEOUT_MS)
    try:
        yield kafka
    finally:
        with _admin(bootstrap_servers) as admin:
            admin.delete_topics(list(kafka.topics), timeout_ms=_TIMEOUT_MS)


@contextmanager
def _admin(bootstrap_servers: str) -> Iterator[Any]:
    settings = {"bootstrap_servers": bootstrap_servers, "bootstrap_timeout_ms": _TIMEOUT_MS}
    try:
        with closing(kafka_client.connect(KafkaAdminClient, settings)) as admin:
            yield admin
    except KafkaError as error:
        raise Unreachable(f"Kafka at {bootstrap_servers} ({VARIABLE}): {type(error).__name__}: {error}") from error
