"""The controller's housekeeping: small segments become large files, old ones are forgotten, the database shrinks.

A crash at any step loses nothing: the manifest says at every moment which files count, and what does not is swept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retrainer.domain.batches import RecordBatch
from retrainer.domain.values import Micros, iso, slot_start
from retrainer.errors import Refused
from retrainer.logs import Logger
from retrainer.ports.clock import Clock
from retrainer.ports.manifest.housekeeping import HousekeepingState, MergedSegment, SegmentOutline
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.segments import MERGED, Segments
from retrainer.service.control.merging import FAN_IN, NEWEST_KEPT, outdated, run_to_merge
from retrainer.service.reading import read_parts

_FILES_KEPT_SECONDS = 60.0
"""A reader that learned of a file before it was merged away has so long to read it."""
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class HousekeepingPolicy:
    """Segments are kept for `retention` of event time; `reaches`: how far back what each model joins may matter."""

    retention: Micros
    reaches: Mapping[str, Micros]


@dataclass(frozen=True, kw_only=True)
class HousekeepingParts:
    """The worlds that housekeeping works with."""

    state: HousekeepingState
    segments: Segments
    clock: Clock
    logger: Logger


class Housekeeping:
    """`run_once` does one bounded piece of work."""

    def __init__(self, policy: HousekeepingPolicy, parts: HousekeepingParts) -> None:
        self._policy = policy
        self._parts = parts
        self._swept = False
        self._looked_to = 0
        self._files = 0
        self._unreadable: set[int] = set()
        self._unneeded: deque[tuple[float, str]] = deque()

    def run_once(self, lease: Lease) -> bool:
        """One piece of work as the active controller; whether there is more to do at once."""
        swept, self._swept = self._swept, False  # whatever fails below may leave a file behind
        if not swept:
            self._sweep(lease)
        self._remove_files()
        busy = self._forget(lease) or self._merge(lease)
        busy = self._parts.state.shrink() or busy
        self._swept = True
        return busy

    def _sweep(self, lease: Lease) -> None:
        """Nobody else registers files of this epoch or before it, so what is unknown now never will be known."""
        known = self._parts.state.segment_files()
        names = self._parts.segments.sweep(known, epoch=lease.epoch, prefix=MERGED)
        if names:
            self._parts.logger.info("segments.swept", names=names)

    def _remove_files(self) -> None:
        while self._unneeded and self._unneeded[0][0] <= self._parts.clock.monotonic():
            self._parts.segments.remove(self._unneeded[0][1])
            self._unneeded.popleft()

    def _remove_later(self, names: Sequence[str]) -> None:
        due = self._parts.clock.monotonic() + _FILES_KEPT_SECONDS
        self._unneeded.extend((due, name) for name in names)

    # Retention

    def _forget(self, lease: Lease) -> bool:
        older_than = self._needed_from()
        if older_than is None:
            return False
        snapshot = self._parts.state.oldest_snapshot()
        rebuilt_to = max((stored.rebuilt_to for stored in self._parts.state.model_progress().values()), default=0)
        if snapshot is None or snapshot <= rebuilt_to:
            return False  # a start would need them all: one from before a model was rebuilt is of no use
        up_to = min(self._parts.state.last_part() - NEWEST_KEPT, snapshot)
        old = outdated(self._parts.state.outlines(after=0, limit=_ROWS_AT_ONCE), older_than, up_to)
        if not old:
            return False
        models = self._policy.reaches.keys()
        names = self._parts.state.remove_segments(lease, [one.number for one in old], models)
        if names is None:
            return False  # a job may be reading them
        self._remove_later(names)
        self._parts.logger.info(
            "segments.removed",
            segments=len(old),
            records=sum(one.records for one in old),
            bytes=sum(one.size or 0 for one in old),
            older_than=iso(older_than),
        )
        return True

    def _needed_from(self) -> Micros | None:
        """Events from here on may be needed; None while a model has not come far enough to say."""
        stored = self._parts.state.model_progress()
        marks, needed = [], []
        for model, reach in self._policy.reaches.items():
            progress = stored[model].progress if model in stored else None
            if progress is None or progress.watermark is None or progress.first_open is None:
                return None
            marks.append(progress.watermark)
            needed.append(slot_start(progress.first_open) - reach)
        return min(max(marks) - self._policy.retention, *needed) if marks else None

    # Merging

    def _merge(self, lease: Lease) -> bool:
        outlines = self._parts.state.outlines(after=self._looked_to, limit=_ROWS_AT_ONCE)
        up_to = self._parts.state.last_part() - NEWEST_KEPT
        run = run_to_merge([one for one in outlines if one.number <= up_to], self._unreadable)
        if run:
            self._merge_run(lease, run)
            return True
        more = len(outlines) == _ROWS_AT_ONCE
        self._looked_to = outlines[-FAN_IN].number if more else 0  # a run may begin here and end beyond
        return more

    def _merge_run(self, lease: Lease, run: Sequence[SegmentOutline]) -> None:
        started = self._parts.clock.monotonic()
        batches = self._read(run)
        if batches is None:
            return
        content = self._parts.segments.pack(batches)
        self._files += 1
        name = f"{MERGED}{lease.epoch:06d}-{self._files:08d}.parquet"  # no other controller has this epoch
        self._parts.segments.write(name, content)
        merged = MergedSegment(name=name, size=len(content), replaces=[one.number for one in run])
        self._remove_later(self._parts.state.merge_segments(lease, merged))
        self._parts.logger.info(
            "segments.compacted",
            name=name,
            segments=len(run),
            records=sum(one.records for one in run),
            bytes=len(content),
            bytes_before=sum(one.size or 0 for one in run),
            seconds=round(self._parts.clock.monotonic() - started, 3),
        )

    def _read(self, run: Sequence[SegmentOutline]) -> Sequence[RecordBatch] | None:
        """All records of the run; None if one of its segments cannot be read, which is then left as it is."""
        batches: list[RecordBatch] = []
        done, last = run[0].first - 1, run[-1].number
        try:
            for part, share in read_parts(self._parts.state, self._parts.segments, after=done):
                batches.extend(share)
                done = part.number
                if done == last:
                    return batches
        except Refused as refused:
            self._skip(run, done, str(refused))
            return None
        self._skip(run, done, "its records are missing")
        return None

    def _skip(self, run: Sequence[SegmentOutline], done: int, error: str) -> None:
        bad = next(one for one in run if one.number > done)
        self._unreadable.add(bad.number)
        self._parts.logger.error("segments.unreadable", name=bad.name, error=error)
