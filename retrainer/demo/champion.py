"""What the data scientist did before: a model of January and February, registered in MLflow as the champion.

Run as a process of its own: `python -m retrainer.demo.champion --tracking-uri URI --artifacts FOLDER`.
"""

from __future__ import annotations

import argparse
import logging
import os
from typing import Final

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature
from sklearn import __version__ as sklearn_version
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from skops import __version__ as skops_version

from retrainer.demo import flights, plan
from retrainer.demo.children import say

ALIAS: Final = "champion"

READY: Final = "mlflow.ready"
"""Said once MLflow's database has its tables: two processes must not create them at the same time."""

_TEXTS: Final = ["carrier", "origin"]

# Histogram boosting keeps these inside; skops asks whoever loads a model to trust them by name.
_TRUSTED: Final = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]


def train(features: pd.DataFrame, labels: pd.Series[str]) -> Pipeline:
    """A classifier of raw features: (flights, features) and (flights,)."""
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer((codes, _TEXTS), remainder="passthrough")
    model = make_pipeline(columns, HistGradientBoostingClassifier(random_state=0))
    return model.fit(_numbers_as_floats(features), labels)


def _numbers_as_floats(features: pd.DataFrame) -> pd.DataFrame:
    return features.astype({name: "float64" for name in features if name not in _TEXTS})


def register(model: Pipeline, features: pd.DataFrame, artifacts: str) -> str:
    """The version under which MLflow keeps the model, which then holds the alias."""
    example = _numbers_as_floats(features.head(5))
    experiment = mlflow.create_experiment("research", artifact_location=artifacts)
    with mlflow.start_run(experiment_id=experiment, run_name="January and February"):
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name=plan.MODEL,
            signature=infer_signature(example, model.predict(example)),
            input_example=example,
            # Named here, or MLflow would load the model once more to find out what it imports.
            pip_requirements=[f"scikit-learn=={sklearn_version}", f"skops=={skops_version}", "pandas"],
            serialization_format="skops",
            skops_trusted_types=_TRUSTED,
        )
    version = str(logged.registered_model_version)
    mlflow.MlflowClient().set_registered_model_alias(plan.MODEL, ALIAS, version)
    return version


def main() -> None:
    """Train and register."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tracking-uri", required=True)
    parser.add_argument("--artifacts", required=True)
    arguments = parser.parse_args()
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(arguments.tracking_uri)
    mlflow.search_experiments(max_results=1)
    say(READY)
    table = flights.load(until=pd.Timestamp(plan.CHAMPION_LEARNS_UNTIL).tz_localize(None))
    features = flights.as_sent(table)
    version = register(train(features, table["label"]), features, arguments.artifacts)
    say("champion.registered", version=version, rows=len(table))


if __name__ == "__main__":
    main()
