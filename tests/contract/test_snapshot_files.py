"""Files of snapshots that are damaged, and those that are being written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128

from retrainer.adapters.files.snapshots import LocalSnapshots
from retrainer.errors import Refused, Unreachable
from tests.contract.saved import AFTER, NAME, remembered, some, table
from tests.effort import much
from tests.small_disk import on_a_small_disk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "snapshots"


# Files that are not as they were written


@pytest.fixture
def written(folder: Path) -> Path:
    """A file of two models with something of everything."""
    models = {
        "flights": remembered(table(*(some(key) for key in (1, 2, 2, 3)), *AFTER[:2]), 5, labels=7),
        "trains": remembered(table(some(1, "ü", ("2", ("x=1",)))), None),
    }
    LocalSnapshots(folder).write(NAME, models)
    assert list(LocalSnapshots(folder).read(NAME)) == list(models)
    return folder / NAME


def is_refused(path: Path, content: bytes) -> bool:
    path.write_bytes(content)
    try:
        LocalSnapshots(path.parent).read(path.name)
    except Refused as refused:
        return path.name in str(refused)
    return False


def test_a_byte_that_was_turned_is_noticed_wherever_it_stands(written: Path) -> None:
    content = written.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        assert is_refused(written, bytes(damaged)), f"byte {place} of {len(content)}"


def test_a_file_that_was_cut_is_refused_at_any_length(written: Path) -> None:
    content = written.read_bytes()
    for length in range(len(content)):
        assert is_refused(written, content[:length]), f"{length} bytes of {len(content)}"


@pytest.mark.parametrize("more", [b"\0", b"\n", b"x" * 100])
def test_a_file_with_more_at_its_end_is_refused(written: Path, more: bytes) -> None:
    content = written.read_bytes()
    assert is_refused(written, content + more)
    assert is_refused(written, content + content)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=much(200), deadline=None)
@given(data=st.data())
def test_a_part_that_is_another_is_noticed(written: Path, data: st.DataObject) -> None:
    """A page that never came to the disk, say: zeros, or what was there before."""
    kept = written.with_suffix(".kept")
    if not kept.exists():
        kept.write_bytes(written.read_bytes())
    content = kept.read_bytes()
    first = data.draw(st.integers(0, len(content) - 1))
    part = data.draw(st.binary(min_size=1, max_size=64) | st.integers(1, 300).map(bytes))[: len(content) - first]
    damaged = content[:first] + part + content[first + len(part) :]
    if damaged != content:
        assert is_refused(written, damaged)


def test_a_file_of_another_version_is_refused(written: Path) -> None:
    """One that is in order otherwise, so that only its first line says so."""
    content = written.read_bytes()
    assert content.startswith(b"retrainer snapshot 1\n")
    body = content[:-16].replace(b"retrainer snapshot 1\n", b"retrainer snapshot 2\n")
    assert is_refused(written, body + xxh3_128(body).digest())
    assert not is_refused(written, content[:-16] + xxh3_128(content[:-16]).digest())


@pytest.mark.parametrize("content", [b"", b"retrainer snapshot 1\n", b"PAR1", b"\0" * 1000, b"{}" * 40])
def test_bytes_that_are_no_snapshot_are_refused(written: Path, content: bytes) -> None:
    assert is_refused(written, content)


def move_rows(models: list[Any], number: int) -> None:
    """Give rows of the first to the second: their sum stays."""
    models[0]["rows"] -= number
    models[1]["rows"] += number


LIES: Mapping[str, Callable[[list[Any]], None]] = {
    "more rows": lambda models: models[0].update(rows=models[0]["rows"] + 1),
    "fewer rows": lambda models: models[0].update(rows=models[0]["rows"] - 1),
    "rows below zero": lambda models: move_rows(models, models[0]["rows"] + 1),
    "more rows than memory": lambda models: move_rows(models, -(2**50)),
    "rows that are text": lambda models: models[0].update(rows="4"),
    "no rows": lambda models: models[0].pop("rows"),
    "no table": lambda models: models.clear(),
    "one model less": lambda models: models.pop(),
    "groups of another kind": lambda models: models[0].update(groups=["1"]),
    "extra of another kind": lambda models: models[0].update(extra=[[1]]),
    "no models": lambda models: models.append(None),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_footer_that_lies_is_refused_even_where_its_hash_is_right(written: Path, lie: str) -> None:
    content = written.read_bytes()
    length = int.from_bytes(content[-24:-16], "big")
    columns, footer = content[: -24 - length], msgspec.json.decode(content[-24 - length : -24])
    LIES[lie](footer)
    lying = msgspec.json.encode(footer)
    body = columns + lying + len(lying).to_bytes(8, "big")
    assert is_refused(written, body + xxh3_128(body).digest())


@pytest.mark.parametrize("length", [0, 1, 2**20, 2**63, 2**64 - 1])
def test_a_footer_whose_length_lies_is_refused(written: Path, length: int) -> None:
    body = written.read_bytes()[:-24] + length.to_bytes(8, "big")
    assert is_refused(written, body + xxh3_128(body).digest())


def test_a_disk_that_cannot_be_read_is_a_snapshot_less(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, "input/output error")

    monkeypatch.setattr(Path, "open", fails)
    with pytest.raises(Refused, match="input/output error"):
        LocalSnapshots(written.parent).read(written.name)


# Files that are being written


def test_an_unfinished_file_is_never_read_and_is_swept(written: Path) -> None:
    snapshots = LocalSnapshots(written.parent)
    (written.parent / "000001-00000002.snapshot.part").write_bytes(written.read_bytes()[:99])
    (written.parent / f"{NAME}.part").write_bytes(b"half")
    with pytest.raises(Refused):
        snapshots.read("000001-00000002.snapshot")
    assert list(snapshots.read(NAME)) == ["flights", "trains"]
    assert list(snapshots.sweep({NAME}, epoch=1)) == [f"{NAME}.part", "000001-00000002.snapshot.part"]
    assert [path.name for path in written.parent.iterdir()] == [NAME]


def test_a_sweep_leaves_folders_alone(written: Path) -> None:
    (written.parent / "000001-lost+found").mkdir()
    assert LocalSnapshots(written.parent).sweep(set(), epoch=1) == [NAME]


def test_bytes_and_name_are_on_the_disk_before_it_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acts: list[str] = []
    sync, rename = os.fsync, Path.rename

    def fsync(descriptor: int) -> None:
        at = Path(f"/proc/self/fd/{descriptor}").resolve()
        acts.append("folder" if at == folder else f"{at.name}, {at.stat().st_size} bytes")
        sync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        acts.append(f"named {target.name}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", renamed)
    size = LocalSnapshots(folder).write(NAME, {"flights": remembered(table(some(1)))})
    assert acts == [f"{NAME}.part, {size} bytes", f"named {NAME}", "folder"]
    assert (folder / NAME).stat().st_size == size


def test_what_cannot_be_written_leaves_nothing_behind(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: int) -> None:
        raise OSError(28, "no space left on device")

    snapshots = LocalSnapshots(written.parent)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fails)
        with pytest.raises(Unreachable, match="no space"):
            snapshots.write("000001-00000002.snapshot", {})
    assert [path.name for path in written.parent.iterdir()] == [NAME]
    assert list(snapshots.read(NAME)) == ["flights", "trains"]


def test_a_folder_that_is_away_is_out_of_reach(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"a file in the folder's place")
    snapshots = LocalSnapshots(folder)
    with pytest.raises(Unreachable):
        snapshots.write(NAME, {})
    with pytest.raises(Refused):
        snapshots.read(NAME)


def test_a_folder_that_cannot_be_swept_is_out_of_reach(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(5, "input/output error")

    monkeypatch.setattr(Path, "unlink", fails)
    with pytest.raises(Unreachable, match="input/output error"):
        LocalSnapshots(written.parent).sweep(set(), epoch=1)


def test_a_full_disk_is_out_of_reach_and_keeps_what_was_there(tmp_path: Path) -> None:
    on_a_small_disk(_ON_A_FULL_DISK, tmp_path, "4m")


_ON_A_FULL_DISK = """
from pathlib import Path
from retrainer.adapters.files.snapshots import LocalSnapshots
from retrainer.errors import Unreachable
from tests.contract.saved import large, remembered, restored

snapshots = LocalSnapshots(Path(FOLDER) / "snapshots")
snapshots.write("000001-1.snapshot", {"flights": remembered(large(1000))})
for _ in range(2):
    try:
        snapshots.write("000001-2.snapshot", {"flights": remembered(large(200_000))})
    except Unreachable as error:
        assert "No space" in str(error), error
    else:
        raise AssertionError("it was written")
    assert [path.name for path in (Path(FOLDER) / "snapshots").iterdir()] == ["000001-1.snapshot"]
assert len(restored(snapshots.read("000001-1.snapshot")["flights"])) == 1000
snapshots.write("000001-2.snapshot", {"flights": remembered(large(2000))})
"""
