"""A whole training, in this process: orders in, results, models and reports out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from retrainer.domain.judging.order import DATASET_FILE, RESULT_FILE, SPEC_FILE, RowsPolicy, TrainingResult
from retrainer.training.child import run
from retrainer.training.dataset import TrainingRows
from retrainer.training.fit import Fitter
from retrainer.training.models import save
from retrainer.training.pipeline import kinds_read
from retrainer.training.selection import known_before
from tests.plain import plain_judge
from tests.training.orders import BOOSTING, FEATURES, SPEC, SPIES, flights, gate, place, result_in

DUMMY = "sklearn.dummy.DummyClassifier"
UNKNOWN = 59
"""Rows, a minute apart, whose label, an hour later, was not known when the next one was predicted."""


def trained(folder: Path, frame: pd.DataFrame | None = None, **changes: Any) -> TrainingResult:
    """The result of an order, which succeeds."""
    place(folder, flights() if frame is None else frame, SPEC, **changes)
    code = run(folder)
    result = result_in(folder)
    assert code == 0, result.error
    return result


def refused(folder: Path, **changes: Any) -> str:
    """The error of an order, which fails."""
    place(folder, flights(300), SPEC, **changes)
    assert run(folder) == 1
    result = result_in(folder)
    assert result.verdict is None
    assert result.error
    return result.error


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job without a champion, whose candidate is accepted."""
    folder = tmp_path_factory.mktemp("good")
    trained(folder, estimator=BOOSTING, params={"max_iter": 20}, judge=plain_judge(floors={"f1_macro": 0.6}))
    return folder


class TestWithoutAChampion:
    def test_says_what_was_done(self, good: Path) -> None:
        result = result_in(good)
        assert result.verdict is not None
        assert result.verdict.accepted
        assert [gate.name for gate in result.verdict.gates] == [
            "enough_rows",
            "better_than_majority",
            "better_than_last_class",
            "floor_f1_macro",
            "loads_and_predicts",
        ]
        assert (result.job_id, result.champion_by, result.champion) == ("job-1", "none", {})
        assert result.candidate.keys() == {"accuracy", "f1_macro"}
        assert result.rows_chosen == f"all {len(flights())}"
        assert result.seconds > 0

    def test_the_newest_quarter_judges_and_all_rows_make_the_model(self, good: Path) -> None:
        result, rows = result_in(good), len(flights())
        assert result.trained_on is not None
        assert result.held_out is not None
        assert result.refitted_on is not None
        assert (result.trained_on.rows, result.held_out.rows) == (rows - round(rows / 4) - UNKNOWN, round(rows / 4))
        assert result.trained_on.last < result.held_out.first
        assert result.refitted_on.rows == rows

    def test_leaves_nothing_but_its_own_files(self, good: Path) -> None:
        names = {path.name for path in good.iterdir()}
        assert names == {SPEC_FILE, DATASET_FILE, RESULT_FILE, "model", "report"}

    def test_the_report_is_for_people_and_tools(self, good: Path) -> None:
        verdict = json.loads((good / "report" / "verdict.json").read_text())
        assert verdict["accepted"]
        assert verdict["gates"][0]["reason"].endswith("held-out rows >= 300")
        assert "better_than_majority" in (good / "report" / "model_card.md").read_text()
        table = pq.read_table(good / "report" / "predictions.parquet")
        assert table.column_names == ["id", "time", "label", "candidate", "champion"]
        newest = flights().tail(table.num_rows)
        assert table["id"].to_pylist() == newest["$id"].tolist()
        assert table["label"].to_pylist() == newest["$label"].tolist()
        right = np.mean(np.array(table["label"].to_pylist()) == np.array(table["candidate"].to_pylist()))
        assert right == pytest.approx(result_in(good).candidate["accuracy"])

    def test_the_model_names_what_it_needs_and_nothing_of_ours(self, good: Path) -> None:
        needed = (good / "model" / "requirements.txt").read_text()
        assert "scikit-learn==" in needed
        assert "skops==" in needed
        assert "retrainer" not in needed + (good / "model" / "MLmodel").read_text()
        assert "://" not in needed


