"""Labels that are late or stay away: what guards say of them in a replay. And what is known of version 1."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retrainer.domain.values import SECOND
from retrainer.replay.options import TableOptions, Warm
from retrainer.replay.table.engine import Played, play
from retrainer.replay.table.table import load
from retrainer.training.pipeline import build
from tests.replay.streams import TREE, policy, turning, written

BEAT = "    triggers: {beat: {schedule: {every: 15m}}}\n"
THRESHOLD = "    triggers: {low: {threshold: {metric: accuracy, below: 0.7, window: 100, breaches: 1 of 1}}}\n"
DROP = "    triggers: {worse: {drop: {metric: accuracy, by: 0.2, window: 300}}}\n"


def played(folder: Path, frame: pd.DataFrame, more: str = "", delay: int | str = 0, training: str = TREE) -> Played:
    path = written(folder, frame, "t.parquet")
    late = delay * SECOND if isinstance(delay, int) else delay
    options = TableOptions(path=path, label="label", warm=Warm(share=None, rows=600), label_delay=late)
    return play(policy(folder, more=more, training=training), load(options), 0)


def test_labels_that_stay_away_hold_a_retraining_back(tmp_path: Path) -> None:
    frame = turning()
    frame.loc[2_500:4_800, "label"] = None
    found = played(tmp_path, frame, more=BEAT)
    held = [one for one in found.decisions if one.decision.reason == "coverage"]
    assert held
    assert all(one.row > 2_500 for one in held)
    assert not [ran for ran in found.jobs if 3_000 < ran.row < 4_800]


def test_slow_labels_of_one_class_do_not_look_like_a_loss(tmp_path: Path) -> None:
    """`no` is labelled at once, `yes` half an hour later. The model is wrong about many a `no`: as long as only those
    are labelled it looks bad, and is not. Without the arrivals the trigger fires on that."""
    random = np.random.default_rng(5)
    truth = random.random(6_000) < 0.7
    said = np.where(truth, random.random(6_000) < 0.98, random.random(6_000) < 0.45)
    frame = pd.DataFrame({"a": said.astype(float), "late": np.where(truth, 1_500.0, 1.0)})
    frame["label"] = np.where(truth, "yes", "no")
    frame.loc[:599, "late"] = 0.0
    path = written(tmp_path, frame, "t.parquet")
    table = load(TableOptions(path=path, label="label", warm=Warm(share=None, rows=600), label_delay="late"))
    watched = policy(tmp_path, more=THRESHOLD)
    with_arrivals = play(watched, table, 0)
    without = play(replace(watched, coverage=None), table, 0)
    assert [change for row, change in without.changes if change.reading.fired and row < 2_100]
    assert not [change for _, change in with_arrivals.changes if change.reading.fired]


def test_where_every_label_comes_at_once_nothing_is_withheld_for_long(tmp_path: Path) -> None:
    path = written(tmp_path, turning(), "t.parquet")
    table = load(TableOptions(path=path, label="label", warm=Warm(share=None, rows=600)))
    both = [play(one, table, 0) for one in (policy(tmp_path), replace(policy(tmp_path), coverage=None))]
    told = [[(one.row, one.decision.reason) for one in found.decisions] for found in both]
    assert told[0] == told[1]
    assert both[0].promotions == both[1].promotions


def test_version_1_is_known_as_a_judge_would_know_it(tmp_path: Path) -> None:
    """Its baseline is that of a model which has not seen the newest quarter of the warm rows."""
    found = played(tmp_path, turning(), more=DROP)
    baseline = found.first.result.evaluation["accuracy"]
    assert baseline.value == pytest.approx(_held_out(found))
    assert baseline.n == 150
    fired = next(change for _, change in found.changes if change.reading.fired)
    evidence = fired.reading.evidence
    assert (evidence["baseline"], evidence["baseline_n"], evidence["baseline_from"]) == (baseline.value, 150, "verdict")
    assert found.first.result.classes == ("no", "yes")


def test_without_a_refit_version_1_is_the_model_that_was_judged(tmp_path: Path) -> None:
    once = TREE.replace("rows:", "refit: false, rows:").replace("max_depth: 3", "max_depth: 12")
    found = played(tmp_path, turning(), training=once)
    rows = found.first.result.trained_on
    assert rows is not None
    assert rows.rows == 450
    asked = slice(600, 700)
    assert _codes(found, _answers(found, 450, asked)) == found.served.answers[asked].tolist()


def _held_out(found: Played) -> float:
    answers = _answers(found, 450, slice(450, 600))
    return float((np.array(_codes(found, answers)) == found.table.labels[450:600]).mean())


def _answers(found: Played, end: int, asked: slice) -> list[str]:
    features = found.table.features
    labels = np.array([found.table.classes.texts[code] for code in found.table.labels[:end]])
    fitted = build(found.policy.recipe, features[:end]).fit(features[:end], labels)
    return [str(one) for one in fitted.predict(features[asked])]


def _codes(found: Played, answers: list[str]) -> list[int]:
    return [found.table.classes.texts.index(one) for one in answers]
