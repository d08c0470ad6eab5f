"""Walking forward: a candidate answers the held-out rows in steps, and learns from each step before the next.

It is judged as it would be used, knowing what was known not long before, and on more rows than a single fit could be
judged on as freshly (Tashman, Out-of-sample tests of forecasting accuracy, International Journal of Forecasting 16
(2000), doi 10.1016/S0169-2070(00)00065-0: rolling-origin evaluation with recalibration).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from retrainer.training.dataset import TrainingRows
from retrainer.training.fit import Fitter
from retrainer.training.selection import known_before


@dataclass(frozen=True, kw_only=True)
class WalkedForward:
    """What came of it.

    Attributes:
        fitted: the pipeline of the last step.
        learnt: what that of the first step was fitted on.
        answers: to each held-out row, by the pipeline of its step.
        newest: of each held-out row, when the newest row was predicted that its pipeline had learnt from: (held-out
            rows,).
    """

    fitted: Pipeline
    learnt: TrainingRows
    answers: list[str]
    newest: npt.NDArray[np.int64]


def walk(fitter: Fitter, rows: TrainingRows, held: int, steps: int, change: int | None) -> WalkedForward:
    """Answer the newest `held` rows in equal steps, each by a fit on the rows that were known before it.

    Args:
        rows: all to learn from and to be judged on, in time order.
        change: the first of `rows` after a change; None where none is known.

    Raises:
        CannotTrain: the rows before the first step are too few.
    """
    begin = len(rows) - held
    edges = [begin + round(held * step / steps) for step in range(steps + 1)]
    parts = [_step(fitter, rows, first, end, change) for first, end in itertools.pairwise(edges)]
    return WalkedForward(
        fitted=parts[-1].fitted,
        learnt=parts[0].learnt,
        answers=[answer for part in parts for answer in part.answers],
        newest=np.concatenate([part.newest for part in parts]),
    )


def _step(fitter: Fitter, rows: TrainingRows, first: int, end: int, change: int | None) -> WalkedForward:
    asked = rows.before(end).since(first)
    learnt = known_before(rows.before(first), asked, change)
    fitted = fitter.fit(learnt)
    newest = np.full(len(asked), learnt.predicted_at[-1], dtype=np.int64)
    return WalkedForward(fitted=fitted, learnt=learnt, answers=fitter.answers(fitted, asked), newest=newest)