class TestTheModel:
    """What users do with it: load it without arguments, and ask it about rows made from events."""

    @pytest.mark.parametrize(
        "event",
        [
            {"month": 1, "hour": 5, "dep_delay": 90, "carrier": "UA", "origin": "EWR", "dest": "IAH", "distance": 1400},
            {"month": 1.0, "hour": 5.5, "dep_delay": -3.0, "carrier": "ZZ", "origin": "?", "dest": "", "distance": 0},
            dict.fromkeys(FEATURES),
        ],
    )
    def test_takes_whole_numbers_fractions_unseen_classes_and_nothing(
        self, good: Path, event: dict[str, object]
    ) -> None:
        rows = pd.DataFrame([{**event, "row": 1, "new_feature": "x"}])
        found = mlflow.pyfunc.load_model(str(good / "model")).predict(rows)
        assert list(found) == list(mlflow.sklearn.load_model(str(good / "model")).predict(rows))
        assert found[0] in {"late", "on_time"}

    def test_is_saved_as_skops(self, good: Path) -> None:
        assert gate(result_in(good), "loads_and_predicts").evidence == {"format": "skops"}

    def test_comes_with_an_example(self, good: Path) -> None:
        example = json.loads((good / "model" / "input_example.json").read_text())
        assert len(example["data"]) == 5


class TestAgainstAChampion:
    def test_a_worse_one_is_replaced_and_a_better_one_is_kept(self, tmp_path: Path) -> None:
        """Swapped, candidate and champion must swap their counts and the answer."""
        bad = trained(tmp_path / "bad", estimator=DUMMY, params={}, judge=plain_judge(min_rows=10_000))
        assert bad.verdict is not None
        assert not bad.verdict.accepted
        assert not (tmp_path / "bad" / "model").exists()
        make_champion(tmp_path / "good", estimator=DUMMY, params={})
        promoted = trained(tmp_path / "good", champion_version="1", refit=False)
        make_champion(tmp_path / "worse")
        kept = trained(tmp_path / "worse", champion_version="1", estimator=DUMMY, params={}, refit=False)
        won, lost = gate(promoted, "better_than_champion"), gate(kept, "better_than_champion")
        assert won.passed
        assert not lost.passed
        assert (won.evidence["b"], won.evidence["c"]) == (lost.evidence["c"], lost.evidence["b"])
        assert won.evidence["b"] > won.evidence["c"]
        assert promoted.champion_by == kept.champion_by == won.evidence["champion_by"] == "model"
        assert promoted.champion == kept.candidate

    def test_an_equal_one_is_kept(self, tmp_path: Path) -> None:
        make_champion(tmp_path)
        result = trained(tmp_path, champion_version="1", refit=False)
        assert result.candidate == result.champion
        found = gate(result, "better_than_champion")
        assert (found.passed, found.evidence["b"], found.evidence["c"]) == (False, 0, 0)

    def test_another_metric_is_judged_by_a_bootstrap(self, tmp_path: Path) -> None:
        make_champion(tmp_path, estimator=DUMMY, params={})
        result = trained(tmp_path, champion_version="1", metrics=("f1_macro",))
        assert gate(result, "better_than_champion").evidence["test"] == "paired_bootstrap"
        assert gate(result, "better_than_champion").passed


def make_champion(folder: Path, **changes: Any) -> None:
    """The model of this recipe, fitted on the rows before the held-out ones, as the champion of a job."""
    recipe = replace(SPEC.recipe, **changes)
    older, held = TrainingRows(flights()).split(recipe.holdout)
    fitted = Fitter(recipe=recipe, cpus=1).fit(known_before(older, held))
    save(fitted, folder / "champion", held.features, kinds_read(fitted))


