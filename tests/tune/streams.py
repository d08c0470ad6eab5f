"""Short histories, a configuration over each, and `retrainer tune` as a shell starts it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retrainer.cli import main
from retrainer.config.load import load
from retrainer.policies import model_policy
from retrainer.replay.options import TableOptions
from retrainer.replay.table.table import load as load_table
from retrainer.tune.edits import edits, settings_with
from retrainer.tune.plays import Plays, bounds_of
from retrainer.tune.search import Searching, Teller
from retrainer.tune.space import Point, TableFacts, space_of

CONFIG = """\
# Our model.
kafka: {{bootstrap_servers: "localhost:9092"}}
models:
  m:
    task: {task}
    predictions: {{topic: predictions}}
    labels: {{topic: labels, max_delay: 30m}}
    training:
      estimator: {estimator}
      rows: {rows}
    guards:
      min_labels: 100
      per_day: 100
      cooldown: {cooldown}    # so that it is quiet
    judge: {{min_rows: {min_rows}, improvement: {improvement}}}
"""


def config(folder: Path, **values: object) -> Path:
    """A configuration; what is not given lets it retrain soon."""
    usual = {
        "task": "classification",
        "estimator": "sklearn.naive_bayes.GaussianNB",
        "cooldown": "1m",
        "min_rows": 50,
        "improvement": 0.0,
        "rows": "{last: 300}",
    }
    path = folder / "config.yaml"
    path.write_text(CONFIG.format_map({**usual, **values}))
    return path


def turning(rows: int = 1_500, *turns: int, seed: int = 0) -> pd.DataFrame:
    """A label that follows the sign of `a`, and its opposite from each turn to the next, with some noise."""
    random = np.random.default_rng(seed)
    a, b = random.normal(size=rows), random.normal(size=rows)
    turned = np.searchsorted(turns, np.arange(rows), side="right") % 2 == 1
    truth = ((a > 0) ^ turned) ^ (random.random(rows) < 0.1)
    return pd.DataFrame({"a": a, "b": b, "label": np.where(truth, "yes", "no")})


def tuned(folder: Path, frame: pd.DataFrame, *options: str, config_file: Path | None = None) -> dict[str, Any]:
    """The report of a tuning by the command, which has to succeed; its files are in `folder/out`."""
    table = folder / "table.parquet"
    frame.to_parquet(table, index=False)
    given = ["--table", str(table), "--label", "label", "--every", "2s", "--out", str(folder / "out"), *options]
    assert main(["tune", str(config_file or config(folder)), *given]) == 0
    report: dict[str, Any] = json.loads((folder / "out" / "tune.json").read_text())
    return report


def changes(report: Mapping[str, Any]) -> dict[str, Any]:
    """Key to new value."""
    return {one["key"]: one["now"] for one in report["reasons"]}


def searching(folder: Path, frame: pd.DataFrame, *, folds: int, trials: int, **values: object) -> Searching:
    """A search over a frame, without the command around it."""
    path = folder / "table.parquet"
    frame.to_parquet(path, index=False)
    table = load_table(TableOptions(path=path, label="label", every=2_000_000))
    loaded = load(config(folder, **values), {})
    about = space_of(loaded.settings.models["m"], TableFacts(warm=table.warm, rows=len(table), span=10**12))

    def policy_of(point: Point) -> Any:
        return model_policy(settings_with(loaded, "m", edits(about, point)).models["m"])

    bounds = bounds_of(table, folds)
    plays = Plays(table=table, bounds=bounds, policy_of=policy_of, training_takes=0, present=about.present)
    teller = Teller(lambda _rows, _retrains: None)
    return Searching(space=about, plays=plays, price=5.0, trials=trials, seed=0, clock=lambda: 0.0, teller=teller)
