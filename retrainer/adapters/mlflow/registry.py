"""Runs, models and aliases in MLflow."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from retrainer.adapters.mlflow.connection import Connection, masked
from retrainer.adapters.mlflow.dataset import describe
from retrainer.errors import Refused
from retrainer.ports.registry import RunReport

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion

JOB_TAG: Final = "retrainer.job_id"
"""On every run, logged model and version: by it a repeated call finds what the first one made."""

_VERSIONS_TAG: Final = "mlflow.modelVersions"
_MODEL_FILE: Final = "MLmodel"
_DATASET_FOLDER: Final = "dataset"
_AWAIT_READY_SECONDS: Final = 60
_LONGEST_KEY: Final = 250
_STEP: Final = 0


class MlflowRegistry:
    """The registry on an MLflow tracking server, or straight on its database.

    Calls may come from several threads; those that record runs or register versions take turns, since each first
    looks for what an earlier call for the same job made. MLflow has no compare-and-set, so two *processes* must not
    write for the same job at once: only the active controller writes.
    """

    def __init__(
        self,
        tracking_uri: str,
        registry_uri: str | None = None,
        artifacts: str | None = None,
        experiment: str = "retrainer",
    ) -> None:
        """
        Args:
            tracking_uri: a server (`https://...`) or a database (`sqlite:///...`, `postgresql+psycopg://...`).
            registry_uri: where models are registered, if elsewhere.
            artifacts: the folder or URI in which a new experiment keeps its artefacts; a folder here means nothing
                to a server, which then uses its own.
            experiment: the name of the experiment that holds the runs.
        """
        self._mlflow = Connection(tracking_uri, registry_uri)
        self._artifacts = artifacts
        self._experiment = experiment
        self._writing = threading.Lock()

    def prepare(self) -> None:
        """Connect; create the experiment where it is missing. The first use of MLflow imports it: 2 to 4 seconds."""
        with self._writing, self._mlflow.to(f"prepare the experiment {self._experiment!r}") as client:
            self._experiment_id(client)

    def version_at(self, model: str, alias: str) -> str | None:
        """The version that an alias names; None where there is no such model or alias."""
        with self._mlflow.to(f"read the alias {alias!r} of {model!r}") as client:
            aliases = _aliases(client, model)
        version = (aliases or {}).get(alias)
        return None if version is None else str(version)

    def point(self, model: str, alias: str, version: str) -> None:
        """Move an alias."""
        with self._mlflow.to(f"point {alias!r} of {model!r} at version {version}") as client:
            client.set_registered_model_alias(model, alias, version)

    def unpoint(self, model: str, alias: str) -> None:
        """Remove an alias; fine where there is none."""
        with self._mlflow.to(f"remove the alias {alias!r} of {model!r}") as client:
            if alias in (_aliases(client, model) or {}):
                client.delete_registered_model_alias(model, alias)

    def fetch_model(self, model: str, version: str, folder: Path) -> None:
        """The version's files, in MLflow's model format, into a folder that does not exist yet."""
        if folder.exists():
            raise Refused(f"cannot fetch version {version} of {model!r}: {folder} already exists")
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a fetch that was killed
        try:
            with self._mlflow.to(f"fetch version {version} of {model!r}") as client:
                self._download(client.get_model_version_download_uri(model, version), partial).rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def record_run(self, report: RunReport) -> str:
        """One finished run for a job; the run's id. Called again for the same job it completes that run."""
        if not report.dataset.is_file():
            raise Refused(f"cannot record the run of job {report.job_id}: there is no dataset at {report.dataset}")
        with self._writing, self._mlflow.to(f"record the run of job {report.job_id}") as client:
            run = self._run_of(client, report)
            outcome = "FINISHED" if report.succeeded else "FAILED"
            if run.info.status != outcome:
                self._fill(client, run, report)
                client.set_terminated(run.info.run_id, outcome)
            return str(run.info.run_id)

    def register(self, model: str, job_id: str, run_id: str, folder: Path, tags: Mapping[str, str]) -> str:
        """A new version from a folder in MLflow's model format; called again for the same job, the same version."""
        if not (folder / _MODEL_FILE).is_file():
            raise Refused(f"cannot register the model of job {job_id}: {folder} holds no {_MODEL_FILE} file")
        with self._writing, self._mlflow.to(f"register the model of job {job_id} as {model!r}") as client:
            run = client.get_run(run_id)
            logged = _logged_model(client, model, job_id, run)
            if logged.status != "READY":
                _upload_model(client, logged, run, folder)
                _link_to_run(client, logged, run)
                client.finalize_logged_model(logged.model_id, "READY")
            version = _version(client, model, job_id, logged, tags)
            _link_to_version(client, logged, version)
            return str(version.version)

    def _experiment_id(self, client: MlflowClient) -> str:
        found = client.get_experiment_by_name(self._experiment)
        if found is None:
            return _create_experiment(client, self._experiment, self._artifact_location())
        if found.lifecycle_stage == "deleted":
            raise Refused(
                f"MLflow at {self._mlflow.name}: the experiment {self._experiment!r} was deleted; set another in "
                f"mlflow.experiment, or `mlflow experiments restore --experiment-id {found.experiment_id}`"
            )
        return str(found.experiment_id)

    def _artifact_location(self) -> str | None:
        if self._artifacts is None or re.match(r"(?!file:)\w[\w+-]+:", self._artifacts):
            return self._artifacts
        if self._mlflow.served:
            return None
        return str(Path(re.sub("^file:(//)?", "", self._artifacts)).absolute())

    def _run_of(self, client: MlflowClient, report: RunReport) -> Run:
        experiment = self._experiment_id(client)
        # A call whose answer was lost may have left a second one; the oldest is always the one that counts.
        oldest = ["attributes.start_time ASC", "attributes.run_id ASC"]
        found = client.search_runs([experiment], _by_job(report.job_id), max_results=1, order_by=oldest)
        if found:
            return found[0]
        return client.create_run(experiment, tags={JOB_TAG: report.job_id}, run_name=f"{report.model} {report.job_id}")

    def _fill(self, client: MlflowClient, run: Run, report: RunReport) -> None:
        from mlflow.entities import Metric, Param, RunTag

        run_id, time = run.info.run_id, run.info.start_time  # the same time again, so that no metric is there twice
        tags = {"mlflow.source.name": "retrainer", "mlflow.source.type": "JOB", **report.tags, JOB_TAG: report.job_id}
        client.log_batch(
            run_id,
            metrics=[Metric(_key(name), value, time, _STEP) for name, value in report.metrics.items()],
            params=[Param(_key(name), value) for name, value in report.parameters.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
            synchronous=True,  # whatever MLFLOW_ENABLE_ASYNC_LOGGING says
        )
        uri = self._dataset_uri(run, report.dataset.name)
        dataset = describe(report.dataset, name=report.model, digest=report.dataset_digest, uri=uri)
        client.log_inputs(run_id, [dataset])
        client.log_artifact(run_id, str(report.dataset), _DATASET_FOLDER)
        if report.files is not None:
            client.log_artifacts(run_id, str(report.files))

    def _dataset_uri(self, run: Run, file: str) -> str:
        path = f"{_DATASET_FOLDER}/{file}"
        if urlsplit(run.info.artifact_uri).scheme != "mlflow-artifacts":
            return f"{run.info.artifact_uri}/{path}"
        # MLflow cannot read a dataset back from its own scheme, but from the server's page for downloads.
        server = re.sub(r"(?<=://)[^/]*@", "", self._mlflow.tracking_uri).rstrip("/")
        return f"{server}/get-artifact?{urlencode({'path': path, 'run_uuid': run.info.run_id})}"

    def _download(self, uri: str, target: Path) -> Path:
        from mlflow.artifacts import download_artifacts

        target.mkdir(parents=True)
        tracking_uri = self._mlflow.tracking_uri
        folder = Path(download_artifacts(artifact_uri=uri, dst_path=str(target), tracking_uri=tracking_uri))
        if not (folder / _MODEL_FILE).is_file():
            raise Refused(f"MLflow at {self._mlflow.name}: the model's files are gone from {masked(uri)}")
        return folder


def _by_job(job_id: str) -> str:
    quote = '"' if "'" in job_id else "'"
    return f"tags.`{JOB_TAG}` = {quote}{job_id}{quote}"


def _key(name: str) -> str:
    """A metric's or parameter's name in the characters that MLflow allows."""
    return re.sub(r"[^\w.\- :/]|/(?=/|$)|^/", "_", name)[:_LONGEST_KEY]


def _aliases(client: MlflowClient, model: str) -> Mapping[str, str] | None:
    """The aliases of a model; None where there is no such model."""
    from mlflow.exceptions import MlflowException

    try:
        found: Mapping[str, str] = client.get_registered_model(model).aliases
        return found
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}:
            return None
        raise


