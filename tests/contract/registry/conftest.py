"""A registry to test: the twin in memory or MLflow on SQLite, and a job to tell it about."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrainer.adapters.memory.registry import MemoryRegistry
from retrainer.adapters.mlflow.registry import MlflowRegistry
from retrainer.ports.registry import Registry, RunReport

if TYPE_CHECKING:
    from mlflow import MlflowClient


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, made once: it takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowRegistry(f"sqlite:///{path}", artifacts=str(path.parent / "artifacts")).prepare()
    with sqlite3.connect(path) as database:  # the experiment names a folder of its own
        database.execute("DELETE FROM experiments WHERE name = 'retrainer'")
    database.close()
    return path


@pytest.fixture
def tracking_uri(tmp_path: Path, empty_database: Path) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def real(tmp_path: Path, tracking_uri: str) -> MlflowRegistry:
    return MlflowRegistry(tracking_uri, artifacts=str(tmp_path / "arte facts"))


@pytest.fixture
def client(tracking_uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri, tracking_uri)


@pytest.fixture(params=["memory", "mlflow"])
def registry(request: pytest.FixtureRequest) -> Registry:
    chosen: Registry = MemoryRegistry() if request.param == "memory" else request.getfixturevalue("real")
    return chosen


@pytest.fixture
def report(tmp_path: Path) -> RunReport:
    dataset = tmp_path / "job" / "dataset.parquet"
    dataset.parent.mkdir()
    columns = {
        "$id": ["a", "b", "c"],
        "$label": ["late", "on_time", "late"],
        "delay": [1.5, None, 3.0],
        "hour": [1, 2, 3],
    }
    pq.write_table(pa.table(columns), dataset)
    files = tmp_path / "job" / "report"
    (files / "plots").mkdir(parents=True)
    (files / "verdict.json").write_text('{"answer": "accept"}')
    (files / "plots" / "roc.png").write_bytes(b"png")
    return RunReport(
        job_id="job-1",
        model="flights",
        parameters={"estimator": "HistGradientBoostingClassifier", "max_iter": "100"},
        metrics={"candidate.accuracy": 0.9, "champion.accuracy": 0.8},
        tags={"retrainer.trigger": "drop"},
        dataset=dataset,
        dataset_digest="0123456789abcdef" * 4,
        files=files,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The least that is a model in MLflow's format."""
    folder = tmp_path / "job-model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: nothing\nmlflow_version: 3.17.2\n"
    )
    (folder / "data" / "model.txt").write_text("first")
    return folder
