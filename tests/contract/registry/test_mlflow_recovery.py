"""MLflow is told everything exactly once, whatever happens between two calls."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from retrainer.adapters.mlflow.registry import JOB_TAG, MlflowRegistry
from retrainer.ports.registry import RunReport

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's database layer meets it when it is first imported.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


def register(registry: MlflowRegistry, report: RunReport, folder: Path) -> str:
    return registry.register(
        report.model, report.job_id, registry.record_run(report), folder, {"retrainer.trigger": "drop"}
    )


class Died(BaseException):
    """The process was killed."""


class Mortal:
    """MLflow's client in a process that dies at its n-th call: before the call has any effect, or right after."""

    def __init__(self, client: MlflowClient, dies_at: int, before: bool) -> None:
        self._client, self._left, self._before = client, dies_at, before

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0 and self._before:
                raise Died
            try:
                return getattr(self._client, name)(*args, **kwargs)
            finally:
                if self._left == 0:
                    raise Died

        return call


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_death_at_any_call_leaves_one_run_and_one_version(
    real: MlflowRegistry, client: MlflowClient, report: RunReport, folder: Path, before: bool
) -> None:
    real.prepare()
    immortal = real._mlflow._client
    assert immortal is not None
    deaths = 0
    while True:
        job = replace(report, job_id=f"job-{deaths}", model=f"model-{deaths}")
        real._mlflow._client = Mortal(immortal, deaths + 1, before)  # type: ignore[assignment]  # it stands in for the client
        try:
            register(real, job, folder)
            break
        except Died:
            deaths += 1
        real._mlflow._client = immortal
        assert register(real, job, folder) == "1"
        assert_whole(client, job)
    assert deaths > 20  # so many calls does it take; each was the last one once


def assert_whole(client: MlflowClient, report: RunReport) -> None:
    [version] = client.search_model_versions(f"name = '{report.model}'")
    run = client.get_run(str(version.run_id))
    assert run.inputs
    assert run.outputs
    assert len(client.search_runs([run.info.experiment_id], f"tags.`{JOB_TAG}` = '{report.job_id}'")) == 1
    assert run.info.status == "FINISHED"
    assert run.data.params == report.parameters
    assert all(len(client.get_metric_history(run.info.run_id, name)) == 1 for name in report.metrics)
    assert len(run.inputs.dataset_inputs) == 1
    [output] = run.outputs.model_outputs
    [logged] = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    assert output.model_id == logged.model_id
    assert logged.status == "READY"
    assert {metric.key: metric.value for metric in logged.metrics or []} == report.metrics
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": version.name, "version": version.version}]
    assert sorted(path.name for path in Path(str(version.source)).iterdir()) == ["MLmodel", "data"]
    assert sorted(path.name for path in Path(run.info.artifact_uri).iterdir()) == ["dataset", "plots", "verdict.json"]


def test_threads_that_register_for_one_job_agree(
    real: MlflowRegistry, client: MlflowClient, report: RunReport, folder: Path
) -> None:
    together = threading.Barrier(4)
    versions: list[str] = []

    def work() -> None:
        together.wait()
        versions.append(register(real, report, folder))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert versions == ["1"] * 4
    assert len(client.search_model_versions("name = 'flights'")) == 1
