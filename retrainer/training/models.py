"""Models in MLflow's format: saving a pipeline so that anyone can load it, and asking any model for its answers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from retrainer.training.form import Form
from retrainer.training.pipeline import Kind, Task

EXAMPLE_ROWS: Final = 5
_TRUSTED: Final = ("sklearn.", "numpy.", "scipy.", "pandas.")
# scikit-learn keeps one of these inside fitted histogram boosting; what it calls must be trusted by itself.
_TRUSTED_EXACTLY: Final = "functools.partial"


@dataclass(frozen=True, kw_only=True)
class Saved:
    """How a model was saved; `why` says why it is not skops, which is safe to load."""

    format: str
    why: str = ""


def save(
    fitted: Pipeline, folder: Path, example: pd.DataFrame, kinds: Mapping[str, Kind], task: Task = "classification"
) -> Saved:
    """Write a fitted pipeline in MLflow's format: as skops, or as cloudpickle where skops can't.

    Args:
        folder: it does not exist yet.
        example: (rows, features), raw; its first rows go with the model.
        kinds: the features that the pipeline reads.
    """
    estimator = type(fitted[-1]).__module__.partition(".")[0]
    saved, trusted = _format(fitted, estimator)
    packages = ("scikit-learn", "numpy", "pandas", saved.format, *_distributions(estimator))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on type hints and on cloudpickle, for which there is a reason
        _mlflow().sklearn.save_model(
            fitted,
            str(folder),
            serialization_format=saved.format,
            skops_trusted_types=trusted,
            signature=_signature(kinds, task),
            input_example=example[list(kinds)].head(EXAMPLE_ROWS),
            pip_requirements=[f"{name}=={version(name)}" for name in dict.fromkeys(packages)],
        )
    return saved


def _format(fitted: Pipeline, estimator: str) -> tuple[Saved, list[str] | None]:
    """The format to save in, and the types that a reader of skops has to trust."""
    import skops.io  # slow to import

    try:
        written = skops.io.dumps(fitted)
        found = skops.io.get_untrusted_types(data=written)
        skops.io.loads(written, trusted=found)  # some things can be written and not be read again
    except Exception as error:  # noqa: BLE001 - whatever an estimator's own state makes skops raise
        return Saved(format="cloudpickle", why=f"skops cannot keep it: {type(error).__name__}: {error}"), None
    # The estimator's own package was named in the configuration and has just been run.
    prefixes = (*_TRUSTED, f"{estimator}.")
    strange = [name for name in found if not name.startswith(prefixes) and name != _TRUSTED_EXACTLY]
    if strange:
        return Saved(format="cloudpickle", why=f"it holds types that skops does not know: {', '.join(strange)}"), None
    return Saved(format="skops"), found


def _distributions(package: str) -> list[str]:
    """What to install for the estimator's own package, as far as it came from an index."""
    return [] if package == "sklearn" else packages_distributions().get(package, [])[:1]


def _signature(kinds: Mapping[str, Kind], task: Task) -> Any:
    """Raw features to a class, or to a number.

    Numbers are declared as `any`: MLflow refuses whole numbers for `double` and missing ones for `long`, and both
    come in a frame made from events. The pipeline itself takes every kind of number, booleans, and missing values.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    def column(name: str, kind: Kind) -> Any:
        return ColSpec(DataType.string if kind == "text" else AnyType(), name, required=True)

    inputs = [column(name, kind) for name, kind in kinds.items()]
    answer = DataType.double if task == "regression" else DataType.string
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec(answer)]))


class LoadedModel:
    """Any model in MLflow's format, asked for its answers as texts."""

    def __init__(self, folder: Path) -> None:
        """Loads it.

        Raises:
            Exception: anything, since loading runs what other people wrote.
        """
        self._model = _mlflow().pyfunc.load_model(str(folder))

    def answers(self, features: pd.DataFrame, form: Form | None = None) -> list[str]:
        """One answer for each row: (rows, features) of raw values to (rows,).

        Features that the model does not know are left out, those that are missing are missing values.

        Raises:
            ValueError: it did not answer every row, or gives no scores where they are needed.
            Exception: anything else, from the model.
        """
        form = form or Form()
        asked = _fitted_to(self._model.metadata.get_input_schema(), features)
        found = _column_of(self._model.predict(asked))
        if len(found) != len(features):
            raise ValueError(f"it gave {len(found)} answers to {len(features)} rows")
        return form.of(self._model.get_raw_model() if form.scores != "none" else None, found, asked)


def _column_of(answers: Any) -> list[Any]:
    """One plain Python value for each row, from whatever a model returns."""
    array = np.asarray(answers, dtype=object if isinstance(answers, list) else None)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"it answers with the shape {array.shape}, not with one class for each row")
    return [value.item() if isinstance(value, np.generic) else value for value in array.tolist()]


def _fitted_to(schema: Any, features: pd.DataFrame) -> pd.DataFrame:
    """The columns that a model declares, in the types it declares where nothing is lost."""
    if schema is None or not schema.has_input_names():
        return features
    named = {spec.name: spec.type for spec in schema.inputs}
    return pd.DataFrame({name: _fitted_to_type(features, name, wanted) for name, wanted in named.items()})


def _fitted_to_type(features: pd.DataFrame, name: str, wanted: Any) -> pd.Series[Any]:
    if name not in features or not features[name].notna().any():
        return pd.Series([None] * len(features), index=features.index, dtype=object)
    column: pd.Series[Any] = features[name]
    dtype = wanted.to_pandas() if hasattr(wanted, "to_pandas") else None
    if dtype is None or dtype == np.dtype(object) or dtype == column.dtype:
        return column
    try:
        cast = column.astype(dtype)
    except (TypeError, ValueError):
        return column
    # A double as a float loses digits by its nature; a fraction made whole would be another value.
    return cast if cast.dtype.kind == "f" or bool((cast == column).all()) else column


@cache
def _mlflow() -> Any:
    """The module, imported late since it is slow, without its remarks on its own type hints."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc
        import mlflow.sklearn
    return mlflow
