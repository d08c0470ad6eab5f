"""Housekeeping's part of the manifest: segments merged and forgotten, and the room of rows that are gone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from sqlalchemy import func, select

from retrainer.adapters.manifest import schema, segments
from retrainer.adapters.manifest.database import Database
from retrainer.adapters.manifest.ingest import model_progress
from retrainer.domain.deciding.jobs import ENDED
from retrainer.domain.values import Micros
from retrainer.ports.manifest.housekeeping import MergedSegment, SegmentOutline
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.progress import StoredProgress
from retrainer.ports.manifest.segments import StoredSegment


class SqlHousekeepingState:
    """`HousekeepingState` on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def model_progress(self) -> Mapping[str, StoredProgress]:
        with self._database.reading() as connection:
            return model_progress(connection)

    def segments(self, *, after: int = 0, reaching: Micros | None = None) -> Iterator[StoredSegment]:
        return segments.read(self._database, after, reaching)

    def segment_files(self) -> Collection[str]:
        with self._database.reading() as connection:
            return segments.files(connection)

    def outlines(self, *, after: int, limit: int) -> Sequence[SegmentOutline]:
        with self._database.reading() as connection:
            return segments.outlines(connection, after, limit)

    def last_part(self) -> int:
        with self._database.reading() as connection:
            return segments.last_part(connection)

    def oldest_snapshot(self) -> int | None:
        with self._database.reading() as connection:
            oldest: int | None = connection.scalar(select(func.min(schema.snapshots.c.segment)))
            return oldest

    def merge_segments(self, lease: Lease, merged: MergedSegment) -> Sequence[str]:
        with self._database.writing_as(lease) as connection:
            return segments.merge(connection, merged)

    def remove_segments(self, lease: Lease, numbers: Sequence[int], models: Collection[str]) -> Sequence[str] | None:
        jobs = schema.jobs.c
        ended = [state.value for state in ENDED]
        unfinished = select(jobs.number).where(jobs.state.not_in(ended), jobs.model.in_(models))
        with self._database.writing_as(lease) as connection:
            if connection.execute(unfinished.limit(1)).first() is not None:
                return None
            return segments.remove(connection, numbers)

    def shrink(self) -> bool:
        return self._database.shrink()
