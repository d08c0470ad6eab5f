"""Carrying a job out, step by step. Each step is stored before the next, and may be repeated after a crash."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Event

import msgspec

from retrainer.domain.deciding.jobs import MAX_ATTEMPTS, Job, JobState, after_look, after_verdict, once_accepted
from retrainer.domain.judging.order import (
    CHAMPION_FOLDER,
    DATASET_FILE,
    MODEL_FOLDER,
    RESULT_FILE,
    SPEC_FILE,
    TrainingResult,
    TrainingSpec,
)
from retrainer.domain.values import SECOND, iso
from retrainer.errors import Refused, RetrainerError, Unreachable
from retrainer.ports.clock import Stopped
from retrainer.ports.registry import RunReport
from retrainer.ports.telemetry import JobMoved
from retrainer.ports.training import TrainingEnded
from retrainer.service.dependency import Dependency
from retrainer.service.jobs.challenger import ChallengerLook
from retrainer.service.jobs.dataset import Dataset
from retrainer.service.jobs.order import order_to_train
from retrainer.service.jobs.parts import JobFailed, JobParts, KnownSoFar
from retrainer.service.jobs.promotion import Promotions
from retrainer.service.jobs.report import error_tags, job_tags, run_report, verdict_tags
from retrainer.service.policy import ModelPolicy

_PAUSE_SECONDS = 0.2


class JobRun:
    """One job on its way. `run` returns when it has ended, or when a stop was asked for."""

    def __init__(
        self,
        job: Job,
        policy: ModelPolicy,
        promotions: Promotions,
        parts: JobParts,
        known: Callable[[], KnownSoFar],
    ) -> None:
        self.job = job
        self._policy = policy
        self._promotions = promotions
        self._parts = parts
        self._known = known
        self._has_looked = False
        self._logger = parts.logger.bind(model=job.model, job_id=job.job_id, decision_id=job.decision_id)
        self._mlflow = Dependency("mlflow", self._logger, parts.clock, parts.telemetry)
        self._database = Dependency("database", self._logger, parts.clock, parts.telemetry)
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
            JobState.CHALLENGING: self._judge_on,
        }
        while not (self.job.ended or self._has_looked or stop.is_set()):
            if not self._mlflow.due:
                stop.wait(_PAUSE_SECONDS)
                continue
            with self._mlflow:
                self._take(steps[self.job.state])
        if (self.job.ended or self.job.is_challenging) and self.job.state is not JobState.FAILED:
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
        self._logger.info(
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
        self._order(order_to_train(self.job, self._policy, dataset.digest, self._result_of_champion()))
        return dataset

    def _order(self, spec: TrainingSpec) -> None:
        (self._folder / SPEC_FILE).write_bytes(msgspec.json.encode(spec))

    def _fetch_champion(self, version: str) -> None:
        """A champion that cannot be had is judged by the predictions that it made live."""
        try:
            self._parts.registry.fetch_model(
                self._policy.promotion.registered_model, version, self._folder / CHAMPION_FOLDER
            )
        except Unreachable:
            raise
        except RetrainerError as error:
            self._logger.warning("champion.unavailable", version=version, error=str(error))

    def _result_of_champion(self) -> TrainingResult | None:
        """What the champion's own job found; None of one that came from elsewhere."""
        if self.job.champion is None:
            return None
        jobs = [job for job in self._parts.state.jobs(self.job.model) if job.version == self.job.champion]
        return jobs[-1].result if jobs else None

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
        self._logger.warning("job.requeued", why=why)

    def _tell_result(self, result: TrainingResult) -> None:
        assert result.verdict is not None
        self._logger.info("job.trained", seconds=result.seconds, rows_chosen=result.rows_chosen)
        if result.checks:
            found = [{"feature": one.feature, "what": one.what, "words": one.words} for one in result.checks]
            self._logger.warning("rows.suspicious", on=self._policy.checks_on, features=found)
        self._logger.info(
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
        run_id = self._parts.registry.record_run(self._report(result, verdict_tags(result)))
        self._store(self.job.with_state(JobState.RECORDED, run_id=run_id))

    def _register(self) -> None:
        result = self._judged()
        assert result.verdict is not None
        ahead = after_verdict(result.verdict.answer, self._policy.promotion.mode)
        if ahead is JobState.REJECTED:
            self._end(JobState.REJECTED)
            self._logger.info("candidate.rejected", reason=result.verdict.reason, run_id=self.job.run_id)
            return
        version = self._parts.registry.register(
            self._policy.promotion.registered_model,
            self.job.job_id,
            self.job.run_id,
            self._folder / MODEL_FOLDER,
            {**job_tags(self.job), **verdict_tags(result)},
        )
        self._logger.info("candidate.registered", version=version, run_id=self.job.run_id)
        if ahead is JobState.CHALLENGING:
            self._challenge(version, result)
        else:
            self._store(self.job.with_state(JobState.REGISTERED, version=version))

    def _challenge(self, version: str, result: TrainingResult) -> None:
        """Too little speaks for it yet: it is kept, and judged on with the labels that come from now on."""
        promotion = self._policy.promotion
        self._parts.registry.point(promotion.registered_model, promotion.challenger_alias, version)
        known = self._known()
        job = self.job.challenging(
            self._policy.judge,
            version,
            result.row_loss,
            at=known.watermark or self.job.known_by,
            now=self._parts.clock.now(),
            outcomes=known.outcomes,
        )
        self._store(job)
        self._has_looked = True
        verdict = result.verdict
        self._logger.info("challenger.kept", version=version, reason=verdict.reason if verdict else "")

    def _judge_on(self) -> None:
        """One look at how challenger and champion fare on rows that neither has seen."""
        self._has_looked = True
        known = self._known()
        judging = ChallengerLook(job=self.job, policy=self._policy, parts=self._parts, logger=self._logger)
        over = judging.over(known.watermark, self._promotions.reign)
        if over is not None:
            self._drop(over)
            return
        look = judging.prepare(self._folder, known.watermark)
        if look is None:
            return
        self._order(look.spec)
        ended = self._parts.trainers.train(self._folder, self._policy.limits, self._stop)
        if ended.killed != "stop":
            self._conclude(judging.judged(look, self._result(), ended, known.outcomes))

    def _conclude(self, job: Job) -> None:
        """What a look found."""
        assert job.challenge is not None
        promotion = self._policy.promotion
        test = job.challenge.test
        ahead = after_look(test, promotion.mode)
        is_better = ahead not in {JobState.CHALLENGING, JobState.REJECTED}
        self._store(job.with_state(JobState.REGISTERED) if is_better else job)
        self._logger.info(
            "challenger.judged", version=job.version, answer=test.answer, rows=test.rows, reason=test.words
        )
        if is_better:
            self._has_looked = False
            self._parts.registry.unpoint(promotion.registered_model, promotion.challenger_alias)
        elif ahead is JobState.REJECTED:
            self._drop(test.words)

    def _drop(self, why: str) -> None:
        """The challenger is given up."""
        promotion = self._policy.promotion
        if self._parts.registry.version_at(promotion.registered_model, promotion.challenger_alias) == self.job.version:
            self._parts.registry.unpoint(promotion.registered_model, promotion.challenger_alias)
        self._end(JobState.REJECTED)
        self._logger.info("challenger.dropped", version=self.job.version, reason=why)

    def _promote(self) -> None:
        if once_accepted(self._policy.promotion.mode) is not JobState.PROMOTED:
            self._end(JobState.ACCEPTED)
            return
        challenge = self.job.challenge
        found = challenge.test.words if challenge else self._verdict_reason()
        reason = f"{', '.join(self.job.triggers)}: {found}"
        promoted = self._promotions.promote(self.job.job_id, self.job.version, reason, self._known().watermark)
        self._end(JobState.PROMOTED if promoted else JobState.ACCEPTED)

    def _report(self, result: TrainingResult | None, tags: Mapping[str, str]) -> RunReport:
        return run_report(self.job, self._policy, self._folder, result, tags)

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
        self._logger.error("job.failed", error=why, run_id=run_id)

    def _recorded_failure(self, why: str) -> str:
        """The run of a failed job, for people who look there; it is tried once, as the manifest has the reason too."""
        if not (self._folder / DATASET_FILE).exists():
            return ""
        try:
            return self._parts.registry.record_run(self._report(None, error_tags(why)))
        except RetrainerError as error:
            self._logger.warning("dependency.lost", dependency="mlflow", error=str(error))
            return ""

    def _end(self, state: JobState) -> None:
        self._store(self.job.end(state, self._parts.clock.now()))

    def _store(self, job: Job) -> None:
        """Store the next state; while the manifest is away, wait rather than do the step again."""
        while True:
            with self._database:
                self._parts.state.put_job(self._parts.lease, job)
                self.job = job
                self._parts.telemetry.tell(JobMoved(job=job))
                return
            if self._stop.wait(_PAUSE_SECONDS):
                raise Unreachable("the manifest was away when a stop was asked for")
