"""The same service against Apache Kafka itself, outages included: the embedded broker keeps nothing over a restart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from tests.brokers import ApacheKafka
from tests.e2e.stage import Mlflow, Stage
from tests.waiting import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


@pytest.fixture
def stage(apache_kafka: ApacheKafka, mlflow: Mlflow, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path, apache_kafka.bootstrap_servers, f"{tmp_path.name}-{os.getpid()}", mlflow)
    admin = KafkaAdminClient(bootstrap_servers=made.bootstrap)
    admin.create_topics([NewTopic(topic, 4, 1) for topic in (made.predictions, made.labels)])
    admin.close()
    made.write_config()
    mlflow.register_champion(made.registered)
    yield made
    made.kill()


def test_the_loop_runs_and_survives_a_restart_of_the_broker(
    stage: Stage, apache_kafka: ApacheKafka, mlflow: Mlflow
) -> None:
    stage.start()
    stage.wait_for("alias.adopted")
    stage.send(800)
    stage.wait_for("metric.updated")
    apache_kafka.stop(kill=True)
    stage.wait_for("dependency.lost", dependency="broker")
    apache_kafka.start()
    stage.send(1500, flipped=True)
    stage.wait_for("dependency.recovered", dependency="broker")
    stage.wait_for("model.promoted", seconds=120)
    assert mlflow.alias(stage.registered) == "2"
    eventually(lambda: stage.standing()["outcomes"] == stage.single_pass(), 30)
    connected = stage.command("check", "--connect")
    assert connected.returncode == 0, connected
    assert "2300 join" in connected.stdout
    assert stage.stop() == 0


def test_a_topic_created_anew_is_refused(stage: Stage) -> None:
    stage.start()
    stage.send(100)
    eventually(lambda: stage.standing()["outcomes"]["n"] == 100, 30)
    assert stage.stop() == 0
    admin = KafkaAdminClient(bootstrap_servers=stage.bootstrap)
    admin.delete_topics([stage.labels])
    eventually(lambda: stage.labels not in admin.list_topics(), 30)
    admin.create_topics([NewTopic(stage.labels, 4, 1)])
    admin.close()
    stage.start()
    assert stage.service is not None
    assert stage.service.wait(timeout=60) == 3
    assert "created again" in stage.entries("service.refused")[-1]["reason"]
