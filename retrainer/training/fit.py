"""Fitting a recipe on rows, and asking a fitted pipeline for its answers."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from retrainer.domain.judging.order import Recipe
from retrainer.training.dataset import TrainingRows
from retrainer.training.form import Form
from retrainer.training.order import CannotTrain, TooFewRows
from retrainer.training.pipeline import build

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Fitter:
    """Fits one recipe with a bounded number of BLAS and OpenMP threads."""

    recipe: Recipe
    cpus: int
    form: Form = field(default_factory=Form)

    def fit(self, rows: TrainingRows) -> Pipeline:
        """A pipeline fitted on rows; nothing else of them is seen.

        Raises:
            CannotTrain: the rows hold fewer than two classes (or numbers), the recipe cannot be carried out, or its
                estimator gives no probabilities where a metric needs them.
        """
        began = time.monotonic()
        rows, targets = _learnable(rows) if self.form.task == "classification" else _numbers(rows)
        pipeline = build(self.recipe, rows.features, self.form.task)
        if self.form.scores == "needed" and not hasattr(pipeline, "predict_proba"):
            raise CannotTrain(
                f"{self.recipe.estimator} gives no probabilities (predict_proba), which a metric that judges needs"
            )
        with threadpool_limits(self.cpus):
            fitted = pipeline.fit(rows.features, targets)
        _log.info("fitted on %d rows in %.2f s", len(rows), time.monotonic() - began)
        return fitted

    def answers(self, fitted: Pipeline, rows: TrainingRows) -> list[str]:
        """One answer for each row, in the form that predictions are kept in."""
        if not len(rows):
            return []
        with threadpool_limits(self.cpus):
            return self.form.of(fitted, fitted.predict(rows.features), rows.features)


def _learnable(rows: TrainingRows) -> tuple[TrainingRows, npt.NDArray[np.str_]]:
    """Without the classes seen once only, which stratified estimators refuse and none can learn."""
    classes, counts = np.unique(rows.labels, return_counts=True)
    kept = classes[counts > 1]
    if len(kept) < 2:
        told = f"only the class {str(kept[0])!r} more than once" if len(kept) else "no class twice"
        raise TooFewRows(f"the {len(rows)} rows to learn from hold {told}")
    rows = rows if len(kept) == len(classes) else rows.where(np.isin(rows.labels, kept))
    return rows, rows.labels


def _numbers(rows: TrainingRows) -> tuple[TrainingRows, npt.NDArray[np.float64]]:
    numbers = rows.numbers
    if len(set(numbers.tolist())) < 2:
        raise TooFewRows(f"the {len(rows)} rows to learn from hold no two different numbers")
    return rows, numbers
