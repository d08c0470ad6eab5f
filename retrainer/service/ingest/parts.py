"""What a worker is made of: its policy, and the worlds that it works with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from retrainer.domain.join.ingest import IngestPolicy
from retrainer.logs import Logger
from retrainer.ports.clock import Clock
from retrainer.ports.decoder import Decoders
from retrainer.ports.disk import Disk
from retrainer.ports.event_log import EventLog, Start
from retrainer.ports.manifest.ingest import IngestState
from retrainer.ports.process import Background, ResidentMemory
from retrainer.ports.segments import Segments
from retrainer.ports.snapshots import Snapshots
from retrainer.ports.telemetry import Telemetry


@dataclass(frozen=True, kw_only=True)
class WorkerPolicy:
    """What a worker consumes, and how often it commits."""

    models: tuple[IngestPolicy, ...]
    start: Start
    flush_every: timedelta
    flush_bytes: int
    shard: str = "ingest"
    snapshot_every: timedelta = timedelta(minutes=5)
    memory: int
    """In bytes: what the worker's process may have resident."""
    poison_limit: int = 1000
    """So many records in a row that no model can use halt their topic."""

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(sorted({topic for model in self.models for topic in model.topics}))


@dataclass(frozen=True, kw_only=True)
class WorkerParts:
    """The worlds that a worker works with."""

    event_log: EventLog
    state: IngestState
    segments: Segments
    snapshots: Snapshots
    disk: Disk
    memory: ResidentMemory
    background: Background
    decoders: Decoders
    clock: Clock
    logger: Logger
    telemetry: Telemetry
