"""One commit: the segment first, then everything else in one transaction. It may run beside the reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Partition
from retrainer.domain.values import Micros
from retrainer.ports.manifest.ingest import Flush
from retrainer.ports.manifest.segments import NewSegment
from retrainer.service.ingest.parts import WorkerParts

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
        started: when it was cut, on the monotonic clock.
    """

    flush: Flush
    batches: Sequence[RecordBatch]
    records: int
    positions: Mapping[Partition, int]
    watermarks: Mapping[str, Micros]
    newest: Micros | None
    segment: str
    started: float
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
