"""A table as a stream: features, labels as codes, when each row comes and when its label is known."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from retrainer.domain.answers import Task, class_text
from retrainer.domain.judging.order import DatasetColumn
from retrainer.domain.tally.measures import LARGEST
from retrainer.domain.values import canonical
from retrainer.errors import Refused
from retrainer.replay.options import TableOptions, WrongOption
from retrainer.replay.table.reading import mostly_numbers, plain, read_table, starts_as_numbers
from retrainer.replay.table.times import NEVER, Times, arrivals_of, evenly, times_of

Codes = npt.NDArray[np.int32]
Columns = dict[str, pa.ChunkedArray]

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
        notes: what is odd about it, in sentences.
    """

    name: str
    features: pd.DataFrame
    classes: Classes
    labels: Codes
    times: Times
    arrivals: Times
    warm: int
    task: Task = "classification"
    notes: tuple[str, ...] = ()

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
    columns = read_table(options.path, time=options.time, label=options.label)
    options = _as_the_file_has_it(options, columns.column_names)
    _check_names(options, columns)
    try:
        used = _used(options, columns)
        del columns  # the features are made from its columns one by one, so that there are never two tables
        table = _stream(options, used, task)
    except Refused as refusal:
        raise Refused(f"{options.path}: {refusal}") from refusal
    used.clear()
    pa.default_memory_pool().release_unused()
    return table


def _as_the_file_has_it(options: TableOptions, names: Collection[str]) -> TableOptions:
    """`--drop "a, b"` means the columns a and b, where none is called " b"."""
    return replace(options, drop=tuple(name if name in names else name.strip() for name in options.drop))


def _used(options: TableOptions, columns: pa.Table) -> Columns:
    """Without the columns that are dropped, whatever they hold."""
    about_time = {options.time, options.label_delay}
    dropped = [name for name in options.drop if name not in about_time]
    used = plain(options.path, columns.drop_columns(list(dict.fromkeys(dropped))), options.label)
    return dict(zip(used.column_names, used.columns, strict=True))


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
            if option != "--label" and name == options.label:
                raise WrongOption(f"{option}: {name} is the label")


def _stream(options: TableOptions, columns: Columns, task: Task) -> Table:
    warm = _warm(options, len(columns[options.label]))
    classes, labels = _labels(options.label, columns[options.label], warm, task)
    times = (
        evenly(len(labels), options.every) if options.time is None else times_of(options.time, columns[options.time])
    )
    late = options.label_delay
    delay = late if isinstance(late, int) else (late, columns[late])
    names = _feature_names(options, columns, warm)
    notes = tuple(note for name in names if (note := _note_of(name, columns[name], warm)))
    return Table(
        name=str(options.path),
        features=_frame({name: columns.pop(name) for name in names}),
        classes=classes,
        labels=labels,
        times=times,
        arrivals=arrivals_of(times, delay, labels != MISSING),
        warm=warm,
        task=task,
        notes=notes,
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
    kind = column.type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if task == "regression" and not is_number:
        raise Refused(f"the label {name} holds {kind}: a regression needs numbers")
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), None, column)
    if column.null_count == len(column):
        raise Refused(f"the label {name} has no value at all")
    encoded = pc.dictionary_encode(column).unify_dictionaries().combine_chunks()
    try:
        found = [_text(value, task) for value in _values(encoded.dictionary)]
    except (ValueError, OverflowError) as error:
        raise Refused(f"the label {name} cannot be used: {error}") from error
    # Values of one text (0.0 and -0.0) are one class.
    texts, firsts, ranks = np.unique(np.asarray(found, dtype=np.str_), return_index=True, return_inverse=True)
    if len(texts) < 2:
        raise Refused(f"the label {name} has one {_NOUNS[task]} only, {texts[0]}")
    indices = encoded.indices.fill_null(len(ranks)).to_numpy()
    codes = np.append(ranks.astype(np.int32), np.int32(MISSING))[indices]
    _check_warm(name, codes[:warm], texts, task)
    return Classes(texts=tuple(texts.tolist()), values=encoded.dictionary.take(pa.array(firsts))), codes


def _values(column: pa.Array) -> list[object]:
    """Dates and times as text; decimals, which are numbers in other files, as doubles."""
    if pa.types.is_temporal(column.type):
        column = pc.cast(column, pa.string())
    values: list[object] = column.to_pylist()
    return list(map(float, values)) if pa.types.is_decimal(column.type) else values  # type: ignore[arg-type]  # decimals are


def _text(value: object, task: Task) -> str:
    """As the service keeps it.

    Raises:
        ValueError: the service would take it for no label.
    """
    if task == "classification":
        text = class_text(canonical(value), task, None)
        if "\0" in text:
            raise ValueError(f"expected a class without the control character U+0000, got {text[:40]!r}")
        return text
    number = float(value)  # type: ignore[arg-type]  # its column is of numbers
    if abs(number) > LARGEST:
        raise ValueError(f"expected a number up to {LARGEST:g}, got {number:g}")
    return canonical(number)


def _check_warm(name: str, codes: Codes, texts: npt.NDArray[np.str_], task: Task) -> None:
    found = np.unique(codes[codes != MISSING])
    if len(found) < 2:
        told = f"one {_NOUNS[task]} of {name} only, {texts[found[0]]}" if len(found) else f"no {name} at all"
        raise Refused(f"the {len(codes)} rows of the warm part have {told}: version 1 cannot be trained on them")


def _feature_names(options: TableOptions, columns: Columns, warm: int) -> list[str]:
    """Every column that is not the label, dropped, or about time: when a label comes is not known in advance."""
    late = options.label_delay
    others = {options.label, *options.drop, options.time, late if isinstance(late, str) else None}
    names = [name for name in columns if name not in others]
    if not names:
        raise WrongOption(f"{options.path} has no column that is a feature")
    for name in names:
        if name in set(DatasetColumn):
            raise Refused(f"the column {name} has a name that datasets keep for themselves: rename it, or --drop it")
        row = starts_as_numbers(columns[name], warm)
        if row is not None:
            found = columns[name][row].as_py()
            raise Refused(f'the column {name} changes its type: numbers before row {row}, then "{found}"; or --drop it')
    return names


def _frame(columns: Columns) -> pd.DataFrame:
    """Empties what it is given: each column's memory is given back once it has been copied, if it has to be."""
    found: dict[str, pd.Series] = {}
    for name in list(columns):
        column = pa.table({name: _as_events_bring(columns.pop(name))})
        found[name] = column.to_pandas(split_blocks=True, self_destruct=True)[name]
        del column
        pa.default_memory_pool().release_unused()
    return pd.DataFrame(found, copy=False)


def _note_of(name: str, column: pa.ChunkedArray, warm: int) -> str | None:
    """A column that was meant to be numbers is read as text, each of them a category, which nobody would guess."""
    share, stray = mostly_numbers(column.slice(0, warm))
    if stray is None:
        return None
    return f'the column {name} is read as text: {share:.0%} of its values are numbers, but "{stray}" is none'


def _as_events_bring(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """As an event in JSON would bring it: dates and times as text, numbers that are not finite as missing."""
    if pa.types.is_temporal(column.type):
        return pc.cast(column, pa.string())
    if pa.types.is_floating(column.type) and not pc.all(pc.is_finite(column)).as_py():
        return pc.if_else(pc.is_finite(column), column, None)
    return column
