"""A manifest that an earlier version wrote: opened, it is brought up to date, or left exactly as it was."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from retrainer.adapters.files.segments import LocalSegments
from retrainer.adapters.manifest import migrations, schema
from retrainer.adapters.manifest.database import Database
from retrainer.adapters.manifest.ingest import SqlIngestState
from retrainer.domain.deciding.decisions import DecisionAnswer
from retrainer.domain.deciding.jobs import JobState
from retrainer.domain.deciding.ledger import Act
from retrainer.domain.events import Partition, Record
from retrainer.domain.join.ingest import Progress
from retrainer.domain.values import SECOND
from retrainer.errors import Unreachable
from retrainer.ports.manifest.housekeeping import MergedSegment
from retrainer.ports.manifest.progress import StoredPosition, StoredProgress
from retrainer.ports.manifest.segments import StoredPart
from tests.contract.states import AT, NOW, OTHER, SqlRig, flush, joined, key, pragma, segment
from tests.entries import Entries

V1 = Path(__file__).parent / "data" / "manifest-v1.sql"
"""Six commits of three records for two models, the fourth in a file; a job, two decisions, two ledger rows."""
MINUTE = 60 * SECOND


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    SqlRig.close_all()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A manifest of the first version, as its program left it."""
    path = tmp_path / "retrainer.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(V1.read_text())
    return path


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def described(path: Path) -> dict[str, object]:
    """Every table with its columns and indices."""
    with closing(sqlite3.connect(path)) as connection:

        def ask(what: str, name: str) -> list[tuple[object, ...]]:
            return connection.execute(f"SELECT * FROM pragma_{what}(?)", [name]).fetchall()

        tables = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").fetchall()
        return {
            name: (
                ask("table_info", name),
                sorted((row[2:], ask("index_info", str(row[1]))) for row in ask("index_list", name)),
                "AUTOINCREMENT" in sql,
                "WITHOUT ROWID" in sql,
            )
            for name, sql in tables
        }


def test_nothing_that_was_stored_reads_otherwise(path: Path) -> None:
    rig = SqlRig(path)
    assert rig.ingest.positions() == {
        AT: StoredPosition(position=12, topic_id="id-1"),
        OTHER: StoredPosition(position=6, topic_id="id-1"),
    }
    assert rig.ingest.model_progress() == {
        "flights": StoredProgress(progress=Progress(watermark=NOW + 5 * MINUTE, first_open=15), fingerprint="f1"),
        "other": StoredProgress(progress=Progress(), fingerprint="o1"),
    }
    view = rig.decisions.ingest_view()
    assert view.counts == {"flights": joined(6), "other": joined(12)}
    assert (view.ends, view.quarantined) == ({AT: 12, OTHER: 7}, 1)
    wrong = {key(slot=10 + n, answer="on_time", version=""): 2 for n in range(6)}
    assert dict(rig.decisions.tallies("flights", None, 99)) == {**wrong, **{key(slot=10 + n): 1 for n in range(6)}}
    assert rig.quarantined()[0].record == Record(AT, 4, -1, b"k", b"\x00\xff{", (("trace", b"\x00"),))
    assert [one.outcome for one in rig.decisions.decisions("flights", 9)] == [
        DecisionAnswer.RETRAIN,
        DecisionAnswer.HOLD,
    ]
    assert [(job.job_id, job.state) for job in rig.decisions.jobs()] == [("flights-1", JobState.TRAINING)]
    assert [(row.number, row.act) for row in rig.decisions.ledger("flights")] == [(1, Act.INTENDED), (2, Act.VERIFIED)]
    assert [one.request_id for one in rig.decisions.requests()] == ["pause-1"]
    assert rig.decisions.memory("flights") == b'{"a": 1}'
    assert rig.ingest.claim("ingest", "a", NOW).epoch == 2
    assert rig.ingest.claim("ingest", "a", NOW).manifest == "d8f854"


