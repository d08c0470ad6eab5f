"""The commit that is under way beside the reading: one at a time, repeated as it was until the manifest takes it."""

from __future__ import annotations

from retrainer.domain.values import iso
from retrainer.ports.telemetry import FlushCommitted
from retrainer.service.ingest.cut import Cut
from retrainer.service.ingest.parts import WorkerParts


class PendingCommit:
    """Stores one cut after the other. What a cut holds was drained from memory already, so none is given up."""

    def __init__(self, parts: WorkerParts) -> None:
        self._parts = parts
        self._cut: Cut | None = None

    @property
    def is_pending(self) -> bool:
        """Whether a cut is not stored yet, as far as anyone has looked."""
        return self._cut is not None

    @property
    def is_done(self) -> bool:
        """Whether one has come to its end, so that `finish` need not wait."""
        return self._cut is not None and self._parts.background.is_done

    def begin(self, cut: Cut) -> None:
        """Begin to store a cut; none may be pending."""
        self._cut = cut
        self._start(cut)

    def finish(self) -> int:
        """Wait for the one that was begun; how many records it has stored.

        Raises:
            Unreachable: it cannot be stored now; it stays pending.
            Fenced: another owns the shard now.
        """
        if self._cut is None or not self._parts.background.is_begun:
            return 0
        self._parts.background.finish()
        self._tell(self._cut)
        self._parts.event_log.commit_offsets(self._cut.positions)
        stored, self._cut = self._cut.records, None
        return stored

    def repeat(self) -> int:
        """Store the one that could not be, as it was, and wait for it; how many records it has stored.

        Raises:
            As `finish`.
        """
        if self._cut is None:
            return 0
        self._start(self._cut)
        return self.finish()

    def _start(self, cut: Cut) -> None:
        self._parts.background.start(lambda: cut.store(self._parts))

    def _tell(self, cut: Cut) -> None:
        marks = {delta.model: delta.progress.watermark for delta in cut.flush.deltas}
        committed = FlushCommitted(
            records=cut.records,
            quarantined=len(cut.flush.quarantined),
            seconds=round(self._parts.clock.monotonic() - cut.began, 4),
            positions=cut.positions,
            ends=cut.flush.ends,
            watermarks={name: mark for name, mark in marks.items() if mark is not None},
        )
        self._parts.telemetry.tell(committed)
        self._parts.logger.debug(
            "flush.committed",
            records=committed.records,
            quarantined=committed.quarantined,
            positions={str(at): position for at, position in committed.positions.items()},
            watermarks={name: iso(mark) for name, mark in committed.watermarks.items()},
            seconds=committed.seconds,
        )
