"""The service under trouble: killed processes, a stop in mid-training, things outside that are away, broken records."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tests.e2e.stage import Mlflow, Stage, alive, trainings
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

# Slow enough to be caught in the act, and right in the end.
SLOW = {"estimator": "sklearn.ensemble.GradientBoostingClassifier", "params": "{n_estimators: 500, max_depth: 2}"}


def training_child(controller: int) -> int:
    """The pid of the training process, once there is one."""

    def look() -> int:
        return next((pid for pid, _ in trainings(controller)), 0)

    return eventually(look, 60)


def broken(stage: Stage, mlflow: Mlflow) -> None:
    """Start the service and break its champion, so that a job is launched."""
    mlflow.register_champion(stage.registered)
    stage.start()
    stage.wait_for("alias.adopted")
    stage.send(800)
    stage.send(1500, flipped=True)


def test_killed_worker_controller_and_child_leave_everything_right(
    make_stage: Callable[..., Stage], mlflow: Mlflow
) -> None:
    stage = make_stage(**SLOW)
    broken(stage, mlflow)
    worker, controller = stage.pid_of("worker"), stage.pid_of("controller")
    child = training_child(controller)
    os.kill(child, signal.SIGKILL)
    stage.wait_for("job.requeued")
    os.kill(worker, signal.SIGKILL)
    stage.send(700, flipped=True)
    again = training_child(controller)
    os.kill(controller, signal.SIGKILL)
    eventually(lambda: not alive(again), 10, lambda: "the training process outlived its controller")
    stage.send(700, flipped=True)
    promoted = stage.wait_for("model.promoted", seconds=120)
    stage.send(500, flipped=True)
    eventually(lambda: stage.standing()["outcomes"] == stage.single_pass(), 30)
    status = stage.status()
    consumed = {side: sum(topic == getattr(stage, side) for topic, _ in stage.sent) for side in status["counts"]}
    assert {side: counts["consumed"] for side, counts in status["counts"].items()} == consumed
    assert mlflow.alias(stage.registered) == promoted["version"] == status["champion"]["version"]
    with closing(sqlite3.connect(stage.folder / "state" / "retrainer.db")) as manifest:
        jobs, decisions = (
            manifest.execute(f"select count(*), count(distinct {column}) from {table}").fetchone()
            for column, table in (("job_id", "jobs"), ("decision_id", "decisions"))
        )
    assert jobs[0] == jobs[1] == len(stage.entries("retrain.decided"))
    assert decisions[0] == decisions[1]
    everyone = {worker, controller, child, again, *(int(e["pid"]) for e in stage.entries("service.started"))}
    assert stage.stop() == 0
    eventually(lambda: not any(map(alive, everyone)), 5, lambda: "a process was left behind")


def test_a_killed_supervisor_leaves_no_process_behind(stage: Stage) -> None:
    stage.start()
    pids = [stage.pid_of("worker"), stage.pid_of("controller")]
    assert stage.service is not None
    stage.service.kill()
    stage.service.wait()
    eventually(lambda: not any(map(alive, pids)), 15, lambda: "a role outlived its supervisor")
    stage.start()
    stage.wait_for("service.started", role="worker", count=2)


def test_a_stop_in_mid_training_takes_under_ten_seconds_and_loses_nothing(
    make_stage: Callable[..., Stage], mlflow: Mlflow
) -> None:
    stage = make_stage(**SLOW)
    broken(stage, mlflow)
    child = training_child(stage.pid_of("controller"))
    started = time.monotonic()
    assert stage.stop() == 0
    assert time.monotonic() - started < 10
    assert not alive(child)
    assert stage.wait_for("job.requeued")["why"] == "a stop was asked for"
    stage.start()
    assert stage.wait_for("job.started", count=2)["attempt"] == 1
    assert len(stage.entries("retrain.decided")) == 1


def test_malformed_records_are_kept_with_their_reason_and_the_rest_goes_on(stage: Stage) -> None:
    stage.start()
    stage.wait_for("shard.assigned")
    producer = KafkaProducer(bootstrap_servers=stage.bootstrap)
    for value in (b"\xff\xfe not json", b'{"prediction_id": "x"}', None, b'{"prediction_id": "y", "timestamp": 4e12}'):
        producer.send(stage.predictions, key=b"k", value=value)
    producer.flush()
    producer.close()
    stage.send(100)
    eventually(lambda: stage.standing()["outcomes"]["n"] == 100, 30)
    status = stage.status()
    assert status["counts"]["predictions"]["quarantined"] == 4
    assert status["counts"]["predictions"]["consumed"] == 104
    with closing(sqlite3.connect(stage.folder / "state" / "retrainer.db")) as manifest:
        kept = dict(manifest.execute("select value, reason from quarantine").fetchall())
    assert kept[b"\xff\xfe not json"].startswith("not JSON")
    assert "time" in kept[b'{"prediction_id": "x"}']
    assert "tombstone" in kept[None]
    assert len(stage.entries("event.quarantined")) == 4


def test_a_second_service_on_the_same_folder_is_refused(stage: Stage) -> None:
    stage.start()
    stage.wait_for("service.started", role="worker")
    second = stage.command("run")
    assert second.returncode == 3
    assert "another retrainer works on" in second.stderr
    assert stage.service is not None
    assert stage.service.poll() is None


def test_a_broker_that_is_away_at_the_start_is_waited_for(stage: Stage) -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stage.write_config(lambda text: text.replace(stage.bootstrap, f"127.0.0.1:{port}"))
    stage.start()
    lost = stage.wait_for("dependency.lost", dependency="broker")
    assert str(port) in lost["error"]
    host, _, real = stage.bootstrap.rpartition(":")
    relay = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.relay", str(port), host, real], cwd=Path(__file__).parents[2]
    )
    try:
        stage.wait_for("dependency.recovered", dependency="broker")
        stage.send(100)
        eventually(lambda: stage.standing()["outcomes"]["n"] == 100, 30)
    finally:
        relay.kill()
        relay.wait()


def test_an_mlflow_that_is_away_is_waited_for_and_ingest_goes_on(
    make_stage: Callable[..., Stage], tmp_path: Path
) -> None:
    own = Mlflow(tmp_path)  # a server makes experiments that only servers can write to
    stage = make_stage(mlflow=own)
    own.register_champion(stage.registered)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stage.write_config(lambda text: text.replace(stage.mlflow.uri, f"http://127.0.0.1:{port}"))
    stage.start()
    stage.send(100)
    stage.wait_for("dependency.lost", dependency="mlflow")
    eventually(lambda: stage.standing()["outcomes"]["n"] == 100, 30)
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--backend-store-uri",
            stage.mlflow.uri,
            "--port",
            str(port),
            "--workers",
            "1",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        stage.wait_for("dependency.recovered", dependency="mlflow", seconds=90)
        stage.wait_for("alias.adopted", version="1")
        assert stage.status()["champion"]["version"] == "1"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
