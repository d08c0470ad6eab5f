"""Predictions and labels from files or from the topics themselves, read by the service's own worker, in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final, Never

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from retrainer.adapters.background import InlineBackground
from retrainer.adapters.clock import SystemClock
from retrainer.adapters.decoding import TopicDecoders
from retrainer.adapters.files.datasets import ParquetDatasets
from retrainer.adapters.kafka.log import KafkaLog
from retrainer.adapters.memory.disk import MemoryDisk
from retrainer.adapters.memory.event_log import MemoryLog
from retrainer.adapters.memory.manifest import MemoryManifest
from retrainer.adapters.memory.segments import MemorySegments, MemorySnapshots
from retrainer.adapters.memory.state import MemoryDecisionState, MemoryIngestState
from retrainer.adapters.telemetry import NoTelemetry
from retrainer.config.settings import KafkaSettings, StateSettings
from retrainer.domain.batches import RecordBatch
from retrainer.domain.deciding.ledger import Reign
from retrainer.domain.events import Partition
from retrainer.domain.tally.arrivals import PREDICTED
from retrainer.domain.tally.tallies import ARRIVALS
from retrainer.domain.values import Micros, slot_start
from retrainer.errors import Refused
from retrainer.ports.clock import Clock
from retrainer.ports.decoder import Decoders
from retrainer.ports.event_log import EventLog
from retrainer.ports.manifest.progress import StoredPosition
from retrainer.replay.options import WrongOption
from retrainer.replay.recorded.recording import AliasMove, Recording
from retrainer.service.ingest.parts import WorkerParts, WorkerPolicy
from retrainer.service.ingest.worker import Worker
from retrainer.service.jobs.dataset import DatasetBuilder
from retrainer.service.policy import ModelPolicy

_MAGIC: Final = b"PAR1"
_LATER: Final = 7_258_118_400_000
"""The records' own timestamp, after every event: the year 2200, in milliseconds."""
_UNKNOWN: Final = "unknown"
"""The champion where predictions do not say their version."""


def read_events(policy: ModelPolicy, predictions: Path, labels: Path) -> tuple[Recording, DatasetBuilder]:
    """What a service would have stored of these events, and what makes datasets of it.

    The champion is the version that began to predict last.

    Raises:
        WrongOption: the model's times are those of Kafka's records, which files do not have.
        Refused: a file cannot be read, or holds nothing that joins.
    """
    _check_times(policy)
    ingest, clock = policy.ingest, _SteppedClock()
    log = _Files(dict.fromkeys(ingest.topics, 1), batch=1_000)
    for topic, path in ((ingest.predictions.topic, predictions), (ingest.labels.topic, labels)):
        for value in _records(path):
            log.append(topic, value, timestamp=_LATER)
    manifest, segments = MemoryManifest(), MemorySegments()
    decoders = TopicDecoders()  # events in files are JSON, however their topics are encoded
    worker = _worker(policy, log, manifest, segments, decoders=decoders, clock=clock)
    while not log.is_read:
        worker.run_once()
        clock.sleep(1)
    for _ in range(4):  # and one flush more
        clock.sleep(2)
        worker.run_once()
    return _recorded(policy, manifest, segments, decoders, f"{predictions.name} and {labels.name}")


def read_topics(policy: ModelPolicy, kafka: KafkaSettings, decoders: Decoders) -> tuple[Recording, DatasetBuilder]:
    """What a service would have stored of a model's topics, from their beginning to where they end now.

    No offset is committed: a service that reads them with the same group does not notice.

    Raises:
        Unreachable: no broker answers, or a topic does not exist.
        Refused: they hold nothing that joins.
    """
    topics = policy.ingest.topics
    with closing(_ReadOnly(kafka.bootstrap_servers, kafka.group_id, kafka.client)) as log:
        partitions = log.describe(topics)
        ends = {at: extent.end for at, extent in log.extents(list(partitions)).items() if extent.end > extent.first}
        manifest, segments = MemoryManifest(), MemorySegments()
        worker = _worker(policy, log, manifest, segments, decoders=decoders, clock=SystemClock())
        state = MemoryIngestState(manifest)
        while not _has_reached(state.positions(), ends):
            worker.run_once()
    return _recorded(policy, manifest, segments, decoders, f"the topics {' and '.join(topics)}")


