"""Fitting a recipe on rows, and asking a fitted pipeline for its answers."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from retrainer.domain.training import Recipe
from retrainer.training.dataset import Rows
from retrainer.training.order import CannotTrain
from retrainer.training.pipeline import build

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Fitter:
    """Fits one recipe with a bounded number of BLAS and OpenMP threads."""

    recipe: Recipe
    cpus: int

    def fit(self, rows: Rows) -> Pipeline:
        """A pipeline fitted on rows; nothing else of them is seen.

        Raises:
            CannotTrain: the rows hold fewer than two classes, or the recipe cannot be carried out.
        """
        began = time.monotonic()
        rows = _learnable(rows)
        with threadpool_limits(self.cpus):
            fitted = build(self.recipe, rows.features).fit(rows.features, rows.labels)
        _log.info("fitted on %d rows in %.2f s", len(rows), time.monotonic() - began)
        return fitted

    def answers(self, fitted: Pipeline, rows: Rows) -> list[str]:
        """The class of each row."""
        if not len(rows):
            return []
        with threadpool_limits(self.cpus):
            return [str(answer) for answer in fitted.predict(rows.features)]


def _learnable(rows: Rows) -> Rows:
    """Without the classes seen once only, which stratified estimators refuse and none can learn."""
    classes, counts = np.unique(rows.labels, return_counts=True)
    kept = classes[counts > 1]
    if len(kept) < 2:
        told = f"only the class {str(kept[0])!r}" if len(kept) else "no class twice"
        raise CannotTrain(f"the {len(rows)} rows to learn from hold {told}")
    return rows if len(kept) == len(classes) else rows.where(np.isin(rows.labels, kept))
