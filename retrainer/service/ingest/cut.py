"""One commit: what was read by some moment, cut off from what is read after it, and made true at once.

The segment is written first, then everything else in one transaction. That may run beside the reading.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Partition
from retrainer.domain.values import Micros
from retrainer.ports.manifest.ingest import Flush
from retrainer.ports.manifest.segments import NewSegment
from retrainer.service.ingest.backlog import TopicBacklog
from retrainer.service.ingest.parts import WorkerParts
from retrainer.service.ingest.start import Recovered
from retrainer.service.ingest.unflushed import Unflushed

_INLINE_BYTES = 256 * 1024
"""Segments up to this size are rows of the manifest: a small file costs more than a small row."""


@dataclass(kw_only=True)
class Cut:
    """What was read by some moment and is to become true at once.

    Attributes:
        flush: all of it but the segment.
        batches: the segment's records.
        positions: where reading stood.
        watermarks: each model's while the records were read.
        newest: the newest time of an event in it.
        began: when it was cut, on the monotonic clock.
    """

    flush: Flush
    batches: Sequence[RecordBatch]
    records: int
    positions: Mapping[Partition, int]
    watermarks: Mapping[str, Micros]
    newest: Micros | None
    segment: str
    began: float
    _ready: Flush | None = field(default=None, init=False)

    def store(self, parts: WorkerParts) -> None:
        """Make it true. After an error it can be called again: what is written already is not written twice."""
        if self._ready is None:
            self._ready = replace(self.flush, segment=self._segment(parts)) if self.batches else self.flush
        parts.state.commit(self._ready)

    def _segment(self, parts: WorkerParts) -> NewSegment:
        content = parts.segments.pack(self.batches)
        inline = content if len(content) <= _INLINE_BYTES else None
        if inline is None:
            parts.segments.write(self.segment, content)
        return NewSegment(
            name=self.segment,
            inline=inline,
            size=len(content),
            ranges=self.flush.moves,
            records=self.records,
            newest=self.newest,
            watermarks=self.watermarks,
        )


class Cutter:
    """Cuts one commit after the other; each begins where the last one ended.

    Attributes:
        positions: up to which everything was cut.
        rebuilt: models whose tallies the next commit replaces, each with its fingerprint.
    """

    def __init__(self, parts: WorkerParts, recovered: Recovered) -> None:
        self.positions = dict(recovered.positions)
        self.rebuilt = dict(recovered.rebuilt)
        self._parts = parts
        self._lease = recovered.lease
        self._models = recovered.models
        self._rebuilt_to = recovered.rebuilt_to
        self._progress = {model.policy.model: model.progress for model in recovered.models}
        self._cuts = 0

    def cut(
        self,
        read: Unflushed,
        positions: Mapping[Partition, int],
        backlog: TopicBacklog,
        halted: Collection[str],
        *,
        began: float,
    ) -> Cut | None:
        """What has become known since the last cut, slots closed as far as it allows; None if nothing has.

        Args:
            read: the records since then; positions: where reading stands.
            halted: topics that are not read on.
        """
        for model in self._models:
            model.advance(backlog.ended(positions))
        was_far = backlog.is_far
        backlog.look(positions, halted, read.records)
        known = self._progress
        self._progress = {model.policy.model: model.progress for model in self._models}
        moves = {at: (self.positions[at], to) for at, to in positions.items() if self.positions[at] != to}
        if not (moves or self.rebuilt or self._progress != known or backlog.is_far != was_far):
            return None
        self._cuts += 1
        flush = self._flush(read, moves, backlog)
        cut = Cut(
            flush=flush,
            batches=read.batches,
            records=read.records,
            positions=dict(positions),
            watermarks={name: at.watermark for name, at in known.items() if at.watermark is not None},
            newest=max((delta.newest for delta in flush.deltas if delta.newest is not None), default=None),
            segment=f"{self._lease.epoch:06d}-{self._cuts:08d}.parquet",  # nobody else has this epoch
            began=began,
        )
        self.positions, self.rebuilt = dict(positions), {}
        return cut

    def _flush(self, read: Unflushed, moves: Mapping[Partition, tuple[int, int]], backlog: TopicBacklog) -> Flush:
        return Flush(
            lease=self._lease,
            at=self._parts.clock.now(),
            moves=moves,
            segment=None,
            deltas=[model.take_delta() for model in self._models],
            quarantined=tuple(read.quarantined),
            ends=dict(backlog.ends_now),
            rebuilt=self.rebuilt,
            rebuilt_to=self._rebuilt_to,
            catching_up=backlog.is_far,
        )
