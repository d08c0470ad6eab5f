"""The controller: reads tallies, evaluates triggers, launches and follows jobs. Knows nothing of Kafka."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Event, Thread

from retrainer.domain.deciding.jobs import Job
from retrainer.domain.values import Micros
from retrainer.errors import Refused, Unreachable
from retrainer.logs import Logger
from retrainer.ports.clock import Clock, Stopped
from retrainer.ports.manifest.decisions import DecisionState, Request
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.progress import StoredProgress
from retrainer.ports.registry import Registry
from retrainer.ports.telemetry import JobMoved, ModelDeliberated, Telemetry
from retrainer.service.control.drift_watch import DriftWatch
from retrainer.service.control.housekeeping import Housekeeping
from retrainer.service.control.rounds import Present, Rounds
from retrainer.service.control.silence import SilencePolicy, SilenceWatch
from retrainer.service.control.telling import tell
from retrainer.service.dependency import Dependency
from retrainer.service.jobs.challenger import is_due
from retrainer.service.jobs.parts import JobParts, KnownSoFar
from retrainer.service.jobs.promotion import Promotions
from retrainer.service.jobs.run import JobRun
from retrainer.service.policy import ModelPolicy

_TICK_SECONDS = 0.2
_RECONCILE_SECONDS = 5.0
_HOUSEKEEPING_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class ControllerParts:
    """The worlds that a controller works with. The lease of `jobs` is filled in once it is claimed."""

    state: DecisionState
    registry: Registry
    jobs: JobParts
    clock: Clock
    logger: Logger
    telemetry: Telemetry
    housekeeping: Housekeeping | None = None
    drift: DriftWatch | None = None
    silence: Sequence[SilencePolicy] = ()


class Controller:
    """`run` is a loop over `run_once`. Jobs, the comparison of aliases and housekeeping run in threads of their own."""

    def __init__(self, models: Sequence[ModelPolicy], parts: ControllerParts, owner: str, jobs_at_once: int) -> None:
        self.models = {model.name: model for model in models}
        self.parts = parts
        self.owner = owner
        self.jobs_at_once = jobs_at_once
        self.watermarks: dict[str, Micros | None] = {}
        self._store = Dependency("database", parts.logger, parts.clock, parts.telemetry)
        self._lease: Lease | None = None
        self._silence: SilenceWatch | None = None
        self._promotions: dict[str, Promotions] = {}
        self._rounds: Rounds | None = None
        self._running: dict[str, _RunningJob] = {}
        self._stopping = Event()
        self._helpers: list[Thread] = []
        self._prepared = False
        self._crashed: Exception | None = None
        self._mlflow = Dependency("mlflow", parts.logger, parts.clock, parts.telemetry)

    def run(self, stop: Stopped) -> None:
        """Work until told to stop."""
        while not stop.is_set():
            self.run_once()
            stop.wait(_TICK_SECONDS)
        self.stop()

    def run_once(self) -> None:
        """One round over every model."""
        if self._crashed is not None:
            raise self._crashed
        if not self._store.due:
            return
        with self._store:
            if self._lease is None:
                self._begin()
            progress = self.parts.state.model_progress()
            requests = self.parts.state.requests()
            self._collect_jobs()
            self.watermarks = {name: held.progress.watermark for name, held in progress.items()}
            self._decide(progress, requests)
            self._start_jobs()
            self._listen()

    def stop(self) -> None:
        """Kill training processes (their jobs go back to the queue) and wait for the threads."""
        self._stopping.set()
        for running in self._running.values():
            running.thread.join(timeout=6)
        for helper in self._helpers:
            helper.join(timeout=1)

    def compare_aliases(self) -> None:
        """Compare every model's ledger with the registry once."""
        mlflow = self._mlflow
        if not self._prepared and mlflow.due:
            with mlflow, _refusals_may_pass():
                self.parts.registry.prepare()
                self._prepared = True
        if not self._prepared:
            return
        for name, promotions in self._promotions.items():
            if not mlflow.due or self._stopping.is_set():
                return
            with mlflow, _refusals_may_pass():
                promotions.reconcile(self.watermarks.get(name))

    def _begin(self) -> None:
        self._lease = self.parts.state.claim("controller", self.owner, self.parts.clock.now())
        self._rounds = Rounds(self.models, self.parts.state, self._lease, self.parts.drift)
        self._silence = SilenceWatch(self.parts.silence, self.parts.state, self._lease, self.parts.logger)
        for name, model in self.models.items():
            self._promotions[name] = Promotions(
                policy=model,
                registry=self.parts.registry,
                state=self.parts.state,
                lease=self._lease,
                clock=self.parts.clock,
                logger=self.parts.logger,
            )
        helpers = {"aliases": self._watch_aliases, "housekeeping": self._keep_house, "features": self._watch_features}
        for name, target in helpers.items():
            helper = Thread(target=target, name=name, daemon=True)
            helper.start()
            self._helpers.append(helper)

    def _listen(self) -> None:
        """Whether predictions and labels still come."""
        if self._silence is not None:
            self._silence.run_once(self.parts.clock.now())

    def _watch_aliases(self) -> None:
        try:
            while not self._stopping.is_set():
                self.compare_aliases()
                self._stopping.wait(_RECONCILE_SECONDS if self._mlflow.lost_at is None else 0.5)
        except Exception as error:  # noqa: BLE001  a thread's error must reach the loop, whatever it is
            self._crashed = error

    def _watch_features(self) -> None:
        try:
            if self.parts.drift is not None and self.parts.drift.is_needed:
                self.parts.drift.run(self._stopping)
        except Exception as error:  # noqa: BLE001  a thread's error must reach the loop, whatever it is
            self._crashed = error

    def _keep_house(self) -> None:
        folder = Dependency("segments", self.parts.logger, self.parts.clock, self.parts.telemetry)
        try:
            while self.parts.housekeeping is not None and self._lease is not None and not self._stopping.is_set():
                more = False
                with folder:
                    more = self.parts.housekeeping.run_once(self._lease)
                self._stopping.wait(_TICK_SECONDS if more else _HOUSEKEEPING_SECONDS)
        except Exception as error:  # noqa: BLE001  a thread's error must reach the loop, whatever it is
            self._crashed = error

    def _decide(self, progress: Mapping[str, StoredProgress], requests: Sequence[Request]) -> None:
        """One round about every model whose champion is known."""
        assert self._rounds is not None
        reigns = {name: held.reign for name, held in self._promotions.items() if held.reign is not None}
        present = Present(now=self.parts.clock.now(), reigns=reigns, progress=progress, requests=requests)
        for name, done in self._rounds.run_once(present).items():
            tell(self.parts.logger.bind(model=name), done)
            if done.facts or done.decisions:
                told = ModelDeliberated(model=name, facts=done.facts, decisions=done.decisions)
                self.parts.telemetry.tell(told)
            for job in done.jobs:
                self.parts.telemetry.tell(JobMoved(job=job))

    def _start_jobs(self) -> None:
        if self._lease is None or self._stopping.is_set():
            return
        unfinished = [job for job in self.parts.state.jobs(unfinished=True) if job.model in self.models]
        for job in unfinished:
            if len(self._running) >= self.jobs_at_once:
                return
            if job.job_id not in self._running and (not job.is_challenging or self._is_due(job, unfinished)):
                self._start(job, self._lease)

    def _is_due(self, job: Job, unfinished: Sequence[Job]) -> bool:
        """Whether a challenger is to be looked at: there is news about it, or a newer job has taken its place."""
        superseded = any(other.model == job.model and other.created_at > job.created_at for other in unfinished)
        return superseded or is_due(job, self.models[job.model], self._outcomes(job.model))

    def _outcomes(self, name: str) -> int:
        return self._rounds.outcomes(name) if self._rounds else 0

    def _start(self, job: Job, lease: Lease) -> None:
        run = JobRun(
            job,
            self.models[job.model],
            self._promotions[job.model],
            replace(self.parts.jobs, lease=lease),
            lambda: KnownSoFar(watermark=self.watermarks.get(job.model), outcomes=self._outcomes(job.model)),
        )
        running = _RunningJob(run, self._stopping)
        self._running[job.job_id] = running
        running.thread.start()

    def _collect_jobs(self) -> None:
        for job_id, running in list(self._running.items()):
            has_ended = not running.thread.is_alive()  # asked first: its last step must not fall between two looks
            if self._rounds is not None:
                self._rounds.job_changed(running.run.job)
            if has_ended:
                del self._running[job_id]
                if running.crashed is not None:
                    raise running.crashed


@contextmanager
def _refusals_may_pass() -> Iterator[None]:
    """A registry that refuses (a deleted experiment, missing rights) is waited for: a person can put that right."""
    try:
        yield
    except Refused as error:
        raise Unreachable(str(error)) from error


class _RunningJob:
    """A job and its thread."""

    def __init__(self, run: JobRun, stop: Event) -> None:
        self.run = run
        self.crashed: Exception | None = None
        self._stop = stop
        self.thread = Thread(target=self._target, name=run.job.job_id, daemon=True)

    def _target(self) -> None:
        try:
            self.run.run(self._stop)
        except Exception as error:  # noqa: BLE001  a thread's error must reach the loop, whatever it is
            self.crashed = error
