"""Regression, and metrics of scores: everything that a replay says of them against scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.tree import DecisionTreeClassifier

from retrainer.cli import main
from retrainer.config.load import load as read_config
from retrainer.policies import model_policy
from retrainer.replay.options import TableOptions, Warm
from retrainer.replay.table.engine import Played, play
from retrainer.replay.table.table import load
from tests.replay.streams import config, predictions, replayed, turning, written

TREE = "{estimator: sklearn.tree.DecisionTreeRegressor, params: {max_depth: 4}, rows: {last: 600}}"
STUMP = "{estimator: sklearn.tree.DecisionTreeClassifier, params: {max_depth: 1}, rows: {last: 600}}"
REGRESSION = "    metrics: [mae, rmse]\n    triggers: {beat: {schedule: {every: 20m}}}\n"
SCORES = """\
    metrics: [log_loss, accuracy, auc, brier]
    positive: "yes"
    triggers: {beat: {schedule: {every: 20m}}}
"""


def numbers(rows: int = 6_000, seed: int = 0) -> pd.DataFrame:
    """A number that follows `a` at first, and its opposite from the middle on."""
    random = np.random.default_rng(seed)
    a = random.normal(size=rows)
    wanted = np.where(np.arange(rows) < rows // 2, 3 * a, -3 * a) + random.normal(size=rows) * 0.3
    return pd.DataFrame({"a": a, "b": random.normal(size=rows), "label": np.round(wanted, 3)})


def regression(folder: Path, more: str = REGRESSION) -> Path:
    file = config(folder, training=TREE, more=more)
    file.write_text(file.read_text().replace("task: classification", "task: regression"))
    return file


def scored(folder: Path, training: str = STUMP, more: str = SCORES) -> Path:
    file = config(folder, training=training, more=more)
    topic = "{topic: predictions, fields: {score: score}}"
    file.write_text(file.read_text().replace("{topic: predictions}", topic))
    return file


def test_a_regression_is_replayed_as_scikit_learn_would_measure_it(tmp_path: Path) -> None:
    frame = numbers()
    report = replayed(tmp_path, frame, "--warm", "600", config_file=regression(tmp_path))
    found = predictions(tmp_path)
    assert found["prediction"].dtype == found["label"].dtype == np.float64
    assert found["label"].tolist() == frame["label"][600:].tolist()
    measured = metrics.mean_absolute_error(found["label"], found["prediction"])
    assert report["metric"] == {"name": "mae", "value": pytest.approx(measured)}
    assert report["promotions"] > 0
    assert report["metric"]["value"] < report["baselines"]["never"] / 2
    last = metrics.mean_absolute_error(frame["label"][600:], frame["label"][599:-1])
    assert report["baselines"]["no_change"] == pytest.approx(last)
    accepted = next(job for job in report["jobs"] if job["verdict"] == "accepted")
    assert accepted["candidate"] < accepted["champion"]


def test_whole_numbers_are_predicted_with_fractions(tmp_path: Path) -> None:
    frame = numbers()
    frame["label"] = (frame["label"] * 10).round().astype(int)
    report = replayed(tmp_path, frame, "--warm", "600", config_file=regression(tmp_path))
    found = predictions(tmp_path)
    assert (str(found["prediction"].dtype), str(found["label"].dtype)) == ("float64", "int64")
    assert report["metric"]["value"] == pytest.approx(metrics.mean_absolute_error(found["label"], found["prediction"]))


def test_a_regression_wants_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = written(tmp_path, turning())
    given = ["--table", str(table), "--label", "label", "--out", str(tmp_path / "out")]
    assert main(["replay", str(regression(tmp_path)), *given]) == 3
    assert "the label label holds string: a regression needs numbers" in capsys.readouterr().err


def test_policies_of_two_tasks_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = config(tmp_path, name="other")
    table = written(tmp_path, numbers())
    given = ["--table", str(table), "--label", "label", "--out", str(tmp_path / "out"), "--policy", f"b={other}"]
    assert main(["replay", str(regression(tmp_path)), *given]) == 2
    assert "b is for a classification, and config for a regression" in capsys.readouterr().err


def test_metrics_of_scores_are_scikit_learn_s(tmp_path: Path) -> None:
    frame = turning()
    report = replayed(tmp_path, frame, "--warm", "600", config_file=scored(tmp_path))
    assert report["metric"]["name"] == "log_loss"
    assert report["promotions"] > 0
    assert set(predictions(tmp_path)["prediction"]) == {"no", "yes"}
    job = report["jobs"][0]
    assert job["candidate"] is not None
    never = report["baselines"]["never"]
    features, labels = frame[["a", "b"]], frame["label"]
    tree = DecisionTreeClassifier(max_depth=1, random_state=0).fit(features[:600], labels[:600])
    chances = tree.predict_proba(features[600:])
    bound = np.finfo(np.float64).eps
    expected = metrics.log_loss(labels[600:], np.clip(chances, bound, 1 - bound))
    assert never == pytest.approx(expected, rel=0.02)
    assert report["metric"]["value"] < never
    assert report["baselines"]["no_change"] > never / 2


@pytest.mark.parametrize(("metric", "measure"), [("auc", metrics.roc_auc_score), ("brier", metrics.brier_score_loss)])
def test_auc_and_brier_come_from_probabilities(tmp_path: Path, metric: str, measure: object) -> None:
    more = SCORES.replace("[log_loss, accuracy, auc, brier]", f"[{metric}]")
    frame = turning()
    report = replayed(tmp_path, frame, "--warm", "600", config_file=scored(tmp_path, more=more))
    features, labels = frame[["a", "b"]], frame["label"]
    tree = DecisionTreeClassifier(max_depth=1, random_state=0).fit(features[:600], labels[:600])
    expected = measure(labels[600:] == "yes", tree.predict_proba(features[600:])[:, 1])  # type: ignore[operator]
    assert report["baselines"]["never"] == pytest.approx(expected, abs=0.01)


def test_an_estimator_without_probabilities_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = scored(tmp_path, training="{estimator: sklearn.svm.LinearSVC}")
    given = ["--table", str(written(tmp_path, turning())), "--label", "label", "--out", str(tmp_path / "out")]
    assert main(["replay", str(file), *given]) == 3
    assert "predict_proba" in capsys.readouterr().err


def test_a_trigger_may_look_at_scores_where_the_judge_does_not(tmp_path: Path) -> None:
    more = """\
    positive: "yes"
    triggers: {blurred: {threshold: {metric: log_loss, above: 1.0, window: 300, breaches: 1 of 1}}}
