"""Reading a dataset."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrainer.domain.judging.order import RowRange
from retrainer.training.dataset import TrainingRows, read_rows
from retrainer.training.order import CannotTrain

COLUMNS = {
    "$id": ["c", "b", "a", "d"],
    "$predicted_at": [20, 10, 10, 5],
    "$known_at": [21, 11, 12, 40],
    "$label": ["x", "y", "x", "y"],
    "$prediction": ["x", None, "x", "y"],
    "$version": ["1", None, "2", "1"],
    "whole": [1, None, 3, 4],
    "flag": [True, None, False, True],
    "text": pa.array(["p", None, "q", "p"]).dictionary_encode(),
    "nothing": pa.nulls(4),
}


def written(path: Path, **changes: object) -> tuple[Path, str]:
    """A dataset and its digest; a column that is None is left out."""
    columns = {name: values for name, values in (COLUMNS | changes).items() if values is not None}
    pq.write_table(pa.table(columns), path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def rows(tmp_path: Path) -> TrainingRows:
    return read_rows(*written(tmp_path / "dataset.parquet"))


def test_rows_are_in_order_of_time_then_id(rows: TrainingRows) -> None:
    assert rows.frame["$id"].tolist() == ["d", "a", "b", "c"]
    assert rows.labels.tolist() == ["y", "x", "y", "x"]
    assert rows.predicted_at.tolist() == [5, 10, 10, 20]
    assert rows.known_at.tolist() == [40, 12, 11, 21]
    assert rows.range == RowRange(rows=4, first=5, last=20)


def test_features_are_all_other_columns(rows: TrainingRows) -> None:
    assert rows.features.columns.tolist() == ["whole", "flag", "text", "nothing"]
    assert rows.features["text"].dtype == "str"
    assert rows.features["whole"].tolist()[:2] == [4.0, 3.0]
    assert rows.features["nothing"].isna().all()


def test_parts_follow_one_another(rows: TrainingRows) -> None:
    older, newest = rows.split(0.25)
    assert (older.frame["$id"].tolist(), newest.frame["$id"].tolist()) == (["d", "a", "b"], ["c"])
    assert rows.where(rows.labels == "x").frame["$id"].tolist() == ["a", "c"]
    assert rows.before(0).range is None


@pytest.mark.parametrize("share", np.linspace(0, 1, 7))
def test_a_split_loses_nothing(rows: TrainingRows, share: float) -> None:
    older, newest = rows.split(share)
    assert len(older) + len(newest) == len(rows)


def test_another_file_than_the_one_ordered_is_refused(tmp_path: Path) -> None:
    path, digest = written(tmp_path / "dataset.parquet")
    written(path, whole=[1, 2, 3, 5])
    with pytest.raises(CannotTrain, match=r"dataset\.parquet is not the dataset that was ordered: sha256 .*" + digest):
        read_rows(path, digest)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"$label": None, "$version": None}, r"lacks \$label, \$version"),
        ({"$label": ["x", None, "y", None]}, r"2 rows of dataset\.parquet have no \$label"),
    ],
)
def test_a_file_without_what_is_needed_is_refused(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    with pytest.raises(CannotTrain, match=told):
        read_rows(*written(tmp_path / "dataset.parquet", **changes))


def test_no_file_and_no_parquet_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotTrain, match=r"cannot read dataset\.parquet"):
        read_rows(tmp_path / "dataset.parquet", "")
    (tmp_path / "dataset.parquet").write_bytes(b"PAR1")
    with pytest.raises(CannotTrain, match=r"cannot read dataset\.parquet"):
        read_rows(tmp_path / "dataset.parquet", hashlib.sha256(b"PAR1").hexdigest())