class TestChampionThatCannotBeAsked:
    """Its live predictions are taken, on the rows where there are some."""

    def test_takes_the_live_predictions(self, tmp_path: Path) -> None:
        (tmp_path / "champion").mkdir()
        frame = flights()
        frame.loc[frame.index % 2 == 0, "$version"] = "2"
        result = trained(tmp_path, frame, champion_version="1")
        found = gate(result, "better_than_champion")
        assert result.champion_by == found.evidence["champion_by"] == "events"
        assert "MLmodel" in found.evidence["champion_error"]
        assert found.evidence["n"] == gate(result, "enough_rows").evidence["n"] == 250
        assert found.passed
        table = pq.read_table(tmp_path / "report" / "predictions.parquet")
        assert table["champion"].null_count == table.num_rows - 250

    def test_too_few_of_them_are_no_judgement(self, tmp_path: Path) -> None:
        frame = flights()
        frame.loc[frame.index[:-50], "$version"] = None
        result = trained(tmp_path, frame, champion_version="1")
        assert gate(result, "enough_rows").reason == (
            "50 held-out rows < 100 (with a live prediction of the champion, whose model cannot be asked:"
            " FileNotFoundError: the job's folder holds no champion)"
        )
        assert "holds no champion" in gate(result, "better_than_champion").evidence["champion_error"]

    def test_none_of_them_is_no_judgement_either(self, tmp_path: Path) -> None:
        result = trained(tmp_path, champion_version="7")
        assert result.verdict is not None
        assert not result.verdict.accepted
        assert (result.candidate, result.champion) == ({}, {})

    def test_a_model_that_answers_with_no_class_is_not_asked(self, tmp_path: Path) -> None:
        """A champion that gives scores would lose to anything."""
        labelled = flights()
        labelled["$label"] = labelled["$label"].map({"late": "1", "on_time": "0"})
        place(tmp_path / "made", labelled)
        assert run(tmp_path / "made") == 0
        (tmp_path / "made" / "model").rename(tmp_path / "champion")
        result = trained(tmp_path, champion_version="1")
        assert result.champion_by == "events"
        error = gate(result, "better_than_champion").evidence["champion_error"]
        assert "it answers with what no label is: 0, 1" in error


