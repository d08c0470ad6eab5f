"""The rows of segments: what a commit registers, what merging puts in the place of many, and how they are read."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence

import msgspec
from sqlalchemy import Connection, Row, Select, delete, func, insert, select

from retrainer.adapters.manifest import schema
from retrainer.adapters.manifest.database import Database
from retrainer.domain.values import Micros
from retrainer.errors import Refused
from retrainer.ports.manifest.housekeeping import MergedSegment, SegmentOutline
from retrainer.ports.manifest.segments import NewSegment, StoredPart, StoredSegment

_ROWS_AT_ONCE = 32
"""A row holds at most some hundred KiB of content."""

_table = schema.segments
_first = func.coalesce(_table.c.first, _table.c.number)


def register(connection: Connection, segment: NewSegment, at: Micros) -> None:
    """Add what one commit brings."""
    connection.execute(
        insert(_table),
        {
            "name": segment.name,
            "content": segment.inline,
            "records": segment.records,
            "newest": segment.newest,
            "ranges": [[*partition, *span] for partition, span in segment.ranges.items()],
            "watermarks": dict(segment.watermarks),
            "committed_at": at,
            "bytes": segment.size if segment.inline is None else len(segment.inline),
        },
    )


def read(database: Database, after: int, reaching: Micros | None) -> Iterator[StoredSegment]:
    """Segments in order, a few at a time: few wait in memory, and no transaction waits for the reader.

    A segment that was merged meanwhile is met inside the new one, which says what of it was met before.
    """
    with database.reading() as connection:
        end = last_part(connection)
    while True:
        with database.reading() as connection:
            rows = connection.execute(_following(after, end, reaching)).all()
        if not rows:
            return
        for row in rows:
            yield _stored(row, after)
            after = row.number


def files(connection: Connection) -> Collection[str]:
    """The names of the segments that are files."""
    return set(connection.scalars(select(_table.c.name).where(_table.c.content.is_(None))))


def last_part(connection: Connection) -> int:
    """The number of the newest part; 0: there is none."""
    return connection.scalar(select(func.max(_table.c.number))) or 0


def outlines(connection: Connection, after: int, limit: int) -> list[SegmentOutline]:
    """Segments without their content."""
    size = func.coalesce(_table.c.bytes, func.length(_table.c.content))
    wanted = select(_table.c.number, _first, _table.c.name, size, _table.c.records, _table.c.newest)
    rows = connection.execute(wanted.where(_table.c.number > after).order_by(_table.c.number).limit(limit))
    return [
        SegmentOutline(number=number, first=first, name=name, size=size, records=records, newest=newest)
        for number, first, name, size, records, newest in rows
    ]


def merge(connection: Connection, merged: MergedSegment) -> list[str]:
    """Put one row in the place of several; the names of the files that it makes superfluous."""
    rows = _without_content(connection, merged.replaces)
    if not rows or [row.number for row in rows] != list(merged.replaces):
        raise Refused(f"segments that were merged into {merged.name} are not there any more; nothing was stored")
    removed = remove(connection, merged.replaces)
    last = rows[-1]
    parts = [part for row in rows for part in _parts(row)]
    connection.execute(
        insert(_table),
        {
            "number": last.number,
            "first": parts[0].number,
            "name": merged.name,
            "content": None,
            "records": sum(part.records for part in parts),
            "newest": max((part.newest for part in parts if part.newest is not None), default=None),
            "ranges": _union([row.ranges for row in rows]),
            "watermarks": last.watermarks,
            "committed_at": last.committed_at,
            "parts": _pack(parts),
            "bytes": merged.size,
        },
    )
    return removed


def remove(connection: Connection, numbers: Sequence[int]) -> list[str]:
    """Forget rows; the names of those that are files."""
    here = _table.c.number.in_(numbers)
    names = list(connection.scalars(select(_table.c.name).where(here, _table.c.content.is_(None))))
    connection.execute(delete(_table).where(here))
    return names


def _following(after: int, end: int, reaching: Micros | None) -> Select[tuple[object, ...]]:
    wanted = select(_table).where(_table.c.number > after, _first <= end)
    if reaching is not None:
        wanted = wanted.where(_table.c.newest >= reaching)
    return wanted.order_by(_table.c.number).limit(_ROWS_AT_ONCE)


def _stored(row: Row[tuple[object, ...]], after: int) -> StoredSegment:
    parts = _parts(row)
    return StoredSegment(
        number=row.number,
        name=row.name,
        content=row.content,
        parts=parts,
        skip=sum(part.records for part in parts if part.number <= after),
    )


def _without_content(connection: Connection, numbers: Sequence[int]) -> Sequence[Row[tuple[object, ...]]]:
    """The rows from the first number to the last, so that one between them shows."""
    columns = [column for column in _table.c if column is not _table.c.content]
    between = _table.c.number.between(min(numbers, default=0), max(numbers, default=0))
    return connection.execute(select(*columns).where(between).order_by(_table.c.number)).all()


def _parts(row: Row[tuple[object, ...]]) -> tuple[StoredPart, ...]:
    if row.parts is not None:
        return tuple(
            StoredPart(number=number, records=records, newest=newest, watermarks=watermarks)
            for number, records, newest, watermarks in msgspec.json.decode(zlib.decompress(row.parts))
        )
    return (StoredPart(number=row.number, records=row.records, newest=row.newest, watermarks=row.watermarks),)


def _pack(parts: Sequence[StoredPart]) -> bytes:
    """Thousands of parts are alike, and small once they are compressed."""
    rows = [(part.number, part.records, part.newest, part.watermarks) for part in parts]
    return zlib.compress(msgspec.json.encode(rows))


def _union(ranges: Sequence[Sequence[tuple[str, int, int, int]]]) -> list[list[object]]:
    """The offsets that several segments cover, by partition."""
    spans: dict[tuple[str, int], tuple[int, int]] = {}
    for topic, partition, first, end in (span for one in ranges for span in one):
        known_first, known_end = spans.get((topic, partition), (first, end))
        spans[topic, partition] = (min(first, known_first), max(end, known_end))
    return [[*at, *span] for at, span in spans.items()]
