"""What one assignment holds in memory between two commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Partition, RecordQuarantined
from retrainer.domain.join.poison import PoisonLimit
from retrainer.errors import Fenced
from retrainer.service.ingest.backlog import TopicBacklog
from retrainer.service.ingest.commit import PendingCommit
from retrainer.service.ingest.cut import Cutter
from retrainer.service.ingest.parts import WorkerParts, WorkerPolicy
from retrainer.service.ingest.pausing import Pausing
from retrainer.service.ingest.snapshotting import Snapshotting
from retrainer.service.ingest.start import Recovered
from retrainer.service.ingest.unflushed import Unflushed
from retrainer.service.intake import Intake

_PARTITIONS_EVERY_SECONDS = 30.0


class Shard:
    """Reads records into memory (`read`), and makes true what was read (`flush`): a cut, stored beside the reading."""

    def __init__(self, policy: WorkerPolicy, parts: WorkerParts, recovered: Recovered) -> None:
        self._policy = policy
        self._parts = parts
        self._models = recovered.models
        self._topic_ids = recovered.topic_ids
        self._positions = dict(recovered.positions)
        self._intake = Intake(parts.decoders, recovered.models)
        self._poison = PoisonLimit(policy.poison_limit)
        self._pausing = Pausing(policy.memory, parts.memory, parts.clock, parts.logger)
        self._paused: frozenset[Partition] = frozenset()
        self._read = Unflushed()
        self._backlog = TopicBacklog(parts.logger, is_far=recovered.catching_up)
        self._cutter = Cutter(parts, recovered)
        self._commit = PendingCommit(parts)
        self._snapshots = Snapshotting(policy, parts, recovered)
        self._flushed_at = self._looked_at = parts.clock.monotonic()

    # Reading

    def read(self, batches: Sequence[RecordBatch]) -> None:
        """Take records in, in memory only.

        Raises:
            Fenced: they were read before, so that nobody knows where reading stands.
        """
        for batch in batches:
            if batch.offsets[0] < self._positions[batch.partition]:
                raise Fenced(f"{batch.partition} brought offset {batch.offsets[0]} a second time")
            reasons = self._intake.ingest(batch)
            for quarantined in self._read.add(batch, reasons):
                self._tell_quarantined(quarantined)
            self._look_for_poison(batch, reasons)
            self._positions[batch.partition] = batch.next_offset
        self._pause()

    def watch_partitions(self) -> None:
        """Take up partitions that were added to the topics; the start that follows refuses a topic made anew."""
        now = self._parts.clock.monotonic()
        if now - self._looked_at < _PARTITIONS_EVERY_SECONDS:
            return
        self._looked_at = now
        described = self._parts.event_log.describe(self._policy.topics)
        added = set(described) - set(self._positions)
        if added:
            self._parts.logger.warning("partitions.added", partitions=sorted(map(str, added)))
        if described != self._topic_ids:
            raise Fenced("the topics have changed, so that the partitions are assigned anew")

    def _pause(self) -> None:
        """Let partitions wait."""
        not_awaited = self._backlog.not_awaited(self._positions)
        paused = self._pausing.paused(self._models, not_awaited, self._poison.halted, self._positions)
        if paused != self._paused:
            self._paused = paused
            self._parts.event_log.pause(paused)
            self._parts.logger.debug("partitions.held", partitions=sorted(map(str, paused)))

    def _look_for_poison(self, batch: RecordBatch, reasons: Mapping[int, str]) -> None:
        topic, bad = batch.partition.topic, len(reasons)
        row = self._poison.count(topic, good=len(batch.offsets) - bad, bad=bad)
        if row is not None:
            self._parts.logger.error("topic.halted", topic=topic, records=row, reason=reasons[max(reasons)])

    def _tell_quarantined(self, quarantined: RecordQuarantined) -> None:
        record = quarantined.record
        self._parts.logger.warning(
            "event.quarantined",
            topic=record.partition.topic,
            partition=record.partition.number,
            offset=record.offset,
            reason=quarantined.reason,
        )

    # Making it true

    def is_due(self) -> bool:
        """Whether it is time to commit."""
        waited = self._parts.clock.monotonic() - self._flushed_at
        return waited >= self._policy.flush_every.total_seconds() or self._read.size >= self._policy.flush_bytes

    def is_stored(self) -> bool:
        """Whether a commit has come to its end, so that `finish_commit` need not wait."""
        return self._commit.is_done

    def flush(self, ends: Mapping[Partition, int], *, whole: bool = False) -> None:
        """Close slots as far as the records allow, and begin to commit everything at once; if `whole`, end it too.

        A commit that failed is repeated first, as it was. That is waited for, so that reading goes on only once the
        manifest takes commits again.

        Args:
            ends: where partitions end, of those of which that is known.

        Raises:
            Unreachable: this commit, or the one before, cannot be made now.
            Fenced: another owns the shard now.
        """
        self._flushed_at = self._parts.clock.monotonic()
        whole = whole or self._snapshots.is_due()
        self.finish_commit()
        self._snapshots.count(self._commit.repeat())
        self._backlog.learn(ends)
        self._begin_commit()
        if whole or self._parts.background.is_done:
            self.finish_commit()
        self._pausing.look_at_memory(self._models)
        self._pause()
        if self._snapshots.is_due():
            self.snapshot()

    def finish_commit(self) -> None:
        """Wait for the commit that was begun.

        Raises:
            As `flush`.
        """
        self._snapshots.count(self._commit.finish())

    def snapshot(self, *, older_than: float = 0.0) -> None:
        """Save what is remembered, if the last one is so old and everything that was read is committed."""
        is_committed = not (self._read.batches or self._commit.is_pending or self._cutter.rebuilt)
        if self._snapshots.is_due(older_than) and is_committed:
            self._snapshots.save(self._models, self._cutter.positions)

    def _begin_commit(self) -> None:
        cut = self._cutter.cut(self._read, self._positions, self._backlog, self._poison.halted, began=self._flushed_at)
        if cut is not None:
            self._read = Unflushed()
            self._commit.begin(cut)
