"""The manifest's connection: short transactions on SQLite, and what its errors mean to the service."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, make_url, select, text, update
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError, OperationalError

from retrainer.adapters.clock import SystemClock
from retrainer.adapters.manifest import schema
from retrainer.adapters.manifest.migrations import migrate
from retrainer.errors import Fenced, Refused, RetrainerError, Unreachable
from retrainer.logs import Logger
from retrainer.ports.manifest.lease import Lease

_BUSY_SECONDS: Final = 5.0
_IMMEDIATE: Final = "retrainer_immediate"
_INCREMENTAL: Final = 2
_PAGES_AT_ONCE: Final = 4096
_SHRINK_SECONDS: Final = 0.1
_clock: Final = SystemClock()


class Database:
    """One manifest. Connections are pooled, so it may be used from several threads."""

    def __init__(self, url: str, *, busy_seconds: float = _BUSY_SECONDS, log: Logger | None = None) -> None:
        """A transaction waits `busy_seconds` for another's to end before the manifest counts as unreachable."""
        self.url = make_url(url)
        self._busy_seconds = busy_seconds
        self._log = log
        self._engine = _engine(url, busy_seconds)
        self._ready = False

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view. Raises `Unreachable` or `Refused` for the database's own errors."""
        with self._transaction(immediate=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that holds the write lock from its first statement; all of it, or nothing."""
        with self._transaction(immediate=True) as connection:
            yield connection

    @contextmanager
    def writing_as(self, lease: Lease) -> Iterator[Connection]:
        """A writing transaction that is refused unless the lease is still held."""
        with self.writing() as connection:
            held = update(schema.leases).where(schema.leases.c.name == lease.name, schema.leases.c.epoch == lease.epoch)
            if connection.execute(held.values(epoch=lease.epoch)).rowcount != 1:
                raise Fenced(f"{lease.name} is owned by a newer process than epoch {lease.epoch}")
            yield connection

    def claim(self, name: str, owner: str, now: int) -> Lease:
        """Take a lease over: the epoch goes up, and whoever held it cannot write any more."""
        with self.writing() as connection:
            found = connection.execute(select(schema.leases.c.epoch).where(schema.leases.c.name == name)).scalar()
            epoch = (found or 0) + 1
            facts = {"name": name, "epoch": epoch, "owner": owner, "claimed_at": now}
            if found is None:
                connection.execute(insert(schema.leases), facts)
            else:
                connection.execute(update(schema.leases).where(schema.leases.c.name == name), facts)
            manifest = connection.scalar(select(schema.about.c.value).where(schema.about.c.name == "manifest"))
            return Lease(name=name, epoch=epoch, manifest=manifest or "")

    def shrink(self) -> bool:
        """Give a bounded number of free pages back to the disk, and empty the log of writes; are more pages free?

        Readers and writers that are at work are not waited for: what cannot be done now is done the next time.
        """
        with self.reading():
            pass  # the manifest is there
        with closing(self._engine.raw_connection()) as pooled:
            connection = cast("sqlite3.Connection", pooled.driver_connection)
            with suppress(sqlite3.OperationalError), _patience(connection, _SHRINK_SECONDS, self._busy_seconds):
                before = _free_pages(connection)
                # Each page is a step of the statement, and `execute` takes one only.
                connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                return 0 < _free_pages(connection) < before
        return False

    def close(self) -> None:
        """Give every connection back."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, *, immediate: bool) -> Iterator[Connection]:
        try:
            self._prepare()
            with self._engine.connect() as plain:
                connection = plain.execution_options(**{_IMMEDIATE: immediate})
                with connection.begin():
                    yield connection
        except DBAPIError as error:
            meaning = _meaning(error, self.url.render_as_string(hide_password=True))
            if meaning is None:
                raise
            raise meaning from error

    def _prepare(self) -> None:
        """Create folder and tables of a new manifest; refuse one that another version of retrainer wrote, untouched."""
        if self._ready:
            return
        if self.url.database:
            _make_folder(Path(self.url.database).parent)
        while not self._ready:
            self._ready = self._look(immediate=False) or self._look(immediate=True)
        self._make_shrinkable()

    def _look(self, *, immediate: bool) -> bool:
        """Whether the manifest is there and up to date.

        Only making or migrating it takes the write lock: a reader need not wait, and of several that open it at once
        one does the work. One call takes one step.
        """
        started, migrated = _clock.monotonic(), None
        with self._engine.connect().execution_options(**{_IMMEDIATE: immediate}) as connection, connection.begin():
            found = schema.VERSION
            if inspect(connection).get_table_names():
                found = self._version(connection)
                if immediate and found < schema.VERSION:
                    migrate(connection, found, Path(self.url.database or ""))
                    migrated = found
            elif immediate:
                _create(connection)
            else:
                return False
        if migrated is not None:
            self._tell(migrated, _clock.monotonic() - started)
        return found == schema.VERSION

    def _version(self, connection: Connection) -> int:
        """The version of the tables that are there, if this retrainer can work with it."""
        if not inspect(connection).has_table(schema.about.name):
            raise Refused(f"the database {self.url.database} holds tables, but no manifest of retrainer")
        found = connection.scalar(select(schema.about.c.value).where(schema.about.c.name == "version"))
        if found is None or found not in {str(version) for version in range(1, schema.VERSION + 1)}:
            raise Refused(
                f"the manifest {self.url.database} has version {found}, this retrainer reads versions up to "
                f"{schema.VERSION}: a newer retrainer wrote it; use that one"
            )
        return int(found)

    def _make_shrinkable(self) -> None:
        """Rewrite, once, a file that was made without knowing which pages are free; if it cannot be now, later."""
        with closing(self._engine.raw_connection()) as pooled:
            connection = cast("sqlite3.Connection", pooled.driver_connection)
            if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
                with suppress(sqlite3.OperationalError):
                    connection.execute("VACUUM")

    def _tell(self, version: int, seconds: float) -> None:
        if self._log is not None:
            facts = {"from": version, "to": version + 1, "seconds": round(seconds, 3)}
            self._log.info("manifest.migrated", database=str(self.url.database), **facts)


def _create(connection: Connection) -> None:
    schema.metadata.create_all(connection)
    about = {"version": str(schema.VERSION), "manifest": secrets.token_hex(3)}
    connection.execute(insert(schema.about), [{"name": k, "value": v} for k, v in about.items()])


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unreachable(f"the folder of the database cannot be made: {error}") from error


def _meaning(error: DBAPIError, url: str) -> RetrainerError | None:
    """What an error of the database is to the service; None where it is a mistake of our own."""
    if isinstance(error, OperationalError) or error.connection_invalidated:
        return Unreachable(f"database {url}: {error.orig}")
    if isinstance(error, IntegrityError):
        return Refused(f"database {url} holds this already: {error.orig}; nothing was stored")
    if type(error) is DatabaseError:
        return Refused(f"database {url} cannot be read: {error.orig}")
    return None


def _engine(url: str, busy_seconds: float) -> Engine:
    engine = create_engine(url, connect_args={"timeout": busy_seconds})
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # sqlite3 would begin transactions by itself, and too late
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:  # to set it takes the write lock
        connection.execute(f"PRAGMA auto_vacuum={_INCREMENTAL}")
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


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


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(_IMMEDIATE, False)
    connection.execute(text("BEGIN IMMEDIATE" if immediate else "BEGIN"))
