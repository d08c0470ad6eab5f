"""`retrainer replay` as a shell sees it: what it writes, exit codes, and which stream says what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from retrainer.cli import main
from tests.replay.streams import config, predictions, replayed, turning, written

SECONDS = {"fit_seconds", "predict_seconds", "wall_seconds", "peak_rss_mb"}


def without_timings(report: dict[str, Any]) -> dict[str, Any]:
    jobs = [{name: value for name, value in job.items() if name != "seconds"} for job in report["jobs"]]
    return {**report, "jobs": jobs, "cost": sorted(report["cost"])}


def test_the_report_has_what_was_promised(tmp_path: Path) -> None:
    report = replayed(tmp_path, turning())
    assert report["rows"] == 5_400
    assert report["metric"]["name"] == "accuracy"
    assert report["retrains"] == len(report["jobs"]) >= report["promotions"] >= 1
    assert report["rollbacks"] == 0
    assert set(report["cost"]) == SECONDS
    assert set(report["baselines"]) == {"never", "no_change", "periodic"}
    assert set(report["baselines"]["periodic"]) == {"every", "retrains", "value"}
    for decision in report["decisions"]:
        assert {"row", "time", "trigger", "outcome", "reason", "evidence"} <= set(decision)
        assert decision["outcome"] in {"retrain", "hold"}
    for job in report["jobs"]:
        assert {"row", "time", "trigger", "train_rows", "verdict", "candidate", "champion", "seconds"} <= set(job)
    accepted = [job for job in report["jobs"] if job["verdict"] == "accepted"]
    assert accepted
    assert all(job["candidate"] > job["champion"] for job in accepted)
    assert report["metric"]["value"] > report["baselines"]["never"]


def test_predictions_are_those_of_every_row_after_the_warm_part(tmp_path: Path) -> None:
    frame = turning()
    frame.loc[700, "label"] = None
    report = replayed(tmp_path, frame)
    found = predictions(tmp_path)
    assert list(found) == ["row", "time", "version", "prediction", "label"]
    assert found["row"].tolist() == list(range(600, 6_000))
    assert found["label"].fillna("-").tolist() == frame["label"][600:].fillna("-").tolist()
    assert found["time"].is_monotonic_increasing
    labelled = found[found["label"].notna()]
    assert (labelled["prediction"] == labelled["label"]).mean() == pytest.approx(report["metric"]["value"])
    versions = found["version"].astype(int)
    assert versions.is_monotonic_increasing
    assert versions.max() == 1 + report["promotions"]


@pytest.mark.parametrize("label", [{"yes": 1, "no": 0}, {"yes": True, "no": False}, {"yes": 2.5, "no": 1.0}])
def test_predictions_have_the_type_of_the_label(tmp_path: Path, label: dict[str, object]) -> None:
    frame = turning(2_000)
    frame["label"] = frame["label"].map(label)
    replayed(tmp_path, frame)
    wanted = pq.read_schema(tmp_path / "table.parquet").field("label").type
    found = pq.read_table(tmp_path / "out" / "predictions.parquet")
    assert found.schema.field("prediction").type == wanted
    assert found.schema.field("label").type == wanted
    assert found["label"].to_pylist() == frame["label"][200:].tolist()


def test_a_replay_again_writes_the_same_but_for_timings(tmp_path: Path) -> None:
    first = replayed(tmp_path, turning())
    answers = predictions(tmp_path)
    assert without_timings(replayed(tmp_path, turning())) == without_timings(first)
    pd.testing.assert_frame_equal(predictions(tmp_path), answers)


def test_several_policies_are_told_apart(tmp_path: Path) -> None:
    quiet = config(tmp_path, more="    observe: true\n", name="quiet")
    report = replayed(tmp_path, turning(), "--policy", f"observing={quiet}")
    assert list(report["policies"]) == ["config", "observing"]
    assert {name: report[name] for name in report["policies"]["config"]} == report["policies"]["config"]
    assert report["policies"]["observing"]["retrains"] == 0
    assert report["policies"]["observing"]["metric"]["value"] == pytest.approx(report["baselines"]["never"])


def test_json_is_one_document_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = replayed(tmp_path, turning(2_000), "--json")
    written_there = capsys.readouterr()
    assert json.loads(written_there.out) == report
    assert not written_there.err


def test_the_page_needs_nothing_else_and_cannot_be_broken_out_of(tmp_path: Path) -> None:
    frame = turning(2_000)
    evil = "</script><b>"
    frame["label"] = frame["label"].map({"yes": evil, "no": "no"})
    frame["b"] = np.where(frame["b"] > 0, evil, "x")
    replayed(tmp_path, frame, config_file=config(tmp_path, more="    slices: [b]\n"))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "{{" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert page.count("</script>") == 2
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert [one["name"] for one in data["policies"]["config"]["slices"]] in (
        [f"b={evil}", "b=x"],
        ["b=x", f"b={evil}"],
    )


def run(folder: Path, *options: str, table: str = "a,label\n1,0\n2,1\n3,0\n4,1\n") -> int:
    path = folder / "t.csv"
    path.write_text(table)
    try:
        return main(["replay", str(config(folder)), "--out", str(folder / "out"), *options])
    except SystemExit as end:
        return int(end.code or 0)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "--table"),
        (["--table", "t.csv", "--topics"], "not allowed with"),
        (["--table", "t.csv"], "--table needs --label"),
        (["--table", "t.csv", "--label", "nope"], 'has no column "nope"'),
        (["--table", "t.csv", "--label", "label", "--warm", "9"], "--warm: the warm part has 9 rows"),
        (["--table", "t.csv", "--label", "label", "--warm", "half"], "--warm: expected"),
        (["--table", "t.csv", "--label", "label", "--every", "0s"], "--every: expected a duration above 0"),
        (["--table", "t.csv", "--label", "label", "--every", "soon"], "--every: expected a duration"),
        (["--table", "t.csv", "--label", "label", "--time", "a", "--every", "1s"], "--every is for rows without"),
        (["--table", "t.csv", "--label", "label", "--training-takes", "x"], "--training-takes: expected a duration"),
        (["--table", "t.csv", "--label", "label", "--policy", "x"], "--policy: expected NAME=FILE"),
        (["--table", "t.csv", "--label", "label", "--policy", "config=x.yaml"], "choose another"),
        (["--table", "t.csv", "--label", "label", "--policy", "x=nothing.yaml"], "nothing.yaml:1: cannot be read"),
        (["--topics", "--label", "x"], "--label: only for --table"),
        (["--events", "p.jsonl", "l.jsonl", "--every", "1s"], "--every: only for --table"),
        (["--recorded", "--warm", "0.1"], "--warm: only for --table"),
    ],
)
def test_a_wrong_command_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path, *options) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert not said.out


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("", "cannot be read"),
        ("a,label\n" + "1,0\n" * 20, "one class only"),
        ("a,label\n1,0\n2,1\n", "leave none for the warm part"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, told: str) -> None:
    assert run(tmp_path, "--table", str(tmp_path / "t.csv"), "--label", "label", table=table) == 3
    assert told in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("a file")
    path = written(tmp_path, turning(2_000))
    assert run(tmp_path, "--table", str(path), "--label", "label") == 3
    assert "out: cannot be written to" in capsys.readouterr().err


def test_what_is_not_built_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = config(tmp_path, training="{command: [train]}")
    path = written(tmp_path, turning(2_000))
    given = ["--table", str(path), "--label", "label", "--out", str(tmp_path / "out")]
    assert main(["replay", str(file), *given]) == 2
    assert "not built yet: models.m.training.command" in capsys.readouterr().err


def test_of_several_models_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = config(tmp_path)
    text = file.read_text()
    model = text[text.index("  m:") :].replace("  m:", "  other:", 1)
    file.write_text(text + model)
    path = written(tmp_path, turning(2_000))
    given = ["--table", str(path), "--label", "label", "--out", str(tmp_path / "out")]
    assert main(["replay", str(file), *given]) == 2
    assert "say which model: m, other" in capsys.readouterr().err
    assert main(["replay", str(file), "other", *given]) == 0