def _create_experiment(client: MlflowClient, name: str, location: str | None) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return client.create_experiment(name, location)
    except MlflowException as error:
        found = client.get_experiment_by_name(name) if error.error_code == "RESOURCE_ALREADY_EXISTS" else None
        if found is None:
            raise
        return str(found.experiment_id)  # another process was quicker


def _create_model(client: MlflowClient, model: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"}:
            raise


def _logged_model(client: MlflowClient, model: str, job_id: str, run: Run) -> LoggedModel:
    experiment = run.info.experiment_id
    found = client.search_logged_models([experiment], _by_job(job_id), max_results=1)
    if found:
        return found[0]
    return client.create_logged_model(
        experiment,
        name=re.sub("[/:.%\"']", "_", model),
        source_run_id=run.info.run_id,
        tags={JOB_TAG: job_id},
        params=run.data.params,
    )


def _upload_model(client: MlflowClient, logged: LoggedModel, run: Run, folder: Path) -> None:
    from mlflow.models import Model

    client.log_model_artifacts(logged.model_id, str(folder))
    # The training process did not know where its model would end up; the description it wrote is completed.
    description = Model.load(str(folder / _MODEL_FILE))
    description.model_id = description.model_uuid = logged.model_id
    description.run_id = run.info.run_id
    description.artifact_path = logged.artifact_location
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, _MODEL_FILE)
        description.save(str(file))
        client.log_model_artifact(logged.model_id, str(file))


