"""What jobs work with, and how they fail."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from retrainer.domain.values import Micros
from retrainer.errors import RetrainerError
from retrainer.logs import Logger
from retrainer.ports.clock import Clock
from retrainer.ports.manifest.decisions import DecisionState
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.registry import Registry
from retrainer.ports.telemetry import Telemetry
from retrainer.ports.training import Trainers
from retrainer.service.jobs.dataset import DatasetBuilder


@dataclass(frozen=True, kw_only=True)
class KnownSoFar:
    """How much of a model is known at present: its watermark in event time, and its outcomes."""

    watermark: Micros | None
    outcomes: int = 0


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
    telemetry: Telemetry
    lease: Lease
    folder: Path
