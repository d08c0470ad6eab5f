"""A stage for whole-service tests: a configuration, `retrainer run` as users start it, and a small application."""

from __future__ import annotations

import io
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from kafka import KafkaProducer

from retrainer.cli import main
from tests.waiting import eventually

_MINUTE = 60_000_000
START = 1_700_000_040 // 60 * _MINUTE  # an event time in 2023, at the beginning of a slot

CONFIG = """
kafka:
  bootstrap_servers: {bootstrap}
  start: earliest
state: {{flush: {{every: 200ms}}}}
mlflow: {{tracking_uri: "{mlflow}", artifacts: {artifacts}}}
service: {{http: null}}
models:
  m:
    registered_model: {registered}
    task: classification
    predictions: {{topic: {predictions}}}
    labels: {{topic: {labels}, max_delay: 2h, mature_after: 0s}}
    triggers:
      low: {{threshold: {{metric: accuracy, below: 0.8, warn_below: 0.85, window: 400, breaches: 2 of 3}}}}
    guards: {{min_labels: 300, cooldown: {cooldown}}}
    training:
      rows: {{last: 1000}}
      estimator: {estimator}
      params: {params}
    judge: {{min_rows: 100}}
"""


@dataclass
class Stage:
    """One service in a folder of its own."""

    folder: Path
    bootstrap: str
    suffix: str
    mlflow: Mlflow
    cooldown: str = "10m"
    estimator: str = "sklearn.tree.DecisionTreeClassifier"
    params: str = "{max_depth: 3}"
    service: subprocess.Popen[bytes] | None = None
    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    clock: int = START
    count: int = 0
    _log: list[dict[str, Any]] = field(default_factory=list)
    _read: int = 0

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def predictions(self) -> str:
        return f"predictions-{self.suffix}"

    @property
    def registered(self) -> str:
        return f"m-{self.suffix}"

    @property
    def labels(self) -> str:
        return f"labels-{self.suffix}"

    def write_config(self, change: Callable[[str], str] = str) -> None:
        text = CONFIG.format(
            bootstrap=self.bootstrap,
            predictions=self.predictions,
            labels=self.labels,
            mlflow=self.mlflow.uri,
            artifacts=self.mlflow.folder / "artifacts",
            registered=self.registered,
            cooldown=self.cooldown,
            estimator=self.estimator,
            params=self.params,
        )
        self.config.write_text(change(text))

    # The service

    def start(self, environment: dict[str, str] | None = None) -> None:
        with (self.folder / "log.jsonl").open("ab") as log:
            self.service = subprocess.Popen(
                [sys.executable, "-m", "retrainer", "run", str(self.config)],
                stderr=log,
                stdout=log,
                env={**os.environ, **(environment or {})},
            )

    def stop(self) -> int:
        assert self.service is not None
        self.service.send_signal(signal.SIGTERM)
        return self.service.wait(timeout=15)

    def kill(self) -> None:
        if self.service is not None and self.service.poll() is None:
            self.service.kill()
            self.service.wait()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        name, *rest = arguments
        return subprocess.run(
            [sys.executable, "-m", "retrainer", name, str(self.config), *rest],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def entries(self, event: str | None = None) -> list[dict[str, Any]]:
        """The log so far, of which only what is new is read; every line has to be one JSON object."""
        path = self.folder / "log.jsonl"
        if path.exists():
            with path.open("rb") as log:
                log.seek(self._read)
                new = log.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            self._log += [json.loads(line) for line in whole.splitlines()]
        return [entry for entry in self._log if event is None or entry["event"] == event]

    def ask(self, *arguments: str) -> str:
        """What a command prints; in this process, as starting one takes longer than the answer."""
        name, *rest = arguments
        with redirect_stdout(io.StringIO()) as printed:
            assert main([name, str(self.config), *rest]) == 0
        return printed.getvalue()

    def standing(self, model: str = "m") -> dict[str, Any]:
        """A model's part of `status --json`."""
        found: dict[str, Any] = json.loads(self.ask("status", model, "--json"))["models"][model]
        return found

    def wait_for(self, event: str, *, count: int = 1, seconds: float = 60, **facts: object) -> dict[str, Any]:
        """The newest of `count` entries with these facts."""

        def found() -> list[dict[str, Any]]:
            ended = self.service is not None and self.service.poll() not in (None, 0)
            assert not ended, f"the service has ended: {(self.folder / 'log.jsonl').read_text()[-3000:]}"
            matching = [e for e in self.entries(event) if all(e.get(k) == v for k, v in facts.items())]
            return matching if len(matching) >= count else []

        return eventually(found, seconds, lambda: f"no {event} {facts}; the log ends {self.entries()[-5:]}")[-1]

    def pid_of(self, role: str) -> int:
        return int(self.wait_for("service.started", role=role)["pid"])

    def status(self) -> dict[str, Any]:
        """What the command says, in a process as a user would start it; to wait for something ask `standing`."""
        answer = self.command("status", "--json")
        assert answer.returncode == 0, answer.stderr
        model: dict[str, Any] = json.loads(answer.stdout)["models"]["m"]
        return model

    # The application

    def send(
        self, n: int, *, flipped: bool = False, answer: Callable[[float], str] | None = None, version: str = "1"
    ) -> None:
        """`n` predictions and their labels, a slot of event time for every ten; flipped, the world is the reverse."""
        producer = KafkaProducer(bootstrap_servers=self.bootstrap)
        for event in self.events(n, flipped=flipped, answer=answer, version=version):
            self.emit(producer, *event)
        producer.flush()
        producer.close()

    def events(
        self, n: int, *, flipped: bool, answer: Callable[[float], str] | None, version: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        chance = random.Random(self.count)
        for _ in range(n):
            self.count += 1
            self.clock += _MINUTE // 10
            x = chance.random()
            truth = "b" if (x > 0.5) != flipped else "a"
            given = answer(x) if answer else ("b" if x > 0.5 else "a")
            key = {"prediction_id": f"p{self.count}", "timestamp": self.clock // 1000}
            yield (
                self.predictions,
                {**key, "prediction": given, "model_version": version, "features": {"x": x, "kind": "k"}},
            )
            yield self.labels, {**key, "timestamp": self.clock // 1000 + 1000, "label": truth}

    def emit(self, producer: KafkaProducer, topic: str, event: dict[str, Any]) -> None:
        self.sent.append((topic, event))
        producer.send(topic, key=event["prediction_id"].encode(), value=json.dumps(event).encode())

    def single_pass(self) -> dict[str, int]:
        """What one pass over everything sent gives: the oracle."""
        predictions: dict[str, str] = {}
        labels: dict[str, str] = {}
        for topic, event in self.sent:
            if topic == self.predictions:
                predictions.setdefault(event["prediction_id"], event["prediction"])
            else:
                labels[event["prediction_id"]] = event["label"]
        joined = predictions.keys() & labels.keys()
        return {"n": len(joined), "correct": sum(predictions[key] == labels[key] for key in joined)}


_numbers = itertools.count(1)


def own_suffix() -> str:
    """For the names of topics and models that no other stage uses, in whichever process it plays."""
    return f"{os.getpid()}-{next(_numbers)}"


@contextmanager
def tracking_at(uri: str) -> Iterator[None]:
    """MLflow's fluent calls, which know one address a process, speak to this one within."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # so the variable of the environment goes too


@dataclass(frozen=True)
class Mlflow:
    """One MLflow for many stages; each has a registered model of its own."""

    folder: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def register_champion(self, name: str) -> str:
        """What a data scientist did before: a model under the alias `champion`, right while x > 0.5 means b."""
        with tracking_at(self.uri):
            return self._register(name)

    def _register(self, name: str) -> str:
        import mlflow
        import pandas as pd
        from sklearn.linear_model import LogisticRegression

        if mlflow.get_experiment_by_name("science") is None:
            mlflow.create_experiment("science", artifact_location=(self.folder / "artifacts").as_uri())
        mlflow.set_experiment("science")
        frame = pd.DataFrame({"x": [i / 200 for i in range(200)], "kind": ["k"] * 200})
        model = LogisticRegression(C=1e5)
        model.fit(frame[["x"]], ["b" if x > 0.5 else "a" for x in frame["x"]])
        with mlflow.start_run():
            info = mlflow.sklearn.log_model(
                model,
                name="model",
                input_example=frame[["x"]].head(3),
                registered_model_name=name,
                pip_requirements=["scikit-learn"],
            )
        version = str(info.registered_model_version)
        mlflow.MlflowClient().set_registered_model_alias(name, "champion", version)
        return version

    def alias(self, name: str) -> str | None:
        import mlflow

        client = mlflow.MlflowClient(self.uri)
        found = client.get_registered_model(name).aliases.get("champion")
        return None if found is None else str(found)

    def move_alias(self, name: str, version: str) -> None:
        import mlflow

        mlflow.MlflowClient(self.uri).set_registered_model_alias(name, "champion", version)


def trainings(controller: int) -> list[tuple[int, Path]]:
    """The training processes of a controller, each with the folder it works in."""
    found = []
    for child in psutil.Process(controller).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended since, and may be waiting to be reaped
            if "retrainer.training" in child.cmdline():
                found.append((child.pid, Path(child.cwd())))
    return found


def alive(pid: int) -> bool:
    """Whether a process exists and is not just waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
