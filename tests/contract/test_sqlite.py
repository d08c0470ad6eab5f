"""What holds for the manifest on SQLite alone."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest
from sqlalchemy import text

from retrainer.adapters.manifest import schema
from retrainer.errors import Refused, Unreachable
from retrainer.ports.manifest.housekeeping import MergedSegment
from retrainer.ports.manifest.progress import StoredPosition
from tests.contract.states import AT, NOW, SqlRig, begun, delta, flush, joined, key, pragma, segment

THREADS, COMMITS = 4, 8


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    SqlRig.close_all()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "not" / "there" / "retrainer.db"


def test_the_folder_is_made(path: Path) -> None:
    begun(SqlRig(path).ingest)
    assert path.is_file()


def test_a_folder_that_cannot_be_made_is_a_manifest_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unreachable, match="folder"):
        SqlRig(tmp_path / "file" / "retrainer.db").ingest.positions()


def test_what_is_committed_survives_the_loss_of_power(path: Path) -> None:
    rig = SqlRig(path)
    begun(rig.ingest)
    with rig.database.reading() as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == 2  # FULL; a setting of each connection
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
    assert pragma(path, "journal_mode") == "wal"
    assert pragma(path, "auto_vacuum") == 2  # INCREMENTAL


def test_what_was_committed_is_found_by_the_next_process(path: Path) -> None:
    rig = SqlRig(path)
    lease = begun(rig.ingest)
    rig.ingest.commit(flush(lease, moves={AT: (0, 1)}, segment=segment("a")))
    rig.database.close()
    again = SqlRig(path)
    assert again.ingest.positions() == {AT: StoredPosition(position=1, topic_id="id-1")}
    assert [one.content for one in again.ingest.segments()] == [b"PAR1"]
    assert again.ingest.claim("ingest", "there/2", NOW).epoch == 2


def test_a_manifest_of_another_version_is_refused_untouched(path: Path) -> None:
    begun(SqlRig(path).ingest)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE about SET value = '999' WHERE name = 'version'")
        connection.execute("DROP TABLE ledger")
    for _ in range(2):
        with pytest.raises(Refused, match=f"version 999, this retrainer reads versions up to {schema.VERSION}"):
            SqlRig(path).ingest.positions()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'ledger'").fetchone() == (0,)


def test_a_database_of_another_program_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE experiments (name TEXT)")
    with pytest.raises(Refused, match="no manifest"):
        SqlRig(path).ingest.positions()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (1,)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "retrainer.db"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(Refused, match="cannot be read"):
        SqlRig(path).ingest.positions()
    assert path.read_bytes() == b"something else entirely" * 100


def test_a_locked_database_is_out_of_reach_for_a_while(path: Path) -> None:
    lease = begun(SqlRig(path).ingest)
    state = SqlRig(path, busy_seconds=0.05).ingest
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unreachable, match="locked"):
            state.commit(flush(lease, moves={AT: (0, 1)}))
        assert state.positions()[AT].position == 0  # readers are let in
        other.execute("ROLLBACK")
    state.commit(flush(lease, moves={AT: (0, 1)}))


def test_a_transaction_that_writes_has_the_lock_before_it_reads(path: Path) -> None:
    begun(SqlRig(path).ingest)
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        with SqlRig(path).database.writing(), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")


def test_claims_at_once_get_an_epoch_each(path: Path) -> None:
    rig = SqlRig(path)
    with ThreadPoolExecutor(THREADS) as pool:
        leases = list(pool.map(lambda _: rig.ingest.claim("ingest", "a", NOW), range(20)))
    assert sorted(lease.epoch for lease in leases) == list(range(1, 21))


def test_a_full_disk_is_out_of_reach_and_stores_nothing(path: Path) -> None:
    rig = SqlRig(path)
    lease = begun(rig.ingest)
    with rig.database.reading() as connection:
        pages = connection.scalar(text("PRAGMA page_count"))
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(Unreachable, match="full"):
        rig.ingest.commit(flush(lease, moves={AT: (0, 1)}, segment=segment("a", inline=bytes(100_000))))
    assert rig.ingest.positions()[AT].position == 0


def test_threads_lose_no_update_of_each_other(path: Path) -> None:
    rig = SqlRig(path)
    lease = begun(rig.ingest)

    def work(_: int) -> None:
        for _ in range(COMMITS):
            rig.ingest.commit(flush(lease, deltas=[delta(tallies={key(): 1}, counts=joined(1))]))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert list(rig.decisions.tallies("flights", None, 99)) == [(key(), THREADS * COMMITS)]


def _commit_in_a_process(path: Path, name: str) -> None:
    """One of several that open the same new manifest at once."""
    state = SqlRig(path).ingest
    lease = state.claim(name, "process", NOW)
    for _ in range(COMMITS):
        state.commit(flush(lease, deltas=[delta(tallies={key(): 1})]))


def test_processes_that_start_at_once_lose_no_update_of_each_other(path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_commit_in_a_process, [path, path], ["left", "right"]))
    assert list(SqlRig(path).decisions.tallies("flights", None, 99)) == [(key(), 2 * COMMITS)]


def test_room_that_is_not_needed_goes_back_to_the_disk(path: Path) -> None:
    rig = SqlRig(path)
    worker, controller = begun(rig.ingest), rig.decisions.claim("controller", "a", NOW)
    for n in range(200):
        rig.ingest.commit(flush(worker, segment=segment(f"s{n}", inline=random.randbytes(20_000))))
    assert rig.housekeeping.shrink() is False  # nothing to give back yet
    before = path.stat().st_size
    rig.housekeeping.merge_segments(controller, MergedSegment(name="m", size=1, replaces=range(1, 151)))
    while rig.housekeeping.shrink():
        pass
    assert path.stat().st_size < before / 3
    assert path.with_name("retrainer.db-wal").stat().st_size == 0
    assert [one.number for one in rig.ingest.segments()] == list(range(150, 201))


def test_whoever_works_is_not_waited_for_when_it_shrinks(path: Path) -> None:
    rig = SqlRig(path)
    lease = begun(rig.ingest)
    rig.ingest.commit(flush(lease, segment=segment("a", inline=bytes(100_000))))
    with rig.database.writing() as connection:
        connection.execute(text("DELETE FROM segments"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert rig.housekeeping.shrink() is False
        other.execute("ROLLBACK")
    rig.housekeeping.shrink()
    assert pragma(path, "freelist_count") == 0
    assert path.stat().st_size < 200_000
    with rig.database.reading() as connection:
        assert connection.scalar(text("PRAGMA busy_timeout")) == 5000