def _link_to_run(client: MlflowClient, logged: LoggedModel, run: Run) -> None:
    """Shows the model among the run's, with the run's metrics."""
    from mlflow.entities import LoggedModelOutput, Metric

    linked = run.outputs.model_outputs if run.outputs else []
    if logged.model_id not in {output.model_id for output in linked}:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, _STEP)])
    time = run.info.start_time
    metrics = [Metric(name, value, time, _STEP, model_id=logged.model_id) for name, value in run.data.metrics.items()]
    client.log_batch(run.info.run_id, metrics=metrics, synchronous=True)


def _version(
    client: MlflowClient, model: str, job_id: str, logged: LoggedModel, tags: Mapping[str, str]
) -> ModelVersion:
    quote = '"' if "'" in model else "'"
    found = client.search_model_versions(f"name = {quote}{model}{quote} and {_by_job(job_id)}")
    if found:
        return min(found, key=lambda version: int(version.version))
    if _aliases(client, model) is None:
        _create_model(client, model)
    # Not `models:/ID`: straight on a database, MLflow would look that up at the process's global tracking URI.
    return client.create_model_version(
        model,
        source=logged.artifact_location,
        run_id=logged.source_run_id,
        tags={**tags, JOB_TAG: job_id},
        await_creation_for=_AWAIT_READY_SECONDS,
        model_id=logged.model_id,
    )


def _link_to_version(client: MlflowClient, logged: LoggedModel, version: ModelVersion) -> None:
    """Shows the version beside the logged model; a server has done so already."""
    linked = json.loads(client.get_logged_model(logged.model_id).tags.get(_VERSIONS_TAG, "[]"))
    if not any(one["name"] == version.name and str(one["version"]) == str(version.version) for one in linked):
        linked.append({"name": version.name, "version": version.version})
        client.set_logged_model_tags(logged.model_id, {_VERSIONS_TAG: json.dumps(linked)})
