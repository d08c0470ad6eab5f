"""Rows with scores or errors, and the cells that they make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from retrainer.domain.answers import SEPARATOR
from retrainer.domain.tally.measures import Cell, Scores, cells_from, expansion

Cells = Counter[Cell]
Floats = npt.NDArray[np.float64]


def scored(truth: Sequence[str], values: Sequence[str], positive: str | None, scores: Scores = "exact") -> Cells:
    return cells_from("classification", truth, values, expansion("classification", scores=scores, positive=positive))


def binary(truth: Iterable[bool], chances: Iterable[float]) -> Cells:
    """Of two classes, `yes` the positive one, answered from one half on."""
    labels = ["yes" if one else "no" for one in truth]
    return scored(labels, [f"{'yes' if p >= 0.5 else 'no'}{SEPARATOR}{p!r}" for p in map(float, chances)], "yes")


def erring(labels: Sequence[float] | Floats, answers: Sequence[float] | Floats) -> Cells:
    """Of a regression."""
    expand = expansion("regression", scores="none", positive=None)
    return cells_from("regression", [*map(repr, map(float, labels))], [*map(repr, map(float, answers))], expand)
