"""A crowd for whole-service tests: one `retrainer run` over many small models on the same two topics.

Each model has its own clock of event time and its own champion; what the service did with it is in the log, in
`explain` and in `status`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
from kafka import KafkaProducer

from tests.e2e.stage import START, Mlflow, Stage, tracking_at, trainings
from tests.waiting import eventually

MINUTE: Final = 60_000_000
HOUR: Final = 60 * MINUTE
_PER_MINUTE: Final = 10
_CHUNK: Final = 400
"""Predictions sent at a time: with their labels fewer records than make the service say that it catches up."""

HEAD = """
kafka: {{bootstrap_servers: "{bootstrap}", start: earliest, client: {{max_partition_fetch_bytes: 16384}}}}
state: {{flush: {{every: 100ms, bytes: 64KiB}}}}
mlflow: {{tracking_uri: "{mlflow}", artifacts: {artifacts}}}
service: {{http: null, jobs: 2, log: {{level: debug}}}}
defaults:
  registered_model: {registered}
  task: classification
  observe: true
  predictions: {{topic: {predictions}}}
  labels: {{topic: {labels}, max_delay: 2h, mature_after: 0s}}
  guards: {{min_labels: 50, cooldown: 0s, per_day: 100}}
  training: {{rows: {{last: 200}}}}
  judge: {{min_rows: 50}}
models:
"""


@dataclass
class Clock:
    """A model's event time, and how many predictions it has made."""

    now: int = START
    count: int = 0


