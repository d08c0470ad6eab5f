"""Workers as processes: started, killed, frozen and thawed, each with a log of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.chaos.manifest import Manifest
from tests.chaos.plan import MODELS, ROOT, SECOND, Plan, Rules, Topics
from tests.chaos.worker import CLOCK, POLL

_CONFIG = """
kafka: {{bootstrap_servers: "{bootstrap}", start: earliest}}
state: {{database: "sqlite:///{state}/retrainer.db", segments: {state}/segments, flush: {{every: {flush_ms}ms}}}}
mlflow: {{tracking_uri: "sqlite:///{folder}/mlflow.db"}}
service: {{http: null}}
models:
"""
_MODEL = """
  {name}:
    task: classification
    observe: true
    predictions: {{topic: {predictions}, where: {{model: {name}}}}}
    labels:
      topic: {labels}
      where: {{model: {name}}}
      max_delay: {max_delay}s
      lateness: {lateness}s
      corrections: {corrections}
      mature_after: 0s
      fields: {{id: [prediction_id, $key]}}{absent}
    training: {{estimator: sklearn.tree.DecisionTreeClassifier}}
"""


class Worker:
    """One process: an ingest worker, or the controller beside it."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def entries(self, event: str) -> list[dict[str, Any]]:
        """Its log entries of one kind so far."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}") and f'"event": "{event}"' in line]

    def exit_code(self) -> int | None:
        return self._process.poll()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()  # also ends one that is frozen
        self._process.wait()

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(timeout=30)


class Service:
    """The workers of one configuration, one after another, on one state folder."""

    def __init__(self, plan: Plan, topics: Topics, bootstrap: str, folder: Path, state: Path) -> None:
        self.folder = folder
        self.state = state
        self.workers: list[Worker] = []
        self.controllers: list[Worker] = []
        self.manifest = Manifest(state / "retrainer.db")
        self.clock = folder / "clock"
        self.clock.write_text("0")
        self.config = folder / "config.yaml"
        head = _CONFIG.format(bootstrap=bootstrap, state=state, folder=folder, flush_ms=plan.flush_ms)
        self._environment = {**os.environ, CLOCK: str(self.clock), POLL: str(plan.poll)}
        self.config.write_text(head + "".join(_model(name, rules, topics) for name, rules in MODELS.items()))

    @property
    def worker(self) -> Worker:
        """The newest."""
        return self.workers[-1]

    def start(self, *, locked: bool = True) -> Worker:
        """Start one more worker; unlocked, it does not mind others on its folder, nor they it."""
        command = [sys.executable, "-m", "tests.chaos.worker", str(self.config), *([] if locked else ["--unlocked"])]
        log = self.folder / f"worker-{len(self.workers) + 1:03d}.jsonl"
        self.workers.append(Worker(command, log, self._environment))
        return self.worker

    def start_controller(self) -> Worker:
        """Start one more controller."""
        command = [sys.executable, "-m", "retrainer", "controller", str(self.config)]
        log = self.folder / f"controller-{len(self.controllers) + 1:03d}.jsonl"
        self.controllers.append(Worker(command, log, self._environment))
        return self.controllers[-1]

    def move_clock(self, seconds: int) -> None:
        """From now on the wall clock of every worker is wrong by so much."""
        unfinished = self.clock.with_suffix(".new")
        unfinished.write_text(str(seconds * SECOND))
        unfinished.rename(self.clock)

    def entries(self, event: str) -> Iterator[dict[str, Any]]:
        """The log entries of one kind of every worker."""
        for worker in self.workers:
            yield from worker.entries(event)

    def end(self) -> None:
        """Nothing is left running."""
        for one in (*self.workers, *self.controllers):
            one.kill()

    def status(self) -> dict[str, Any]:
        """What `retrainer status --json` says of the models."""
        command = [sys.executable, "-m", "retrainer", "status", str(self.config), "--json"]
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
        found: dict[str, Any] = json.loads(answer.stdout)["models"]
        return found


def _model(name: str, rules: Rules, topics: Topics) -> str:
    absent = ""
    if rules.absent is not None:
        after, value = rules.absent
        absent = f'\n      absent: {{after: {after // SECOND}s, value: "{value}"}}'
    return _MODEL.format(
        name=name,
        predictions=topics.predictions,
        labels=topics.labels,
        max_delay=rules.max_delay // SECOND,
        lateness=rules.lateness // SECOND,
        corrections="last" if rules.last else "first",
        absent=absent,
    )