def test_its_segments_are_parts_of_one_commit(path: Path) -> None:
    rig = SqlRig(path)
    rows = list(rig.ingest.segments())
    assert [one.number for one in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[0].parts == (StoredPart(number=1, records=3, newest=None, watermarks={}),)
    assert rows[2].parts == (
        StoredPart(number=3, records=3, newest=NOW + 2 * MINUTE, watermarks={"flights": NOW + MINUTE, "other": NOW}),
    )
    assert [one.name for one in rows if one.content is None] == ["000001-00000004.parquet"]
    content = rows[5].content
    assert content is not None
    assert [(one.partition, list(one.offsets)) for one in LocalSegments(path.parent).unpack(content)] == [
        (AT, [10, 11]),
        (OTHER, [5]),
    ]


def test_it_works_on_as_a_new_one_does(path: Path) -> None:
    rig = SqlRig(path)
    lease = rig.ingest.claim("ingest", "a", NOW)
    rig.ingest.commit(flush(lease, moves={AT: (12, 13)}, segment=segment("b"), catching_up=True))
    assert list(rig.ingest.segments(after=5))[1].number == 7
    controller = rig.decisions.claim("controller", "a", NOW)
    merged = MergedSegment(name="c-1", size=9, replaces=[1, 2, 3])
    assert rig.housekeeping.merge_segments(controller, merged) == []
    assert [one.size is None for one in rig.housekeeping.outlines(after=0, limit=9)] == [
        False,
        True,
        False,
        False,
        False,
    ]


def test_the_tables_are_those_of_a_new_one(path: Path, tmp_path: Path) -> None:
    SqlRig(path).ingest.positions()
    SqlRig(tmp_path / "new.db").ingest.positions()
    assert described(path) == described(tmp_path / "new.db")
    assert set(migrations.STEPS) == set(range(1, schema.VERSION))
    assert pragma(path, "auto_vacuum") == 2  # INCREMENTAL: the file of the dump was made without


def test_it_is_told_and_a_copy_is_kept(path: Path) -> None:
    before, entries = dump(path), Entries()
    for _ in range(2):
        database = Database(f"sqlite:///{path}", logger=entries.logger)
        SqlIngestState(database).positions()
        database.close()
    (told,) = entries.of("manifest.migrated")
    assert (told["from"], told["to"], told["database"]) == (1, 2, str(path))
    assert dump(path.with_name("retrainer.db.v1.bak")) == before
    assert sorted(one.name for one in path.parent.iterdir()) == ["retrainer.db", "retrainer.db.v1.bak"]


def _half_way(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE segments ADD COLUMN first BIGINT"))
    connection.execute(text("DELETE FROM ledger"))
    raise ZeroDivisionError


def test_a_migration_that_fails_changes_nothing_and_is_taken_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dump(path)
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "STEPS", {1: _half_way})
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                SqlRig(path).ingest.positions()
    SqlRig.close_all()
    assert dump(path) == before
    assert SqlRig(path).ingest.positions()[AT].position == 12


def test_without_room_for_the_copy_nothing_is_migrated(path: Path) -> None:
    before = dump(path)
    hindrance = path.with_name("retrainer.db.v1.bak.part")
    hindrance.mkdir()
    with pytest.raises(Unreachable, match="needs"):
        SqlRig(path).ingest.positions()
    SqlRig.close_all()
    assert dump(path) == before
    hindrance.rmdir()
    assert SqlRig(path).ingest.positions()[AT].position == 12


def _die_half_way(path: Path) -> None:
    """A process that is killed inside the migration."""

    def step(connection: Connection) -> None:
        migrations_step(connection)
        os._exit(9)

    migrations_step = migrations.STEPS[1]
    migrations.STEPS = {1: step}  # type: ignore[misc]  # in this process alone
    SqlRig(path).ingest.positions()


def test_a_migration_that_was_killed_is_taken_again(path: Path) -> None:
    before = dump(path)
    process = get_context("spawn").Process(target=_die_half_way, args=[path])
    process.start()
    process.join()
    assert process.exitcode == 9
    assert dump(path) == before
    assert len(list(SqlRig(path).ingest.segments())) == 6


def _open(path: Path) -> int:
    """How many migrations this process told of."""
    entries = Entries()
    database = Database(f"sqlite:///{path}", logger=entries.logger)
    assert SqlIngestState(database).positions()[Partition("labels", 0)].position == 6
    database.close()
    return len(entries.of("manifest.migrated"))


def test_of_several_that_open_it_at_once_one_migrates(path: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        assert sum(pool.map(_open, [path] * 3)) == 1
    assert len(list(SqlRig(path).ingest.segments())) == 6


def test_a_copy_of_before_can_be_gone_back_to(path: Path) -> None:
    SqlRig(path).ingest.positions()
    SqlRig.close_all()
    path.with_name("retrainer.db.v1.bak").replace(path)
    assert SqlRig(path).ingest.positions()[AT].position == 12
