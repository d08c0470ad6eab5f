"""What every `IngestState` promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from retrainer.adapters.memory.manifest import MemoryManifest
from retrainer.adapters.memory.state import MemoryIngestState
from retrainer.domain.events import Partition, Record, RecordQuarantined, Side
from retrainer.domain.join.ingest import Progress
from retrainer.errors import Fenced, Refused, RetrainerError, Unreachable
from retrainer.ports.manifest.ingest import IngestState
from retrainer.ports.manifest.progress import StoredPosition, StoredProgress
from tests.contract.states import (
    AT,
    NOW,
    OTHER,
    MemoryRig,
    Rig,
    SqlRig,
    begun,
    delta,
    flush,
    joined,
    key,
    segment,
)


@pytest.fixture(params=["memory", "sqlite"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    yield MemoryRig() if request.param == "memory" else SqlRig(tmp_path / "state" / "retrainer.db")
    SqlRig.close_all()


@pytest.fixture
def state(rig: Rig) -> IngestState:
    return rig.ingest


# Leases


def test_every_claim_has_a_higher_epoch(state: IngestState) -> None:
    assert [state.claim("ingest", owner, NOW).epoch for owner in ("a", "b", "a")] == [1, 2, 3]
    assert state.claim("another", "a", NOW).epoch == 1


def test_a_lease_names_its_manifest(rig: Rig, tmp_path: Path) -> None:
    ours = {rig.ingest.claim(name, "a", NOW).manifest for name in ("ingest", "ingest", "another")}
    ours |= {rig.decisions.claim("controller", "a", NOW).manifest}
    other = MemoryRig() if isinstance(rig, MemoryRig) else SqlRig(tmp_path / "other.db")
    assert len(ours) == 1
    assert other.ingest.claim("ingest", "a", NOW).manifest not in {"", *ours}


def test_whoever_lost_the_lease_writes_nothing(state: IngestState) -> None:
    old = begun(state)
    state.claim("ingest", "there/2", NOW)
    with pytest.raises(Fenced, match="ingest"):
        state.begin(old, {OTHER: StoredPosition(position=0, topic_id="")})
    with pytest.raises(Fenced, match="ingest"):
        state.commit(flush(old, moves={AT: (0, 1)}, segment=segment("a")))
    assert set(state.positions()) == {AT}
    assert state.positions()[AT].position == 0
    assert list(state.segments()) == []


def test_a_lease_of_another_name_is_no_hindrance(state: IngestState) -> None:
    lease = begun(state)
    state.claim("controller", "there/2", NOW)
    state.commit(flush(lease, moves={AT: (0, 1)}))
    assert state.positions()[AT].position == 1


# Positions


def test_a_new_manifest_is_empty(state: IngestState) -> None:
    assert state.positions() == {}
    assert state.model_progress() == {}
    assert list(state.segments()) == []
    assert state.segment_files() == set()


def test_begin_registers_partitions(state: IngestState) -> None:
    lease = state.claim("ingest", "here/1", NOW)
    first = {AT: StoredPosition(position=7, topic_id="id-1"), OTHER: StoredPosition(position=0, topic_id="")}
    state.begin(lease, first)
    state.begin(lease, {})
    assert state.positions() == first


def test_a_partition_that_is_registered_is_not_registered_again(state: IngestState) -> None:
    lease = begun(state)
    state.commit(flush(lease, moves={AT: (0, 5)}))
    with pytest.raises(RetrainerError):
        state.begin(
            lease,
            {OTHER: StoredPosition(position=0, topic_id=""), AT: StoredPosition(position=0, topic_id="id-1")},
        )
    assert state.positions() == {AT: StoredPosition(position=5, topic_id="id-1")}


def test_positions_move_from_where_they_stand(state: IngestState) -> None:
    lease = begun(state, AT, OTHER)
    state.commit(flush(lease, moves={AT: (0, 5), OTHER: (0, 2)}))
    state.commit(flush(lease, moves={AT: (5, 6)}))
    assert {at: stored.position for at, stored in state.positions().items()} == {AT: 6, OTHER: 2}


@pytest.mark.parametrize("before", [0, 4, 6])
def test_a_position_that_is_not_as_believed_fences(state: IngestState, before: int) -> None:
    lease = begun(state, AT, OTHER)
    state.commit(flush(lease, moves={AT: (0, 5)}))
    with pytest.raises(Fenced, match="predictions-0"):
        state.commit(flush(lease, moves={OTHER: (0, 1), AT: (before, 9)}, segment=segment("a")))
    assert {at: stored.position for at, stored in state.positions().items()} == {AT: 5, OTHER: 0}
    assert list(state.segments()) == []


def test_a_partition_that_is_not_registered_fences(state: IngestState) -> None:
    lease = begun(state, AT)
    with pytest.raises(Fenced, match="labels-0"):
        state.commit(flush(lease, moves={AT: (0, 1), OTHER: (0, 1)}))
    assert state.positions()[AT].position == 0


def test_the_ends_are_kept_for_lag(rig: Rig) -> None:
    lease = begun(rig.ingest, AT, OTHER)
    rig.ingest.commit(flush(lease, moves={AT: (0, 1)}, ends={AT: 9, OTHER: 3}))
    rig.ingest.commit(flush(lease, moves={AT: (1, 2)}, ends={AT: 10, Partition("unknown", 0): 1}))
    assert rig.decisions.ingest_view().ends == {AT: 10, OTHER: 3}


# Tallies, counts, progress


def test_tallies_add_and_subtract(rig: Rig) -> None:
    lease = begun(rig.ingest)
    right, wrong = key(answer="late"), key(answer="on_time")
    rig.ingest.commit(flush(lease, deltas=[delta(tallies={right: 3, wrong: 1})], rebuilt={"flights": "f1"}))
    rig.ingest.commit(flush(lease, deltas=[delta(tallies={right: -1, wrong: 2, key(slot=11): 5})]))
    assert dict(rig.decisions.tallies("flights", None, 99)) == {right: 2, wrong: 3, key(slot=11): 5}


def test_a_cell_that_came_and_went_is_no_outcome(rig: Rig) -> None:
    lease = begun(rig.ingest)
    rig.ingest.commit(flush(lease, deltas=[delta(tallies={key(): 2, key(slot=11): 1})]))
    rig.ingest.commit(flush(lease, deltas=[delta(tallies={key(): -2})]))
    assert list(rig.decisions.tallies("flights", None, 99)) == [(key(slot=11), 1)]


def test_odd_names_are_kept_apart(rig: Rig) -> None:
    lease = begun(rig.ingest)
    odd = [key(truth=truth, version=version) for truth in ("", " ", "a\x00b", "é", "é") for version in ("", "1")]
    rig.ingest.commit(flush(lease, deltas=[delta(tallies={one: n for n, one in enumerate(odd, 1)})]))
    assert dict(rig.decisions.tallies("flights", None, 99)) == {one: n for n, one in enumerate(odd, 1)}


def test_counts_add_and_subtract(rig: Rig) -> None:
    lease = begun(rig.ingest)
    waiting = {(Side.LABELS, "consumed"): 2, (Side.LABELS, "waiting"): 2}
    rig.ingest.commit(flush(lease, deltas=[delta(counts=waiting), delta("other", counts=joined(1))]))
    met = {(Side.LABELS, "waiting"): -1, (Side.LABELS, "applied"): 1}
    rig.ingest.commit(flush(lease, deltas=[delta(counts=met)]))
    counts = rig.decisions.ingest_view().counts
    assert {status: n for status, n in counts["flights"].items() if n} == {
        (Side.LABELS, "consumed"): 2,
        (Side.LABELS, "waiting"): 1,
        (Side.LABELS, "applied"): 1,
    }
    assert counts["other"] == joined(1)


def test_progress_moves_with_the_commit(rig: Rig) -> None:
    lease = begun(rig.ingest)
    rig.ingest.commit(flush(lease, deltas=[delta()], rebuilt={"flights": "f1"}))
    assert rig.ingest.model_progress() == {"flights": StoredProgress(progress=Progress(), fingerprint="f1")}
    later = Progress(watermark=NOW, first_open=28_333_333)
    rig.ingest.commit(flush(lease, deltas=[delta(progress=later)]))
    assert rig.ingest.model_progress() == {"flights": StoredProgress(progress=later, fingerprint="f1")}
    assert rig.decisions.model_progress() == rig.ingest.model_progress()


def test_a_rebuilt_model_replaces_what_was_there(rig: Rig) -> None:
    lease = begun(rig.ingest)
    first = [delta(tallies={key(): 3}, counts=joined(3)), delta("other", tallies={key(): 9}, counts=joined(9))]
    rig.ingest.commit(flush(lease, deltas=first, rebuilt={"flights": "f1", "other": "o1"}))
    later = Progress(watermark=NOW, first_open=5)
    anew = [delta(tallies={key(slot=2): 1}, counts=joined(1), progress=later)]
    rig.ingest.commit(flush(lease, deltas=anew, rebuilt={"flights": "f2"}))
    assert list(rig.decisions.tallies("flights", None, 99)) == [(key(slot=2), 1)]
    assert list(rig.decisions.tallies("other", None, 99)) == [(key(), 9)]
    assert rig.decisions.ingest_view().counts == {"flights": joined(1), "other": joined(9)}
    assert rig.ingest.model_progress() == {
        "flights": StoredProgress(progress=later, fingerprint="f2"),
        "other": StoredProgress(progress=Progress(), fingerprint="o1"),
    }


def test_counts_that_do_not_add_up_are_refused(rig: Rig) -> None:
    lease = begun(rig.ingest)
    rig.ingest.commit(flush(lease, deltas=[delta(counts=joined(2))]))
    lost = {(Side.PREDICTIONS, "consumed"): 2, (Side.PREDICTIONS, "pending"): 1}
    with pytest.raises(Refused, match="do not add up"):
        rig.ingest.commit(flush(lease, moves={AT: (0, 2)}, segment=segment("a"), deltas=[delta(counts=lost)]))
    assert rig.ingest.positions()[AT].position == 0
    assert list(rig.ingest.segments()) == []
    assert rig.decisions.ingest_view().counts == {"flights": joined(2)}


# Segments


def test_segments_come_in_the_order_of_their_commits(state: IngestState) -> None:
    lease = begun(state)
    for position, name in enumerate(("b", "c", "a")):
        new = segment(name, inline=name.encode() if name != "c" else None, watermarks={"flights": position})
        state.commit(flush(lease, moves={AT: (position, position + 1)}, segment=new))
    found = list(state.segments())
    assert [one.number for one in found] == sorted(one.number for one in found)
    assert [(one.name, one.content, one.parts[0].watermarks) for one in found] == [
        ("b", b"b", {"flights": 0}),
        ("c", None, {"flights": 1}),
        ("a", b"a", {"flights": 2}),
    ]
    assert state.segment_files() == {"c"}


def test_only_segments_that_reach_a_time(rig: Rig) -> None:
    lease = begun(rig.ingest)
    for name, newest in (("old", 10), ("edge", 20), ("new", 30), ("poison", None)):
        rig.ingest.commit(flush(lease, segment=segment(name, newest=newest)))
    for state in (rig.ingest, rig.decisions):
        assert [one.name for one in state.segments(reaching=20)] == ["edge", "new"]
        assert [one.name for one in state.segments()] == ["old", "edge", "new", "poison"]


def test_segments_may_be_read_while_others_are_committed(state: IngestState) -> None:
    lease = begun(state)
    for name in ("a", "b"):
        state.commit(flush(lease, segment=segment(name)))
    reading = state.segments()
    assert next(reading).name == "a"
    state.commit(flush(lease, segment=segment("c")))
    assert [one.name for one in reading] == ["b"]


# Quarantine

POISON = [
    Record(AT, 3, 1_700_000_000_123, None, b"\x00\xff{", ()),
    Record(AT, 4, 0, b"", None, (("trace", b"\x00\xff"), ("trace", b""), ("", b"x"))),
    Record(OTHER, 3, 1, b"\xfe\x00", b"", ()),
]


def test_quarantined_records_keep_their_bytes(rig: Rig) -> None:
    lease = begun(rig.ingest)
    poison = [RecordQuarantined(record=record, reason=f"bad: {record.offset} \x00 é") for record in POISON]
    rig.ingest.commit(flush(lease, quarantined=poison))
    assert rig.quarantined() == sorted(poison, key=lambda one: one.record.partition)
    assert rig.decisions.ingest_view().quarantined == 3


def test_a_record_is_quarantined_once(rig: Rig) -> None:
    lease = begun(rig.ingest)
    one = RecordQuarantined(record=POISON[0], reason="bad")
    rig.ingest.commit(flush(lease, quarantined=[one]))
    with pytest.raises(RetrainerError):
        rig.ingest.commit(flush(lease, moves={AT: (0, 1)}, quarantined=[one]))
    assert rig.ingest.positions()[AT].position == 0


# All or nothing


def test_a_commit_that_fails_stores_nothing(rig: Rig) -> None:
    lease = begun(rig.ingest, AT, OTHER)
    first = delta(tallies={key(): 1}, counts=joined(1))
    rig.ingest.commit(flush(lease, moves={AT: (0, 1)}, segment=segment("a"), deltas=[first], rebuilt={"flights": "f"}))
    again = delta(tallies={key(): 5}, counts=joined(5), progress=Progress(watermark=NOW, first_open=1))
    poison = RecordQuarantined(record=POISON[0], reason="bad")
    whole = flush(
        lease,
        moves={AT: (1, 2), OTHER: (0, 1)},
        ends={AT: 2},
        segment=segment("a"),  # the name is taken
        deltas=[again],
        quarantined=[poison],
        rebuilt={"flights": "g", "other": "o"},
    )
    with pytest.raises(RetrainerError):
        rig.ingest.commit(whole)
    view = rig.decisions.ingest_view()
    assert {at: stored.position for at, stored in view.positions.items()} == {AT: 1, OTHER: 0}
    assert view.ends == {}
    assert view.counts == {"flights": joined(1)}
    assert rig.quarantined() == []
    assert [one.name for one in rig.ingest.segments()] == ["a"]
    assert list(rig.decisions.tallies("flights", None, 99)) == [(key(), 1)]
    assert rig.ingest.model_progress() == {"flights": StoredProgress(progress=Progress(), fingerprint="f")}


def test_a_commit_that_failed_may_be_repeated(state: IngestState) -> None:
    lease = begun(state)
    with pytest.raises(Fenced):
        state.commit(flush(lease, moves={AT: (1, 2)}, segment=segment("a")))
    state.commit(flush(lease, moves={AT: (0, 2)}, segment=segment("a")))
    assert [one.name for one in state.segments()] == ["a"]


# The twin's own


@pytest.mark.parametrize("boundary", ["commit.begin", "commit.middle"])
def test_the_twin_stores_nothing_of_a_commit_that_crashed(boundary: str) -> None:
    manifest = MemoryManifest()
    state = MemoryIngestState(manifest)
    lease = begun(state)
    manifest.fail_at = _raise_at(boundary)
    with pytest.raises(ZeroDivisionError):
        state.commit(flush(lease, moves={AT: (0, 1)}, segment=segment("a")))
    assert state.positions()[AT].position == 0
    assert list(state.segments()) == []


def test_the_twin_keeps_a_commit_whose_answer_was_lost() -> None:
    manifest = MemoryManifest()
    state = MemoryIngestState(manifest)
    lease = begun(state)
    manifest.fail_at = _raise_at("commit.end")
    with pytest.raises(ZeroDivisionError):
        state.commit(flush(lease, moves={AT: (0, 1)}))
    assert state.positions()[AT].position == 1


def test_the_twin_can_be_away() -> None:
    manifest = MemoryManifest()
    state = MemoryIngestState(manifest)
    lease = begun(state)
    manifest.go_away()
    calls: list[Callable[[], object]] = [
        state.positions,
        state.model_progress,
        state.segment_files,
        lambda: list(state.segments()),
        lambda: state.claim("ingest", "a", NOW),
        lambda: state.begin(lease, {}),
        lambda: state.commit(flush(lease)),
    ]
    for call in calls:
        with pytest.raises(Unreachable):
            call()
    manifest.come_back()
    state.commit(flush(lease, moves={AT: (0, 1)}))


def _raise_at(boundary: str) -> Callable[[str], None]:
    def fail_at(place: str) -> None:
        if place == boundary:
            raise ZeroDivisionError(place)

    return fail_at
