"""What every `IngestState` promises about snapshots, and about what was late or far behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retrainer.domain.join.ingest import ModelDelta, Progress
from retrainer.errors import Fenced, RetrainerError
from retrainer.ports.manifest.snapshots import NewSnapshot, StoredSnapshot
from tests.contract.states import AT, NOW, OTHER, MemoryRig, Rig, SqlRig, begun, flush, segment


@pytest.fixture(params=["memory", "sqlite"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    yield MemoryRig() if request.param == "memory" else SqlRig(tmp_path / "state" / "retrainer.db")
    SqlRig.close_all()


def snapshot(name: str, **changes: Any) -> NewSnapshot:
    facts = {"positions": {AT: 0}, "fingerprints": {"flights": "f1"}, "size": 1000}
    return NewSnapshot(name=name, **{**facts, **changes})


def test_a_snapshot_is_found_with_all_its_facts(rig: Rig) -> None:
    lease = begun(rig.ingest, AT, OTHER)
    assert rig.ingest.snapshots("ingest") == []
    rig.ingest.commit(flush(lease, moves={AT: (0, 3)}, segment=segment("a")))
    rig.ingest.commit(flush(lease, moves={OTHER: (0, 1)}, segment=segment("b")))
    rig.ingest.register_snapshot(lease, snapshot("one", positions={AT: 3, OTHER: 1}), NOW + 7)
    assert list(rig.ingest.snapshots("ingest")) == [
        StoredSnapshot(
            number=1,
            shard="ingest",
            name="one",
            segment=2,
            positions={AT: 3, OTHER: 1},
            fingerprints={"flights": "f1"},
            size=1000,
            taken_at=NOW + 7,
        )
    ]
    assert rig.ingest.snapshot_files() == {"one"}
    assert rig.housekeeping.oldest_snapshot() == 2


def test_a_snapshot_of_nothing_goes_on_from_the_first_part(rig: Rig) -> None:
    lease = begun(rig.ingest)
    rig.ingest.register_snapshot(lease, snapshot("one"), NOW)
    assert rig.ingest.snapshots("ingest")[0].segment == 0


def test_the_newest_of_a_shard_are_kept(rig: Rig) -> None:
    lease, another = begun(rig.ingest), rig.ingest.claim("another", "here/1", NOW)
    rig.ingest.register_snapshot(another, snapshot("theirs"), NOW)
    for name in ("one", "two", "three"):
        rig.ingest.commit(flush(lease, segment=segment(f"s-{name}")))
        rig.ingest.register_snapshot(lease, snapshot(name), NOW)
    assert [one.name for one in rig.ingest.snapshots("ingest")] == ["three", "two"]
    assert [one.name for one in rig.ingest.snapshots("another")] == ["theirs"]
    assert rig.ingest.snapshot_files() == {"three", "two", "theirs"}
    assert rig.housekeeping.oldest_snapshot() == 0


@pytest.mark.parametrize("believed", [{AT: 2}, {AT: 4}, {AT: 3, OTHER: 0}])
def test_a_snapshot_of_other_positions_fences(rig: Rig, believed: dict[Any, int]) -> None:
    lease = begun(rig.ingest)
    rig.ingest.commit(flush(lease, moves={AT: (0, 3)}))
    with pytest.raises(Fenced, match="position"):
        rig.ingest.register_snapshot(lease, snapshot("one", positions=believed), NOW)
    assert rig.ingest.snapshots("ingest") == []


def test_whoever_lost_the_lease_registers_no_snapshot(rig: Rig) -> None:
    old = begun(rig.ingest)
    rig.ingest.claim("ingest", "there/2", NOW)
    with pytest.raises(Fenced, match="ingest"):
        rig.ingest.register_snapshot(old, snapshot("one"), NOW)
    assert rig.ingest.snapshot_files() == set()


def test_a_snapshot_has_its_name_alone(rig: Rig) -> None:
    lease = begun(rig.ingest)
    rig.ingest.register_snapshot(lease, snapshot("one"), NOW)
    with pytest.raises(RetrainerError):
        rig.ingest.register_snapshot(lease, snapshot("one"), NOW)
    assert len(rig.ingest.snapshots("ingest")) == 1


# Far behind, and late


def change(model: str, moved: int) -> ModelDelta:
    return ModelDelta(model=model, progress=Progress(watermark=NOW), tallies={}, counts={}, moved_to_open=moved)


def test_whether_it_is_catching_up_is_said_by_the_newest_commit(rig: Rig) -> None:
    lease = begun(rig.ingest)
    rebuilt = {"flights": "f1", "other": "o1"}
    rig.ingest.commit(flush(lease, deltas=[change("flights", 0), change("other", 0)], rebuilt=rebuilt))
    assert {stored.catching_up for stored in rig.ingest.model_progress().values()} == {False}
    rig.ingest.commit(flush(lease, deltas=[change("flights", 0), change("other", 0)], catching_up=True))
    assert {stored.catching_up for stored in rig.decisions.model_progress().values()} == {True}
    rig.ingest.commit(flush(lease, deltas=[change("flights", 0)]))
    stored = rig.ingest.model_progress()
    assert (stored["flights"].catching_up, stored["other"].catching_up) == (False, True)


def test_outcomes_of_closed_slots_are_added_up_until_the_model_is_rebuilt(rig: Rig) -> None:
    lease = begun(rig.ingest)
    rig.ingest.commit(flush(lease, deltas=[change("flights", 2), change("other", 1)], rebuilt={"flights": "f1"}))
    rig.ingest.commit(flush(lease, deltas=[change("flights", 3)]))
    assert rig.ingest.model_progress()["flights"].moved == 5
    assert rig.decisions.ingest_view().moved == {"flights": 5}
    rig.ingest.commit(flush(lease, deltas=[change("flights", 1)], rebuilt={"flights": "f2"}))
    assert rig.decisions.ingest_view().moved == {"flights": 1}
