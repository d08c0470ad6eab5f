"""`retrainer tune` as a shell sees it: what it finds and writes, exit codes, and which stream says what."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from retrainer.cli import main
from retrainer.config.load import load
from retrainer.tune.writing import yaml_of
from tests.tune.streams import changes, config, tuned, turning

FEW = ("--trials", "6", "--folds", "1", "--price", "5")
NONSENSE: dict[str, Any] = {"improvement": 0.9}
"""No candidate is ever as good as this asks for."""


def without_seconds(report: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in report.items() if key != "seconds"}


@pytest.fixture(scope="module")
def put_right(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The report of a tuning where retrainings cost nothing and no candidate is ever good enough, and its folder."""
    folder = tmp_path_factory.mktemp("nonsense")
    return tuned(folder, turning(2_400, 900), *FEW, "--price", "0", config_file=config(folder, **NONSENSE)), folder


def test_a_nonsense_setting_is_put_right(put_right: tuple[dict[str, Any], Path]) -> None:
    report, folder = put_right
    assert "judge.improvement" in changes(report)
    assert report["walk_forward"]["helps"]
    found, before = report["all_rows"]["tuned"], report["all_rows"]["present"]
    assert found["cost"] < before["cost"]
    assert found["metric"] > before["metric"] + 0.1
    text = (folder / "out" / "tuned.yaml").read_text()
    for one in report["reasons"]:
        assert one["more"] > 0
        share = f"{100 * one['more'] / found['cost']:.1f} %"
        told = f"was {yaml_of(one['was'])}, which costs {one['more']:,.0f} more ({share})"
        assert sum(told in line and yaml_of(one["now"]) in line for line in text.splitlines()) == 1
    assert text.startswith("# Our model.\n")
    assert "# so that it is quiet" in text
    _replays_to(report, folder)


