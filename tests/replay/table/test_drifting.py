"""A drift trigger sees the rows of a table as it would see them as live predictions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from retrainer.domain.features.drift_windows import DriftWindows
from retrainer.domain.features.profiles import Profile
from retrainer.domain.metrics.windows import CountWindow, TimeWindow, Window
from retrainer.domain.values import SECOND, SLOT_WIDTH, slot_of, slot_start
from retrainer.replay.table.drifting import TableDrift
from retrainer.replay.table.table import Classes, Table
from retrainer.service.control.drifting import reference_of
from retrainer.training.checks import profile
from retrainer.training.dataset import TrainingRows
from tests.replay.streams import config, replayed, turning

START = 1_000 * SLOT_WIDTH
WINDOWS: tuple[Window, ...] = (CountWindow(outcomes=50), TimeWindow(span=5 * SLOT_WIDTH))
LEARNT = 100


def frame(rows: int) -> pd.DataFrame:
    """Numbers with gaps, a column of whole numbers, text, and one that is text after a while and was empty before."""
    random = np.random.default_rng(3)
    number = random.normal(size=rows)
    number[::7] = np.nan
    late = np.array([None] * LEARNT + ["here"] * (rows - LEARNT), dtype=object)
    text = random.choice(np.array(["x", "y", None], dtype=object), size=rows)
    return pd.DataFrame({"number": number, "whole": random.integers(0, 9, rows), "text": text, "late": late})


def table_of(features: pd.DataFrame) -> Table:
    random = np.random.default_rng(4)
    times = START + np.cumsum(random.choice([0, 5, 30, 200], size=len(features))) * SECOND
    return Table(
        name="table",
        features=features,
        times=times,
        arrivals=times,
        labels=np.zeros(len(features), np.int32),
        classes=Classes(texts=("a", "b"), values=pa.array(["a", "b"])),
        warm=LEARNT,
    )


def as_records(features: pd.DataFrame) -> list[Mapping[str, Any]]:
    """What events would bring: plain values, None where one is missing."""
    columns = {name: [None if pd.isna(one) else one for one in column.tolist()] for name, column in features.items()}
    return [{str(name): values[row] for name, values in columns.items()} for row in range(len(features))]


def seen_live(table: Table, learnt: Profile, since: int) -> DriftWindows:
    """Prediction by prediction, as the service counts them."""
    reference = reference_of(learnt, since)
    assert reference is not None
    windows = DriftWindows(reference, WINDOWS)
    for time, features in zip(table.times.tolist(), as_records(table.features), strict=True):
        counts = np.zeros(windows.layout.size, dtype=np.int64)
        counts[windows.layout.bins(features)] += 1
        if windows.wants(slot_of(time)):
            windows.add(slot_of(time), 1, counts)
    return windows


def told(views: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        name: (view.n, view.first, view.end, view.tenth, {key: one.tolist() for key, one in view.counts.items()})
        for name, view in views.items()
    }


def test_every_slot_shows_what_live_predictions_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrainer.replay.table.drifting._BLOCK", 37)
    table = table_of(frame(600))
    learnt = profile(TrainingRows(table.features.iloc[:LEARNT]))
    since = int(table.times[LEARNT])
    drift = TableDrift(table, WINDOWS)
    drift.follow(learnt, since)
    live = seen_live(table, learnt, since)
    found = 0
    for slot in range(slot_of(since), slot_of(int(table.times[-1])) + 2):
        seen = told(drift.at(slot))
        assert seen == told(live.at(slot)), slot_start(slot)
        found += len(seen)
    assert found > 200


def test_nothing_is_seen_without_a_window_or_without_rows_to_compare_with() -> None:
    table = table_of(frame(200))
    assert TableDrift(table, ()).at(2_000) == {}
    drift = TableDrift(table, WINDOWS)
    drift.follow(None, START)
    assert drift.at(2_000) == {}


def test_a_feature_that_drifts_launches_a_retraining_where_it_may(tmp_path: Path) -> None:
    """Labels stay what they were; only the feature moves, in the middle."""
    stream = turning(3_000)
    stream["b"] += np.where(np.arange(len(stream)) < 1_500, 0.0, 3.0)
    stream = stream.iloc[:2_500]
    triggers = "    triggers: {moved: {drift: {window: 200, features: [b], launches: true}}}\n"
    report = replayed(tmp_path, stream, config_file=config(tmp_path, more=triggers))
    first = next(one for one in report["decisions"] if one["outcome"] == "retrain")
    assert first["trigger"] == "moved"
    assert 1_500 < first["row"] < 1_500 + 250
    assert "b" in first["evidence"]["triggers"]["moved"]["drifted"]
