"""Everything around a controller, in memory: a registry that may crash, and trainings that answer what a test wants."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from retrainer.adapters.decoding import TopicDecoders
from retrainer.adapters.memory.registry import MemoryRegistry
from retrainer.domain.deciding.decisions import Decision, DecisionAnswer
from retrainer.domain.deciding.jobs import Job, job_for
from retrainer.domain.deciding.situation import DecisionPolicy
from retrainer.domain.deciding.watch import WatchPolicy
from retrainer.domain.judging.challenge import Differences
from retrainer.domain.judging.order import (
    MODEL_FOLDER,
    REPORT_FOLDER,
    RESULT_FILE,
    SPEC_FILE,
    Recipe,
    RowsPolicy,
    TrainingResult,
    TrainingSpec,
)
from retrainer.domain.judging.verdicts import Gate, Verdict
from retrainer.domain.metrics.windows import CountWindow
from retrainer.domain.values import Micros
from retrainer.ports.clock import Stopped
from retrainer.ports.manifest.decisions import Step
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.registry import RunReport
from retrainer.ports.training import DatasetRow, Limits, TrainingEnded
from retrainer.service.control.controller import Controller, ControllerParts
from retrainer.service.jobs.dataset import DatasetBuilder
from retrainer.service.jobs.parts import JobParts, KnownSoFar
from retrainer.service.jobs.promotion import Promotions
from retrainer.service.jobs.run import JobRun
from retrainer.service.policy import ModelPolicy
from tests.clock import FakeClock
from tests.plain import plain_guards, plain_judge, plain_limits, plain_promotion, plain_threshold
from tests.service.world import FLIGHTS, MINUTE, World, at

REGISTERED = "flights-model"


def model(**changes: Any) -> ModelPolicy:
    """A policy for flights that retrains when accuracy over 10 outcomes falls below 0.6; `guards` by name."""
    guards = plain_guards(**{"min_labels": 10, "cooldown": 30 * MINUTE, "per_day": 10, **changes.pop("guards", {})})
    rows = changes.pop("rows", RowsPolicy(kind="all"))
    ingest = changes.pop("ingest", FLIGHTS)
    deciding = DecisionPolicy(
        model=ingest.model, guards=guards, rows=rows, holdout=0.5, min_holdout=5, **changes.pop("deciding", {})
    )
    low = plain_threshold(metric="accuracy", window=CountWindow(outcomes=10), below=0.6)
    facts: dict[str, Any] = {
        "name": ingest.model,
        "task": "classification",
        "ingest": ingest,
        "watch": WatchPolicy(triggers={"low_accuracy": low}),
        "deciding": deciding,
        "recipe": Recipe(estimator="a.b.Estimator", params={"depth": 3}, rows=rows, holdout=0.5),
        "judge": plain_judge(min_rows=5),
        "limits": plain_limits(),
        "promotion": plain_promotion(registered_model=REGISTERED, takes_effect=5 * MINUTE),
    }
    return ModelPolicy(**{**facts, **changes})


class Registry(MemoryRegistry):
    """A registry with boundaries: `CALL.begin`, and `CALL.end` once it is done."""

    def __init__(self, fail_at: Callable[[str], None]) -> None:
        super().__init__()
        self.fail_at = fail_at

    def seed(self, versions: int = 1, champion: str | None = "1", *, alias: str = "champion") -> None:
        """Versions that were there before, one of them in use."""
        from retrainer.adapters.memory.registry import RegisteredVersion

        self.versions[REGISTERED] = [
            RegisteredVersion(job_id=f"before-{n}", run_id="", files={"MLmodel": b"flavors: {}"}, tags={})
            for n in range(versions)
        ]
        if champion is not None:
            self.aliases[REGISTERED, alias] = champion

    @property
    def champion(self) -> str | None:
        return self.aliases.get((REGISTERED, "champion"))

    def move_by_hand(self, version: str | None) -> None:
        """A person moves the alias."""
        if version is None:
            del self.aliases[REGISTERED, "champion"]
        else:
            self.aliases[REGISTERED, "champion"] = version

    def point(self, model: str, alias: str, version: str) -> None:
        super().point(model, alias, version)
        self.fail_at("point.end")

    def record_run(self, report: RunReport) -> str:
        run_id = super().record_run(report)
        self.fail_at("record_run.end")
        return run_id

    def register(self, model: str, job_id: str, run_id: str, folder: Path, tags: Mapping[str, str]) -> str:
        version = super().register(model, job_id, run_id, folder, tags)
        self.fail_at("register.end")
        return version

    def _answer(self, call: str) -> None:
        self.fail_at(f"{call}.begin")
        super()._answer(call)


Plan = Literal[
    "accept",
    "reject",
    "inconclusive",
    "better",
    "worse",
    "alike",
    "error",
    "crash",
    "garbage",
    "time",
    "memory",
    "stop",
]


_DIFFERENCES: Final[Mapping[str, tuple[float, ...]]] = {
    "better": (1.0,) * 60,
    "worse": (-1.0,) * 60,
    "alike": (1.0, -1.0, 0.0) * 20,
}
"""How a look at a challenger ends, by plan."""


class Trainings:
    """`Trainers` that answers as planned; the last plan is for every further training too."""

    def __init__(self, fail_at: Callable[[str], None]) -> None:
        self.fail_at = fail_at
        self.plans: deque[Plan] = deque(["accept"])
        self.specs: list[TrainingSpec] = []
        self.files: list[set[str]] = []
        self.during: Callable[[], object] = lambda: None

    def train(self, folder: Path, limits: Limits, stopped: Stopped) -> TrainingEnded:
        self.fail_at("train.begin")
        self.specs.append(msgspec.json.decode((folder / SPEC_FILE).read_bytes(), type=TrainingSpec))
        self.files.append({str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()})
        self.during()
        plan = self.plans.popleft() if len(self.plans) > 1 else self.plans[0]
        ended = self._carry_out(plan, folder)
        self.fail_at("train.end")
        return ended

    def _carry_out(self, plan: Plan, folder: Path) -> TrainingEnded:
        if plan in ("time", "memory", "stop"):
            return TrainingEnded(exit_code=-15, killed=plan, last_words="halfway")
        if plan == "crash":
            return TrainingEnded(exit_code=-11, last_words="Segmentation fault")
        if plan == "garbage":
            (folder / RESULT_FILE).write_bytes(b'{"job_id": "fli')
            return TrainingEnded(exit_code=0)
        result = answer(self.specs[-1].job_id, plan)
        if plan in ("accept", "inconclusive"):
            (folder / MODEL_FOLDER).mkdir()
            (folder / MODEL_FOLDER / "MLmodel").write_text("flavors: {}")
        (folder / REPORT_FOLDER).mkdir()
        (folder / REPORT_FOLDER / "verdict.json").write_text("{}")
        (folder / RESULT_FILE).write_bytes(msgspec.json.encode(result))
        return TrainingEnded(exit_code=0)


def answer(job_id: str, plan: Plan = "accept") -> TrainingResult:
    """What a training process writes."""
    if plan == "error":
        return TrainingResult(job_id=job_id, verdict=None, error="the estimator does not fit")
    if plan in _DIFFERENCES:
        return TrainingResult(job_id=job_id, verdict=None, compared=Differences(values=_DIFFERENCES[plan]))
    accepted = plan == "accept"
    reason = "0.90 > 0.80" if accepted else "0.70 <= 0.80"
    gate = Gate(name="beats", passed=accepted, reason=reason, undecided=plan == "inconclusive")
    return TrainingResult(
        job_id=job_id,
        verdict=Verdict(gates=(gate,)),
        candidate={"accuracy": 0.9},
        champion={"accuracy": 0.8},
        champion_by="model",
        rows_chosen="all 3",
        seconds=1.5,
    )


class Rows:
    """`Datasets` that keeps the rows it was told to write."""

    def __init__(self) -> None:
        self.written: list[Sequence[DatasetRow]] = []

    def write(self, path: Path, rows: Sequence[DatasetRow]) -> str:
        self.written.append(rows)
        path.write_bytes(msgspec.json.encode([row.id for row in rows]))
        return f"digest-{len(rows)}"


class TurningStop:
    """`Stopped` that turns the clock instead of waiting, and gives up at last."""

    def __init__(self, clock: FakeClock, *, patience: int = 1000) -> None:
        self.waits = 0
        self.patience = patience
        self.stopped = False
        self.at_wait: Callable[[int], object] = lambda _: None
        self._clock = clock

    def is_set(self) -> bool:
        return self.stopped

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self._clock.advance(timeout)
        self.waits += 1
        self.at_wait(self.waits)
        assert self.waits < self.patience, "it waits for ever"
        return self.stopped


class StillController(Controller):
    """A controller whose threads are waited for; the aliases are compared when a test says so."""

    def _watch_aliases(self) -> None:
        """Nothing by itself."""

    def round(self) -> None:
        """Compare the aliases, decide, and let the jobs run to their end."""
        self.run_once()
        self.compare_aliases()
        self.run_once()
        self.finish_jobs()

    def finish_jobs(self) -> None:
        for running in list(self._running.values()):
            running.thread.join(30)
            assert not running.thread.is_alive()


@dataclass
class Control:
    """A controller's world, on the manifest of a worker's world."""

    world: World
    folder: Path
    policy: ModelPolicy

    def __post_init__(self) -> None:
        self.clock = self.world.clock
        self.crasher = self.world.crasher
        self.entries = self.world.entries
        self.state = self.world.decisions
        self.registry = Registry(self.crasher)
        self.trainings = Trainings(self.crasher)
        self.rows = Rows()
        self.watermark: Micros | None = at(60)
        self.outcomes = 0
        self.acts: list[str] = []
        self.lease = self.claim()

    def claim(self) -> Lease:
        """Another process becomes the active controller."""
        self.lease = self.state.claim("controller", "here/1", self.clock.now())
        return self.lease

    def watch_acts(self) -> None:
        """Keep the order of ledger rows and moves of the alias in `acts`."""

        def seen(place: str) -> None:
            if place == "append_ledger.end":
                self.acts.append(self.state.ledger(self.policy.name)[-1].act.value)
            elif place in ("point.begin", "point.end"):
                self.acts.append(place)
            self.crasher(place)

        self.world.manifest.fail_at = self.registry.fail_at = seen

    def parts(self) -> JobParts:
        builder = DatasetBuilder(
            state=self.state, segments=self.world.segments, decoders=TopicDecoders(), datasets=self.rows
        )
        return JobParts(
            state=self.state,
            registry=self.registry,
            trainers=self.trainings,
            datasets=builder,
            clock=self.clock,
            logger=self.entries.logger,
            telemetry=self.world.telemetry,
            lease=self.lease,
            folder=self.folder,
        )

    def promotions(self) -> Promotions:
        return Promotions(
            policy=self.policy,
            registry=self.registry,
            state=self.state,
            lease=self.lease,
            clock=self.clock,
            logger=self.entries.logger,
        )

    def controller(self, *policies: ModelPolicy, jobs_at_once: int = 1) -> StillController:
        parts = ControllerParts(
            state=self.state,
            registry=self.registry,
            jobs=self.parts(),
            clock=self.clock,
            logger=self.entries.logger,
            telemetry=self.world.telemetry,
        )
        return StillController(policies or (self.policy,), parts, "here/1", jobs_at_once)

    # Jobs

    def queue(self, name: str = "flights@1", *, champion: str | None = "1", judgement: int = 2) -> Job:
        """A job as a decision launches it."""
        decision = Decision(
            decision_id=name,
            model=self.policy.name,
            slot_end=at(60),
            outcome=DecisionAnswer.RETRAIN,
            triggers=("low_accuracy",),
            reason="fired",
            message="low_accuracy asked for it",
            champion=champion,
        )
        job = job_for(decision, judgement)
        step = Step(lease=self.lease, model=self.policy.name, memory=b"{}", decisions=[decision], jobs=[job])
        self.state.store_steps([step])
        return job

    def run_job(self, job: Job | None = None, stop: Stopped | None = None) -> Job:
        """Carry a job out as a process would that has just started."""
        job = job or self.state.jobs(unfinished=True)[0]
        known = KnownSoFar(watermark=self.watermark, outcomes=self.outcomes)
        promotions = self.promotions()
        if job.is_challenging:
            promotions.reconcile(self.watermark)  # as the controller does all the time
        run = JobRun(job, self.policy, promotions, self.parts(), lambda: known)
        run.run(stop or TurningStop(self.clock))
        return run.job

    def stored(self) -> Job:
        """The only job, as it is stored."""
        (job,) = self.state.jobs()
        return job


def with_outcomes(world: World, n: int = 3) -> World:
    """So many predictions with their labels, consumed."""
    worker = world.worker()
    for number in range(n):
        world.predict(f"f{number}", number, hour=number)
        world.label(f"f{number}", number + 5)
    world.settle(worker)
    return world
