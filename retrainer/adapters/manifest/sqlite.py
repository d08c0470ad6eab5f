"""What SQLite does in its own way: transactions, settings of a connection, pages given back, copies, upserts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects.sqlite import Insert, insert

from retrainer.errors import Unreachable

_IMMEDIATE: Final = "retrainer_immediate"
_INCREMENTAL: Final = 2
_PAGES_AT_ONCE: Final = 4096
_SHRINK_SECONDS: Final = 0.1


def engine_of(url: str, busy_seconds: float) -> Engine:
    """Connections whose transactions wait so long for another's to end."""
    engine = create_engine(url, connect_args={"timeout": busy_seconds})
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def with_write_lock(connection: Connection, *, immediate: bool) -> Connection:
    """The connection, whose next transaction holds the write lock from its first statement if `immediate`."""
    return connection.execution_options(**{_IMMEDIATE: immediate})


def upsert(table: Table) -> Insert:
    """An insert that may say what to do about rows that are there."""
    return insert(table)


def make_folder(url: URL) -> None:
    """Make the folder of the database's file.

    Raises:
        Unreachable: it cannot be made now.
    """
    if not url.database:
        return
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unreachable(f"the folder of the database cannot be made: {error}") from error


def make_shrinkable(engine: Engine) -> None:
    """Rewrite, once, a file that was made without knowing which pages are free; if it cannot be now, later."""
    with closing(engine.raw_connection()) as pooled:
        connection = cast("sqlite3.Connection", pooled.driver_connection)
        if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
            with suppress(sqlite3.OperationalError):
                connection.execute("VACUUM")


def shrink(engine: Engine, busy_seconds: float) -> bool:
    """Give a bounded number of free pages back to the disk, and empty the log of writes; are more pages free?

    Readers and writers that are at work are not waited for: what cannot be done now is done the next time.
    """
    with closing(engine.raw_connection()) as pooled:
        connection = cast("sqlite3.Connection", pooled.driver_connection)
        with suppress(sqlite3.OperationalError), _patience(connection, _SHRINK_SECONDS, busy_seconds):
            before = _free_pages(connection)
            # Each page is a step of the statement, and `execute` takes one only.
            connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return 0 < _free_pages(connection) < before
    return False


def keep_copy(database: Path, copy: Path) -> None:
    """Copy a database. The copy has its name only once it is whole; the caller keeps everybody from writing meanwhile.

    Raises:
        Unreachable: it cannot be written.
    """
    unfinished = copy.with_name(f"{copy.name}.part")
    try:
        unfinished.unlink(missing_ok=True)
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
        unfinished.replace(copy)
    except (OSError, sqlite3.Error) as error:
        raise Unreachable(f"{copy} cannot be written, which a migration needs: {error}") from error


def _set_up(connection: Any, _: object) -> None:
    connection.isolation_level = None  # sqlite3 would begin transactions by itself, and too late
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:  # to set it takes the write lock
        connection.execute(f"PRAGMA auto_vacuum={_INCREMENTAL}")
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(_IMMEDIATE, False)
    connection.execute(text("BEGIN IMMEDIATE" if immediate else "BEGIN"))


def _free_pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


@contextmanager
def _patience(connection: sqlite3.Connection, seconds: float, otherwise: float) -> Iterator[None]:
    """Within, wait for locks only so long."""
    connection.execute(f"PRAGMA busy_timeout={round(1000 * seconds)}")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA busy_timeout={round(1000 * otherwise)}")
