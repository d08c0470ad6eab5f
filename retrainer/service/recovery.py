"""How a worker starts: the manifest's positions are the truth, and the join index is rebuilt from segments."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from retrainer.domain.events import Partition
from retrainer.domain.ingest import IngestPolicy, ModelIngest, Progress
from retrainer.domain.values import Micros, slot_start
from retrainer.errors import PositionLost, Refused
from retrainer.ports import EventLog
from retrainer.service.ingesting import WorkerParts, WorkerPolicy
from retrainer.service.intake import take_in
from retrainer.stores import Lease, StoredPosition, StoredProgress, StoredSegment


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What a worker goes on from. `rebuilt` models carry deltas that the next flush has to store."""

    lease: Lease
    positions: Mapping[Partition, int]
    topic_ids: Mapping[Partition, str]
    models: tuple[ModelIngest, ...]
    rebuilt: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where reading goes on, by what is stored and what the topics hold. `begun` partitions were never consumed."""

    topic_ids: Mapping[Partition, str]
    known: Mapping[Partition, int]
    begun: Mapping[Partition, int]


def find(policy: WorkerPolicy, log: EventLog, stored: Mapping[Partition, StoredPosition]) -> Found:
    """Find the positions.

    Raises:
        Refused: a topic is not the one that was consumed before.
        PositionLost: records between the position and the log's start are gone.
    """
    topic_ids = log.describe(policy.topics)
    _check_identity(topic_ids, stored)
    known = {at: stored[at].position for at in topic_ids if at in stored}
    _check_extent(known, log)
    fresh = [at for at in topic_ids if at not in stored]
    # A partition of a topic that is consumed already was added to it: nothing of it may be skipped.
    topics = {at.topic for at in stored}
    grown = [at for at in fresh if at.topic in topics]
    first = log.starting_positions([at for at in fresh if at.topic not in topics], policy.start)
    return Found(topic_ids=topic_ids, known=known, begun={**first, **log.starting_positions(grown, "earliest")})


def recover(policy: WorkerPolicy, parts: WorkerParts, lease: Lease, found: Found) -> Recovered:
    """Register what is new, and rebuild the models' memory."""
    if found.begun:
        facts = {at: StoredPosition(position=to, topic_id=found.topic_ids[at]) for at, to in found.begun.items()}
        parts.state.begin(lease, facts)
    positions = {**found.known, **found.begun}
    swept = parts.segments.sweep(parts.state.segment_files())
    if swept:
        parts.logger.info("segments.swept", names=swept)
    replay = _Replay(policy, parts, positions)
    replayed = replay.run()
    for name in replay.rebuilt:
        parts.logger.info("model.backfilled", model=name, segments=replayed)
    parts.logger.info(
        "shard.assigned",
        positions={str(at): position for at, position in positions.items()},
        epoch=lease.epoch,
        replayed=replayed,
    )
    return Recovered(
        lease=lease,
        positions=positions,
        topic_ids=found.topic_ids,
        models=replay.models,
        rebuilt=replay.rebuilt,
    )


def _check_identity(topic_ids: Mapping[Partition, str], stored: Mapping[Partition, StoredPosition]) -> None:
    for at, topic_id in topic_ids.items():
        before = stored[at].topic_id if at in stored else ""
        if before and topic_id and before != topic_id:
            raise Refused(
                f"topic {at.topic} was deleted and created again since it was consumed (its id was {before}, "
                f"is {topic_id}): the stored positions mean nothing in it. Start with a new state folder."
            )


def _check_extent(positions: Mapping[Partition, int], log: EventLog) -> None:
    extents = log.extents(list(positions))
    lost = {str(at): positions[at] for at, extent in extents.items() if positions[at] < extent.first}
    if lost:
        raise PositionLost(lost)


class _Replay:
    """Rebuilds every model's join index from segments; a new model's tallies too."""

    def __init__(self, policy: WorkerPolicy, parts: WorkerParts, partitions: Collection[Partition]) -> None:
        self._parts = parts
        self._stored = parts.state.model_progress()
        self.rebuilt = {
            model.model: fingerprint
            for model in policy.models
            if (fingerprint := _fingerprint(model)) != _stored_fingerprint(self._stored.get(model.model))
        }
        self.models = tuple(
            ModelIngest(model, [at for at in partitions if at.topic in model.topics], Progress())
            for model in policy.models
        )

    def run(self) -> int:
        """Replay; how many segments that took."""
        replayed = 0
        for segment in self._parts.state.segments(reaching=self._reaching()):
            self._apply(segment)
            replayed += 1
        for model in self.models:
            self._resume(model)
        return replayed

    def _reaching(self) -> Micros | None:
        """Segments older than this hold only ids that nothing can change any more."""
        if self.rebuilt:
            return None
        return min((self._horizon(model) for model in self.models), default=None)

    def _horizon(self, model: ModelIngest) -> Micros:
        first_open = self._stored[model.policy.model].progress.first_open or 0
        # A label may wait for two horizons; see JoinIndex.
        return slot_start(first_open) - 2 * model.policy.join.horizon

    def _apply(self, segment: StoredSegment) -> None:
        for model in self.models:
            if model.policy.model not in self.rebuilt:
                model.advance_to(segment.watermarks.get(model.policy.model))
        content = segment.content if segment.content is not None else self._parts.segments.read(segment.name)
        for record in self._parts.segments.unpack(content):
            take_in(record, self._parts.decoder, self.models)

    def _resume(self, model: ModelIngest) -> None:
        """A known model goes on from its stored progress; what its replay changed is stored already."""
        stored = self._stored.get(model.policy.model)
        if stored is not None:
            model.advance_to(stored.progress.watermark)
        if model.policy.model not in self.rebuilt:
            model.drain()


def _fingerprint(policy: IngestPolicy) -> str:
    return hashlib.sha256(repr(policy).encode()).hexdigest()[:16]


def _stored_fingerprint(stored: StoredProgress | None) -> str | None:
    return stored.fingerprint if stored else None
