"""The commands as a shell sees them: exit codes, which stream, and one JSON document where it is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retrainer.cli import main
from retrainer.service.people import asking

MINIMAL = """\
kafka: {bootstrap_servers: "localhost:9092"}
models:
  flights:
    task: classification
    predictions: {topic: predictions}
    labels: {topic: labels}
    training: {estimator: sklearn.tree.DecisionTreeClassifier}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(MINIMAL)
    return path


def test_check_accepts_the_shortest_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(config)]) == 0
    assert "ok, 1 model(s): flights" in capsys.readouterr().out


def test_check_names_what_is_not_built_and_run_refuses_it(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(MINIMAL + "    promotion: {mode: shadow}\n")
    assert main(["check", str(config)]) == 0
    assert "not built yet: models.flights.promotion.mode\n" in capsys.readouterr().out
    assert main(["run", str(config)]) == 2
    assert f"{config}:8: not built yet: models.flights.promotion.mode" in capsys.readouterr().err


def test_mistakes_come_all_at_once_with_their_lines(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(MINIMAL.replace("classification", "guessing") + "    guards: {cooldown: soon}\n")
    assert main(["run", str(config)]) == 2
    written = capsys.readouterr()
    assert f"{config}:4: models.flights.task: " in written.err
    assert f'{config}:8: models.flights.guards.cooldown: expected a duration such as 6h, got "soon"' in written.err
    assert not written.out


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        ("sklearn.tree.DecisionTree", "cannot find the estimator"),
        ("nowhere.Estimator", "cannot find the estimator"),
        ("sklearn.tree.DecisionTreeRegressor", "is no classifier"),
    ],
)
def test_an_estimator_that_cannot_be_made_is_found_by_check(
    config: Path, capsys: pytest.CaptureFixture[str], estimator: str, said: str
) -> None:
    config.write_text(MINIMAL.replace("sklearn.tree.DecisionTreeClassifier", estimator))
    assert main(["check", str(config)]) == 2
    written = capsys.readouterr().err
    assert f"{config}:7: models.flights.training.estimator: " in written
    assert said in written


def test_resolved_is_a_file_that_can_be_used(config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["check", str(config), "--resolved"]) == 0
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(capsys.readouterr().out)
    assert main(["check", str(resolved)]) == 0


def test_schema_is_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert "models" in json.loads(capsys.readouterr().out)["properties"]


def test_status_and_explain_answer_before_anything_has_happened(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(config), "--json"]) == 0
    flights = json.loads(capsys.readouterr().out)["models"]["flights"]
    assert flights["champion"] == {"version": None, "since": None, "alias": "champion"}
    assert flights["counts"]["predictions"]["consumed"] == 0
    assert flights["outcomes"] == {"n": 0, "correct": 0}
    assert main(["explain", str(config), "flights"]) == 0
    assert "nothing has asked for a retraining yet" in capsys.readouterr().out
    assert main(["explain", str(config), "flights", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"model": "flights", "decisions": []}


def test_a_model_that_is_not_in_the_file_is_a_mistake(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(config), "trains"]) == 2
    assert 'expected one of flights, got "trains"' in capsys.readouterr().err


def test_retrain_without_a_controller_says_so(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_TAKEN_UP_WITHIN_SECONDS", 0.3)
    assert main(["retrain", str(config), "flights", "--reason", "because", "--wait"]) == 3
    assert "no controller took the request up" in capsys.readouterr().out


def test_a_command_line_that_is_wrong_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["retrain", "config.yaml", "flights"])
    assert ended.value.code == 2
    assert "--reason" in capsys.readouterr().err


def test_connect_names_what_cannot_be_reached(config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config.write_text(MINIMAL.replace("localhost:9092", "127.0.0.1:1"))
    assert main(["check", str(config), "--connect"]) == 3
    written = capsys.readouterr().out
    assert "ok     database" in written
    assert "FAILED topics of flights: " in written
    assert "127.0.0.1:1" in written


def test_state_that_cannot_be_read_is_refused(config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "retrainer.db").write_text("this is no database, however long it is" * 100)
    assert main(["status", str(config)]) == 3
    assert "cannot be read" in capsys.readouterr().err
