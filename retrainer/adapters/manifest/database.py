"""The manifest's connection: short transactions, and what the database's errors mean to the service."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, inspect, make_url, select, update
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError, OperationalError

from retrainer.adapters.clock import SystemClock
from retrainer.adapters.manifest import schema, sqlite
from retrainer.adapters.manifest.migrations import migrate
from retrainer.errors import Fenced, Refused, RetrainerError, Unreachable
from retrainer.logs import Logger
from retrainer.ports.manifest.lease import Lease

_BUSY_SECONDS: Final = 5.0
_clock: Final = SystemClock()


class Database:
    """One manifest. Connections are pooled, so it may be used from several threads."""

    def __init__(self, url: str, *, busy_seconds: float = _BUSY_SECONDS, logger: Logger | None = None) -> None:
        """A transaction waits `busy_seconds` for another's to end before the manifest counts as unreachable."""
        self.url = make_url(url)
        self._busy_seconds = busy_seconds
        self._logger = logger
        self._engine = sqlite.engine_of(url, busy_seconds)
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
        return sqlite.shrink(self._engine, self._busy_seconds)

    def close(self) -> None:
        """Give every connection back."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, *, immediate: bool) -> Iterator[Connection]:
        try:
            self._prepare()
            with self._engine.connect() as plain:
                connection = sqlite.with_write_lock(plain, immediate=immediate)
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
        sqlite.make_folder(self.url)
        while not self._ready:
            self._ready = self._look(immediate=False) or self._look(immediate=True)
        sqlite.make_shrinkable(self._engine)

    def _look(self, *, immediate: bool) -> bool:
        """Whether the manifest is there and up to date.

        Only making or migrating it takes the write lock: a reader need not wait, and of several that open it at once
        one does the work. One call takes one step.
        """
        started, migrated = _clock.monotonic(), None
        plain = self._engine.connect()
        with sqlite.with_write_lock(plain, immediate=immediate) as connection, connection.begin():
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

    def _tell(self, version: int, seconds: float) -> None:
        if self._logger is not None:
            facts = {"from": version, "to": version + 1, "seconds": round(seconds, 3)}
            self._logger.info("manifest.migrated", database=str(self.url.database), **facts)


def _create(connection: Connection) -> None:
    schema.metadata.create_all(connection)
    about = {"version": str(schema.VERSION), "manifest": secrets.token_hex(3)}
    connection.execute(insert(schema.about), [{"name": k, "value": v} for k, v in about.items()])


def _meaning(error: DBAPIError, url: str) -> RetrainerError | None:
    """What an error of the database is to the service; None where it is a mistake of our own."""
    if isinstance(error, OperationalError) or error.connection_invalidated:
        return Unreachable(f"database {url}: {error.orig}")
    if isinstance(error, IntegrityError):
        return Refused(f"database {url} holds this already: {error.orig}; nothing was stored")
    if type(error) is DatabaseError:
        return Refused(f"database {url} cannot be read: {error.orig}")
    return None
