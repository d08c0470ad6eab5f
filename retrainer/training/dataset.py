"""The rows of a job: read from dataset.parquet, checked against the order, in time order, and split by time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from retrainer.domain.judging.order import DatasetColumn, RowRange
from retrainer.training.order import CannotTrain

Texts = npt.NDArray[np.str_]
Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrainingRows:
    """Labelled examples in time order: one frame, the columns of `DatasetColumn` beside the features."""

    frame: pd.DataFrame

    @classmethod
    def of(cls, frame: pd.DataFrame) -> TrainingRows:
        """Rows in whatever order, brought into theirs: by time of prediction, then id."""
        return cls(frame.sort_values([DatasetColumn.PREDICTED_AT, DatasetColumn.ID], kind="stable", ignore_index=True))

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def features(self) -> pd.DataFrame:
        """Every other column, as it came: (rows, features)."""
        return self.frame.drop(columns=[column for column in DatasetColumn if column in self.frame])

    @cached_property
    def labels(self) -> Texts:
        """Canonical classes: (rows,)."""
        return self.frame[DatasetColumn.LABEL].to_numpy(dtype=np.str_)

    @cached_property
    def numbers(self) -> npt.NDArray[np.float64]:
        """The labels of a regression: (rows,).

        Raises:
            CannotTrain: one is no finite number.
        """
        labels = self.labels.tolist()
        try:
            found = np.array([float(label) for label in labels], dtype=np.float64)
        except ValueError as error:
            raise CannotTrain(f"a label of a regression is no number: {error}") from error
        if not np.isfinite(found).all():
            raise CannotTrain("a label of a regression is no finite number")
        return found

    @property
    def predicted_at(self) -> Times:
        return self.frame[DatasetColumn.PREDICTED_AT].to_numpy(dtype=np.int64)

    @property
    def known_at(self) -> Times:
        return self.frame[DatasetColumn.KNOWN_AT].to_numpy(dtype=np.int64)

    def since(self, first: int) -> TrainingRows:
        """The rows from a position on."""
        return TrainingRows(self.frame.iloc[first:])

    def before(self, end: int) -> TrainingRows:
        """The rows up to a position, which is left out."""
        return TrainingRows(self.frame.iloc[:end])

    def where(self, keep: npt.NDArray[np.bool_]) -> TrainingRows:
        return TrainingRows(self.frame[keep])

    def first_at(self, time: int) -> int:
        """The position of the first row that was predicted at that time or later."""
        return int(np.searchsorted(self.predicted_at, time, side="left"))

    def split(self, share: float) -> tuple[TrainingRows, TrainingRows]:
        """The older rows, and the newest share of them."""
        end = len(self) - round(len(self) * share)
        return self.before(end), self.since(end)

    @property
    def range(self) -> RowRange | None:
        """How many, from when to when; None without any."""
        if not len(self):
            return None
        times = self.predicted_at
        return RowRange(rows=len(self), first=int(times[0]), last=int(times[-1]))


def read_rows(path: Path, digest: str) -> TrainingRows:
    """The rows of a dataset, by time of prediction, then id.

    Raises:
        CannotTrain: the file cannot be read, is not the one that was ordered, or lacks a column or a label.
    """
    try:
        content = path.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise CannotTrain(f"{path.name} is not the dataset that was ordered: sha256 {found}, expected {digest}")
        table = pq.read_table(pa.BufferReader(content))
    except (OSError, pa.ArrowException) as error:
        raise CannotTrain(f"cannot read {path.name}: {error}") from error
    _check(path.name, table)
    order = [(DatasetColumn.PREDICTED_AT.value, "ascending"), (DatasetColumn.ID.value, "ascending")]
    return TrainingRows(_plain(table.sort_by(order)).to_pandas())


def _plain(table: pa.Table) -> pa.Table:
    """Without dictionaries: a category is its text."""
    types = [field.type.value_type if pa.types.is_dictionary(field.type) else field.type for field in table.schema]
    return table.cast(pa.schema(list(zip(table.column_names, types, strict=True))))


def _check(name: str, table: pa.Table) -> None:
    missing = [column.value for column in DatasetColumn if column.value not in table.column_names]
    if missing:
        raise CannotTrain(f"{name} lacks {', '.join(missing)}")
    for column in (DatasetColumn.PREDICTED_AT, DatasetColumn.KNOWN_AT, DatasetColumn.LABEL):
        if nulls := table[column.value].null_count:
            raise CannotTrain(f"{nulls} rows of {name} have no {column.value}")
