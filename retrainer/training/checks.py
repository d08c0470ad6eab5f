"""The features of a job's rows as columns, for their profile and the checks of `domain.judging.checks`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype, is_object_dtype

from retrainer.domain.features.findings import Finding
from retrainer.domain.features.profiles import MOST_FEATURES, FeatureColumn, Profile, profile_of
from retrainer.domain.judging.checks import FEWEST, findings, rows_look_sound
from retrainer.domain.judging.order import TrainingResult, TrainingSpec
from retrainer.domain.judging.verdicts import verdict_of
from retrainer.domain.mapping.slices import LONGEST_VALUE
from retrainer.domain.values import canonical
from retrainer.training.dataset import TrainingRows


def profile(rows: TrainingRows) -> Profile:
    """What the features of some rows look like; the next champion's are compared with it."""
    return profile_of({name: column.values() for name, column in columns_of(rows).items()}, len(rows))


def check(rows: TrainingRows, reference: Profile | None, older: TrainingRows | None = None) -> tuple[Finding, ...]:
    """What looks broken about the rows that a candidate learns from.

    Args:
        reference: of the rows that the champion learnt from; None if that is not known.
        older: rows before these, which stand in for a reference that nobody knows.
    """
    beside = profile(older) if reference is None and older is not None and len(older) >= FEWEST else None
    return findings(reference, columns_of(rows), rows.predicted_at, beside)


def checked(spec: TrainingSpec, result: TrainingResult, rows: TrainingRows, older: TrainingRows) -> TrainingResult:
    """A result with what looks broken about the rows that its candidate learns from and is judged on.

    With `checks: {on: hold}` that is one of the verdict's gates.
    """
    found = check(rows, spec.reference, older)
    if spec.checks_on == "hold" and result.verdict is not None:
        result = replace(result, verdict=verdict_of((*result.verdict.gates, rows_look_sound(found))))
    return replace(result, checks=found)


def columns_of(rows: TrainingRows) -> Mapping[str, FeatureColumn]:
    """The features of rows in time order, by name: the first ones where there are more than a profile holds."""
    names = sorted(map(str, rows.features.columns))[:MOST_FEATURES]
    return {name: _column(rows.features[name]) for name in names}


def _column(found: pd.Series[Any]) -> FeatureColumn:
    """Numbers as they are; any other type by its canonical text."""
    if is_bool_dtype(found):
        return FeatureColumn(kind="boolean", texts=_texts(found))
    if is_numeric_dtype(found):
        return FeatureColumn(kind="number", numbers=found.to_numpy(dtype=np.float64, na_value=np.nan))
    if is_object_dtype(found):
        kinds = set(map(type, found.dropna()))
        if kinds <= {int, float}:
            return FeatureColumn(kind="number", numbers=found.to_numpy(dtype=np.float64, na_value=np.nan))
        return FeatureColumn(kind="boolean" if kinds == {bool} else "text", texts=_texts(found))
    return FeatureColumn(kind="text", texts=_texts(found))


def _texts(found: pd.Series[Any]) -> np.ndarray[Any, np.dtype[np.object_]]:
    present = found.notna().to_numpy()
    texts = np.empty(len(found), dtype=np.object_)
    texts[present] = [_text(value) for value in found[present].tolist()]
    return texts


def _text(value: object) -> str:
    try:
        return canonical(value)[:LONGEST_VALUE]
    except ValueError:
        return str(value)[:LONGEST_VALUE]
