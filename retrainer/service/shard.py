"""What one assignment holds in memory between two commits, and how a commit is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from retrainer.domain.events import Partition, Record, RecordQuarantined
from retrainer.domain.ingest import ModelIngest
from retrainer.domain.values import Micros, iso
from retrainer.errors import Fenced
from retrainer.service.ingesting import WorkerParts, WorkerPolicy
from retrainer.service.intake import take_in
from retrainer.service.recovery import Recovered
from retrainer.stores import Flush, NewSegment

_PARTITIONS_EVERY = 30.0
_INLINE_BYTES = 256 * 1024
"""Segments up to this size are rows of the manifest: a small file costs more than a small row."""


class Shard:
    """What one assignment holds in memory, between two commits."""

    def __init__(self, policy: WorkerPolicy, parts: WorkerParts, recovered: Recovered) -> None:
        self._policy = policy
        self._parts = parts
        self._lease = recovered.lease
        self._models = recovered.models
        self._rebuilt = dict(recovered.rebuilt)
        self._topic_ids = recovered.topic_ids
        self._committed = dict(recovered.positions)
        self._positions = dict(recovered.positions)
        self._records: list[Record] = []
        self._bytes = 0
        self._quarantined: list[RecordQuarantined] = []
        self._flushed_at = parts.clock.monotonic()
        self._looked_at = self._flushed_at
        self._stored_progress = {model.policy.model: model.progress for model in recovered.models}
        self._unsent: Flush | None = None
        self._segments = 0

    def read(self, records: Sequence[Record]) -> None:
        """Take records in, in memory only."""
        for record in records:
            reason = take_in(record, self._parts.decoder, self._models)
            if reason is not None:
                self._set_aside(record, reason)
            self._positions[record.partition] = record.offset + 1
            self._bytes += len(record.value or b"") + len(record.key or b"")
        self._records.extend(records)

    def is_due(self) -> bool:
        """Whether it is time to commit."""
        waited = self._parts.clock.monotonic() - self._flushed_at
        return waited >= self._policy.flush_every.total_seconds() or self._bytes >= self._policy.flush_bytes

    def flush(self, ends: Mapping[Partition, int]) -> None:
        """Close slots as far as the records allow, then commit everything at once.

        A commit that failed is repeated as it was: what it holds was drained from memory already.
        """
        started = self._parts.clock.monotonic()
        self._flushed_at = started
        if self._unsent is None:
            at_end = [at for at, end in ends.items() if self._positions.get(at, -1) >= end]
            for model in self._models:
                model.advance(at_end)
            self._unsent = self._flush(ends)
        if self._unsent is not None:
            self._parts.state.commit(self._unsent)
            self._committed_now(self._unsent, started)

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

    def _set_aside(self, record: Record, reason: str) -> None:
        self._quarantined.append(RecordQuarantined(record=record, reason=reason))
        self._parts.logger.warning(
            "event.quarantined",
            topic=record.partition.topic,
            partition=record.partition.number,
            offset=record.offset,
            reason=reason,
        )

    def _flush(self, ends: Mapping[Partition, int]) -> Flush | None:
        moves = {at: (self._committed[at], to) for at, to in self._positions.items() if self._committed[at] != to}
        progress = {model.policy.model: model.progress for model in self._models}
        if not moves and not self._rebuilt and progress == self._stored_progress:
            return None
        return Flush(
            lease=self._lease,
            at=self._parts.clock.now(),
            moves=moves,
            segment=self._segment(moves) if self._records else None,
            deltas=[model.drain() for model in self._models],
            quarantined=tuple(self._quarantined),
            ends=ends,
            rebuilt=self._rebuilt,
        )

    def _segment(self, moves: Mapping[Partition, tuple[int, int]]) -> NewSegment:
        content = self._parts.segments.pack(self._records)
        self._segments += 1
        name = f"{self._lease.epoch:06d}-{self._segments:08d}.parquet"  # nobody else has this epoch
        inline = content if len(content) <= _INLINE_BYTES else None
        if inline is None:
            self._parts.segments.write(name, content)
        return NewSegment(
            name=name,
            inline=inline,
            ranges=moves,
            records=len(self._records),
            newest=self._newest(),
            watermarks={
                name: progress.watermark
                for name, progress in self._stored_progress.items()
                if progress.watermark is not None
            },
        )

    def _newest(self) -> Micros | None:
        return max((time for model in self._models if (time := model.clock.newest) is not None), default=None)

    def _committed_now(self, flush: Flush, started: float) -> None:
        positions = dict(self._positions)
        self._parts.log.commit(positions)
        self._parts.logger.debug(
            "flush.committed",
            records=len(self._records),
            quarantined=len(self._quarantined),
            positions={str(at): position for at, position in positions.items()},
            watermarks={name: iso(mark) for name, mark in _watermarks(self._models).items()},
            seconds=round(self._parts.clock.monotonic() - started, 4),
        )
        self._committed = positions
        self._records, self._bytes, self._quarantined = [], 0, []
        self._rebuilt, self._unsent = {}, None
        self._stored_progress = {delta.model: delta.progress for delta in flush.deltas}


def _watermarks(models: Sequence[ModelIngest]) -> dict[str, Micros]:
    return {m.policy.model: m.progress.watermark for m in models if m.progress.watermark is not None}
