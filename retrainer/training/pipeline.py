"""From a recipe to an unfitted scikit-learn pipeline that takes raw features and answers with a class or a number.

Only scikit-learn's own classes are used, so that a saved model needs nothing of this program.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype, is_object_dtype, is_string_dtype
from sklearn.base import is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils import get_tags

from retrainer.domain.judging.order import Recipe
from retrainer.training.order import CannotTrain, TooFewRows

Kind = Literal["number", "text"]
Task = Literal["classification", "regression"]

MOST_CODES: Final = 254
"""Categories that histogram boosting can tell apart: 255 bins, one of them kept free."""

MOST_ONE_HOT: Final = 50
"""Commonest categories that get a column of their own; the others share one."""

FEWEST_ONE_HOT: Final = 5
"""Rows of a category that gets one: of free text, where each is new, none does."""

LARGEST: Final = 1e30
"""Numbers beyond it count as it: squared they would be no numbers, and single precision ends not far from there."""

_FEWEST_KNOWN: Final = 10
_KNOWN_SHARE: Final = 10_000
# Split on thresholds, so that the scale of a number is nothing to them.
_TREES: Final = ("sklearn.tree.", "sklearn.ensemble.", "xgboost.", "lightgbm.", "catboost.")


def kinds_of(features: pd.DataFrame) -> dict[str, Kind]:
    """Every usable feature with its kind: numbers and booleans, or text.

    Left out are features of any other type, and those with hardly a value: what is learnt from fewer than ten is
    chance, and histogram boosting fails on a column that its samples find empty.
    """
    least = min(max(_FEWEST_KNOWN, len(features) // _KNOWN_SHARE), len(features))
    found = {str(name): _kind(features[name]) for name in features if int(features[name].count()) >= max(1, least)}
    return {name: kind for name, kind in found.items() if kind is not None}


def _kind(column: pd.Series[Any]) -> Kind | None:
    if is_bool_dtype(column) or is_numeric_dtype(column):
        return "number"
    if not is_object_dtype(column):
        return "text" if is_string_dtype(column) else None
    types = set(map(type, column.dropna()))
    if types <= {bool, int, float}:
        return "number"
    return "text" if types == {str} else None


def build(recipe: Recipe, features: pd.DataFrame, task: Task = "classification") -> Pipeline:
    """An unfitted pipeline for these features: (rows, features) of raw values, missing ones included.

    Text becomes codes, where an unknown or a missing category is missing. Histogram boosting takes the codes as
    categories. For any other estimator each common one becomes a column, and the rest share one: the missing too, where
    none was missing before. Missing numbers are filled with the median, and marked, only for an estimator that refuses
    them. Numbers are scaled unless the estimator is made of trees.

    Raises:
        CannotTrain: no usable feature, or an estimator that cannot be found, made or used for the task.
    """
    kinds = kinds_of(features)
    if not kinds:
        raise TooFewRows("no feature has enough known values to learn from")
    texts = [name for name, kind in kinds.items() if kind == "text"]
    numbers = [name for name, kind in kinds.items() if kind == "number"]
    estimator = estimator_of(recipe, task)
    if isinstance(estimator, HistGradientBoostingClassifier | HistGradientBoostingRegressor):
        if "categorical_features" in recipe.params:
            raise CannotTrain("categorical_features is set by the types of the features: leave it out of params")
        estimator.set_params(categorical_features=[True] * len(texts) + [False] * len(numbers))
        encoder = _codes(min(MOST_CODES, estimator.max_bins - 1))
        parts = [("text", encoder, texts), ("number", _as_floats(), numbers)]
    else:
        needs = _Needs.of(estimator)
        parts = [("text", _one_hot(needs), texts), ("number", _numbers(needs), numbers)]
    columns = ColumnTransformer([part for part in parts if part[2]])
    return Pipeline([("features", columns), ("estimator", estimator)])


def kinds_read(fitted: Pipeline) -> dict[str, Kind]:
    """The features that a fitted pipeline reads, each with its kind, in the order in which they came."""
    parts: dict[str, Kind] = {
        name: kind for kind, _, names in fitted["features"].transformers_ if kind != "remainder" for name in names
    }
    return {str(name): parts[name] for name in fitted.feature_names_in_ if name in parts}


def estimator_of(recipe: Recipe, task: Task = "classification") -> Any:
    """The recipe's estimator, unfitted, with its parameters and, where it takes one, the seed.

    Raises:
        CannotTrain: it cannot be found or made, or is not for the task.
    """
    module, _, name = recipe.estimator.rpartition(".")
    try:
        estimator = getattr(importlib.import_module(module), name)(**recipe.params)
    except (ImportError, AttributeError, ValueError) as error:
        raise CannotTrain(f"cannot find the estimator {recipe.estimator}: {error}") from error
    except TypeError as error:
        raise CannotTrain(f"cannot make {recipe.estimator} with params {dict(recipe.params)}: {error}") from error
    fits, what = (is_regressor, "regressor") if task == "regression" else (is_classifier, "classifier")
    if not fits(estimator):
        raise CannotTrain(f"{recipe.estimator} is no {what}")
    if "random_state" in estimator.get_params() and "random_state" not in recipe.params:
        estimator.set_params(random_state=recipe.seed)
    return estimator


@dataclass(frozen=True, kw_only=True)
class _Needs:
    """What an estimator can take, by its own tags."""

    missing: bool
    sparse: bool
    positive: bool
    scaled: bool

    @classmethod
    def of(cls, estimator: Any) -> _Needs:
        tags = get_tags(estimator).input_tags
        return cls(
            missing=tags.allow_nan,
            sparse=tags.sparse and not tags.allow_nan,  # missing values are accepted in dense arrays only
            positive=tags.positive_only,
            scaled=not f"{type(estimator).__module__}.".startswith(_TREES),
        )


def _codes(most: int | None) -> OrdinalEncoder:
    nothing = float("nan")
    return OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=nothing,
        encoded_missing_value=nothing,
        max_categories=most,
    )


def _one_hot(needs: _Needs) -> Pipeline:
    # By way of codes, so that the many spellings of a missing value (None, NaN, NA) are one.
    columns = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        max_categories=MOST_ONE_HOT,
        min_frequency=FEWEST_ONE_HOT,
        sparse_output=needs.sparse,
    )
    return make_pipeline(_codes(None), columns)


def _numbers(needs: _Needs) -> Pipeline:
    steps: list[Any] = [_as_floats(), FunctionTransformer(np.clip, kw_args={"a_min": -LARGEST, "a_max": LARGEST})]
    if not needs.missing:
        steps.append(SimpleImputer(strategy="median", add_indicator=True))
    if needs.positive:
        steps.append(MinMaxScaler(clip=True))
    elif needs.scaled:
        steps.append(StandardScaler())
    return make_pipeline(*steps)


def _as_floats() -> StandardScaler:
    """Numbers, booleans and their missing values, whatever the dtype of their column, as floats; nothing else."""
    return StandardScaler(with_mean=False, with_std=False)
