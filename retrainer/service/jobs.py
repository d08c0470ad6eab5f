"""Carrying a job out, step by step. Each step is stored before the next, and may be repeated after a crash."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import msgspec

from retrainer.domain.jobs import MAX_ATTEMPTS, Job, JobState
from retrainer.domain.training import (
    CHAMPION_FOLDER,
    DATASET_FILE,
    MODEL_FOLDER,
    REPORT_FOLDER,
    RESULT_FILE,
    SPEC_FILE,
    TrainingResult,
    TrainingSpec,
)
from retrainer.domain.values import SECOND, Micros, iso
from retrainer.errors import Refused, RetrainerError, Unreachable
from retrainer.logs import Logger
from retrainer.ports import Clock, Registry, RunReport, Stopped, Trainers, TrainingEnded
from retrainer.service.dataset import Dataset, DatasetBuilder
from retrainer.service.dependency import Dependency
from retrainer.service.policy import ModelPolicy
from retrainer.service.promotion import Promotions
from retrainer.stores import DecisionState, Lease

_PAUSE_SECONDS = 0.2


class JobFailed(RetrainerError):
    """A job cannot come to a verdict."""


@dataclass(frozen=True, kw_only=True)
class JobParts:
    """The worlds that jobs work with."""

    state: DecisionState
    registry: Registry
    trainers: Trainers
    datasets: DatasetBuilder
    clock: Clock
    logger: Logger
    lease: Lease
    folder: Path


class JobRun:
    """One job on its way. `run` returns when it has ended, or when a stop was asked for."""

    def __init__(
        self,
        job: Job,
        policy: ModelPolicy,
        promotions: Promotions,
        parts: JobParts,
        watermark: Callable[[], Micros | None],
    ) -> None:
        self.job = job
        self._policy = policy
        self._promotions = promotions
        self._parts = parts
        self._watermark = watermark
        self._log = parts.logger.bind(model=job.model, job_id=job.job_id, decision_id=job.decision_id)
        self._mlflow = Dependency("mlflow", self._log, parts.clock)
        self._database = Dependency("database", self._log, parts.clock)
        self._folder = parts.folder / job.job_id
        self._stop: Stopped = Event()

    def run(self, stop: Stopped) -> None:
        """Take step after step; waits where something outside is away."""
        self._stop = stop
        steps = {
            JobState.QUEUED: self._train,
            JobState.TRAINING: self._train,
            JobState.TRAINED: self._record,
            JobState.RECORDED: self._register,
            JobState.REGISTERED: self._promote,
        }
        while not self.job.ended and not stop.is_set():
            if not self._mlflow.due:
                stop.wait(_PAUSE_SECONDS)
                continue
            with self._mlflow:
                self._take(steps[self.job.state])
        if self.job.ended and self.job.state is not JobState.FAILED:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _take(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (JobFailed, Refused) as failure:
            self._fail(str(failure))
        except OSError as error:  # a full disk, a folder that is not ours: a person can put that right
            raise Unreachable(f"the folder of the job cannot be used: {error}") from error

    def _train(self) -> None:
        """Dataset and champion into the job's folder, then a process of its own; what it answers is the result."""
        if self.job.attempts >= MAX_ATTEMPTS:
            raise JobFailed(f"training was started {self.job.attempts} times and never answered")
        dataset = self._prepare()
        # Counted before it begins, so that a training that takes the whole machine down is not begun for ever.
        attempts = self.job.attempts + 1
        self._store(self.job.with_state(JobState.TRAINING, dataset_digest=dataset.digest, attempts=attempts))
        self._log.info(
            "job.started",
            rows=dataset.rows,
            dataset=dataset.digest,
            first=iso(dataset.first),
            last=iso(dataset.last),
            mature_after_seconds=dataset.mature_after // SECOND,
            champion=self.job.champion,
            attempt=attempts,
        )
        ended = self._parts.trainers.train(self._folder, self._policy.limits, self._stop)
        if ended.killed == "stop":
            self._requeue("a stop was asked for", attempts=attempts - 1)
            return
        result = self._result()
        if result is None:
            self._ended_without_result(ended)
            return
        if result.verdict is None:
            raise JobFailed(result.error or "the training process gave no verdict")
        self._store(self.job.with_state(JobState.TRAINED, result=result))
        self._tell_result(result)

    def _prepare(self) -> Dataset:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        dataset = self._parts.datasets.build(self._policy, self.job.known_by, self._folder / DATASET_FILE)
        if dataset is None:
            raise JobFailed("there is no mature outcome to learn from")
        if self.job.champion is not None:
            self._fetch_champion(self.job.champion)
        (self._folder / SPEC_FILE).write_bytes(msgspec.json.encode(self._spec(dataset)))
        return dataset

    def _fetch_champion(self, version: str) -> None:
        """A champion that cannot be had is judged by the predictions that it made live."""
        try:
            self._parts.registry.fetch_model(
                self._policy.promotion.registered_model, version, self._folder / CHAMPION_FOLDER
            )
        except Unreachable:
            raise
        except RetrainerError as error:
            self._log.warning("champion.unavailable", version=version, error=str(error))

    def _spec(self, dataset: Dataset) -> TrainingSpec:
        return TrainingSpec(
            job_id=self.job.job_id,
            model=self.job.model,
            task=self._policy.task,
            metrics=self._policy.watch.metrics,
            positive=self._policy.watch.positive,
            recipe=self._policy.recipe,
            judge=self._policy.judge,
            judgement=self.job.judgement,
            champion_version=self.job.champion,
            dataset_digest=dataset.digest,
            cpus=self._policy.limits.cpus,
        )

    def _result(self) -> TrainingResult | None:
        path = self._folder / RESULT_FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=TrainingResult) if path.exists() else None
        except msgspec.DecodeError as error:
            raise JobFailed(f"{RESULT_FILE} of the training process cannot be read: {error}") from error

    def _ended_without_result(self, ended: TrainingEnded) -> None:
        if ended.killed is not None:
            raise JobFailed(f"training reached its limit of {ended.killed}; {ended.last_words}".strip("; "))
        why = f"training ended with exit code {ended.exit_code}; {ended.last_words}".strip("; ")
        if self.job.attempts >= MAX_ATTEMPTS:
            raise JobFailed(why)
        self._requeue(why, attempts=self.job.attempts)

    def _requeue(self, why: str, *, attempts: int) -> None:
        self._store(self.job.with_state(JobState.QUEUED, attempts=attempts))
        self._log.warning("job.requeued", why=why)

    def _tell_result(self, result: TrainingResult) -> None:
        assert result.verdict is not None
        self._log.info("job.trained", seconds=result.seconds, rows_chosen=result.rows_chosen)
        self._log.info(
            "candidate.judged",
            accepted=result.verdict.accepted,
            reason=result.verdict.reason,
            candidate=dict(result.candidate),
            champion=dict(result.champion),
            champion_by=result.champion_by,
            held_out=result.held_out.rows if result.held_out else 0,
            gates=[msgspec.to_builtins(gate) for gate in result.verdict.gates],
        )

    def _record(self) -> None:
        """The run, whatever the verdict: people look there."""
        result = self._judged()
        run_id = self._parts.registry.record_run(self._report(result, self._verdict_tags(result)))
        self._store(self.job.with_state(JobState.RECORDED, run_id=run_id))

    def _register(self) -> None:
        result = self._judged()
        assert result.verdict is not None
        if not result.verdict.accepted:
            self._end(JobState.REJECTED)
            self._log.info("candidate.rejected", reason=result.verdict.reason, run_id=self.job.run_id)
            return
        version = self._parts.registry.register(
            self._policy.promotion.registered_model,
            self.job.job_id,
            self.job.run_id,
            self._folder / MODEL_FOLDER,
            {**self._tags(), **self._verdict_tags(result)},
        )
        self._store(self.job.with_state(JobState.REGISTERED, version=version))
        self._log.info("candidate.registered", version=version, run_id=self.job.run_id)

    def _promote(self) -> None:
        if self._policy.promotion.mode == "register":
            self._end(JobState.ACCEPTED)
            return
        reason = f"{', '.join(self.job.triggers)}: {self._verdict_reason()}"
        promoted = self._promotions.promote(self.job.job_id, self.job.version, reason, self._watermark())
        self._end(JobState.PROMOTED if promoted else JobState.ACCEPTED)

    def _report(self, result: TrainingResult | None, tags: Mapping[str, str]) -> RunReport:
        recipe = self._policy.recipe
        parameters = {
            "estimator": recipe.estimator,
            **{f"params.{name}": str(value) for name, value in recipe.params.items()},
            "holdout": str(recipe.holdout),
            "refit": str(recipe.refit),
            "seed": str(recipe.seed),
            "champion": str(self.job.champion),
            "triggers": ", ".join(self.job.triggers),
            "known_by": iso(self.job.known_by),
            **({"rows": result.rows_chosen} if result else {}),
        }
        return RunReport(
            job_id=self.job.job_id,
            model=self.job.model,
            parameters=parameters,
            metrics=_flat_metrics(result) if result else {},
            tags={**self._tags(), **tags},
            dataset=self._folder / DATASET_FILE,
            dataset_digest=self.job.dataset_digest,
            files=self._folder / REPORT_FOLDER if (self._folder / REPORT_FOLDER).is_dir() else None,
            succeeded=result is not None,
        )

    def _tags(self) -> Mapping[str, str]:
        return {
            "retrainer.job_id": self.job.job_id,
            "retrainer.decision_id": self.job.decision_id,
            "retrainer.trigger": ", ".join(self.job.triggers),
            "retrainer.dataset": self.job.dataset_digest,
        }

    def _verdict_tags(self, result: TrainingResult) -> Mapping[str, str]:
        assert result.verdict is not None
        verdict = {"accepted": result.verdict.accepted, "reason": result.verdict.reason}
        return {"retrainer.verdict": json.dumps(verdict)[:4900]}

    def _judged(self) -> TrainingResult:
        if self.job.result is None:
            raise JobFailed("the verdict is missing from the manifest")
        if not (self._folder / DATASET_FILE).exists():
            # The folder is gone (another machine, a cleaned disk): train again rather than guess.
            self._store(replace(self.job, state=JobState.QUEUED, result=None))
            raise Unreachable(f"the files of job {self.job.job_id} are gone; it is trained again")
        return self.job.result

    def _verdict_reason(self) -> str:
        return self.job.result.verdict.reason if self.job.result and self.job.result.verdict else ""

    def _fail(self, why: str) -> None:
        run_id = self.job.run_id or self._recorded_failure(why)
        self._store(replace(self.job.end(JobState.FAILED, self._parts.clock.now(), error=why), run_id=run_id))
        self._log.error("job.failed", error=why, run_id=run_id)

    def _recorded_failure(self, why: str) -> str:
        """The run of a failed job, for people who look there; it is tried once, as the manifest has the reason too."""
        if not (self._folder / DATASET_FILE).exists():
            return ""
        try:
            return self._parts.registry.record_run(self._report(None, {"retrainer.error": why[:4900]}))
        except RetrainerError as error:
            self._log.warning("dependency.lost", dependency="mlflow", error=str(error))
            return ""

    def _end(self, state: JobState) -> None:
        self._store(self.job.end(state, self._parts.clock.now()))

    def _store(self, job: Job) -> None:
        """Store the next state; while the manifest is away, wait rather than do the step again."""
        while True:
            with self._database:
                self._parts.state.put_job(self._parts.lease, job)
                self.job = job
                return
            if self._stop.wait(_PAUSE_SECONDS):
                raise Unreachable("the manifest was away when a stop was asked for")


def _flat_metrics(result: TrainingResult) -> dict[str, float]:
    sides = {"candidate": result.candidate, "champion": result.champion}
    metrics = {f"{side}.{name}": value for side, found in sides.items() for name, value in found.items()}
    return {**metrics, "training_seconds": result.seconds}
