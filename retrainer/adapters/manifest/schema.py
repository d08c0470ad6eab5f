"""The manifest's tables. They say which segments, positions, tallies and decisions are true."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text

VERSION: Final = 2
"""Raised with every change of the tables; `migrations` has a step from each version to the next."""

metadata: Final = MetaData()

# SQLite gives row numbers only to a column of exactly this type.
_Number = BigInteger().with_variant(Integer(), "sqlite")


def _key(name: str, kind: type[Text] | type[BigInteger] = Text) -> Column[object]:
    return Column(name, kind, primary_key=True, autoincrement=False)


about = Table("about", metadata, _key("name"), Column("value", Text, nullable=False))

leases = Table(
    "leases",
    metadata,
    _key("name"),
    Column("epoch", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("claimed_at", BigInteger, nullable=False),
)

positions = Table(
    "positions",
    metadata,
    _key("topic"),
    _key("partition", BigInteger),
    Column("topic_id", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("end", BigInteger),
)

segments = Table(
    "segments",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, unique=True),
    Column("content", LargeBinary),
    Column("records", BigInteger, nullable=False),
    Column("newest", BigInteger),
    Column("ranges", JSON, nullable=False),
    Column("watermarks", JSON, nullable=False),
    Column("committed_at", BigInteger, nullable=False),
    # What several commits put into one segment; null where it is one commit's, which the row itself describes.
    Column("first", BigInteger),
    Column("parts", LargeBinary),
    Column("bytes", BigInteger),
    sqlite_autoincrement=True,
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("shard", Text, nullable=False),
    Column("name", Text, nullable=False, unique=True),
    Column("segment", BigInteger, nullable=False),
    Column("positions", JSON, nullable=False),
    Column("fingerprints", JSON, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("taken_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

progress = Table(
    "progress",
    metadata,
    _key("model"),
    Column("fingerprint", Text, nullable=False),
    Column("watermark", BigInteger),
    Column("first_open", BigInteger),
    Column("catching_up", BigInteger, nullable=False, server_default="0"),
    Column("moved", BigInteger, nullable=False, server_default="0"),
    Column("rebuilt_to", BigInteger, nullable=False, server_default="0"),
)

tallies = Table(
    "tallies",
    metadata,
    _key("model"),
    _key("slot", BigInteger),
    _key("version"),
    _key("slice"),
    _key("truth"),
    _key("answer"),
    Column("n", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

counts = Table(
    "counts",
    metadata,
    _key("model"),
    _key("side"),
    _key("status"),
    Column("n", BigInteger, nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    _key("topic"),
    _key("partition", BigInteger),
    _key("offset", BigInteger),
    Column("timestamp", BigInteger, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("headers", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    Column("quarantined_at", BigInteger, nullable=False),
)

memories = Table("memories", metadata, _key("model"), Column("body", LargeBinary, nullable=False))

decisions = Table(
    "decisions",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("decision_id", Text, nullable=False, unique=True),
    Column("model", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("decisions_by_model", "model", "number"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("job_id", Text, nullable=False, unique=True),
    Column("model", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("jobs_by_model", "model", "number"),
)

requests = Table(
    "requests",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("request_id", Text, nullable=False, unique=True),
    Column("model", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("answer", Text, nullable=False),
)

ledger = Table(
    "ledger",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("model", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("version", Text),
    Column("previous", Text),
    Column("reason", Text, nullable=False),
    Column("effective_from", BigInteger),
    Column("written_at", BigInteger, nullable=False),
    Column("job_id", Text),
    Column("of", BigInteger),
    sqlite_autoincrement=True,
)
