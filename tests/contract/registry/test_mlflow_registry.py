"""What people find in MLflow: runs, datasets and versions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrainer.adapters.mlflow.registry import JOB_TAG, MlflowRegistry
from retrainer.errors import Refused
from retrainer.ports.registry import RunReport

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

# MLflow's database layer meets it when it is first imported.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

DIGEST = "0123456789abcdef" * 4


def register(registry: MlflowRegistry, report: RunReport, folder: Path) -> str:
    return registry.register(
        report.model, report.job_id, registry.record_run(report), folder, {"retrainer.trigger": "drop"}
    )


def recorded_dataset(real: MlflowRegistry, client: MlflowClient, report: RunReport) -> DatasetInput:
    inputs = client.get_run(real.record_run(report)).inputs
    assert inputs
    [dataset] = inputs.dataset_inputs
    return dataset


class TestRun:
    def test_it_shows_the_job(self, real: MlflowRegistry, client: MlflowClient, report: RunReport) -> None:
        run = client.get_run(real.record_run(report))
        assert run.info.status == "FINISHED"
        assert run.info.run_name == "flights job-1"
        assert run.info.end_time >= run.info.start_time
        assert run.data.params == report.parameters
        assert run.data.metrics == report.metrics
        assert run.data.tags["retrainer.trigger"] == "drop"
        assert run.data.tags[JOB_TAG] == "job-1"

    def test_a_failed_job_is_a_failed_run(self, real: MlflowRegistry, client: MlflowClient, report: RunReport) -> None:
        run_id = real.record_run(replace(report, succeeded=False, metrics={}))
        assert client.get_run(run_id).info.status == "FAILED"
        assert real.record_run(report) == run_id
        assert client.get_run(run_id).info.status == "FINISHED"
        assert client.get_run(run_id).data.metrics == report.metrics

    def test_its_files_are_uploaded(self, real: MlflowRegistry, client: MlflowClient, report: RunReport) -> None:
        artifacts = Path(client.get_run(real.record_run(report)).info.artifact_uri)
        assert (artifacts / "verdict.json").read_text() == '{"answer": "accept"}'
        assert (artifacts / "plots/roc.png").read_bytes() == b"png"
        assert (artifacts / "dataset/dataset.parquet").read_bytes() == report.dataset.read_bytes()

    def test_files_are_optional(self, real: MlflowRegistry, client: MlflowClient, report: RunReport) -> None:
        artifacts = Path(client.get_run(real.record_run(replace(report, files=None))).info.artifact_uri)
        assert [path.name for path in artifacts.iterdir()] == ["dataset"]

    def test_names_that_mlflow_does_not_allow_are_changed(
        self, real: MlflowRegistry, client: MlflowClient, report: RunReport
    ) -> None:
        odd = replace(
            report, metrics={"accuracy[carrier=UA]": 1.0, "a//b/": 2.0}, parameters={"$x": "", "k" * 300: "v"}
        )
        run = client.get_run(real.record_run(odd))
        assert run.data.metrics == {"accuracy_carrier_UA_": 1.0, "a_/b_": 2.0}
        assert run.data.params == {"_x": "", "k" * 250: "v"}

    def test_the_job_tag_cannot_be_overwritten(
        self, real: MlflowRegistry, client: MlflowClient, report: RunReport
    ) -> None:
        run_id = real.record_run(replace(report, tags={JOB_TAG: "another"}))
        assert client.get_run(run_id).data.tags[JOB_TAG] == "job-1"

    def test_a_parameter_cannot_change_afterwards(self, real: MlflowRegistry, report: RunReport) -> None:
        real.record_run(replace(report, succeeded=False))
        with pytest.raises(Refused, match="max_iter"):
            real.record_run(replace(report, parameters={"max_iter": "200"}))

    def test_more_values_than_mlflow_takes_at_once(
        self, real: MlflowRegistry, client: MlflowClient, report: RunReport
    ) -> None:
        many = replace(
            report,
            parameters={f"p{n}": "x" for n in range(150)},
            metrics={f"m{n}": float(n) for n in range(1100)},
        )
        run = client.get_run(real.record_run(many))
        assert run.data.params == many.parameters
        assert run.data.metrics == many.metrics

    def test_a_deleted_run_is_recorded_anew(
        self, real: MlflowRegistry, client: MlflowClient, report: RunReport
    ) -> None:
        first = real.record_run(report)
        client.delete_run(first)
        assert real.record_run(report) != first

    def test_artifacts_go_where_they_were_told(
        self, real: MlflowRegistry, client: MlflowClient, report: RunReport, tmp_path: Path
    ) -> None:
        assert client.get_run(real.record_run(report)).info.artifact_uri.startswith(f"{tmp_path}/arte facts/")

    def test_a_folder_may_be_relative_or_a_uri(
        self, tracking_uri: str, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        expected = {
            "state/artifacts": f"{tmp_path}/state/artifacts",
            f"file://{tmp_path}/here": f"{tmp_path}/here",
            "s3://bucket/folder": "s3://bucket/folder",
        }
        for artifacts, location in expected.items():
            MlflowRegistry(tracking_uri, artifacts=artifacts, experiment=artifacts).prepare()
            experiment = client.get_experiment_by_name(artifacts)
            assert experiment is not None
            assert experiment.artifact_location == location


class TestDataset:
    def test_its_digest_is_shortened_and_kept_in_full(
        self, real: MlflowRegistry, client: MlflowClient, report: RunReport
    ) -> None:
        dataset = recorded_dataset(real, client, report)
        assert dataset.dataset.name == "flights"
        assert dataset.dataset.digest == DIGEST[:36]
        assert {tag.key: tag.value for tag in dataset.tags} == {
            "mlflow.data.context": "training",
            "retrainer.digest": DIGEST,
        }

    def test_its_columns_and_size(self, real: MlflowRegistry, client: MlflowClient, report: RunReport) -> None:
        dataset = recorded_dataset(real, client, report)
        assert json.loads(dataset.dataset.profile or "") == {
            "num_rows": 3,
            "num_elements": 12,
            "num_features": 2,
            "num_nulls": {"delay": 1},
        }
        assert json.loads(dataset.dataset.schema or "")["mlflow_colspec"] == [
            {"type": "string", "name": "$id", "required": True},
            {"type": "string", "name": "$label", "required": True},
            {"type": "double", "name": "delay", "required": False},
            {"type": "long", "name": "hour", "required": True},
        ]

    def test_every_kind_of_column_has_a_type(
        self, real: MlflowRegistry, client: MlflowClient, report: RunReport
    ) -> None:
        kinds: dict[str, Any] = {
            "flag": pa.array([True]),
            "small": pa.array([1], pa.int16()),
            "u32": pa.array([1], pa.uint32()),
            "short": pa.array([1.0], pa.float32()),
            "when": pa.array([0], pa.timestamp("us", tz="UTC")),
            "category": pa.array(["a"]).dictionary_encode(),
            "bytes": pa.array([b"x"]),
            "list": pa.array([[1]]),
            "nothing": pa.array([None]),
        }
        pq.write_table(pa.table(kinds), report.dataset)
        dataset = recorded_dataset(real, client, report)
        columns = json.loads(dataset.dataset.schema or "")["mlflow_colspec"]
        assert {column["name"]: column["type"] for column in columns} == {
            "flag": "boolean",
            "small": "integer",
            "u32": "long",
            "short": "float",
            "when": "datetime",
            "category": "string",
            "bytes": "binary",
            "list": "string",
            "nothing": "string",
        }

    def test_a_reader_finds_it(self, real: MlflowRegistry, client: MlflowClient, report: RunReport) -> None:
        from mlflow.data import get_source

        dataset = recorded_dataset(real, client, report)
        assert Path(get_source(dataset).load()).read_bytes() == report.dataset.read_bytes()


class TestVersion:
    def test_it_is_linked_both_ways(
        self, real: MlflowRegistry, client: MlflowClient, report: RunReport, folder: Path
    ) -> None:
        run_id = real.record_run(report)
        register(real, report, folder)
        version = client.get_model_version("flights", "1")
        run = client.get_run(run_id)
        assert version.run_id == run_id
        assert version.tags == {"retrainer.trigger": "drop", JOB_TAG: "job-1"}
        assert run.outputs
        [output] = run.outputs.model_outputs
        logged = client.get_logged_model(output.model_id)
        assert logged.status == "READY"
        assert logged.name == "flights"
        assert logged.source_run_id == run_id
        assert logged.params == report.parameters
        assert {metric.key: metric.value for metric in logged.metrics or []} == report.metrics
        assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "flights", "version": 1}]
        assert version.source == logged.artifact_location

    def test_its_description_says_where_it_came_from(
        self, real: MlflowRegistry, client: MlflowClient, report: RunReport, folder: Path, tmp_path: Path
    ) -> None:
        from mlflow.models import Model

        register(real, report, folder)
        real.fetch_model("flights", "1", tmp_path / "fetched")
        described = Model.load(str(tmp_path / "fetched"))
        [logged] = client.search_logged_models([client.get_run(described.run_id).info.experiment_id])
        assert described.model_id == logged.model_id
        assert described.artifact_path == logged.artifact_location
        assert "model_id" not in (folder / "MLmodel").read_text()

    def test_a_model_whose_files_are_gone_is_refused(
        self, real: MlflowRegistry, client: MlflowClient, report: RunReport, folder: Path, tmp_path: Path
    ) -> None:
        register(real, report, folder)
        (Path(client.get_model_version_download_uri("flights", "1")) / "MLmodel").unlink()
        with pytest.raises(Refused, match="gone"):
            real.fetch_model("flights", "1", tmp_path / "champion")
        assert not (tmp_path / ".champion.partial").exists()

    def test_jobs_of_different_models_are_kept_apart(
        self, real: MlflowRegistry, report: RunReport, folder: Path
    ) -> None:
        register(real, report, folder)
        assert register(real, replace(report, job_id="job-2", model="others"), folder) == "1"
        assert register(real, report, folder) == "1"

    def test_people_load_it_by_its_alias(
        self,
        real: MlflowRegistry,
        tracking_uri: str,
        report: RunReport,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        import mlflow.pyfunc
        import mlflow.sklearn
        import pandas as pd
        from sklearn.linear_model import LogisticRegression

        rows = pd.DataFrame({"delay": [1.0, 2.0, 30.0, 40.0]})
        model = LogisticRegression().fit(rows, ["on_time", "on_time", "late", "late"])
        signature = mlflow.models.infer_signature(rows, model.predict(rows))
        saved = {"signature": signature, "input_example": rows, "pip_requirements": ["scikit-learn"]}
        mlflow.sklearn.save_model(model, str(tmp_path / "saved"), **saved)
        real.point("flights", "champion", register(real, report, tmp_path / "saved"))

        monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
        uri = "models:/flights@champion"
        assert list(mlflow.sklearn.load_model(uri).predict(rows)) == ["on_time", "on_time", "late", "late"]
        loaded = mlflow.pyfunc.load_model(uri)
        assert list(loaded.predict(rows)) == ["on_time", "on_time", "late", "late"]
        assert loaded.metadata.signature == signature
        assert loaded.input_example.equals(rows)
        assert loaded.metadata.run_id == real.record_run(report)
