"""The twin of housekeeping's part of the manifest, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from retrainer.adapters.memory.manifest import HeldSegment, MemoryManifest, Tables
from retrainer.domain.deciding.jobs import Job
from retrainer.domain.values import Micros
from retrainer.errors import Refused
from retrainer.ports.manifest.housekeeping import MergedSegment, SegmentOutline
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.progress import StoredProgress
from retrainer.ports.manifest.segments import StoredSegment


class MemoryHousekeepingState:
    """`HousekeepingState` in memory."""

    def __init__(self, manifest: MemoryManifest) -> None:
        self._manifest = manifest

    def model_progress(self) -> Mapping[str, StoredProgress]:
        return dict(self._manifest.reading().progress)

    def segments(self, *, after: int = 0, reaching: Micros | None = None) -> Iterator[StoredSegment]:
        return self._manifest.segments(after, reaching)

    def segment_files(self) -> Collection[str]:
        return self._manifest.reading().files()

    def outlines(self, *, after: int, limit: int) -> Sequence[SegmentOutline]:
        held = [one for one in self._manifest.reading().in_order() if one.stored.number > after]
        return [
            SegmentOutline(
                number=one.stored.number,
                first=one.first,
                name=one.stored.name,
                size=one.size,
                records=one.records,
                newest=one.newest,
            )
            for one in held[:limit]
        ]

    def last_part(self) -> int:
        return max(self._manifest.reading().segments, default=0)

    def oldest_snapshot(self) -> int | None:
        return min((one.segment for one in self._manifest.reading().snapshots.values()), default=None)

    def merge_segments(self, lease: Lease, merged: MergedSegment) -> Sequence[str]:
        with self._manifest.writing("compact", lease) as tables:
            between = range(min(merged.replaces, default=0), max(merged.replaces, default=0) + 1)
            if not merged.replaces or [n for n in sorted(tables.segments) if n in between] != list(merged.replaces):
                raise Refused(
                    f"segments that were merged into {merged.name} are not there any more; nothing was stored"
                )
            parts = tuple(part for number in merged.replaces for part in tables.segments[number].stored.parts)
            removed = _remove(tables, merged.replaces)
            stored = StoredSegment(number=parts[-1].number, name=merged.name, content=None, parts=parts)
            tables.segments[stored.number] = HeldSegment(stored=stored, size=merged.size)
            return removed

    def remove_segments(self, lease: Lease, numbers: Sequence[int], models: Collection[str]) -> Sequence[str] | None:
        with self._manifest.writing("remove", lease) as tables:
            jobs = (msgspec.json.decode(body, type=Job) for body in tables.jobs.values())
            if any(not job.ended and job.model in models for job in jobs):
                return None
            return _remove(tables, numbers)

    def shrink(self) -> bool:
        self._manifest.reading()
        return False  # memory has no file


def _remove(tables: Tables, numbers: Sequence[int]) -> list[str]:
    gone = [tables.segments.pop(number).stored for number in numbers if number in tables.segments]
    return [one.name for one in gone if one.content is None]
