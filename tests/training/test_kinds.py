"""Whole trainings of other kinds than plain classes: numbers, scores, rows after a change, and judging on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from retrainer.domain.judging.challenge import PairedTest, RowLoss
from retrainer.domain.judging.order import RowsPolicy, TrainingResult, TrainingSpec
from retrainer.domain.values import SECOND
from retrainer.training.child import run
from tests.plain import plain_judge
from tests.training.orders import REGRESSION, SPEC, SPIES, delays, flights, gate, place, result_in

MEAN = "sklearn.dummy.DummyRegressor"
MINUTE = 60 * SECOND


def trained(folder: Path, frame: pd.DataFrame, spec: TrainingSpec, **changes: Any) -> TrainingResult:
    """The result of an order, which succeeds."""
    place(folder, frame, spec, **changes)
    code = run(folder)
    assert code == 0, result_in(folder).error
    return result_in(folder)


def refused(folder: Path, frame: pd.DataFrame, spec: TrainingSpec, **changes: Any) -> str:
    """The error of an order, which fails."""
    place(folder, frame, spec, **changes)
    assert run(folder) == 1
    return result_in(folder).error or ""


class TestRegression:
    @pytest.fixture(scope="class")
    @staticmethod
    def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("delays")
        trained(folder, delays(), REGRESSION, judge=plain_judge(min_rows=100, floors={"mae": 15, "r2": 0.5}))
        return folder

    def test_is_judged_by_its_errors(self, folder: Path) -> None:
        result = result_in(folder)
        assert result.verdict is not None
        assert result.verdict.accepted, result.verdict.reason
        assert [gate.name for gate in result.verdict.gates] == [
            "enough_rows",
            "better_than_mean",
            "better_than_last_value",
            "floor_mae",
            "floor_r2",
            "loads_and_predicts",
        ]
        assert result.candidate.keys() == {"mae", "rmse", "r2"}
        assert result.classes == ()

    def test_promises_what_the_report_shows(self, folder: Path) -> None:
        table = pq.read_table(folder / "report" / "predictions.parquet").to_pandas()
        error = (table.label - table.candidate).abs().mean()
        promised = result_in(folder).evaluation["mae"]
        assert promised.value == pytest.approx(error, rel=1e-6)
        assert promised.n == len(table)
        assert promised.low is not None
        assert promised.high is not None
        assert promised.low < promised.value < promised.high

    def test_the_model_answers_with_numbers(self, folder: Path) -> None:
        model = mlflow.pyfunc.load_model(str(folder / "model"))
        found = model.predict(flights(50))
        assert np.asarray(found).dtype == np.float64
        assert json.loads(model.metadata.signature.to_dict()["outputs"])[0]["type"] == "double"

    def test_a_champion_is_beaten_by_errors_that_are_lower(self, tmp_path: Path, folder: Path) -> None:
        mean = trained(
            tmp_path / "mean", delays(), REGRESSION, estimator=MEAN, params={}, judge=plain_judge(min_rows=9_999)
        )
        _copy(folder / "model", tmp_path / "good" / "champion")
        changes = {"estimator": MEAN, "params": {}, "refit": False}
        kept = trained(tmp_path / "good", delays(), REGRESSION, champion_version="1", **changes)
        found = gate(kept, "better_than_champion")
        assert kept.verdict is not None
        assert (kept.verdict.answer, found.evidence["champion_by"]) == ("reject", "model")
        assert found.evidence["difference"] < 0
        assert kept.candidate == mean.candidate

    def test_live_predictions_stand_in_for_a_champion(self, tmp_path: Path) -> None:
        result = trained(tmp_path, delays(), REGRESSION, champion_version="1")
        newest = delays().tail(500)
        live = (newest["$label"].astype(float) - newest["$prediction"].astype(float)).abs().mean()
        assert result.champion_by == "events"
        assert result.champion["mae"] == pytest.approx(live, rel=1e-6)

    def test_a_label_that_is_no_number_is_refused(self, tmp_path: Path) -> None:
        frame = delays(400)
        frame.loc[7, "$label"] = "late"
        assert "is no number" in refused(tmp_path, frame, REGRESSION)

    def test_a_classifier_is_refused(self, tmp_path: Path) -> None:
        assert "is no regressor" in refused(tmp_path, delays(400), REGRESSION, estimator=SPEC.recipe.estimator)


class TestScores:
    JUDGED_BY_LOSS = replace(SPEC, metrics=("log_loss", "auc", "accuracy"), positive="late")

    def test_the_probability_of_the_positive_class_judges(self, tmp_path: Path) -> None:
        result = trained(tmp_path, flights(), self.JUDGED_BY_LOSS)
        assert result.verdict is not None
        assert result.verdict.accepted, result.verdict.reason
        assert result.evaluation.keys() == {"log_loss", "auc", "accuracy"}
        assert result.candidate["auc"] > 0.8
        table = pq.read_table(tmp_path / "report" / "predictions.parquet")
        assert set(table["candidate"].to_pylist()) == {"late", "on_time"}

    def test_the_majority_is_as_sure_as_its_share(self, tmp_path: Path) -> None:
        """Which is the best log-loss without looking at the features."""
        result = trained(tmp_path, flights(), self.JUDGED_BY_LOSS)
        found = gate(result, "better_than_majority").evidence["other"]
        late = (flights()["$label"] == "late").mean()
        assert found == pytest.approx(-(late * np.log(late) + (1 - late) * np.log(1 - late)), abs=0.05)

    def test_the_champion_is_asked_for_scores_too(self, tmp_path: Path) -> None:
        trained(tmp_path / "first", flights(), self.JUDGED_BY_LOSS)
        _copy(tmp_path / "first" / "model", tmp_path / "second" / "champion")
        spec = replace(self.JUDGED_BY_LOSS, champion_version="1")
        result = trained(tmp_path / "second", flights(), spec, estimator="sklearn.dummy.DummyClassifier", params={})
        found = gate(result, "better_than_champion")
        assert (result.champion_by, found.passed, found.evidence["test"]) == ("model", False, "paired_t")
        assert result.champion["log_loss"] < result.candidate["log_loss"]

    def test_without_a_positive_class_every_class_has_its_probability(self, tmp_path: Path) -> None:
        frame = flights()
        frame.loc[frame["dep_delay"] > 60, "$label"] = "very_late"
        result = trained(tmp_path, frame, replace(SPEC, metrics=("brier", "log_loss"), positive=None))
        assert result.verdict is not None
        assert result.verdict.accepted, result.verdict.reason
        assert result.classes == ("late", "on_time", "very_late")

    def test_a_metric_that_does_not_judge_may_go_without(self, tmp_path: Path) -> None:
        result = trained(
            tmp_path, flights(), replace(SPEC, metrics=("accuracy", "log_loss")), estimator=f"{SPIES}.Mute", params={}
        )
        assert result.candidate.keys() == {"accuracy"}


class TestAfterAChange:
    """Flights that mean the opposite from row 1500 on."""

    CHANGE = 1_500

    @classmethod
    def turned(cls) -> pd.DataFrame:
        frame = flights(2_000).drop(columns="row")  # by which a tree could tell the times apart
        frame["$known_at"] = frame["$predicted_at"]
        new = frame.index >= cls.CHANGE
        frame.loc[new, "$label"] = frame.loc[new, "$label"].map({"late": "on_time", "on_time": "late"})
        return frame

    @pytest.mark.parametrize("kind", ["auto", "since_change"])
    def test_the_candidate_learns_from_the_new_times_and_is_judged_on_them(self, tmp_path: Path, kind: str) -> None:
        policy = RowsPolicy(kind=kind)  # type: ignore[arg-type]  # parametrised text
        result = trained(tmp_path, self.turned(), SPEC, rows=policy, began=self.CHANGE * MINUTE)
        assert result.trained_on is not None
        assert result.held_out is not None
        assert (result.trained_on.first, result.held_out.rows) == (self.CHANGE * MINUTE, 125)
        assert result.rows_chosen.startswith("since the change")
        assert result.candidate["accuracy"] > 0.7

    def test_without_knowing_of_it_the_candidate_is_bad(self, tmp_path: Path) -> None:
        """What the estimate of its beginning is worth: the same rows, and none of the new times to learn from."""
        result = trained(tmp_path, self.turned(), SPEC, rows=RowsPolicy(kind="auto"))
        assert result.candidate["accuracy"] < 0.4


class TestAChampionThatKnowsTheRows:
    def test_is_judged_on_newer_ones(self, tmp_path: Path) -> None:
        trained(tmp_path / "first", flights(1_600), SPEC)
        _copy(tmp_path / "first" / "model", tmp_path / "second" / "champion")
        result = trained(tmp_path / "second", flights(), SPEC, champion_version="1", champion_trained_to=1_599 * MINUTE)
        found = gate(result, "better_than_champion").evidence
        unseen = len(flights()) - 1_600
        assert (found["n"], found["left_out_as_seen"], found["champion_has_seen"]) == (unseen * 3 // 4, 0, 0)
        assert found["champion_trained_to"].startswith("1970-01-02T02:39")

    def test_too_few_newer_ones_are_said(self, tmp_path: Path) -> None:
        trained(tmp_path / "first", flights(), SPEC)
        _copy(tmp_path / "first" / "model", tmp_path / "second" / "champion")
        newest = (len(flights()) - 50) * MINUTE
        result = trained(tmp_path / "second", flights(), SPEC, champion_version="1", champion_trained_to=newest)
        found = gate(result, "better_than_champion")
        assert found.evidence["champion_has_seen"] == found.evidence["n"] - 49
        assert "of the rows are among those that the champion was fitted on" in found.reason


class TestJudgingOn:
    """An order that compares two models on new rows."""

    ORDER = replace(SPEC, purpose="judge", champion_version="1", row_loss=RowLoss())

    @pytest.fixture(scope="class")
    @staticmethod
    def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("models")
        trained(folder / "good", flights(1_500), SPEC)
        trained(folder / "bad", flights(1_500), SPEC, params={"max_iter": 8, "max_leaf_nodes": 3})
        return folder

    def test_says_how_much_better_the_challenger_did_on_each_row(self, tmp_path: Path, models: Path) -> None:
        _copy(models / "good" / "model", tmp_path / "challenger")
        _copy(models / "bad" / "model", tmp_path / "champion")
        result = trained(tmp_path, flights().tail(400), self.ORDER)
        found = result.compared
        assert found is not None
        assert result.verdict is None
        assert len(found.values) == 400
        assert found.wins > found.losses
        assert result.candidate["accuracy"] - result.champion["accuracy"] == pytest.approx(
            (found.wins - found.losses) / 400
        )
        assert PairedTest(alpha=0.2).update(found).for_better > 1

    def test_takes_the_live_predictions_of_a_champion_that_cannot_be_asked(self, tmp_path: Path, models: Path) -> None:
        _copy(models / "good" / "model", tmp_path / "challenger")
        frame = flights().tail(400)
        frame["$version"] = ["0"] * 100 + ["1"] * 300
        result = trained(tmp_path, frame, self.ORDER)
        assert result.compared is not None
        assert (result.champion_by, len(result.compared.values)) == ("events", 300)

    def test_a_challenger_that_cannot_be_asked_is_an_error(self, tmp_path: Path) -> None:
        assert "holds no challenger" in refused(tmp_path, flights(300), self.ORDER)

    def test_an_order_must_say_what_rows_are_compared_by(self, tmp_path: Path) -> None:
        assert "needs row_loss" in refused(tmp_path, flights(300), replace(self.ORDER, row_loss=None))


def test_an_inconclusive_candidate_is_kept_to_be_judged_on(tmp_path: Path) -> None:
    """A twin of the champion: its model is in the folder, and the result says what to compare rows by."""
    trained(tmp_path / "first", flights(1_000), SPEC)
    _copy(tmp_path / "first" / "model", tmp_path / "second" / "champion")
    result = trained(tmp_path / "second", flights(), SPEC, champion_version="1")
    assert result.verdict is not None
    assert (result.verdict.answer, result.row_loss) == ("inconclusive", RowLoss())
    assert (tmp_path / "second" / "model").is_dir()
    assert "Verdict: inconclusive" in (tmp_path / "second" / "report" / "model_card.md").read_text()


def _copy(folder: Path, to: Path) -> None:
    shutil.copytree(folder, to)
