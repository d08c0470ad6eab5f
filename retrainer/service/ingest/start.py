"""How a worker starts: the manifest's positions are the truth, and what it remembered is rebuilt (see `rebuild.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from retrainer.domain.events import Partition
from retrainer.domain.join.ingest import ModelIngest
from retrainer.errors import PositionLost, Refused
from retrainer.ports.event_log import EventLog
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.progress import StoredPosition
from retrainer.service.ingest.parts import WorkerParts, WorkerPolicy
from retrainer.service.ingest.rebuild import Replay


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What a worker goes on from. `rebuilt` models carry deltas that the next flush has to store."""

    lease: Lease
    positions: Mapping[Partition, int]
    topic_ids: Mapping[Partition, str]
    models: tuple[ModelIngest, ...]
    rebuilt: Mapping[str, str]
    fingerprints: Mapping[str, str]
    """Of every model's mapping."""
    replayed: int
    """How many records had to be read again."""
    rebuilt_to: int
    """The number of the last part that they were rebuilt from."""
    catching_up: bool = False
    """What was stored last: whether reading is far behind the end of the topics."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where reading goes on, by what is stored and what the topics hold. `begun` partitions were never consumed."""

    topic_ids: Mapping[Partition, str]
    known: Mapping[Partition, int]
    begun: Mapping[Partition, int]


def find(policy: WorkerPolicy, event_log: EventLog, stored: Mapping[Partition, StoredPosition]) -> Found:
    """Find the positions.

    Raises:
        Refused: a topic is not the one that was consumed before.
        PositionLost: records between the position and the log's start are gone.
    """
    topic_ids = event_log.describe(policy.topics)
    _check_identity(topic_ids, stored)
    known = {at: stored[at].position for at in topic_ids if at in stored}
    _check_extent(known, event_log)
    fresh = [at for at in topic_ids if at not in stored]
    # A partition of a topic that is consumed already was added to it: nothing of it may be skipped.
    topics = {at.topic for at in stored}
    grown = [at for at in fresh if at.topic in topics]
    first = event_log.starting_positions([at for at in fresh if at.topic not in topics], policy.start)
    return Found(topic_ids=topic_ids, known=known, begun={**first, **event_log.starting_positions(grown, "earliest")})


def recover(policy: WorkerPolicy, parts: WorkerParts, lease: Lease, found: Found) -> Recovered:
    """Register what is new, and rebuild the models' memory."""
    started = parts.clock.monotonic()
    if found.begun:
        facts = {at: StoredPosition(position=to, topic_id=found.topic_ids[at]) for at, to in found.begun.items()}
        parts.state.begin(lease, facts)
    positions = {**found.known, **found.begun}
    swept = parts.segments.sweep(parts.state.segment_files(), epoch=lease.epoch)
    if swept:
        parts.logger.info("segments.swept", names=swept)
    swept = parts.snapshots.sweep(parts.state.snapshot_files(), epoch=lease.epoch)
    if swept:
        parts.logger.info("snapshots.swept", names=swept)
    replay = Replay(policy, parts, positions)
    replayed = replay.run()
    for name in replay.rebuilt:
        parts.logger.info("model.backfilled", model=name, segments=replayed)
    parts.logger.info(
        "shard.assigned",
        positions={str(at): position for at, position in positions.items()},
        epoch=lease.epoch,
        snapshot=replay.snapshot,
        remembered={model.policy.model: len(model.table) for model in replay.models},
        replayed=replayed,
        seconds=round(parts.clock.monotonic() - started, 3),
    )
    return Recovered(
        lease=lease,
        positions=positions,
        topic_ids=found.topic_ids,
        models=replay.models,
        rebuilt=replay.rebuilt,
        fingerprints=replay.fingerprints,
        rebuilt_to=replay.last,
        replayed=replay.records,
        catching_up=replay.catching_up,
    )


def _check_identity(topic_ids: Mapping[Partition, str], stored: Mapping[Partition, StoredPosition]) -> None:
    for at, topic_id in topic_ids.items():
        before = stored[at].topic_id if at in stored else ""
        if before and topic_id and before != topic_id:
            raise Refused(
                f"topic {at.topic} was deleted and created again since it was consumed (its id was {before}, "
                f"is {topic_id}): the stored positions mean nothing in it. Start with a new state folder."
            )


def _check_extent(positions: Mapping[Partition, int], event_log: EventLog) -> None:
    extents = event_log.extents(list(positions))
    lost = {str(at): positions[at] for at, extent in extents.items() if positions[at] < extent.first}
    if lost:
        raise PositionLost(lost)
