"""Records are read back once each, whatever becomes of the files meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from retrainer.adapters.memory.segments import MemorySegments
from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Partition
from retrainer.errors import Refused
from retrainer.ports.manifest.housekeeping import MergedSegment
from retrainer.ports.manifest.segments import StoredPart
from retrainer.service.reading import read_parts
from tests.contract.states import AT, NOW, OTHER, MemoryRig, Rig, SqlRig, begun, flush, segment


@pytest.fixture(params=["memory", "sqlite"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    yield MemoryRig() if request.param == "memory" else SqlRig(tmp_path / "retrainer.db")
    SqlRig.close_all()


def batch(partition: Partition, *offsets: int) -> RecordBatch:
    return RecordBatch(partition, offsets, offsets, [None] * len(offsets), [b"{}"] * len(offsets))


@pytest.fixture
def files(rig: Rig) -> MemorySegments:
    """Five commits, each in a file: two records of one partition and one of the other; `newest` is 10 to 50."""
    files = MemorySegments()
    worker = begun(rig.ingest)
    for n in range(1, 6):
        content = files.pack([batch(AT, 2 * n, 2 * n + 1), batch(OTHER, n)])
        files.write(f"s{n}", content)
        new = segment(f"s{n}", inline=None, size=len(content), records=3, newest=10 * n, watermarks={"m": n})
        rig.ingest.commit(flush(worker, segment=new))
    return files


def merge(rig: Rig, files: MemorySegments, name: str, *numbers: int) -> None:
    """Put a file in the place of several, which are removed at once."""
    lease = rig.decisions.claim("controller", "here/1", NOW)
    batches = [one for _, share in read_parts(rig.ingest, files, after=numbers[0] - 1) for one in share]
    content = files.pack(batches[: 2 * (numbers[-1] - numbers[0] + 1)])
    files.write(name, content)
    for old in rig.housekeeping.merge_segments(lease, MergedSegment(name=name, size=len(content), replaces=numbers)):
        files.remove(old)


def told(parts: Iterable[tuple[StoredPart, Sequence[RecordBatch]]]) -> list[tuple[int, dict[str, list[int]]]]:
    """Each part's number with its offsets by topic."""
    return [(part.number, {one.partition.topic: list(one.offsets) for one in share}) for part, share in parts]


def commit(n: int) -> tuple[int, dict[str, list[int]]]:
    return (n, {AT.topic: [2 * n, 2 * n + 1], OTHER.topic: [n]})


def test_each_commit_comes_with_its_own_records(rig: Rig, files: MemorySegments) -> None:
    assert told(read_parts(rig.ingest, files)) == [commit(n) for n in range(1, 6)]
    merge(rig, files, "m", 2, 3, 4)
    assert told(read_parts(rig.ingest, files)) == [commit(n) for n in range(1, 6)]
    assert [part.watermarks for part, _ in read_parts(rig.ingest, files)] == [{"m": n} for n in range(1, 6)]


@pytest.mark.parametrize("after", range(6))
def test_it_goes_on_inside_a_merged_segment(rig: Rig, files: MemorySegments, after: int) -> None:
    merge(rig, files, "m", 2, 3, 4)
    assert told(read_parts(rig.ingest, files, after=after)) == [commit(n) for n in range(after + 1, 6)]


@pytest.mark.parametrize("reaching", [5, 10, 25, 30, 50, 51])
def test_what_is_too_old_is_left_out_of_a_merged_segment_too(rig: Rig, files: MemorySegments, reaching: int) -> None:
    small = told(read_parts(rig.ingest, files, reaching=reaching))
    merge(rig, files, "m", 1, 2, 3)
    assert told(read_parts(rig.ingest, files, reaching=reaching)) == small


def test_files_that_are_merged_away_under_the_reader_are_found_in_the_new_one(rig: Rig, files: MemorySegments) -> None:
    reading = read_parts(rig.ingest, files)
    met = told([next(reading)])
    merge(rig, files, "m", 1, 2, 3)
    met += told([next(reading)])
    merge(rig, files, "n", 4, 5)
    assert met + told(reading) == [commit(n) for n in range(1, 6)]


def test_a_file_that_is_gone_for_no_reason_is_refused(rig: Rig, files: MemorySegments) -> None:
    files.remove("s3")
    reading = read_parts(rig.ingest, files)
    assert told([next(reading), next(reading)]) == [commit(1), commit(2)]
    with pytest.raises(Refused, match="s3"):
        next(reading)


def test_a_file_with_other_records_than_were_registered_is_refused(rig: Rig, files: MemorySegments) -> None:
    files.write("s2", files.pack([batch(AT, 4)]))
    with pytest.raises(Refused, match="s2"):
        told(read_parts(rig.ingest, files))
