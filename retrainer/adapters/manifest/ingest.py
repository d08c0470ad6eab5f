"""The ingest worker's part of the manifest: positions, segments, tallies, all moved by one commit."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from sqlalchemy import Connection, Row, Select, Table, delete, insert, select, update

from retrainer.adapters.manifest import schema, segments
from retrainer.adapters.manifest.database import Database
from retrainer.adapters.manifest.sqlite import upsert
from retrainer.domain.events import Partition, RecordQuarantined, Side
from retrainer.domain.join.ingest import ModelDelta, Progress, imbalance
from retrainer.domain.join.rules import Status
from retrainer.domain.values import Micros
from retrainer.errors import Fenced, Refused
from retrainer.ports.manifest.ingest import Flush
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.progress import StoredPosition, StoredProgress
from retrainer.ports.manifest.segments import StoredSegment
from retrainer.ports.manifest.snapshots import SNAPSHOTS_KEPT, NewSnapshot, StoredSnapshot


class SqlIngestState:
    """`IngestState` on SQL."""

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

    def segments(self, *, after: int = 0, reaching: Micros | None = None) -> Iterator[StoredSegment]:
        return segments.read(self._database, after, reaching)

    def segment_files(self) -> Collection[str]:
        with self._database.reading() as connection:
            return segments.files(connection)

    def register_snapshot(self, lease: Lease, snapshot: NewSnapshot, at: Micros) -> None:
        with self._database.writing_as(lease) as connection:
            _check_positions(connection, snapshot.positions)
            connection.execute(insert(schema.snapshots), _snapshot_row(connection, lease.name, snapshot, at))
            _forget_snapshots(connection, lease.name)

    def snapshots(self, shard: str) -> Sequence[StoredSnapshot]:
        with self._database.reading() as connection:
            return [_stored_snapshot(row) for row in connection.execute(_newest_snapshots(shard))]

    def snapshot_files(self) -> Collection[str]:
        with self._database.reading() as connection:
            return set(connection.scalars(select(schema.snapshots.c.name)))

    def commit(self, flush: Flush) -> None:
        with self._database.writing_as(flush.lease) as connection:
            _move(connection, flush.moves, flush.ends)
            if flush.segment is not None:
                segments.register(connection, flush.segment, flush.at)
            for model, fingerprint in flush.rebuilt.items():
                _forget(connection, model, fingerprint, flush.rebuilt_to)
            for delta in flush.deltas:
                _apply(connection, delta, catching_up=flush.catching_up)
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
            progress=Progress(watermark=row.watermark, first_open=row.first_open),
            fingerprint=row.fingerprint,
            catching_up=bool(row.catching_up),
            moved=row.moved,
            rebuilt_to=row.rebuilt_to,
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


def _check_positions(connection: Connection, believed: Mapping[Partition, int]) -> None:
    held = positions(connection)
    for at, position in believed.items():
        if at not in held or held[at].position != position:
            raise Fenced(f"the position of {at} is not {position} any more")


def _snapshot_row(connection: Connection, shard: str, snapshot: NewSnapshot, at: Micros) -> dict[str, object]:
    return {
        "shard": shard,
        "name": snapshot.name,
        "segment": segments.last_part(connection),
        "positions": [[*partition, position] for partition, position in snapshot.positions.items()],
        "fingerprints": dict(snapshot.fingerprints),
        "bytes": snapshot.size,
        "taken_at": at,
    }


def _newest_snapshots(shard: str) -> Select[tuple[object, ...]]:
    table = schema.snapshots
    return select(table).where(table.c.shard == shard).order_by(table.c.number.desc())


def _forget_snapshots(connection: Connection, shard: str) -> None:
    table = schema.snapshots
    kept = [row.number for row in connection.execute(_newest_snapshots(shard).limit(SNAPSHOTS_KEPT))]
    connection.execute(delete(table).where(table.c.shard == shard, table.c.number.not_in(kept)))


def _stored_snapshot(row: Row[tuple[object, ...]]) -> StoredSnapshot:
    return StoredSnapshot(
        number=row.number,
        shard=row.shard,
        name=row.name,
        segment=row.segment,
        positions={Partition(topic, number): position for topic, number, position in row.positions},
        fingerprints=row.fingerprints,
        size=row.bytes,
        taken_at=row.taken_at,
    )


def _move(connection: Connection, moves: Mapping[Partition, tuple[int, int]], ends: Mapping[Partition, int]) -> None:
    table = schema.positions
    for at, (before, after) in moves.items():
        held = (table.c.topic == at.topic, table.c.partition == at.number, table.c.position == before)
        if connection.execute(update(table).where(*held).values(position=after)).rowcount != 1:
            raise Fenced(f"the position of {at} is not {before} any more")
    for at, end in ends.items():
        here = (table.c.topic == at.topic, table.c.partition == at.number)
        connection.execute(update(table).where(*here).values(end=end))


def _forget(connection: Connection, model: str, fingerprint: str, rebuilt_to: int) -> None:
    """Start a model anew: what follows in the same transaction was computed from every segment there is."""
    for table in (schema.tallies, schema.counts):
        connection.execute(delete(table).where(table.c.model == model))
    fresh = upsert(schema.progress).values(model=model, fingerprint=fingerprint, rebuilt_to=rebuilt_to)
    connection.execute(
        fresh.on_conflict_do_update(
            index_elements=["model"], set_={"fingerprint": fingerprint, "moved": 0, "rebuilt_to": rebuilt_to}
        )
    )


def _apply(connection: Connection, delta: ModelDelta, *, catching_up: bool) -> None:
    table = schema.progress
    facts = {
        "watermark": delta.progress.watermark,
        "first_open": delta.progress.first_open,
        "catching_up": int(catching_up),
        "moved": table.c.moved + delta.moved_to_open,
    }
    connection.execute(update(table).where(table.c.model == delta.model).values(facts))
    tallies = (
        (delta.model, key.slot, key.version, key.slice, key.truth, key.answer, n) for key, n in delta.tallies.items()
    )
    _add(connection, schema.tallies, sorted(tallies))
    counts = [(delta.model, side.value, status, n) for (side, status), n in delta.counts.items()]
    _add(connection, schema.counts, counts)


def _add(connection: Connection, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
    """Add to the rows that are there, make those that are not. The values come in the order of the columns."""
    if not rows:
        return
    statement = upsert(table)
    adding = statement.on_conflict_do_update(
        index_elements=[column.name for column in table.primary_key],
        set_={"n": table.c.n + statement.excluded.n},
    )
    compiled = adding.compile(dialect=connection.dialect, column_keys=table.columns.keys())
    # Past SQLAlchemy's own handling of parameters, which takes longer than SQLite does.
    connection.exec_driver_sql(str(compiled), list(rows))


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