@dataclass
class Crowd(Stage):
    """`models` holds what each model's section has beside the defaults, as YAML in braces.

    A model that trains names a registered model of its own; the others share one, with an alias each.
    """

    models: Mapping[str, str] = field(default_factory=dict)
    clocks: dict[str, Clock] = field(default_factory=dict)
    records: int = 0

    def write_config(self, change: Callable[[str], str] = str) -> None:
        head = HEAD.format(
            bootstrap=self.bootstrap,
            predictions=self.predictions,
            labels=self.labels,
            mlflow=self.mlflow.uri,
            artifacts=self.mlflow.folder / "artifacts",
            registered=self.registered,
        )
        sections = [f"  {name}: {self._section(name, own)}\n" for name, own in self.models.items()]
        self.config.write_text(change(head + "".join(sections)))

    def _section(self, name: str, own: str) -> str:
        where = f"where: {{model: {name}}}"
        for side in ("predictions", "labels"):
            if f"{side}: {{" in own:
                own = own.replace(f"{side}: {{", f"{side}: {{{where}, ", 1)
            else:
                own += f", {side}: {{{where}}}"
        if self.trains(name):
            return f"{{observe: false, registered_model: {self.registered_name(name)}, {own}}}"
        return f"{{promotion: {{alias: {name}}}, {own}}}"

    def trains(self, name: str) -> bool:
        return "estimator" in self.models[name]

    def registered_name(self, name: str) -> str:
        return f"{self.registered}-{name}" if self.trains(name) else self.registered

    def register_champions(self, *, without: str) -> None:
        """Version 1 of every registered model is the same one; an alias for each model but the one without."""
        import mlflow

        version = self.mlflow.register_champion(self.registered)
        client = mlflow.MlflowClient(self.mlflow.uri)
        source = str(client.get_model_version(self.registered, version).source)
        for name in self.models:
            registered = self.registered_name(name)
            if registered != self.registered:
                client.create_registered_model(registered)
                with tracking_at(self.mlflow.uri):  # where the source is looked up
                    client.create_model_version(registered, source)
                client.set_registered_model_alias(registered, "champion", version)
            elif name != without:
                client.set_registered_model_alias(registered, name, version)

    # The application

    def traffic(
        self,
        model: str,
        n: int,
        *,
        wrong: float = 0.0,
        labelled: float = 1.0,
        x: tuple[float, float] = (0.0, 1.0),
        label: str | None = None,
        features: Mapping[str, Any] | None = None,
        after: int = 0,
        awaited: bool = True,
    ) -> None:
        """`n` predictions of a model, ten a minute, with labels for some a second later; returns once they are read.

        Args:
            wrong: the share of the labels that is the reverse of the champion's answer.
            labelled: the share of the predictions that gets a label.
            label: what all labels say, in place of right or wrong.
            after: event time that passes before, in microseconds.
            awaited: whether to wait until they are read.
        """
        clock = self.clocks.setdefault(model, Clock())
        clock.now += after
        chance = random.Random(f"{model}-{clock.count}")
        producer = KafkaProducer(bootstrap_servers=self.bootstrap)
        for number in range(1, n + 1):
            clock.count += 1
            clock.now += MINUTE // _PER_MINUTE
            value = chance.uniform(*x)
            answer = "b" if value > 0.5 else "a"
            truth = answer if chance.random() >= wrong else {"a": "b", "b": "a"}[answer]
            time = clock.now // 1000
            base = {"prediction_id": f"{model}-{clock.count}", "model": model}
            given = {"x": value, "kind": "k", **(features or {})}
            self._emit(
                producer,
                self.predictions,
                {**base, "timestamp": time, "prediction": answer, "model_version": "1", "features": given},
            )
            if chance.random() < labelled:
                self._emit(producer, self.labels, {**base, "timestamp": time + 1000, "label": label or truth})
            if awaited and number % _CHUNK == 0:
                self.wait_until_read(producer)
        if awaited:
            self.wait_until_read(producer)
        producer.close()

    def _emit(self, producer: KafkaProducer, topic: str, event: Mapping[str, Any]) -> None:
        self.records += 1
        producer.send(topic, key=str(event["prediction_id"]).encode(), value=json.dumps(event).encode())

    def wait_until_read(self, producer: KafkaProducer | None = None) -> None:
        """Until the service has committed all that was sent."""
        if producer is not None:
            producer.flush()
        eventually(lambda: self.read >= self.records, 60, lambda: f"{self.read} of {self.records} records were read")

    @property
    def read(self) -> int:
        """Records that the service has committed."""
        return sum(entry["records"] for entry in self.entries("flush.committed"))

    # What the service says

    def explained(self, model: str) -> list[dict[str, Any]]:
        """Its decisions, oldest first."""
        answer = json.loads(self.ask("explain", model, "--json", "--last", "1000"))
        assert answer["model"] == model
        decisions: list[dict[str, Any]] = answer["decisions"]
        return decisions

    def words(self, model: str, decision_id: str) -> str:
        """The paragraph of `explain` about a decision."""
        ids = [decision["decision_id"] for decision in self.explained(model)]
        return self.ask("explain", model, "--last", "1000").split("\n\n")[ids.index(decision_id)]

    def fired(self, model: str, trigger: str) -> dict[str, Any]:
        """The log line of a trigger's first firing."""
        self.wait_for("trigger.fired", model=model, trigger=trigger)
        return next(e for e in self.entries("trigger.fired") if (e["model"], e["trigger"]) == (model, trigger))

    def held(self, model: str, reason: str, triggers: Sequence[str]) -> dict[str, Any]:
        """The log line of a hold, whose record says the same."""
        line = self.wait_for("retrain.held", model=model, reason=reason, triggers=list(triggers))
        record = self.recorded(line)
        assert (record["outcome"], record["job"]) == ("hold", None)
        assert record["evidence"]["guard"]["name"] == reason
        assert "HELD BACK" in self.words(model, line["decision_id"])
        return line

    def decided(self, model: str, triggers: Sequence[str], count: int = 1) -> dict[str, Any]:
        """The log line of a decision to retrain, whose record says the same and names the job."""
        line = self.wait_for("retrain.decided", model=model, triggers=list(triggers), count=count)
        record = self.recorded(line)
        assert (record["outcome"], record["reason"]) == ("retrain", "fired")
        assert record["job"]["job_id"] == line["job_id"]
        assert "RETRAINED" in self.words(model, line["decision_id"])
        return line

    def training(self, job: str) -> psutil.Process:
        """The training process of a job, once there is one."""

        def look() -> list[psutil.Process]:
            found = trainings(self.pid_of("controller"))
            return [psutil.Process(pid) for pid, folder in found if folder.name == job]

        return eventually(look, 60)[0]

    def recorded(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """The record of a decision, which has every fact of its log line."""
        record = next(one for one in self.explained(line["model"]) if one["decision_id"] == line["decision_id"])
        assert says_the_same(record, line), (record, line)
        return record


def says_the_same(record: Mapping[str, Any], line: Mapping[str, Any]) -> bool:
    """Whether the record of a decision has every fact of its log line."""
    facts = ("decision_id", "slot_end", "triggers", "reason", "message", "champion", "evidence")
    return {name: record[name] for name in facts} == {name: line[name] for name in facts}


def crowd(folder: Path, bootstrap: str, suffix: str, mlflow: Mlflow, models: Mapping[str, str]) -> Crowd:
    """A crowd with its configuration written."""
    made = Crowd(folder, bootstrap, suffix, mlflow, models=models)
    made.write_config()
    return made
