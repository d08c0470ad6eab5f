"""Datasets as Parquet: the rows that a candidate learns from, written once, known by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from retrainer.domain.judging.order import DatasetColumn
from retrainer.domain.values import canonical
from retrainer.errors import Unreachable
from retrainer.ports.training import DatasetRow


class ParquetDatasets:
    """`Datasets` as local Parquet files."""

    def write(self, path: Path, rows: Sequence[DatasetRow]) -> str:
        columns: dict[str, pa.Array] = {
            DatasetColumn.ID: pa.array([row.id for row in rows], pa.string()),
            DatasetColumn.PREDICTED_AT: pa.array([row.predicted_at for row in rows], pa.int64()),
            DatasetColumn.KNOWN_AT: pa.array([row.known_at for row in rows], pa.int64()),
            DatasetColumn.LABEL: pa.array([row.label for row in rows], pa.string()),
            DatasetColumn.PREDICTION: pa.array([row.prediction for row in rows], pa.string()),
            DatasetColumn.VERSION: pa.array([row.version for row in rows], pa.string()),
        }
        names = sorted({name for row in rows for name in row.features})
        columns |= {name: _column([row.features.get(name) for row in rows]) for name in names}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(columns), path, compression="zstd")
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise Unreachable(f"dataset {path} cannot be written: {error}") from error


def _column(values: Sequence[object]) -> pa.Array:
    """Booleans, numbers, or else text; a column of mixed kinds is text by its canonical form. Whole ones stay whole."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool} and kinds:
        return pa.array(values, pa.bool_())
    if kinds == {int} and None not in values:
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(str(value)) for value in values], pa.float64())
    return pa.array([None if value is None else canonical(value) for value in values], pa.string())