"""
    file = scored(tmp_path, more=more)
    report = replayed(tmp_path, turning(), "--warm", "600", config_file=file)
    assert report["metric"]["name"] == "accuracy"
    first = next(one for one in report["decisions"] if one["outcome"] == "retrain")
    assert first["trigger"] == "blurred"
    assert first["row"] > 3_000
    assert report["promotions"] > 0


def test_the_page_draws_numbers(tmp_path: Path) -> None:
    replayed(tmp_path, numbers(), "--warm", "600", config_file=regression(tmp_path))
    page = (tmp_path / "out" / "report.html").read_text()
    data = page.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    line = json.loads(data)["policies"]["config"]["line"]
    assert len(line) > 100
    assert all(point["low"] <= point["value"] <= point["high"] for point in line)


def test_triggers_see_the_errors(tmp_path: Path) -> None:
    more = "    metrics: [mae]\n    triggers: {off: {threshold: {metric: mae, above: 2.0, window: 200}}}\n"
    path = written(tmp_path, numbers(), "t.parquet")
    own = model_policy(read_config(regression(tmp_path, more), {}).settings.models["m"])
    table = load(TableOptions(path=path, label="label", warm=Warm(share=None, rows=600)), "regression")
    found: Played = play(own, table, 0)
    fired = next(row for row, change in found.changes if change.reading.fired)
    assert 3_000 < fired < 3_400
    assert found.promotions