class TestHeldOutRows:
    """They enter no fit before the judgement."""

    @staticmethod
    def fits(log: Path) -> list[set[int]]:
        notes = [json.loads(line) for line in log.read_text().splitlines()]
        return [set(rows) for what, rows in notes if what == "fit"]

    @pytest.mark.parametrize("kind", ["all", "auto"])
    def test_are_seen_by_the_refit_alone(self, tmp_path: Path, kind: str) -> None:
        log, rows = tmp_path / "log", len(flights())
        policy = RowsPolicy(kind=kind)  # type: ignore[arg-type]  # parametrised text
        result = trained(tmp_path, estimator=f"{SPIES}.Spy", params={"log": str(log)}, rows=policy)
        *before, refit = self.fits(log)
        held = set(range(rows - round(rows / 4), rows))
        assert len(before) == (1 if kind == "all" else 4)
        assert not any(seen & held for seen in before)
        assert held < refit
        assert result.refitted_on is not None
        assert len(refit) == result.refitted_on.rows

    def test_never_without_a_refit(self, tmp_path: Path) -> None:
        log, rows = tmp_path / "log", len(flights())
        result = trained(tmp_path, estimator=f"{SPIES}.Spy", params={"log": str(log)}, refit=False)
        assert self.fits(log) == [set(range(rows - round(rows / 4) - UNKNOWN))]
        assert result.refitted_on is None
        assert (tmp_path / "model").exists()

    def test_the_windows_of_a_contest_are_scored_on_rows_they_have_not_seen(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        trained(tmp_path, estimator=f"{SPIES}.Spy", params={"log": str(log)}, rows=RowsPolicy(kind="auto"), refit=False)
        notes = [json.loads(line) for line in log.read_text().splitlines()][:6]
        for (fit, seen), (predict, asked) in zip(notes[::2], notes[1::2], strict=True):
            assert (fit, predict) == ("fit", "predict")
            assert max(seen) < min(asked)


class TestModelsThatCannotBeSavedWell:
    def test_cloudpickle_where_skops_cannot(self, tmp_path: Path) -> None:
        result = trained(tmp_path, estimator=f"{SPIES}.Unskopable", params={"max_depth": 4})
        found = gate(result, "loads_and_predicts")
        assert found.passed
        assert found.evidence["format"] == "cloudpickle"
        assert found.evidence["why_not_skops"]
        assert "cloudpickle==" in (tmp_path / "model" / "requirements.txt").read_text()

    def test_a_model_that_answers_otherwise_once_loaded_is_not_accepted(self, tmp_path: Path) -> None:
        result = trained(tmp_path, estimator=f"{SPIES}.Forgetful", params={"max_depth": 4})
        found = gate(result, "loads_and_predicts")
        assert not found.passed
        assert found.reason == "the saved model answers 100 of 100 rows differently from the fitted one"


class TestOrdersThatFail:
    def test_a_failing_estimator_is_told_with_its_last_calls(self, tmp_path: Path) -> None:
        error = refused(tmp_path, estimator=f"{SPIES}.Failing", params={})
        assert error.startswith("Traceback")
        assert error.endswith("RuntimeError: the moon is in the wrong phase")
        assert len(error.splitlines()) < 30

    def test_one_that_exits_has_failed(self, tmp_path: Path) -> None:
        assert "SystemExit" in refused(tmp_path, estimator=f"{SPIES}.Exiting", params={})

    @pytest.mark.parametrize(
        ("estimator", "params", "told"),
        [
            ("sklearn.ensemble.Nothing", {}, "cannot find the estimator sklearn.ensemble.Nothing"),
            ("nowhere.Nothing", {}, "No module named 'nowhere'"),
            ("Nothing", {}, "cannot find the estimator Nothing"),
            (BOOSTING, {"max_itre": 3}, "unexpected keyword argument 'max_itre'"),
            (BOOSTING, {"categorical_features": "from_dtype"}, "leave it out of params"),
            ("sklearn.linear_model.LinearRegression", {}, "is no classifier"),
        ],
    )
    def test_an_estimator_that_cannot_be_made(
        self, tmp_path: Path, estimator: str, params: dict[str, object], told: str
    ) -> None:
        error = refused(tmp_path, estimator=estimator, params=params)
        assert told in error
        assert "Traceback" not in error

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"dataset_digest": "0" * 64}, "is not the dataset that was ordered"),
            ({"task": "regression"}, "cannot judge a regression by accuracy"),
            ({"metrics": ("log_loss",), "estimator": f"{SPIES}.Mute", "params": {}}, "gives no probabilities"),
            ({"metrics": ("mae",)}, "cannot judge a classification by mae"),
            ({"metrics": ()}, "names no metric"),
            ({"format": 99}, "has format 99"),
            ({"holdout": 0.0001}, "300 rows are too few"),
            ({"rows": RowsPolicy(kind="last")}, "needs a count or a span"),
        ],
    )
    def test_an_order_that_cannot_be_carried_out(self, tmp_path: Path, changes: dict[str, Any], told: str) -> None:
        assert told in refused(tmp_path, **changes)

    def test_an_order_that_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / SPEC_FILE).write_text('{"job_id": 1}')
        assert run(tmp_path) == 1
        assert "cannot read spec.json" in (result_in(tmp_path).error or "")
        assert {path.name for path in tmp_path.iterdir()} == {SPEC_FILE, RESULT_FILE}

    def test_rows_of_one_class(self, tmp_path: Path) -> None:
        frame = flights(300)
        frame["$label"] = ["late"] * 200 + ["on_time"] * (len(frame) - 200)
        place(tmp_path, frame, holdout=0.5)
        assert run(tmp_path) == 1
        assert "hold only the class 'late'" in (result_in(tmp_path).error or "")


def test_a_second_attempt_starts_over(tmp_path: Path) -> None:
    """What an attempt that was killed has left is not in the way."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "half").touch()
    (tmp_path / RESULT_FILE).write_text("{}")
    assert trained(tmp_path).verdict is not None
    assert not (tmp_path / "model" / "half").exists()


def test_the_same_order_gives_the_same_model(tmp_path: Path) -> None:
    """Whatever the order of the rows in the file."""
    forest: dict[str, Any] = {
        "estimator": "sklearn.ensemble.RandomForestClassifier",
        "params": {"n_estimators": 10},
        "seed": 7,
    }
    first = trained(tmp_path / "one", **forest)
    again = trained(tmp_path / "two", flights().sample(frac=1, random_state=3), **forest)
    assert first.candidate == again.candidate
    assert first.verdict == again.verdict
    tables = [pq.read_table(tmp_path / name / "report" / "predictions.parquet") for name in ("one", "two")]
    assert tables[0].equals(tables[1])
