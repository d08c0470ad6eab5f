"""`check --connect`: tries everything outside, samples the topics, and says how many records map and join."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Partition, Side
from retrainer.domain.join.ingest import ModelIngest, Progress
from retrainer.errors import RetrainerError
from retrainer.ports.clock import Clock
from retrainer.ports.decoder import Decoders
from retrainer.ports.event_log import EventLog
from retrainer.ports.registry import Registry
from retrainer.service.intake import Intake
from retrainer.service.policy import ModelPolicy

SAMPLE_RECORDS = 2000
"""The newest records of each partition that are looked at."""

_SAMPLE_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class ConnectionCheck:
    """One thing that was tried: what it is, whether it is well, and the facts."""

    name: str
    ok: bool
    facts: str


@dataclass
class ConnectionReport:
    """Everything that was tried, in order."""

    found: list[ConnectionCheck] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.found)

    def attempt(self, name: str, action: Callable[[], str]) -> None:
        """Try something; its answer are the facts, its error is why it is not well."""
        try:
            self.found.append(ConnectionCheck(name=name, ok=True, facts=action()))
        except RetrainerError as error:
            self.found.append(ConnectionCheck(name=name, ok=False, facts=str(error)))


@dataclass(frozen=True, kw_only=True)
class Outside:
    """What is tried."""

    event_log: EventLog
    decoders: Decoders
    registry: Registry
    clock: Clock
    open_database: Callable[[], object]
    remote_folders: Mapping[str, str] = field(default_factory=dict)
    """Folders of the state on a network file system, each with its kind."""


def connect(models: Sequence[ModelPolicy], outside: Outside) -> ConnectionReport:
    """Try broker, topics, database and MLflow."""
    findings = ConnectionReport()
    findings.attempt("database", lambda: _database(outside))
    findings.attempt("mlflow", lambda: _mlflow(models, outside.registry))
    for model in models:
        findings.attempt(f"topics of {model.name}", lambda model=model: _topics(model, outside))  # type: ignore[misc]  # the default binds it
    return findings


def _database(outside: Outside) -> str:
    outside.open_database()
    warnings = [f"but {folder} lies on {kind}, over a network" for folder, kind in outside.remote_folders.items()]
    return "; ".join(["can be read and written", *warnings])


def _mlflow(models: Sequence[ModelPolicy], registry: Registry) -> str:
    registry.prepare()
    aliases = {
        model.name: registry.version_at(model.promotion.registered_model, model.promotion.alias) for model in models
    }
    return ", ".join(f"{name}: champion is {version or 'not there yet'}" for name, version in aliases.items())


def _topics(model: ModelPolicy, outside: Outside) -> str:
    partitions = list(outside.event_log.describe(model.ingest.topics))
    sample = _sample(partitions, outside)
    ingest = ModelIngest(model.ingest, partitions, Progress())
    intake = Intake(outside.decoders, [ingest])
    reasons = Counter(reason for batch in sample for reason in intake.ingest(batch).values())
    counts = ingest.take_delta().counts
    parts = [_side(side, counts) for side in Side]
    parts.append(_co_partitioning(model, partitions))
    parts += [f"{n} cannot be used: {reason}" for reason, n in reasons.most_common(5)]
    return "; ".join(parts)


def _side(side: Side, counts: Mapping[tuple[Side, str], int]) -> str:
    consumed, joined = counts.get((side, "consumed"), 0), counts.get((side, "joined"), 0)
    usable = consumed - counts.get((side, "filtered"), 0) - counts.get((side, "quarantined"), 0)
    if side is Side.PREDICTIONS:
        return f"of {consumed} sampled predictions {usable} map and {joined} join"
    return f"of {consumed} sampled labels {usable} map and {counts.get((side, 'applied'), 0)} join"


def _sample(partitions: Sequence[Partition], outside: Outside) -> list[RecordBatch]:
    extents = outside.event_log.extents(partitions)
    start = {at: max(extent.first, extent.end - SAMPLE_RECORDS) for at, extent in extents.items()}
    outside.event_log.assign(start)
    wanted = sum(extents[at].end - start[at] for at in start)
    batches: list[RecordBatch] = []
    deadline = outside.clock.monotonic() + _SAMPLE_SECONDS
    while sum(len(one.offsets) for one in batches) < wanted and outside.clock.monotonic() < deadline:
        batches += outside.event_log.poll(0.5)
    return batches


def _co_partitioning(model: ModelPolicy, partitions: Sequence[Partition]) -> str:
    numbers = Counter(at.topic for at in partitions)
    sizes = ", ".join(f"{topic} has {numbers[topic]}" for topic in model.ingest.topics)
    if len(set(numbers.values())) == 1:
        return f"same number of partitions ({sizes}): a fleet can share them if both are keyed by id"
    return f"different numbers of partitions ({sizes}): one worker reads them, a fleet could not"
