"""Pipelines: any estimator, on features as messy as events are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from retrainer.domain.judging.order import Recipe
from retrainer.training.dataset import TrainingRows
from retrainer.training.fit import Fitter
from retrainer.training.order import CannotTrain
from retrainer.training.pipeline import build, kinds_of, kinds_read

BOOSTING = "sklearn.ensemble.HistGradientBoostingClassifier"
ESTIMATORS: dict[str, dict[str, Any]] = {
    BOOSTING: {"max_iter": 5},
    "sklearn.ensemble.RandomForestClassifier": {"n_estimators": 5},
    "sklearn.ensemble.GradientBoostingClassifier": {"n_estimators": 5},
    "sklearn.tree.DecisionTreeClassifier": {},
    "sklearn.linear_model.LogisticRegression": {},
    "sklearn.linear_model.SGDClassifier": {},
    "sklearn.naive_bayes.GaussianNB": {},
    "sklearn.naive_bayes.MultinomialNB": {},
    "sklearn.neighbors.KNeighborsClassifier": {},
    "sklearn.dummy.DummyClassifier": {},
}


def messy(rows: int = 400) -> pd.DataFrame:
    """Every kind of column; the class follows `size` and `colour`."""
    random = np.random.default_rng(5)
    colours = random.choice(["red", "green", "blue"], rows)
    size = random.normal(0, 1, rows) * 1_000
    return pd.DataFrame(
        {
            "size": np.where(random.random(rows) < 0.2, np.nan, size),
            "whole": random.integers(0, 9, rows),
            "flag": random.random(rows) < 0.5,
            "flag_or_nothing": pd.Series(random.choice(np.array([True, False, None]), rows), dtype="object"),
            "colour": pd.Series(colours).where(random.random(rows) < 0.9),
            "constant": 3,
            "same": "same",
            "gone": pd.Series([None] * rows, dtype=object),
            "gone_number": np.nan,
            "rare": [7.0, *[np.nan] * (rows - 1)],
            "tag": [f"t{number}" for number in range(rows)],
            "when": pd.Timestamp("2013-01-01"),
            "pair": pd.Series([[1, 2]] * rows, dtype=object),
            "$label": np.where((size > 0) | (colours == "red"), "yes", "no"),
        }
    )


USED = {
    "size": "number",
    "whole": "number",
    "flag": "number",
    "flag_or_nothing": "number",
    "colour": "text",
    "constant": "number",
    "same": "text",
    "tag": "text",
}


def fitted(frame: pd.DataFrame, estimator: str = BOOSTING, **recipe: Any) -> Pipeline:
    recipe = {"params": ESTIMATORS[estimator]} | recipe
    return Fitter(recipe=Recipe(estimator=estimator, **recipe), cpus=1).fit(TrainingRows(frame))


def features_of(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="$label")


@pytest.fixture(scope="module", params=ESTIMATORS)
def any_estimator(request: pytest.FixtureRequest) -> Pipeline:
    return fitted(messy(), request.param)


class TestAnyEstimator:
    def test_reads_the_usable_features(self, any_estimator: Pipeline) -> None:
        assert kinds_read(any_estimator) == USED

    def test_answers_with_the_canonical_classes(self, any_estimator: Pipeline) -> None:
        assert any_estimator.classes_.tolist() == ["no", "yes"]
        assert set(any_estimator.predict(features_of(messy()))) <= {"no", "yes"}

    @pytest.mark.parametrize(
        "event",
        [
            dict.fromkeys(USED),
            {"size": 3, "whole": 2.5, "flag": 1.0, "flag_or_nothing": True, "colour": "never seen", "same": "other"},
            {"size": float("nan"), "whole": None, "flag": None, "flag_or_nothing": None, "colour": None, "same": ""},
        ],
    )
    def test_answers_any_event(self, any_estimator: Pipeline, event: Mapping[str, object]) -> None:
        rows = pd.DataFrame([{"tag": "t1", "constant": 3} | dict(event) | {"new": "feature"}])
        assert any_estimator.predict(rows)[0] in {"no", "yes"}

    def test_a_missing_value_has_one_meaning_however_it_is_spelled(self, any_estimator: Pipeline) -> None:
        rows = features_of(messy(40))
        spelled = rows.assign(colour=pd.Series([None] * 40, dtype=object), size=pd.Series([None] * 40, dtype=object))
        other = rows.assign(colour=pd.Series([None] * 40, dtype="str"), size=np.nan)
        assert any_estimator.predict(spelled).tolist() == any_estimator.predict(other).tolist()


@pytest.mark.parametrize("estimator", [name for name in ESTIMATORS if "Dummy" not in name and "NB" not in name])
def test_every_estimator_learns(estimator: str) -> None:
    """Better than the commoner class, which makes up two thirds."""
    model = fitted(messy(), estimator)
    frame = messy()
    assert (model.predict(features_of(frame)) == frame["$label"].to_numpy()).mean() > 0.7


class TestHistogramBoosting:
    @pytest.mark.parametrize("max_bins", [255, 16])
    def test_takes_more_categories_than_it_has_bins(self, max_bins: int) -> None:
        frame = messy(1_000)
        model = fitted(frame, params={"max_iter": 2, "max_bins": max_bins})
        codes = model["features"].transform(features_of(frame))[:, [*USED.values()].count("text") - 1]
        assert np.nanmax(codes) == min(254, max_bins - 1) - 1

    def test_keeps_the_commonest_categories(self) -> None:
        frame = messy(1_000)
        frame["tag"] = [f"t{number}" if number % 2 else "common" for number in range(1_000)]
        model = fitted(frame, params={"max_iter": 2, "max_bins": 8})
        encoder = model["features"].named_transformers_["text"]
        assert "common" not in encoder.infrequent_categories_[-1]
        assert len(encoder.infrequent_categories_[-1]) == 495

    def test_knows_which_columns_are_categories(self) -> None:
        assert fitted(messy())["estimator"].is_categorical_.tolist() == [True] * 3 + [False] * 5

    def test_a_class_seen_once_is_in_nobodys_way(self) -> None:
        """Beyond 10,000 rows it holds some out for itself, in each class."""
        frame = pd.DataFrame({"x": np.arange(10_100) % 7, "$label": np.where(np.arange(10_100) % 7 > 3, "a", "b")})
        frame.loc[17, "$label"] = "once"
        assert fitted(frame, params={"max_iter": 2}).classes_.tolist() == ["a", "b"]


class TestOtherEstimators:
    def test_numbers_are_scaled_unless_it_is_made_of_trees(self) -> None:
        def spread(estimator: str) -> float:
            model = fitted(messy(), estimator)
            table = model["features"].named_transformers_["number"].transform(features_of(messy())[["size", *NUMBERS]])
            return float(np.nanstd(table[:, 0]))

        assert spread("sklearn.linear_model.LogisticRegression") == pytest.approx(1)
        assert spread("sklearn.tree.DecisionTreeClassifier") > 100

    def test_missing_numbers_are_filled_and_marked_only_where_they_must_be(self) -> None:
        def steps(estimator: str) -> list[str]:
            return [name for name, _ in fitted(messy(), estimator)["features"].named_transformers_["number"].steps]

        assert "simpleimputer" in steps("sklearn.linear_model.LogisticRegression")
        assert "simpleimputer" not in steps("sklearn.ensemble.RandomForestClassifier")

    def test_rare_categories_share_a_column(self) -> None:
        model = fitted(messy(), "sklearn.linear_model.LogisticRegression")
        assert model["estimator"].n_features_in_ < 70


NUMBERS = [name for name, kind in USED.items() if kind == "number" and name != "size"]


class TestSeeds:
    def test_the_seed_is_handed_over_where_one_is_taken(self) -> None:
        model = build(Recipe(estimator=BOOSTING, seed=9), messy())
        assert model["estimator"].random_state == 9
        build(Recipe(estimator="sklearn.neighbors.KNeighborsClassifier", seed=9), messy())

    def test_a_seed_of_the_owner_stays(self) -> None:
        model = build(Recipe(estimator=BOOSTING, params={"random_state": 4}, seed=9), messy())
        assert model["estimator"].random_state == 4


def test_without_a_usable_feature_nothing_can_be_learnt() -> None:
    with pytest.raises(CannotTrain, match="no feature"):
        build(Recipe(estimator=BOOSTING), messy()[["gone", "gone_number", "rare"]])


def test_numbers_that_are_hardly_known_are_left_out_of_large_datasets() -> None:
    frame = pd.DataFrame({"a": np.arange(200_000.0), "b": [1.0] * 19 + [np.nan] * 199_981})
    assert kinds_of(frame) == {"a": "number"}
    assert kinds_of(frame.head(1_000)) == {"a": "number", "b": "number"}
