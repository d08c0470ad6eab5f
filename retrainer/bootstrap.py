"""From settings to running parts: the only place that knows both the configuration and the adapters."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sqlalchemy import make_url

from retrainer.adapters.background import ThreadBackground
from retrainer.adapters.clock import SystemClock
from retrainer.adapters.decoding import TopicDecoders
from retrainer.adapters.files.datasets import ParquetDatasets
from retrainer.adapters.files.disk import LocalDisk
from retrainer.adapters.files.filesystems import network_filesystem
from retrainer.adapters.files.segments import LocalSegments
from retrainer.adapters.files.snapshots import LocalSnapshots
from retrainer.adapters.kafka.log import KafkaLog
from retrainer.adapters.manifest.database import Database
from retrainer.adapters.manifest.decisions import SqlDecisionState
from retrainer.adapters.manifest.housekeeping import SqlHousekeepingState
from retrainer.adapters.manifest.ingest import SqlIngestState
from retrainer.adapters.mlflow.registry import MlflowRegistry
from retrainer.adapters.telemetry import NoTelemetry
from retrainer.adapters.this_process import ProcessMemory
from retrainer.adapters.training_process import ChildTrainers
from retrainer.config.load import Loaded
from retrainer.config.model import ModelSettings
from retrainer.config.settings import Settings
from retrainer.domain.values import duration
from retrainer.errors import ConfigError
from retrainer.logs import Logger, is_configured, logger
from retrainer.policies import UnusableTrigger, model_policy, silence_policy
from retrainer.ports.manifest.lease import Lease
from retrainer.service.control.controller import Controller, ControllerParts
from retrainer.service.control.drift_watch import DriftWatch
from retrainer.service.control.drifting import DriftParts
from retrainer.service.control.housekeeping import Housekeeping, HousekeepingParts, HousekeepingPolicy
from retrainer.service.ingest.parts import WorkerParts, WorkerPolicy
from retrainer.service.ingest.worker import Worker
from retrainer.service.jobs.dataset import DatasetBuilder
from retrainer.service.jobs.parts import JobParts
from retrainer.service.people.check import ConnectionReport, Outside, connect
from retrainer.service.policy import ModelPolicy


@dataclass(frozen=True)
class Wiring:
    """Everything that one configuration makes, each part when it is first asked for."""

    loaded: Loaded

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    @cached_property
    def clock(self) -> SystemClock:
        return SystemClock()

    @cached_property
    def database(self) -> Database:
        return Database(self.settings.state.database, logger=logger() if is_configured() else None)

    @cached_property
    def telemetry(self) -> NoTelemetry:
        return NoTelemetry()

    @cached_property
    def decoders(self) -> TopicDecoders:
        return TopicDecoders()

    @cached_property
    def decisions(self) -> SqlDecisionState:
        return SqlDecisionState(self.database)

    @cached_property
    def registry(self) -> MlflowRegistry:
        mlflow = self.settings.mlflow
        return MlflowRegistry(mlflow.tracking_uri, mlflow.registry_uri, mlflow.artifacts, mlflow.experiment)

    @cached_property
    def models(self) -> tuple[ModelPolicy, ...]:
        """The policies of every model.

        Raises:
            ConfigError: a trigger of the user's own cannot be used.
        """
        return tuple(self._policy(model) for model in self.settings.models.values())

    def _policy(self, model: ModelSettings) -> ModelPolicy:
        try:
            return model_policy(model)
        except UnusableTrigger as unusable:
            key = ("models", model.name, "triggers", unusable.name, unusable.entry)
            raise ConfigError(self.loaded.problem(key, str(unusable))) from None

    def close(self) -> None:
        """Give back what was opened."""
        if "database" in self.__dict__:  # only if it was asked for
            self.database.close()

    @property
    def folder(self) -> Path:
        """Where the local state is: locks, jobs, snapshots."""
        assert self.settings.state.folder is not None  # reading a file fills it in
        return Path(self.settings.state.folder)

    @property
    def locked_folders(self) -> list[Path]:
        """The folders that only one process of a kind may work on: that of SQLite's file too, if it is another one."""
        database = make_url(self.settings.state.database)
        beside = Path(database.database or "").parent if database.get_backend_name() == "sqlite" else self.folder
        return sorted({self.folder, beside})

    @property
    def remote_folders(self) -> dict[str, str]:
        """The folders of the state that lie on a network file system, each with its kind."""
        folders = {*self.locked_folders, Path(self.settings.state.segments)}
        return {str(one): kind for one in sorted(folders) if (kind := network_filesystem(one)) is not None}

    def event_log(self) -> KafkaLog:
        kafka = self.settings.kafka
        return KafkaLog(kafka.bootstrap_servers, kafka.group_id, kafka.client)

    def segments(self) -> LocalSegments:
        return LocalSegments(Path(self.settings.state.segments))

    def worker(self) -> Worker:
        """The ingest worker of this configuration."""
        state = self.settings.state
        policy = WorkerPolicy(
            models=tuple(model.ingest for model in self.models),
            start=self.settings.kafka.start,
            flush_every=state.flush.every,
            flush_bytes=state.flush.bytes,
            memory=state.memory,
        )
        parts = WorkerParts(
            event_log=self.event_log(),
            state=SqlIngestState(self.database),
            segments=self.segments(),
            snapshots=LocalSnapshots(self.folder / "snapshots"),
            disk=LocalDisk(self.folder, Path(self.settings.state.segments)),
            memory=ProcessMemory(),
            background=ThreadBackground(),
            decoders=self.decoders,
            clock=self.clock,
            logger=logger(role="worker"),
            telemetry=self.telemetry,
        )
        return Worker(policy, parts, _owner())

    def controller(self) -> Controller:
        """The controller of this configuration."""
        log = logger(role="controller")
        builder = DatasetBuilder(
            state=self.decisions, segments=self.segments(), decoders=self.decoders, datasets=ParquetDatasets()
        )
        jobs = JobParts(
            state=self.decisions,
            registry=self.registry,
            trainers=ChildTrainers(),
            datasets=builder,
            clock=self.clock,
            logger=log,
            telemetry=self.telemetry,
            lease=Lease(name="controller", epoch=0),  # the controller puts its own here
            folder=self.folder / "jobs",
        )
        parts = ControllerParts(
            state=self.decisions,
            registry=self.registry,
            jobs=jobs,
            clock=self.clock,
            logger=log,
            telemetry=self.telemetry,
            housekeeping=self.housekeeping(log),
            drift=self.drift_watch(log),
            silence=[silence_policy(model) for model in self.settings.models.values()],
        )
        return Controller(self.models, parts, _owner(), self.settings.service.jobs)

    def drift_watch(self, log: Logger) -> DriftWatch:
        """What follows the features of models with a `drift` trigger."""
        parts = DriftParts(
            state=self.decisions,
            segments=self.segments(),
            decoders=self.decoders,
            clock=self.clock,
            logger=log,
            telemetry=self.telemetry,
        )
        return DriftWatch(self.models, parts)

    def housekeeping(self, log: Logger) -> Housekeeping:
        """What keeps the segments of this configuration few and no older than they are needed."""
        policy = HousekeepingPolicy(
            retention=duration(self.settings.state.retention),
            reaches={model.name: model.ingest.join.reach for model in self.models},
        )
        parts = HousekeepingParts(
            state=SqlHousekeepingState(self.database), segments=self.segments(), clock=self.clock, logger=log
        )
        return Housekeeping(policy, parts)

    def check(self) -> ConnectionReport:
        """Everything outside, tried."""
        log = self.event_log()
        outside = Outside(
            event_log=log,
            decoders=self.decoders,
            registry=self.registry,
            clock=self.clock,
            open_database=lambda: self.database.claim("check", _owner(), self.clock.now()),
            remote_folders=self.remote_folders,
        )
        try:
            return connect(self.models, outside)
        finally:
            log.close()


def _owner() -> str:
    return f"{socket.gethostname()}/{os.getpid()}"
