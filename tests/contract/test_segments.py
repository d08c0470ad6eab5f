"""What every `Segments` promises."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrainer.adapters.files.segments import LocalSegments
from retrainer.adapters.memory.segments import MemorySegments
from retrainer.domain.batches import batches_of
from retrainer.domain.events import Partition, Record
from retrainer.errors import Refused, Unreachable
from retrainer.ports.segments import MERGED, Segments
from tests.effort import much

AT = Partition("predictions", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "segments"


@pytest.fixture(params=["memory", "local"])
def segments(request: pytest.FixtureRequest, folder: Path) -> Segments:
    return MemorySegments() if request.param == "memory" else LocalSegments(folder)


# Packing


def back_from(segments: Segments, records: Sequence[Record]) -> list[Record]:
    """What comes back of records, packed in runs of neighbours of one partition."""
    runs = [batches_of(list(run))[0] for _, run in groupby(records, key=lambda record: record.partition)]
    return [record for batch in segments.unpack(segments.pack(runs)) for record in batch.records()]


@pytest.mark.parametrize("value", [None, b"", b"\x00\xff\xfe", b"{}", bytes(range(256)) * 4096])
@pytest.mark.parametrize("key", [None, b"", b"\x00\xff"])
def test_a_record_comes_back_as_it_was(segments: Segments, key: bytes | None, value: bytes | None) -> None:
    record = Record(AT, 2**40, 1_700_000_000_123, key, value, (("trace", b"\x00\xff"), ("trace", b""), ("", b"\xc3")))
    assert back_from(segments, [record]) == [record]


def test_records_keep_their_order_and_their_partitions(segments: Segments) -> None:
    partitions = [Partition(topic, number) for topic in ("b", "a") for number in (1, 0)]
    records = [Record(at, offset, -1, None, b"%d" % offset) for offset in (3, 1, 2) for at in partitions]
    back = back_from(segments, records)
    assert back == records
    assert all(type(one) is Record and type(one.partition) is Partition for one in back)


def test_no_records_are_none(segments: Segments) -> None:
    assert list(segments.unpack(segments.pack([]))) == []


@pytest.mark.parametrize("content", [b"", b"something else", b"PAR1"])
def test_bytes_that_are_no_segment_are_refused(segments: Segments, content: bytes) -> None:
    with pytest.raises(Refused):
        segments.unpack(content)


def test_a_damaged_segment_is_refused(segments: Segments) -> None:
    content = segments.pack(batches_of([Record(AT, offset, 0, None, b"value") for offset in range(100)]))
    with pytest.raises(Refused):
        segments.unpack(content[: len(content) // 2])


RECORDS = st.lists(
    st.builds(
        Record,
        st.builds(Partition, st.text(max_size=5), st.integers(0, 2**31 - 1)),
        st.integers(0, 2**63 - 1),
        st.integers(-(2**63), 2**63 - 1),
        st.none() | st.binary(max_size=20),
        st.none() | st.binary(max_size=200),
        st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=3).map(tuple),
    ),
    max_size=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=much(60), deadline=None)
@given(records=RECORDS)
def test_whatever_a_log_can_hold_comes_back(segments: Segments, records: list[Record]) -> None:
    assert back_from(segments, records) == records


# Keeping


def test_what_was_written_can_be_read(segments: Segments) -> None:
    segments.write("one.parquet", b"content")
    segments.write("two.parquet", b"\x00" * 2**20)
    assert segments.read("one.parquet") == b"content"
    assert segments.read("two.parquet") == b"\x00" * 2**20


def test_a_segment_that_is_not_there_is_refused(segments: Segments) -> None:
    with pytest.raises(Refused, match=r"one\.parquet"):
        segments.read("one.parquet")


def test_only_what_is_registered_survives_a_sweep(segments: Segments) -> None:
    for name in ("000001-kept.parquet", "000001-b.parquet", "000002-a.parquet"):
        segments.write(name, name.encode())
    known = {"000001-kept.parquet", "000001-gone.parquet"}
    assert list(segments.sweep(known, epoch=2)) == ["000001-b.parquet", "000002-a.parquet"]
    assert segments.read("000001-kept.parquet") == b"000001-kept.parquet"
    assert list(segments.sweep(known, epoch=2)) == []
    with pytest.raises(Refused):
        segments.read("000002-a.parquet")


def test_a_sweep_leaves_alone_what_another_may_be_about_to_register(segments: Segments) -> None:
    names = ["000002-1.parquet", "000003-1.parquet", "c-000002-1.parquet", "c-000003-1.parquet", "notes.txt"]
    for name in names:
        segments.write(name, b"content")
    assert list(segments.sweep(set(), epoch=2)) == ["000002-1.parquet"]
    assert list(segments.sweep(set(), epoch=2, prefix=MERGED)) == ["c-000002-1.parquet"]
    for name in ("000003-1.parquet", "c-000003-1.parquet", "notes.txt"):
        assert segments.read(name) == b"content"


def test_a_file_that_nothing_needs_is_removed_once(segments: Segments) -> None:
    segments.write("one.parquet", b"content")
    for _ in range(2):
        segments.remove("one.parquet")
        with pytest.raises(Refused):
            segments.read("one.parquet")


def test_a_sweep_before_anything_was_written(segments: Segments) -> None:
    assert list(segments.sweep(set(), epoch=9)) == []


# Interrupted writes, in the twin


def _raise_at(boundary: str) -> Callable[[str], None]:
    def fail_at(place: str) -> None:
        if place == boundary:
            raise ZeroDivisionError(place)

    return fail_at


def test_the_twin_leaves_an_unfinished_file_of_a_write_that_crashed() -> None:
    segments = MemorySegments(_raise_at("segment.write"))
    with pytest.raises(ZeroDivisionError):
        segments.write("1-one.parquet", b"content")
    with pytest.raises(Refused):
        segments.read("1-one.parquet")
    assert segments.sweep({"1-one.parquet"}, epoch=1) == ["1-one.parquet.part"]


def test_the_twin_keeps_a_file_whose_writer_crashed_afterwards() -> None:
    segments = MemorySegments(_raise_at("segment.written"))
    with pytest.raises(ZeroDivisionError):
        segments.write("one.parquet", b"content")
    assert segments.read("one.parquet") == b"content"


def test_the_twin_can_be_away() -> None:
    segments = MemorySegments()
    segments.write("one.parquet", b"content")
    segments.go_away()
    calls: list[Callable[[], object]] = [
        lambda: segments.write("two.parquet", b""),
        lambda: segments.read("one.parquet"),
        lambda: segments.sweep(set(), epoch=9),
        lambda: segments.remove("one.parquet"),
    ]
    for call in calls:
        with pytest.raises(Unreachable):
            call()
    segments.come_back()
    assert segments.read("one.parquet") == b"content"


# Interrupted writes, in a folder


def test_an_unfinished_file_is_never_read_and_is_swept(folder: Path) -> None:
    segments = LocalSegments(folder)
    segments.write("1-kept.parquet", b"content")
    (folder / "1-one.parquet.part").write_bytes(b"half")
    (folder / "1-kept.parquet.part").write_bytes(b"half")
    (folder / "1-folder").mkdir()
    with pytest.raises(Refused):
        segments.read("1-one.parquet")
    assert segments.read("1-kept.parquet") == b"content"
    assert segments.sweep({"1-kept.parquet"}, epoch=1) == ["1-kept.parquet.part", "1-one.parquet.part"]
    assert sorted(path.name for path in folder.iterdir()) == ["1-folder", "1-kept.parquet"]


def test_a_reader_never_sees_part_of_a_file(folder: Path) -> None:
    segments = LocalSegments(folder)
    content = os.urandom(2**20)

    def write() -> None:
        for number in range(20):
            segments.write(f"{number}.parquet", content)

    writer = threading.Thread(target=write)
    writer.start()
    sizes: set[int] = set()
    while writer.is_alive():
        sizes |= {path.stat().st_size for path in folder.glob("*.parquet")}
    writer.join()
    assert sizes <= {len(content)}
    assert [path.name for path in folder.iterdir() if path.suffix != ".parquet"] == []


def test_bytes_and_name_are_on_the_disk_before_it_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acts: list[str] = []
    sync, rename = os.fsync, Path.rename

    def fsync(descriptor: int) -> None:
        acts.append("folder" if Path(f"/proc/self/fd/{descriptor}").resolve() == folder else "bytes")
        sync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        acts.append("name")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", renamed)
    LocalSegments(folder).write("one.parquet", b"content")
    assert acts == ["bytes", "name", "folder"]


def test_after_a_failed_sync_the_file_is_discarded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        raise OSError(28, "no space left on device")

    segments = LocalSegments(folder)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with pytest.raises(Unreachable, match="no space"):
            segments.write("one.parquet", b"content")
    assert list(folder.iterdir()) == []
    segments.write("one.parquet", b"content")
    assert segments.read("one.parquet") == b"content"


def test_a_folder_that_fails_is_out_of_reach(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = LocalSegments(folder)
    segments.write("1-one.parquet", b"content")

    def fails(*_: object, **__: object) -> bytes:
        raise OSError(5, "input/output error")

    calls: list[tuple[str, Callable[[], object]]] = [
        ("read_bytes", lambda: segments.read("1-one.parquet")),
        ("unlink", lambda: segments.sweep(set(), epoch=1)),
        ("unlink", lambda: segments.remove("1-one.parquet")),
    ]
    for act, call in calls:
        with monkeypatch.context() as patched:
            patched.setattr(Path, act, fails)
            with pytest.raises(Unreachable, match="input/output error"):
                call()
    assert segments.read("1-one.parquet") == b"content"
