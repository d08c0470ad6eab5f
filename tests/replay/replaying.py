"""The command in a folder, as somebody uses it who has set nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrainer.cli import main

DEFAULT = (
    'kafka: {{bootstrap_servers: "localhost:9092"}}\nmodels:\n  m:\n    task: {task}\n    predictions: {{topic: p}}\n'
)
BAYES = "sklearn.naive_bayes.GaussianNB"
RIDGE = "sklearn.linear_model.Ridge"


def config(folder: Path, estimator: str, task: str = "classification") -> Path:
    """The policy of somebody who has set nothing."""
    path = folder / "config.yaml"
    rest = f"    labels: {{topic: l}}\n    training: {{estimator: {estimator}}}\n"
    path.write_text(DEFAULT.format(task=task) + rest)
    return path


def stream(rows: int = 300, seed: int = 0) -> pd.DataFrame:
    """The label is the sign of `a`, nine times in ten."""
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, rows))
    return pd.DataFrame({"a": a, "b": b, "label": ((a > 0) ^ (random.random(rows) < 0.1)).astype(int)})


def saved(folder: Path, table: pd.DataFrame | pa.Table | str | bytes) -> Path:
    path = folder / ("table.csv" if isinstance(table, str | bytes) else "table.parquet")
    if isinstance(table, pd.DataFrame):
        table.to_parquet(path, index=False)
    elif isinstance(table, pa.Table):
        pq.write_table(table, path)
    else:
        path.write_bytes(table.encode() if isinstance(table, str) else table)
    return path


class Replayer:
    """The command in a folder: its exit code, what it said, and what it wrote."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def run(self, table: Any, *options: str, estimator: str = BAYES, task: str = "classification") -> tuple[int, str]:
        path = table if isinstance(table, Path) else saved(self.folder, table)
        given = ["--table", str(path), "--label", "label", "--out", str(self.folder / "out"), "--json"]
        code = main(["replay", str(config(self.folder, estimator, task)), *given, *options])
        said = self._capsys.readouterr()
        assert bool(said.out) == (code == 0)
        self.out = said.out
        return code, said.err

    def report(self, table: Any, *options: str, **how: str) -> dict[str, Any]:
        """The report of a replay that has to succeed, with nothing else said, and right about its own predictions."""
        assert self.run(table, *options, **how) == (0, "")
        report: dict[str, Any] = json.loads(self.out)
        found = self.predictions()
        assert len(found) == report["rows"]
        assert found["prediction"].null_count == 0
        pairs = zip(*(found[name].to_pylist() for name in ("prediction", "label")), strict=True)
        known = [(answer, label) for answer, label in pairs if label is not None]
        if report["metric"]["name"] == "accuracy":
            assert report["metric"]["value"] == pytest.approx(np.mean([answer == label for answer, label in known]))
        else:
            errors = [abs(float(answer) - float(label)) for answer, label in known]
            assert report["metric"]["value"] == pytest.approx(np.mean(errors), rel=1e-4)
        return report

    def predictions(self) -> pa.Table:
        return pq.read_table(self.folder / "out" / "predictions.parquet")
