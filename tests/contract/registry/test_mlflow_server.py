"""A real MLflow server, over HTTP, with artefacts that go through it: working, away, back again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pytest

from retrainer.adapters.mlflow.registry import MlflowRegistry
from retrainer.errors import Refused, Unreachable
from retrainer.ports.registry import RunReport

STARTED: Final = "Uvicorn running on"


@dataclass
class Server:
    """`mlflow server` on one port; its database and artefacts outlive it."""

    folder: Path
    port: int
    process: subprocess.Popen[str] | None = None
    reader: threading.Thread = field(default_factory=threading.Thread)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        options = ["--host=127.0.0.1", f"--port={self.port}", "--workers=1"]
        options += [f"--backend-store-uri=sqlite:///{self.folder}/mlflow.db"]
        options += [f"--artifacts-destination={self.folder}/served"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *options],
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        assert self.process.stdout
        said = []
        for line in self.process.stdout:
            said.append(line)
            if STARTED in line:
                break
        else:
            pytest.fail("mlflow server ended: " + "".join(said))
        # What it writes from now on is read away, or it would stop at a full pipe.
        self.reader = threading.Thread(target=deque, args=(self.process.stdout, 0))
        self.reader.start()

    def kill(self) -> None:
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join()
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None


@pytest.fixture
def server(tmp_path: Path, tracking_uri: str) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        server = Server(tmp_path, free.getsockname()[1])
    server.start()
    yield server
    if server.process:
        server.kill()


@pytest.mark.slow
def test_the_whole_story(
    server: Server, report: RunReport, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    registry = MlflowRegistry(server.uri, artifacts="state/artifacts")
    registry.prepare()
    with_nan = replace(report, metrics={**report.metrics, "champion.auc": float("nan")})
    run_id = registry.record_run(with_nan)
    assert registry.record_run(with_nan) == run_id
    assert registry.register("flights", "job-1", run_id, folder, {"retrainer.trigger": "drop"}) == "1"
    registry.point("flights", "champion", "1")
    assert registry.version_at("flights", "champion") == "1"
    assert registry.version_at("flights", "challenger") is None
    assert registry.version_at("others", "champion") is None
    with pytest.raises(Refused):
        registry.point("flights", "latest", "1")
    registry.fetch_model("flights", "1", tmp_path / "fetched")
    assert (tmp_path / "fetched/data/model.txt").read_text() == "first"
    assert capfd.readouterr() == ("", "")  # no link to the run, no progress bar
    check_server_side(server.uri, run_id, report)

    server.kill()
    for call in calls(registry, report, folder, tmp_path, run_id):
        with pytest.raises(Unreachable, match=server.uri):
            call()
    assert not (tmp_path / "again").exists()

    server.start()
    for call in calls(registry, report, folder, tmp_path, run_id):
        call()
    assert registry.version_at("flights", "challenger") is None
    assert registry.register("flights", "job-1", run_id, folder, {}) == "1"
    assert (tmp_path / "again/data/model.txt").read_text() == "first"


def calls(
    registry: MlflowRegistry, report: RunReport, folder: Path, tmp_path: Path, run_id: str
) -> list[Callable[[], object]]:
    return [
        registry.prepare,
        lambda: registry.version_at("flights", "champion"),
        lambda: registry.point("flights", "challenger", "1"),
        lambda: registry.unpoint("flights", "challenger"),
        lambda: registry.fetch_model("flights", "1", tmp_path / "again"),
        lambda: registry.record_run(replace(report, job_id="job-2")),
        lambda: registry.register("flights", "job-1", run_id, folder, {}),
    ]


def check_server_side(uri: str, run_id: str, report: RunReport) -> None:
    from mlflow import MlflowClient
    from mlflow.data import get_source

    client = MlflowClient(uri)
    run = client.get_run(run_id)
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")  # a folder here means nothing there
    assert run.inputs
    [dataset] = run.inputs.dataset_inputs
    assert Path(get_source(dataset).load()).read_bytes() == report.dataset.read_bytes()
    assert run.outputs
    [output] = run.outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert logged.tags["mlflow.modelVersions"] == '[{"name": "flights", "version": 1}]'
