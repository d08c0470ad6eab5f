"""Opening MLflow: quietly, once, where it was told to, and with errors that tell a pause from a refusal."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from retrainer.adapters.mlflow import connection as mlflow_connection
from retrainer.adapters.mlflow.registry import MlflowRegistry
from retrainer.errors import Refused, Unreachable
from retrainer.ports.registry import RunReport

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's database layer meets it when it is first imported.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


def python(script: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """A process of its own, so that MLflow is imported and opened as the service does it."""
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    env = {"PATH": "", "PYTHONPATH": str(Path(mlflow_connection.__file__).parents[3]), **environment}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def say(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdin
    process.stdin.write(f"{words}\n")
    process.stdin.flush()


FIRST_OPENING = """
    import sys
    from mlflow.store.db import utils
    from retrainer.adapters.mlflow.registry import MlflowRegistry

    def look(engine, look=utils._all_tables_exist):
        found = look(engine)
        print("tables" if found else "no tables", flush=True)
        sys.stdin.readline()
        return found

    utils._all_tables_exist = look
    print("ready", flush=True)
    sys.stdin.readline()
    MlflowRegistry(sys.argv[1], artifacts=sys.argv[2]).prepare()
    """


class TestOpening:
    def test_two_processes_may_open_a_new_database_at_once(self, tmp_path: Path) -> None:
        uri = f"sqlite:///{tmp_path}/new folder/mlflow.db"
        first, second = (python(FIRST_OPENING, uri, tmp_path) for _ in range(2))
        assert heard(first) == heard(second) == "ready"
        say(first, "open")
        assert heard(first) == "no tables"  # and it has not made them yet
        say(second, "open")
        assert first.communicate("go on\n" * 9)[1] == ""
        assert heard(second) == "tables"
        assert second.communicate("go on\n" * 9)[1] == ""
        assert first.returncode == second.returncode == 0

    def test_nothing_is_printed(self, tmp_path: Path, report: RunReport, folder: Path) -> None:
        script = """
            import sys
            from pathlib import Path
            from retrainer.adapters.mlflow.registry import MlflowRegistry
            from retrainer.errors import Unreachable
            from retrainer.ports.registry import RunReport
            here, dataset, folder = map(Path, sys.argv[1:])
            registry = MlflowRegistry(f"sqlite:///{here}/mlflow.db", artifacts=str(here / "artifacts"))
            registry.prepare()
            report = RunReport(
                job_id="1", model="m", parameters={"long": "x" * 7000}, metrics={}, tags={}, dataset=dataset,
                dataset_digest="d"
            )
            version = registry.register("m", "1", registry.record_run(report), folder, {})
            registry.point("m", "champion", version)
            registry.fetch_model("m", version, here / "fetched")
            try:
                MlflowRegistry("http://127.0.0.1:1").prepare()
            except Unreachable:
                pass
            """
        process = python(script, tmp_path, report.dataset, folder)
        assert process.communicate() == ("", "")
        assert process.returncode == 0

    def test_the_environment_of_the_user_wins_where_it_may(self) -> None:
        script = """
            import json, os
            from retrainer.adapters.mlflow.registry import MlflowRegistry
            from retrainer.errors import Unreachable
            try:
                MlflowRegistry("http://127.0.0.1:1").prepare()
            except Unreachable:
                print(json.dumps({name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}))
            """
        process = python(script, MLFLOW_HTTP_REQUEST_TIMEOUT="33", MLFLOW_HTTP_REQUEST_MAX_RETRIES="7")
        seen = json.loads(process.communicate()[0])
        assert seen["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "33"
        assert seen["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"  # or a lost answer could make a second version
        assert seen["MLFLOW_DISABLE_TELEMETRY"] == "true"

    @pytest.mark.parametrize(("earlier", "seen"), [("", "careful\n"), ("import mlflow", "")])
    def test_what_mlflow_warns_of_is_left_to_our_own_log(self, earlier: str, seen: str) -> None:
        """Where something imported it earlier, its handlers hold its warnings back from ours; they are silenced."""
        script = """
            import logging, sys
            exec(sys.argv[1])
            from retrainer.adapters.mlflow.registry import MlflowRegistry
            from retrainer.errors import Unreachable
            logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
            try:
                MlflowRegistry("http://127.0.0.1:1").prepare()
            except Unreachable:
                logging.getLogger("mlflow.anything").info("noise")
                logging.getLogger("mlflow.anything").warning("careful")
            """
        assert python(script, earlier).communicate() == (seen, "")

    def test_uris_of_the_process_are_neither_used_nor_set(
        self, real: MlflowRegistry, report: RunReport, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import mlflow

        elsewhere = f"sqlite:///{tmp_path}/elsewhere.db"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere)
        monkeypatch.setenv("MLFLOW_REGISTRY_URI", elsewhere)
        real.register("flights", "job-1", real.record_run(report), folder, {})
        real.point("flights", "champion", "1")
        real.fetch_model("flights", "1", tmp_path / "champion")
        assert mlflow.get_tracking_uri() == elsewhere
        assert not (tmp_path / "elsewhere.db").exists()

    def test_models_may_be_registered_elsewhere(
        self, tracking_uri: str, empty_database: Path, report: RunReport, folder: Path, tmp_path: Path
    ) -> None:
        shutil.copy(empty_database, tmp_path / "models.db")
        models = f"sqlite:///{tmp_path}/models.db"
        registry = MlflowRegistry(tracking_uri, models, artifacts=str(tmp_path / "artifacts"))
        registry.register("flights", "job-1", registry.record_run(report), folder, {})
        registry.point("flights", "champion", "1")
        registry.fetch_model("flights", "1", tmp_path / "champion")
        assert MlflowRegistry(models).version_at("flights", "champion") == "1"
        assert MlflowRegistry(tracking_uri).version_at("flights", "champion") is None

    def test_a_deleted_experiment_is_refused_with_advice(self, real: MlflowRegistry, client: MlflowClient) -> None:
        real.prepare()
        experiment = client.get_experiment_by_name("retrainer")
        assert experiment is not None
        client.delete_experiment(experiment.experiment_id)
        with pytest.raises(Refused, match=f"mlflow experiments restore --experiment-id {experiment.experiment_id}"):
            real.prepare()
        client.restore_experiment(experiment.experiment_id)
        real.prepare()


class TestErrors:
    @pytest.mark.parametrize("uri", ["./mlruns", "/var/mlruns", "file:///var/mlruns", "mlruns"])
    def test_a_folder_is_refused(self, uri: str) -> None:
        with pytest.raises(Refused, match="sqlite:///"):
            MlflowRegistry(uri).prepare()

    @pytest.mark.parametrize("uri", ["localhost:5000", "ftp://host/path"])
    def test_an_unknown_scheme_is_refused(self, uri: str) -> None:
        with pytest.raises(Refused, match="http"):
            MlflowRegistry(uri).prepare()

    @pytest.mark.timeout(30)  # MLflow by itself would try for more than a minute
    def test_a_database_that_cannot_be_opened_is_unreachable_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "mlflow.db").mkdir()
        with pytest.raises(Unreachable, match=r"mlflow\.db"):
            MlflowRegistry(f"sqlite:///{tmp_path}/mlflow.db").prepare()

    def test_another_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "mlflow.db").write_bytes(b"something else, longer than the header of a database. " * 10)
        with pytest.raises(Refused, match="not a database"):
            MlflowRegistry(f"sqlite:///{tmp_path}/mlflow.db").prepare()

    def test_tables_of_another_release_are_refused(self, tracking_uri: str, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / "mlflow.db") as database:
            database.execute("UPDATE alembic_version SET version_num = 'old'")
        database.close()
        with pytest.raises(Refused, match="mlflow db upgrade"):
            MlflowRegistry(tracking_uri).prepare()

    @pytest.mark.parametrize(
        ("uri", "missing"), [("mysql+mysqldb://h/d", "MySQLdb"), ("mysql+no_such://h/d", "no_such")]
    )
    def test_a_missing_driver_is_refused(self, uri: str, missing: str) -> None:
        with pytest.raises(Refused, match=missing):
            MlflowRegistry(uri).prepare()

    def test_no_server_is_unreachable(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(Unreachable, match=f"127.0.0.1:{port}: cannot prepare the experiment 'retrainer'"):
            MlflowRegistry(f"http://127.0.0.1:{port}").prepare()

    def test_a_server_that_never_answers_is_unreachable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unreachable, match="timeout"):
            MlflowRegistry(f"http://127.0.0.1:{silent.getsockname()[1]}").prepare()

    def test_artifacts_that_cannot_be_written_are_unreachable(
        self, real: MlflowRegistry, report: RunReport, tmp_path: Path
    ) -> None:
        (tmp_path / "arte facts").touch()  # where a folder should be, as when a volume is not mounted
        with pytest.raises(Unreachable, match="record the run of job job-1"):
            real.record_run(report)
        (tmp_path / "arte facts").unlink()
        real.record_run(report)

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            ("TEMPORARILY_UNAVAILABLE", Unreachable),  # a database that stays locked, too
            ("INTERNAL_ERROR", Unreachable),
            ("REQUEST_LIMIT_EXCEEDED", Unreachable),
            ("ENDPOINT_NOT_FOUND", Unreachable),
            ("PERMISSION_DENIED", Refused),
            ("UNAUTHENTICATED", Refused),
            ("INVALID_PARAMETER_VALUE", Refused),
            ("BAD_REQUEST", Refused),
        ],
    )
    def test_an_answer_is_a_pause_or_a_refusal(
        self, real: MlflowRegistry, monkeypatch: pytest.MonkeyPatch, code: str, kind: type[Exception]
    ) -> None:
        from mlflow.exceptions import RestException

        def answer(*_: object) -> None:
            raise RestException({"error_code": code, "message": "because"})

        real.prepare()
        monkeypatch.setattr(real._mlflow._client, "get_registered_model", answer)
        with pytest.raises(kind, match=r"read the alias 'champion' of 'flights'.*because") as caught:
            real.version_at("flights", "champion")
        advice = "(check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN)"
        assert (advice in str(caught.value)) == (code in {"PERMISSION_DENIED", "UNAUTHENTICATED"})

    @pytest.mark.parametrize(("status", "kind"), [(503, Unreachable), (429, Unreachable), (403, Refused)])
    def test_so_is_an_answer_about_artifacts(
        self,
        real: MlflowRegistry,
        report: RunReport,
        monkeypatch: pytest.MonkeyPatch,
        status: int,
        kind: type[Exception],
    ) -> None:
        import requests

        response = requests.Response()
        response.status_code = status

        def answer(*_: object) -> None:
            raise requests.HTTPError("because", response=response)

        real.prepare()
        monkeypatch.setattr(real._mlflow._client, "log_artifact", answer)
        with pytest.raises(kind, match="because"):
            real.record_run(report)

    def test_our_own_mistakes_are_not_called_an_outage(
        self, real: MlflowRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real.prepare()
        monkeypatch.setattr(real._mlflow._client, "get_registered_model", lambda: None)
        with pytest.raises(TypeError):
            real.version_at("flights", "champion")


class TestPassword:
    @pytest.mark.parametrize(
        ("uri", "shown"),
        [
            ("https://user:secret@host:5000/path", "https://user:***@host:5000/path"),
            ("postgresql+psycopg://user:se%40c@ret@host/db", "postgresql+psycopg://user:***@host/db"),
            ("https://user@host/", "https://user@host/"),
            ("sqlite:///state/mlflow.db", "sqlite:///state/mlflow.db"),
        ],
    )
    def test_it_is_masked(self, uri: str, shown: str) -> None:
        assert mlflow_connection.masked(uri) == shown

    @pytest.mark.parametrize(
        "open_it",
        [
            lambda: MlflowRegistry("http://user:verysecret@127.0.0.1:1").prepare(),
            lambda: MlflowRegistry("postgresql+no_such_driver://user:verysecret@host/db").prepare(),
            lambda: MlflowRegistry("sqlite://", "http://user:verysecret@127.0.0.1:1").version_at("m", "champion"),
        ],
        ids=["server", "database", "registry"],
    )
    def test_no_error_shows_it(self, open_it: Callable[[], object]) -> None:
        with pytest.raises((Unreachable, Refused)) as caught:
            open_it()
        assert "verysecret" not in str(caught.value)
