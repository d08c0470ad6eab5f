"""A table as a stream: features, labels as codes, when each row comes and when its label is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from retrainer.domain.answers import Task
from retrainer.domain.values import canonical
from retrainer.errors import Refused
from retrainer.replay.options import TableOptions, WrongOption
from retrainer.replay.reading import read_table, starts_as_numbers
from retrainer.replay.times import NEVER, Times, arrivals_of, evenly, times_of

Codes = npt.NDArray[np.int32]

_NOUNS = {"classification": "class", "regression": "number"}

MISSING = -1
"""The code of a label that a row does not have."""


@dataclass(frozen=True, kw_only=True)
class Classes:
    """What a label can be, classes or numbers: canonical texts in sort order, and their values in the file."""

    texts: tuple[str, ...]
    values: pa.Array

    def column(self, codes: Codes) -> pa.Array:
        """The values behind codes, in the label column's type; null where there is none."""
        return self.values.take(pa.array(codes, mask=codes == MISSING))


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows in time order.

    Attributes:
        name: the file.
        features: (rows, features), raw.
        classes: what the labels can be; labels: the code of each row's, or MISSING.
        task: whether they are classes or numbers.
        times: when each row is predicted; arrivals: when its label is known, or NEVER.
        warm: so many rows, the first ones, are learned from and not predicted.
    """

    name: str
    features: pd.DataFrame
    classes: Classes
    labels: Codes
    times: Times
    arrivals: Times
    warm: int
    task: Task = "classification"

    def __len__(self) -> int:
        return len(self.labels)

    def within(self, max_delay: int) -> Table:
        """The same stream where a label that comes later than this after its row does not count."""
        late = self.arrivals - self.times > max_delay
        return replace(self, arrivals=np.where(late, NEVER, self.arrivals)) if late.any() else self

    def with_number(self, text: str) -> Table:
        """The same stream where a label may be that number, at the end of those that come."""
        if self.task == "classification" or text in self.classes.texts:
            return self
        values = pa.concat_arrays([self.classes.values, pa.nulls(1, self.classes.values.type)])
        return replace(self, classes=Classes(texts=(*self.classes.texts, text), values=values))


def load(options: TableOptions, task: Task = "classification") -> Table:
    """Read a table as a stream whose labels are classes or, for a regression, numbers.

    Raises:
        WrongOption: an option names a column that the file does not have, or leaves nothing to replay.
        Refused: the file cannot be used.
    """
    time_as_text = () if options.time is None else (options.time,)
    columns = read_table(options.path, as_text=time_as_text)
    _check_names(options, columns)
    try:
        return _stream(options, columns, task)
    except Refused as refusal:
        raise Refused(f"{options.path}: {refusal}") from refusal


def _check_names(options: TableOptions, columns: pa.Table) -> None:
    named = {
        "--label": (options.label,),
        "--drop": options.drop,
        "--time": () if options.time is None else (options.time,),
        "--label-delay": () if isinstance(options.label_delay, int) else (options.label_delay,),
    }
    for option, names in named.items():
        for name in names:
            if name not in columns.column_names:
                known = ", ".join(columns.column_names)
                raise WrongOption(f'{option}: {options.path} has no column "{name}"; it has {known}')


def _stream(options: TableOptions, columns: pa.Table, task: Task) -> Table:
    warm = _warm(options, columns.num_rows)
    classes, labels = _labels(options.label, columns[options.label], warm, task)
    times = (
        evenly(len(labels), options.every) if options.time is None else times_of(options.time, columns[options.time])
    )
    late = options.label_delay
    delay = late if isinstance(late, int) else (late, columns[late])
    return Table(
        name=str(options.path),
        features=_features(options, columns, warm),
        classes=classes,
        labels=labels,
        times=times,
        arrivals=arrivals_of(times, delay, labels != MISSING),
        warm=warm,
        task=task,
    )


def _warm(options: TableOptions, rows: int) -> int:
    warm = options.warm.of(rows)
    if warm < 1:
        raise Refused(f"its {rows} rows leave none for the warm part, which version 1 learns from")
    if warm >= rows:
        raise WrongOption(
            f"--warm: the warm part has {warm} rows, and {options.path} only {rows}: none are left to replay"
        )
    return warm


def _labels(name: str, column: pa.ChunkedArray, warm: int, task: Task) -> tuple[Classes, Codes]:
    """What is in a column and the code of each row."""
    if task == "regression" and not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise Refused(f"the label {name} holds {column.type}: a regression needs numbers")
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    if column.null_count == len(column):
        raise Refused(f"the label {name} has no value at all")
    encoded = pc.dictionary_encode(column).unify_dictionaries().combine_chunks()
    try:
        texts = np.asarray(
            [
                canonical(value if task == "classification" else float(value))
                for value in encoded.dictionary.to_pylist()
            ],
            dtype=np.str_,
        )
    except ValueError as error:
        raise Refused(f"the label {name} cannot be used: {error}") from error
    if len(texts) < 2:
        raise Refused(f"the label {name} has one {_NOUNS[task]} only, {texts[0]}")
    order = np.argsort(texts)
    ranks = np.empty(len(order), np.int32)
    ranks[order] = np.arange(len(order), dtype=np.int32)
    indices = encoded.indices.fill_null(len(order)).to_numpy()
    codes = np.append(ranks, np.int32(MISSING))[indices]
    _check_warm(name, codes[:warm], texts[order], task)
    return Classes(texts=tuple(texts[order].tolist()), values=encoded.dictionary.take(pa.array(order))), codes


def _check_warm(name: str, codes: Codes, texts: npt.NDArray[np.str_], task: Task) -> None:
    found = np.unique(codes[codes != MISSING])
    if len(found) < 2:
        told = f"one {_NOUNS[task]} of {name} only, {texts[found[0]]}" if len(found) else f"no {name} at all"
        raise Refused(f"the {len(codes)} rows of the warm part have {told}: version 1 cannot be trained on them")


def _features(options: TableOptions, columns: pa.Table, warm: int) -> pd.DataFrame:
    """Every column that is not the label, dropped, or about time: when a label comes is not known in advance."""
    late = options.label_delay
    others = {options.label, *options.drop, options.time, late if isinstance(late, str) else None}
    names = [name for name in columns.column_names if name not in others]
    if not names:
        raise WrongOption(f"{options.path} has no column that is a feature")
    for name in names:
        row = starts_as_numbers(columns[name], warm)
        if row is not None:
            found = columns[name][row].as_py()
            raise Refused(f'the column {name} changes its type: numbers before row {row}, then "{found}"; or --drop it')
    plain = pa.table({name: _as_events_bring(columns[name]) for name in names})
    features: pd.DataFrame = plain.to_pandas(split_blocks=True, self_destruct=True)
    return features


def _as_events_bring(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """As an event in JSON would bring it: dates and times as text, numbers that are not finite as missing."""
    if pa.types.is_temporal(column.type):
        return pc.cast(column, pa.string())
    if pa.types.is_floating(column.type) and not pc.all(pc.is_finite(column)).as_py():
        return pc.if_else(pc.is_finite(column), column, None)
    return column
