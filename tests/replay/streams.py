"""Synthetic streams with drift, as files, and the configurations that are replayed over them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retrainer.cli import main
from retrainer.config.load import load
from retrainer.policies import model_policy
from retrainer.service.policy import ModelPolicy

TREE = "{estimator: sklearn.tree.DecisionTreeClassifier, params: {max_depth: 3}, rows: {last: 600}}"

SHIFT = "    triggers: {shift: {change: {metric: accuracy}}}\n"

CONFIG = """\
kafka: {{bootstrap_servers: "localhost:9092"}}
models:
  m:
    task: classification
    predictions: {{topic: predictions}}
    labels: {{topic: labels, max_delay: 30m{labels}}}
    guards: {{min_labels: 100, cooldown: 10m, per_day: 100}}
    training: {training}
    judge: {{min_rows: 50}}
{more}"""


def config(folder: Path, *, training: str = TREE, labels: str = "", more: str = "", name: str = "config") -> Path:
    """A configuration file that retrains soon."""
    path = folder / f"{name}.yaml"
    more += "" if "triggers:" in more else SHIFT
    path.write_text(CONFIG.format(training=training, labels=labels, more=more))
    return path


def policy(folder: Path, **changes: str) -> ModelPolicy:
    """The policy of such a file."""
    return model_policy(load(config(folder, **changes), {}).settings.models["m"])


def turning(rows: int = 6_000, seed: int = 0) -> pd.DataFrame:
    """A label that follows the sign of `a` at first, and its opposite from the middle on, with some noise."""
    random = np.random.default_rng(seed)
    a, b = random.normal(size=rows), random.normal(size=rows)
    truth = np.where(np.arange(rows) < rows // 2, a > 0, a < 0) ^ (random.random(rows) < 0.1)
    return pd.DataFrame({"a": a, "b": b, "label": np.where(truth, "yes", "no")})


def written(folder: Path, frame: pd.DataFrame, name: str = "table.csv") -> Path:
    path = folder / name
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path, index=False)
    return path


def replayed(folder: Path, frame: pd.DataFrame, *options: str, config_file: Path | None = None) -> dict[str, Any]:
    """The report of a replay by the command, which has to succeed; its files are in `folder/out`."""
    table = written(folder, frame, "table.parquet")
    given = ["--table", str(table), "--label", "label", "--out", str(folder / "out"), *options]
    assert main(["replay", str(config_file or config(folder)), *given]) == 0
    report: dict[str, Any] = json.loads((folder / "out" / "report.json").read_text())
    return report


def predictions(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "out" / "predictions.parquet")
