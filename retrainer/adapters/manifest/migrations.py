"""From each version of the tables to the next. A step is never changed once it was released.

It speaks of tables as they were then, so it names them in SQL and knows nothing of `schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection, text

from retrainer.adapters.manifest.sqlite import keep_copy

Step = Callable[[Connection], None]


def _merged_segments_and_snapshots(connection: Connection) -> None:
    """Nothing that is stored changes, so that the largest manifest is migrated at once."""
    _run(
        connection,
        "ALTER TABLE segments ADD COLUMN first BIGINT",
        "ALTER TABLE segments ADD COLUMN parts BLOB",
        "ALTER TABLE segments ADD COLUMN bytes BIGINT",
        "ALTER TABLE progress ADD COLUMN catching_up BIGINT DEFAULT '0' NOT NULL",
        "ALTER TABLE progress ADD COLUMN moved BIGINT DEFAULT '0' NOT NULL",
        "ALTER TABLE progress ADD COLUMN rebuilt_to BIGINT DEFAULT '0' NOT NULL",
        "CREATE TABLE snapshots (number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, shard TEXT NOT NULL, "
        "name TEXT NOT NULL UNIQUE, segment BIGINT NOT NULL, positions JSON NOT NULL, fingerprints JSON NOT NULL, "
        "bytes BIGINT NOT NULL, taken_at BIGINT NOT NULL)",
    )


STEPS: Final[Mapping[int, Step]] = MappingProxyType({1: _merged_segments_and_snapshots})
"""By the version that a step starts from."""


def migrate(connection: Connection, version: int, database: Path) -> None:
    """Take the step from a version, in the transaction that the caller holds, with a copy of the file beside it.

    Raises:
        Unreachable: the copy cannot be made.
    """
    keep_copy(database, database.with_name(f"{database.name}.v{version}.bak"))
    STEPS[version](connection)
    now = {"now": str(version + 1)}
    connection.execute(text("UPDATE about SET value = :now WHERE name = 'version'"), now)


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(text(statement))