def _has_reached(positions: Mapping[Partition, StoredPosition], ends: Mapping[Partition, int]) -> bool:
    return all(at in positions and positions[at].position >= end for at, end in ends.items())


def _worker(
    policy: ModelPolicy,
    event_log: EventLog,
    manifest: MemoryManifest,
    segments: MemorySegments,
    *,
    decoders: Decoders,
    clock: Clock,
) -> Worker:
    parts = WorkerParts(
        event_log=event_log,
        state=MemoryIngestState(manifest),
        segments=segments,
        snapshots=MemorySnapshots(),
        disk=MemoryDisk(2**50),
        memory=_NoMemory(),
        background=InlineBackground(),
        decoders=decoders,
        clock=clock,
        telemetry=NoTelemetry(),
        logger=structlog.wrap_logger(structlog.ReturnLogger(), processors=[_drop]),
    )
    usual = StateSettings()
    worker = WorkerPolicy(
        models=(policy.ingest,),
        start="earliest",
        flush_every=usual.flush.every,
        flush_bytes=usual.flush.bytes,
        memory=usual.memory,
        poison_limit=2**62,
    )
    return Worker(worker, parts, "replay")


def _drop(*_: object) -> Never:
    """What a worker tells is about a service that this is none of."""
    raise structlog.DropEvent


def _recorded(
    policy: ModelPolicy, manifest: MemoryManifest, segments: MemorySegments, decoders: Decoders, source: str
) -> tuple[Recording, DatasetBuilder]:
    state = MemoryDecisionState(manifest)
    builder = DatasetBuilder(state=state, segments=segments, decoders=decoders, datasets=ParquetDatasets())
    return replace(Recording.of(state, policy, changes=_champions), source=source), builder


def _champions(recording: Recording) -> Iterator[AliasMove]:
    seen = set[str]()
    for slot, held in recording.slots:
        fresh = {key.version for key, n in held if key.slice == ARRIVALS and key.truth == PREDICTED and n > 0} - seen
        for version in sorted(fresh):
            name = version or _UNKNOWN
            if not seen:
                yield AliasMove(at=None, reign=Reign(version=name, effective_from=None))
            else:
                yield AliasMove(at=slot, reign=Reign(version=name, effective_from=slot_start(slot)))
            seen.add(version)


def _records(path: Path) -> Iterator[bytes]:
    """Each event of a file, as JSON."""
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) == _MAGIC:
                for batch in pq.ParquetFile(path).iter_batches():
                    yield from (msgspec.json.encode(row) for row in batch.to_pylist())
                return
            file.seek(0)
            yield from (line for line in file if line.strip())
    except (OSError, pa.ArrowException) as error:
        raise Refused(f"{path}: cannot be read: {error}") from error


def _check_times(policy: ModelPolicy) -> None:
    for side, mapping in (("predictions", policy.ingest.predictions), ("labels", policy.ingest.labels)):
        if any(path.startswith("$timestamp") for path in mapping.time.paths):
            told = json.dumps(mapping.topic)
            raise WrongOption(f"--events: {side} of {told} have the time of Kafka's records, which files do not have")


class _Files(MemoryLog):
    """Topics that were filled from files. A poll does not wait."""

    def poll(self, _: float, /) -> Sequence[RecordBatch]:
        return super().poll(0)

    @property
    def is_read(self) -> bool:
        """Whether everything has been handed out."""
        return bool(self._positions) and all(to == self._held[at].end for at, to in self._positions.items())


class _ReadOnly(KafkaLog):
    """Topics that are read without telling anyone how far."""

    def commit_offsets(self, positions: Mapping[Partition, int]) -> None:
        """Nothing."""


class _SteppedClock:
    """`Clock` that only goes on when it is told to."""

    def __init__(self) -> None:
        self._passed = 0.0

    def now(self) -> Micros:
        return _LATER * 1_000 + round(self._passed * 1e6)

    def monotonic(self) -> float:
        return self._passed

    def sleep(self, seconds: float) -> None:
        self._passed += seconds


class _NoMemory:
    """`ResidentMemory` of a worker that may have as much as it needs."""

    def resident(self) -> int:
        return 0
