"""The ingest worker's part of the manifest: positions, segments, tallies, all moved by one commit."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from retrainer.adapters.manifest import schema
from retrainer.adapters.manifest.database import Database
from retrainer.domain.events import Partition, RecordQuarantined, Side
from retrainer.domain.ingest import ModelDelta, Progress, imbalance
from retrainer.domain.join import Status
from retrainer.domain.values import Micros
from retrainer.errors import Fenced, Refused
from retrainer.stores import Flush, Lease, NewSegment, StoredPosition, StoredProgress, StoredSegment


class SqlIngestState:
    """`stores.IngestState` on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, name: str, owner: str, now: Micros) -> Lease:
        return self._database.claim(name, owner, now)

    def positions(self) -> Mapping[Partition, StoredPosition]:
        with self._database.reading() as connection:
            return positions(connection)

    def begin(self, lease: Lease, positions: Mapping[Partition, StoredPosition]) -> None:
        rows = [
            {"topic": at.topic, "partition": at.number, "topic_id": stored.topic_id, "position": stored.position}
            for at, stored in positions.items()
        ]
        with self._database.writing_as(lease) as connection:
            if rows:
                connection.execute(insert(schema.positions), rows)

    def model_progress(self) -> Mapping[str, StoredProgress]:
        with self._database.reading() as connection:
            return model_progress(connection)

    def segments(self, *, reaching: Micros | None = None) -> Iterator[StoredSegment]:
        return segments(self._database, reaching)

    def segment_files(self) -> Collection[str]:
        with self._database.reading() as connection:
            files = select(schema.segments.c.name).where(schema.segments.c.content.is_(None))
            return set(connection.scalars(files))

    def commit(self, flush: Flush) -> None:
        with self._database.writing_as(flush.lease) as connection:
            _move(connection, flush.moves, flush.ends)
            if flush.segment is not None:
                _register(connection, flush.segment, flush.at)
            for model, fingerprint in flush.rebuilt.items():
                _forget(connection, model, fingerprint)
            for delta in flush.deltas:
                _apply(connection, delta)
            _quarantine(connection, flush.quarantined, flush.at)
            _check_conservation(connection, flush.deltas)


def positions(connection: Connection) -> dict[Partition, StoredPosition]:
    """Every position that is stored."""
    return {
        Partition(row.topic, row.partition): StoredPosition(position=row.position, topic_id=row.topic_id)
        for row in connection.execute(select(schema.positions))
    }


def model_progress(connection: Connection) -> dict[str, StoredProgress]:
    """Every model's progress."""
    return {
        row.model: StoredProgress(
            progress=Progress(watermark=row.watermark, first_open=row.first_open), fingerprint=row.fingerprint
        )
        for row in connection.execute(select(schema.progress))
    }


def counts(connection: Connection, model: str | None = None) -> dict[str, Counter[Status]]:
    """Each model's counts by side and status."""
    query = select(schema.counts)
    found: dict[str, Counter[Status]] = {}
    for row in connection.execute(query if model is None else query.where(schema.counts.c.model == model)):
        found.setdefault(row.model, Counter())[Side(row.side), row.status] = row.n
    return found


def segments(database: Database, reaching: Micros | None) -> Iterator[StoredSegment]:
    """Segments in the order of their commits, one read at a time, so that none of them waits in memory."""
    table = schema.segments
    numbers = select(table.c.number).order_by(table.c.number)
    if reaching is not None:
        numbers = numbers.where(table.c.newest >= reaching)
    with database.reading() as connection:
        wanted = list(connection.scalars(numbers))
    for number in wanted:
        with database.reading() as connection:
            row = connection.execute(select(table).where(table.c.number == number)).one()
        yield _stored(row)


def _stored(row: Row[tuple[object, ...]]) -> StoredSegment:
    return StoredSegment(number=row.number, name=row.name, content=row.content, watermarks=row.watermarks)


def _move(connection: Connection, moves: Mapping[Partition, tuple[int, int]], ends: Mapping[Partition, int]) -> None:
    table = schema.positions
    for at, (before, after) in moves.items():
        held = (table.c.topic == at.topic, table.c.partition == at.number, table.c.position == before)
        if connection.execute(update(table).where(*held).values(position=after)).rowcount != 1:
            raise Fenced(f"the position of {at} is not {before} any more")
    for at, end in ends.items():
        here = (table.c.topic == at.topic, table.c.partition == at.number)
        connection.execute(update(table).where(*here).values(end=end))


def _register(connection: Connection, segment: NewSegment, at: Micros) -> None:
    connection.execute(
        insert(schema.segments),
        {
            "name": segment.name,
            "content": segment.inline,
            "records": segment.records,
            "newest": segment.newest,
            "ranges": [[*partition, *span] for partition, span in segment.ranges.items()],
            "watermarks": dict(segment.watermarks),
            "committed_at": at,
        },
    )


def _forget(connection: Connection, model: str, fingerprint: str) -> None:
    """Start a model anew: what follows in the same transaction was computed from every segment there is."""
    for table in (schema.tallies, schema.counts):
        connection.execute(delete(table).where(table.c.model == model))
    fresh = upsert(schema.progress).values(model=model, fingerprint=fingerprint)
    connection.execute(fresh.on_conflict_do_update(index_elements=["model"], set_={"fingerprint": fingerprint}))


def _apply(connection: Connection, delta: ModelDelta) -> None:
    table = schema.progress
    progress = {"watermark": delta.progress.watermark, "first_open": delta.progress.first_open}
    connection.execute(update(table).where(table.c.model == delta.model).values(**progress))
    _add(
        connection,
        schema.tallies,
        [{"model": delta.model, **key._asdict(), "n": n} for key, n in delta.tallies.items()],
    )
    _add(
        connection,
        schema.counts,
        [
            {"model": delta.model, "side": side.value, "status": status, "n": n}
            for (side, status), n in delta.counts.items()
        ],
    )


def _add(connection: Connection, table: object, rows: Sequence[Mapping[str, object]]) -> None:
    """Add to the rows that are there, make those that are not."""
    if not rows:
        return
    statement = upsert(table)  # type: ignore[arg-type]  # the two tables that hold sums
    adding = statement.on_conflict_do_update(
        index_elements=[column.name for column in table.primary_key],  # type: ignore[attr-defined]  # a table has one
        set_={"n": table.c.n + statement.excluded.n},  # type: ignore[attr-defined]  # and a column n
    )
    connection.execute(adding, rows)


def _quarantine(connection: Connection, quarantined: Sequence[RecordQuarantined], at: Micros) -> None:
    rows = [
        {
            "topic": one.record.partition.topic,
            "partition": one.record.partition.number,
            "offset": one.record.offset,
            "timestamp": one.record.timestamp,
            "key": one.record.key,
            "value": one.record.value,
            "headers": [[name, base64.b64encode(value or b"").decode()] for name, value in one.record.headers],
            "reason": one.reason,
            "quarantined_at": at,
        }
        for one in quarantined
    ]
    if rows:
        connection.execute(insert(schema.quarantine), rows)


def _check_conservation(connection: Connection, deltas: Sequence[ModelDelta]) -> None:
    for delta in deltas:
        if not delta.counts:
            continue
        off = imbalance(counts(connection, delta.model).get(delta.model, {}))
        if off:
            raise Refused(f"the counts of {delta.model} do not add up, by {off}; nothing was stored")
