"""The demo's folder: what it removes, and what it leaves alone."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from retrainer.demo.folder import DemoFolder
from retrainer.errors import Refused


def test_a_second_demo_starts_afresh_and_removes_only_what_the_first_made(tmp_path: Path) -> None:
    path = tmp_path / "demo"
    with closing(DemoFolder.prepare(path)) as folder:
        folder.log.write_text("old")
        (path / "state" / "mlflow.db").write_text("old")
        (path / "notes.txt").write_text("mine")

    with closing(DemoFolder.prepare(path)):
        assert not folder.log.exists()
        assert list((path / "state").iterdir()) == []
        assert (path / "notes.txt").read_text() == "mine"


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    with closing(DemoFolder.prepare(tmp_path)) as folder:
        assert folder.path == tmp_path


def test_somebody_elses_folder_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()

    with pytest.raises(Refused, match="not a folder of the demo"):
        DemoFolder.prepare(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("")

    with pytest.raises(Refused, match="not a folder of the demo"):
        DemoFolder.prepare(tmp_path / "demo")


def test_one_demo_at_a_time(tmp_path: Path) -> None:
    with closing(DemoFolder.prepare(tmp_path / "demo")), pytest.raises(Refused, match="another demo runs"):
        DemoFolder.prepare(tmp_path / "demo")


def test_git_does_not_see_it(tmp_path: Path) -> None:
    with closing(DemoFolder.prepare(tmp_path / "demo")) as folder:
        assert (folder.path / ".gitignore").read_text() == "*\n"
