"""What every `HousekeepingState` promises, and what merging looks like to those who read segments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from retrainer.adapters.manifest import segments as rows
from retrainer.domain.deciding.jobs import JobState, job_for
from retrainer.errors import Fenced, Refused, Unreachable
from retrainer.ports.manifest.housekeeping import MergedSegment, SegmentOutline
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.segments import StoredPart
from tests.contract.states import AT, NOW, MemoryRig, Rig, SqlRig, begun, decision, flush, segment, step


@pytest.fixture(params=["memory", "sqlite"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    yield MemoryRig() if request.param == "memory" else SqlRig(tmp_path / "state" / "retrainer.db")
    SqlRig.close_all()


@pytest.fixture
def controller(rig: Rig) -> Lease:
    """The lease of a controller, over five segments of 1 to 5 records; the fourth is a file."""
    worker = begun(rig.ingest)
    for n in range(1, 6):
        facts = {"records": n, "newest": 10 * n, "watermarks": {"flights": n}, "ranges": {AT: (n, n + 1)}}
        content = {"inline": bytes(n)} if n != 4 else {"inline": None, "size": 4000}
        rig.ingest.commit(flush(worker, segment=segment(f"s{n}", **facts, **content)))
    return rig.decisions.claim("controller", "here/1", NOW)


def merged(name: str, *numbers: int) -> MergedSegment:
    return MergedSegment(name=name, size=100, replaces=numbers)


def seen(rig: Rig, after: int = 0, reaching: int | None = None) -> list[tuple[str, list[int], int]]:
    """The segments that a reader meets: name, numbers of the parts, records to skip."""
    rows = rig.ingest.segments(after=after, reaching=reaching)
    return [(one.name, [part.number for part in one.parts], one.skip) for one in rows]


@pytest.mark.usefixtures("controller")
def test_outlines_come_in_order_and_in_pieces(rig: Rig) -> None:
    two = rig.housekeeping.outlines(after=2, limit=2)
    assert two == [
        SegmentOutline(number=3, first=3, name="s3", size=3, records=3, newest=30),
        SegmentOutline(number=4, first=4, name="s4", size=4000, records=4, newest=40),
    ]
    assert [one.number for one in rig.housekeeping.outlines(after=0, limit=99)] == [1, 2, 3, 4, 5]
    assert rig.housekeeping.last_part() == 5
    assert rig.housekeeping.segment_files() == {"s4"}


def test_a_new_manifest_has_nothing_to_keep(rig: Rig) -> None:
    assert rig.housekeeping.last_part() == 0
    assert rig.housekeeping.outlines(after=0, limit=9) == []
    assert rig.housekeeping.oldest_snapshot() is None
    assert rig.housekeeping.shrink() is False


def test_merging_keeps_every_part(rig: Rig, controller: Lease) -> None:
    assert list(rig.housekeeping.merge_segments(controller, merged("m", 2, 3, 4))) == ["s4"]
    _, found, _ = rig.decisions.segments()
    assert (found.number, found.name, found.content) == (4, "m", None)
    assert found.parts == tuple(
        StoredPart(number=n, records=n, newest=10 * n, watermarks={"flights": n}) for n in (2, 3, 4)
    )
    assert rig.housekeeping.outlines(after=1, limit=1) == [
        SegmentOutline(number=4, first=2, name="m", size=100, records=9, newest=40)
    ]
    assert rig.ingest.segment_files() == {"m"}


def test_what_was_merged_is_merged_again(rig: Rig, controller: Lease) -> None:
    rig.housekeeping.merge_segments(controller, merged("m", 1, 2))
    rig.housekeeping.merge_segments(controller, merged("n", 3, 4))
    assert sorted(rig.housekeeping.merge_segments(controller, merged("o", 2, 4))) == ["m", "n"]
    assert seen(rig) == [("o", [1, 2, 3, 4], 0), ("s5", [5], 0)]
    assert next(iter(rig.ingest.segments())).parts[2] == StoredPart(
        number=3, records=3, newest=30, watermarks={"flights": 3}
    )


def test_numbers_are_never_given_again(rig: Rig, controller: Lease) -> None:
    rig.housekeeping.merge_segments(controller, merged("m", 4, 5))
    worker = rig.ingest.claim("ingest", "here/2", NOW)
    rig.ingest.commit(flush(worker, segment=segment("s6")))
    rig.housekeeping.remove_segments(controller, [5, 6], {"flights"})
    rig.ingest.commit(flush(worker, segment=segment("s7")))
    assert seen(rig)[-1] == ("s7", [7], 0)


@pytest.mark.parametrize("numbers", [(1, 3), (2, 3, 9), (), (3, 2)])
def test_only_neighbours_that_are_there_are_merged(rig: Rig, controller: Lease, numbers: tuple[int, ...]) -> None:
    with pytest.raises(Refused, match="not there"):
        rig.housekeeping.merge_segments(controller, merged("m", *numbers))
    assert [name for name, _, _ in seen(rig)] == ["s1", "s2", "s3", "s4", "s5"]


def test_a_controller_that_lost_its_lease_changes_nothing(rig: Rig, controller: Lease) -> None:
    rig.decisions.claim("controller", "there/2", NOW)
    with pytest.raises(Fenced):
        rig.housekeeping.merge_segments(controller, merged("m", 1, 2))
    with pytest.raises(Fenced):
        rig.housekeeping.remove_segments(controller, [1], {"flights"})
    assert len(seen(rig)) == 5


# Reading meanwhile


def test_a_reader_goes_on_after_a_part(rig: Rig, controller: Lease) -> None:
    assert seen(rig, after=3) == [("s4", [4], 0), ("s5", [5], 0)]
    rig.housekeeping.merge_segments(controller, merged("m", 2, 3, 4))
    assert seen(rig, after=1) == [("m", [2, 3, 4], 0), ("s5", [5], 0)]
    assert seen(rig, after=3) == [("m", [2, 3, 4], 2 + 3), ("s5", [5], 0)]
    assert seen(rig, after=4) == [("s5", [5], 0)]
    assert seen(rig, after=5) == []


@pytest.mark.parametrize("rows_at_once", [1, 2, 32])
def test_a_reader_meets_every_part_once_whatever_is_merged(
    rig: Rig, controller: Lease, rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_ROWS_AT_ONCE", rows_at_once)
    reading = rig.ingest.segments()
    first = next(reading)
    last_met, met = first.number, [part.number for part in first.parts]
    worker = rig.ingest.claim("ingest", "here/2", NOW)
    rig.ingest.commit(flush(worker, segment=segment("s6")))
    rig.housekeeping.merge_segments(controller, merged("m", 1, 2, 3))
    rig.housekeeping.merge_segments(controller, merged("n", 4, 5, 6))
    for one in reading:
        assert one.skip == sum(part.records for part in one.parts if part.number <= last_met)
        met += [part.number for part in one.parts if part.number > last_met]
        last_met = one.number
    assert met[:5] == [1, 2, 3, 4, 5]
    assert met[5:] in ([], [6])  # it was committed after the reader had begun


def test_a_merged_segment_reaches_as_far_as_its_newest_part(rig: Rig, controller: Lease) -> None:
    rig.housekeeping.merge_segments(controller, merged("m", 1, 2, 3))
    assert [name for name, _, _ in seen(rig, reaching=25)] == ["m", "s4", "s5"]
    assert [name for name, _, _ in seen(rig, reaching=35)] == ["s4", "s5"]


# Forgetting


def test_forgotten_segments_are_gone(rig: Rig, controller: Lease) -> None:
    assert list(rig.housekeeping.remove_segments(controller, [1, 2, 4], {"flights"}) or ()) == ["s4"]
    assert [name for name, _, _ in seen(rig)] == ["s3", "s5"]
    assert rig.housekeeping.remove_segments(controller, [1], {"flights"}) == []


def test_nothing_is_forgotten_while_a_job_of_a_model_is_unfinished(rig: Rig, controller: Lease) -> None:
    job = job_for(decision("flights@1"), 1)
    rig.decisions.store_steps([step(controller, decisions=[decision("flights@1")], jobs=[job])])
    assert rig.housekeeping.remove_segments(controller, [1], {"flights", "other"}) is None
    assert len(seen(rig)) == 5
    assert rig.housekeeping.remove_segments(controller, [1], {"other"}) == []
    rig.decisions.put_job(controller, job.end(JobState.FAILED, NOW))
    assert rig.housekeeping.remove_segments(controller, [2], {"flights"}) == []
    assert len(seen(rig)) == 3


# The twin's own


@pytest.mark.parametrize(("boundary", "names"), [("compact.begin", ["s1", "s2"]), ("compact.end", ["m"])])
def test_the_twin_merges_all_or_nothing(boundary: str, names: list[str]) -> None:
    rig = MemoryRig()
    worker = begun(rig.ingest)
    for name in ("s1", "s2"):
        rig.ingest.commit(flush(worker, segment=segment(name)))
    lease = rig.decisions.claim("controller", "here/1", NOW)

    def fail_at(place: str) -> None:
        if place == boundary:
            raise ZeroDivisionError(place)

    rig.manifest.fail_at = fail_at
    with pytest.raises(ZeroDivisionError):
        rig.housekeeping.merge_segments(lease, merged("m", 1, 2))
    assert [name for name, _, _ in seen(rig)] == names


def test_the_twin_can_be_away() -> None:
    rig = MemoryRig()
    lease = rig.decisions.claim("controller", "here/1", NOW)
    rig.manifest.go_away()
    for call in (
        rig.housekeeping.last_part,
        rig.housekeeping.shrink,
        rig.housekeeping.oldest_snapshot,
        lambda: rig.housekeeping.outlines(after=0, limit=1),
        lambda: rig.housekeeping.merge_segments(lease, merged("m", 1, 2)),
        lambda: rig.housekeeping.remove_segments(lease, [1], ()),
    ):
        with pytest.raises(Unreachable):
            call()