def test_a_dear_retraining_is_done_less_often(
    tmp_path: Path, put_right: tuple[dict[str, Any], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = config(tmp_path, **NONSENSE)
    dear = tuned(tmp_path, turning(2_400, 900), *FEW, "--price", "100000", config_file=file)
    said = capsys.readouterr()
    found = [report["all_rows"]["tuned"] for report in (put_right[0], dear)]
    assert found[0]["jobs"] > found[1]["jobs"]
    assert found[0]["loss"] < found[1]["loss"]
    known = [one["cost"] for one in dear["trials"] if "cost" in one]
    best = min(*known, *(one["cost"] for one in dear["all_rows"].values()))
    assert dear["all_rows"]["present"]["regret"] == dear["all_rows"]["present"]["cost"] - best
    assert dear["reasons"]
    for one in dear["reasons"]:
        told = f"  {one['key']}: {yaml_of(one['now'])}, was {yaml_of(one['was'])}, which "
        assert told + ("does not go" if one["more"] is None else f"costs {one['more']:,.0f} more") in said.out
    assert f"wrote {tmp_path / 'out' / 'tuned.yaml'}\nwrote {tmp_path / 'out' / 'tune.json'}\n" in said.out
    assert not said.err
    _replays_to(dear, tmp_path)


def _replays_to(report: dict[str, Any], folder: Path) -> None:
    """The file that was written does what was promised."""
    out = folder / "out"
    assert main(["check", str(out / "tuned.yaml")]) == 0
    table = ["--table", str(folder / "table.parquet"), "--label", "label", "--every", "2s"]
    assert main(["replay", str(out / "tuned.yaml"), *table, "--out", str(out)]) == 0
    played = json.loads((out / "report.json").read_text())
    found = report["all_rows"]["tuned"]
    assert (found["jobs"], found["metric"]) == (played["retrains"], played["metric"]["value"])
    assert found["cost"] == round((1 - found["metric"]) * played["rows"]) + report["price"] * found["jobs"]
    model = load(out / "tuned.yaml", {}).settings.models["m"].model_dump()
    for key, value in changes(report).items():
        section, _, name = key.partition(".")
        assert section == "triggers" or model[section][name] == value


def test_where_nothing_helps_nothing_is_changed(tmp_path: Path) -> None:
    file = config(tmp_path)
    file.write_text(file.read_text() + "    triggers: {shift: {change: {metric: accuracy, confidence: 0.99}}}\n")
    report = tuned(tmp_path, turning(1_000), *FEW, "--price", "1000", config_file=file)
    assert not report["changed"]
    assert report["settings"] == {}
    assert not report["walk_forward"]["helps"]
    assert report["walk_forward"]["present"]["regret"] == 0
    lines = (tmp_path / "out" / "tuned.yaml").read_text().splitlines()
    kept = [line for line in lines if not line.lstrip().startswith(("# retrainer tune:", "#   "))]
    assert kept == file.read_text().splitlines()
    assert lines[lines.index("models:") + 1].startswith("  # retrainer tune: nothing is changed.")


def test_where_never_retraining_is_best_that_is_said(tmp_path: Path) -> None:
    file = config(tmp_path)
    file.write_text(file.read_text() + "    triggers: {often: {volume: {labels: 200}}}\n")
    few = ("--trials", "1", "--folds", "1", "--price", "1000")
    report = tuned(tmp_path, turning(1_000), *few, config_file=file)
    never, before = (report["walk_forward"][name]["cost"] for name in ("never", "present"))
    assert never < before
    assert report["outcome"].endswith(f"Never retraining would have cost less, {never:,.0f}.")


def test_a_regression_is_tuned_in_its_own_unit(tmp_path: Path) -> None:
    frame = turning(2_400).drop(columns="label")
    noise = np.random.default_rng(5).normal(0, 30, 2_400)
    frame["label"] = np.where(np.arange(2_400) < 900, 100, -100) * frame["a"] + noise
    file = config(tmp_path, task="regression", estimator="sklearn.linear_model.LinearRegression", improvement=500.0)
    report = tuned(tmp_path, frame, *FEW, config_file=file)
    assert report["metric"] == "mae"
    assert changes(report)["judge.improvement"] < 100
    never = report["all_rows"]["never"]
    assert never["loss"] == pytest.approx(never["metric"] * 2_160)
    assert report["choices"]["judge.improvement"][-1] == 500


def test_a_tuning_again_finds_and_writes_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--trials", "3", "--folds", "1", "--price", "5", "--seed", "3")
    file = config(tmp_path, cooldown="400d")
    first = tuned(tmp_path, turning(600, 300), *given, config_file=file)
    text = (tmp_path / "out" / "tuned.yaml").read_text()
    capsys.readouterr()
    second = tuned(tmp_path, turning(600, 300), *given, "--json", config_file=file)
    said = capsys.readouterr()
    assert without_seconds(second) == without_seconds(first)
    assert (tmp_path / "out" / "tuned.yaml").read_text() == text
    assert json.loads(said.out) == second
    assert not said.err


def run(folder: Path, *options: str, file: Path | None = None, model: str | None = None) -> int:
    table = folder / "t.csv"
    if not table.exists():
        turning(200).to_csv(table, index=False)
    given = ["--table", str(table), "--label", "label", "--price", "1", "--out", str(folder / "out")]
    try:
        return main(["tune", str(file or config(folder)), *([model] if model else []), *given, *options])
    except SystemExit as end:
        return int(end.code or 0)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--price", "-1"], '--price: expected a number that is not below 0, got "-1"'),
        (["--price", "nan"], "--price: expected"),
        (["--trials", "0"], '--trials: expected a whole number of at least 1, got "0"'),
        (["--minutes", "0"], "--minutes: expected minutes above 0"),
        (["--folds", "0"], "--folds: expected a whole number"),
        (["--folds", "500"], "--folds: 180 rows after the warm part are too few"),
        (["--seed", "x"], "--seed: expected a whole number"),
        (["--label", "nope"], 'has no column "nope"'),
        (["--warm", "half"], "--warm: expected"),
        (["--label-delay", "9d"], "no label would ever count"),
    ],
)
def test_a_wrong_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    assert run(tmp_path, *options) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert not said.out


def test_the_price_has_to_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["tune", str(config(tmp_path)), "--table", "t.csv", "--label", "label", "--out", "out"])
    assert end.value.code == 2
    assert "--price" in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert run(tmp_path) == 2
    assert capsys.readouterr().err == "retrainer tune needs optuna: pip install 'retrainer[tune]'\n"


def test_the_configuration_itself_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = config(tmp_path).rename(tmp_path / "tuned.yaml")
    before = file.read_text()
    assert run(tmp_path, "--out", str(tmp_path), file=file) == 2
    assert "is the configuration itself" in capsys.readouterr().err
    assert file.read_text() == before


def test_a_model_that_only_observes_has_nothing_to_tune(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = config(tmp_path)
    file.write_text(file.read_text() + "    observe: true\n")
    assert run(tmp_path, file=file) == 2
    assert "config.yaml:16: models.m.observe: expected false" in capsys.readouterr().err


def test_a_setting_that_is_shared_is_told_before_anything_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = config(tmp_path).read_text().replace("judge: {", "judge: &judge {")
    model = text[text.index("  m:\n") :].replace("  m:", "  other:", 1).replace("judge: &judge", "judge: *judge #")
    file = tmp_path / "shared.yaml"
    file.write_text(text + model)
    assert run(tmp_path, file=file) == 2
    assert "say which model: m, other" in capsys.readouterr().err
    assert run(tmp_path, "--trials", "1000000", file=file, model="m") == 2
    assert "shared.yaml:15: models.m.judge." in capsys.readouterr().err


def test_a_table_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pd.DataFrame({"a": [1.0] * 50, "label": ["yes"] * 50}).to_csv(tmp_path / "t.csv", index=False)
    assert run(tmp_path) == 3
    assert "one class only" in capsys.readouterr().err
