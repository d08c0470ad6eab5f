"""One Apache Kafka of our own, on a port of its own: it is killed in the run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic

from tests.chaos.plan import PARTITIONS, ROOT

_SCRIPTS = ROOT / "docker" / "kafka"


class Broker:
    """The broker of docker/kafka on one port."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._environment = {**os.environ, "KAFKA_PORT": str(port)}

    def start(self) -> None:
        """Returns once it answers."""
        self._run("start.sh")

    def kill(self) -> None:
        """As a crash."""
        self._run("stop.sh", "--kill")

    def create(self, topics: Sequence[str]) -> None:
        """Records carry event times, which must not let them expire."""
        kept = {"retention.ms": "-1"}
        admin = KafkaAdminClient(bootstrap_servers=self.address)
        admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=kept) for name in topics])
        admin.close()

    def remove(self, topics: Sequence[str]) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.address)
        admin.delete_topics(list(topics))
        admin.close()

    def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """Where each partition ends."""
        consumer = KafkaConsumer(bootstrap_servers=self.address)
        found = consumer.end_offsets([TopicPartition(name, n) for name in topics for n in range(PARTITIONS)])
        consumer.close()
        return {(at.topic, at.partition): end for at, end in found.items()}

    def _run(self, script: str, *options: str) -> None:
        # Into a file, not a pipe: the broker that start.sh leaves behind would hold the pipe open.
        subprocess.run(
            [str(_SCRIPTS / script), *options],
            check=True,
            timeout=120,
            env=self._environment,
            stdout=subprocess.DEVNULL,
        )
