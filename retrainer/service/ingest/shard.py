"""What one assignment holds in memory between two commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Partition, Record, RecordQuarantined
from retrainer.domain.join.poison import PoisonLimit
from retrainer.domain.values import iso
from retrainer.errors import Fenced
from retrainer.ports.manifest.ingest import Flush
from retrainer.service.ingest.cut import Cut
from retrainer.service.ingest.parts import WorkerParts, WorkerPolicy
from retrainer.service.ingest.snapshotting import Saver
from retrainer.service.ingest.start import Recovered
from retrainer.service.ingest.waiting import Holding
from retrainer.service.intake import Intake

_PARTITIONS_EVERY = 30.0
_FEW_RECORDS = 1000
_FEW_FLUSHES = 5


class Shard:
    """Reads into memory, and cuts what was read into commits. One is stored at a time, beside the reading."""

    def __init__(self, policy: WorkerPolicy, parts: WorkerParts, recovered: Recovered) -> None:
        self._policy = policy
        self._parts = parts
        self._lease = recovered.lease
        self._models = recovered.models
        self._rebuilt = dict(recovered.rebuilt)
        self._rebuilt_to = recovered.rebuilt_to
        self._topic_ids = recovered.topic_ids
        self._positions = dict(recovered.positions)
        self._cut_at = dict(recovered.positions)
        self._intake = Intake(parts.decoders, recovered.models)
        self._batches: list[RecordBatch] = []
        self._records = 0
        self._bytes = 0
        self._quarantined: list[RecordQuarantined] = []
        self._flushed_at = parts.clock.monotonic()
        self._looked_at = self._flushed_at
        self._progress = {model.policy.model: model.progress for model in recovered.models}
        self._unsent: Cut | None = None
        self._cuts = 0
        self._poison = PoisonLimit(policy.poison_limit)
        self._holding = Holding(policy.memory, parts.memory, parts.clock, parts.logger)
        self._held: frozenset[Partition] = frozenset()
        self._ends: Mapping[Partition, int] = {}
        self._catching_up = recovered.catching_up
        self._saver = Saver(policy, parts, recovered)

    def read(self, batches: Sequence[RecordBatch]) -> None:
        """Take records in, in memory only.

        Raises:
            Fenced: they were read before, so that nobody knows where reading stands.
        """
        for batch in batches:
            if batch.offsets[0] < self._positions[batch.partition]:
                raise Fenced(f"{batch.partition} brought offset {batch.offsets[0]} a second time")
            reasons = self._intake.take(batch)
            for row, reason in reasons.items():
                self._set_aside(batch.record(row), reason)
            self._look_for_poison(batch, reasons)
            self._positions[batch.partition] = batch.next_offset
            self._records += len(batch.offsets)
            self._bytes += batch.size
            self._batches.append(batch)
        self._hold()

    def is_due(self) -> bool:
        """Whether it is time to commit."""
        waited = self._parts.clock.monotonic() - self._flushed_at
        return waited >= self._policy.flush_every.total_seconds() or self._bytes >= self._policy.flush_bytes

    def is_stored(self) -> bool:
        """Whether a commit has come to its end, so that `settle` need not wait."""
        return self._unsent is not None and self._parts.background.is_done

    def flush(self, ends: Mapping[Partition, int], *, whole: bool = False) -> None:
        """Close slots as far as the records allow, and begin to commit everything at once; if `whole`, end it too.

        A commit that failed is repeated first, as it was: what it holds was drained from memory already. That is waited
        for, so that reading goes on only once the manifest takes commits again.

        Raises:
            Unreachable: this commit, or the one before, cannot be made now.
            Fenced: another owns the shard now.
        """
        self._flushed_at = self._parts.clock.monotonic()
        whole = whole or self._saver.is_due()
        self.settle()
        if self._unsent is not None:
            self._store(self._unsent)
            self.settle()
        self._ends = {**self._ends, **ends}  # those that nobody can say now are as they were
        self._unsent = self._cut(ends)
        if self._unsent is not None:
            self._store(self._unsent)
        if whole or self._parts.background.is_done:
            self.settle()
        self._holding.look_at_memory(self._models)
        self._hold()
        if self._saver.is_due():
            self.snapshot()

    def settle(self) -> None:
        """Wait for the commit that was begun.

        Raises:
            As `flush`.
        """
        if self._unsent is None or not self._parts.background.is_begun:
            return
        self._parts.background.finish()
        self._tell(self._unsent)
        self._parts.log.commit(self._unsent.positions)
        self._saver.add(self._unsent.records)
        self._unsent = None

    def snapshot(self, *, older_than: float = 0.0) -> None:
        """Save what is remembered, if the last one is so old and everything that was read is committed."""
        if self._saver.is_due(older_than) and not (self._batches or self._unsent or self._rebuilt):
            self._saver.save(self._models, self._cut_at)

    def watch_partitions(self) -> None:
        """Take up partitions that were added to the topics; the start that follows refuses a topic made anew."""
        now = self._parts.clock.monotonic()
        if now - self._looked_at < _PARTITIONS_EVERY:
            return
        self._looked_at = now
        described = self._parts.log.describe(self._policy.topics)
        added = set(described) - set(self._positions)
        if added:
            self._parts.logger.warning("partitions.added", partitions=sorted(map(str, added)))
        if described != self._topic_ids:
            raise Fenced("the topics have changed, so that the partitions are assigned anew")

    def _store(self, cut: Cut) -> None:
        self._parts.background.start(lambda: cut.store(self._parts))

    def _cut(self, ends: Mapping[Partition, int]) -> Cut | None:
        """What has become known since the last cut; None if nothing has."""
        read_at = self._progress
        at_end = [at for at, end in ends.items() if self._positions.get(at, -1) >= end]
        for model in self._models:
            model.advance(at_end)
        self._progress = {model.policy.model: model.progress for model in self._models}
        was_catching_up, self._catching_up = self._catching_up, self._is_far_behind()
        moves = {at: (self._cut_at[at], to) for at, to in self._positions.items() if self._cut_at[at] != to}
        if not (moves or self._rebuilt or self._progress != read_at or self._catching_up != was_catching_up):
            return None
        self._cuts += 1
        flush = self._flush(moves, ends)
        cut = Cut(
            flush=flush,
            batches=self._batches,
            records=self._records,
            positions=dict(self._positions),
            watermarks={name: at.watermark for name, at in read_at.items() if at.watermark is not None},
            newest=max((delta.newest for delta in flush.deltas if delta.newest is not None), default=None),
            segment=f"{self._lease.epoch:06d}-{self._cuts:08d}.parquet",  # nobody else has this epoch
            started=self._flushed_at,
        )
        self._cut_at = dict(self._positions)
        self._batches, self._records, self._bytes, self._quarantined = [], 0, 0, []
        self._rebuilt = {}
        return cut

    def _flush(self, moves: Mapping[Partition, tuple[int, int]], ends: Mapping[Partition, int]) -> Flush:
        return Flush(
            lease=self._lease,
            at=self._parts.clock.now(),
            moves=moves,
            segment=None,
            deltas=[model.drain() for model in self._models],
            quarantined=tuple(self._quarantined),
            ends=dict(ends),
            rebuilt=self._rebuilt,
            rebuilt_to=self._rebuilt_to,
            catching_up=self._catching_up,
        )

    def _is_far_behind(self) -> bool:
        """Whether what is still to be read would take more than a few flushes like this one.

        Halted topics are not read on: to wait for their end would be to wait for ever.
        """
        if not self._ends:
            return self._catching_up
        read = {at: to for at, to in self._positions.items() if at.topic not in self._poison.halted}
        behind = sum(max(0, self._ends.get(at, 0) - to) for at, to in read.items())
        is_far = behind > max(_FEW_RECORDS, _FEW_FLUSHES * self._records)
        if is_far != self._catching_up:
            self._parts.logger.info("catch_up.began" if is_far else "catch_up.ended", behind=behind)
        return is_far

    def _look_for_poison(self, batch: RecordBatch, reasons: Mapping[int, str]) -> None:
        topic, bad = batch.partition.topic, len(reasons)
        row = self._poison.take(topic, good=len(batch.offsets) - bad, bad=bad)
        if row is not None:
            self._parts.logger.error("topic.halted", topic=topic, records=row, reason=reasons[max(reasons)])

    def _hold(self) -> None:
        """Let partitions wait. One whose end is not known is waited for by nobody."""
        at_end = {at for at, position in self._positions.items() if position >= self._ends.get(at, 0)}
        held = self._holding.held(self._models, at_end, self._poison.halted, self._positions)
        if held != self._held:
            self._held = held
            self._parts.log.hold(held)
            self._parts.logger.debug("partitions.held", partitions=sorted(map(str, held)))

    def _set_aside(self, record: Record, reason: str) -> None:
        self._quarantined.append(RecordQuarantined(record=record, reason=reason))
        self._parts.logger.warning(
            "event.quarantined",
            topic=record.partition.topic,
            partition=record.partition.number,
            offset=record.offset,
            reason=reason,
        )

    def _tell(self, cut: Cut) -> None:
        marks = {delta.model: delta.progress.watermark for delta in cut.flush.deltas}
        self._parts.logger.debug(
            "flush.committed",
            records=cut.records,
            quarantined=len(cut.flush.quarantined),
            positions={str(at): position for at, position in cut.positions.items()},
            watermarks={name: iso(mark) for name, mark in marks.items() if mark is not None},
            seconds=round(self._parts.clock.monotonic() - cut.started, 4),
        )
