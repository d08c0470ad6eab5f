"""Versions that answer rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Final

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from retrainer.domain.judging.order import TrainingResult
from retrainer.errors import RetrainerError
from retrainer.replay.table.table import Codes, Table
from retrainer.replay.table.values import LabelCodes

_LARGEST_BLOCK: Final = 131_072


class CannotAnswer(RetrainerError):
    """A version cannot answer rows of the table."""


@dataclass
class Costs:
    """Seconds spent in training and in predicting."""

    fit: float = 0.0
    predict: float = 0.0

    @contextmanager
    def of_training(self) -> Iterator[Callable[[], float]]:
        """What happens within is training, what a judge asks of models included. Gives the seconds so far."""
        began, before = perf_counter(), self.predict
        yield lambda: perf_counter() - began
        self.predict = before
        self.fit += perf_counter() - began


def in_a_line(error: Exception) -> str:
    """What an estimator raised, without the advice that follows in further lines."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


@dataclass
class Version:
    """One fitted model. What it answers to a row never depends on when it is asked, nor on the rows beside it.

    Attributes:
        result: what its training found.
    """

    name: str
    fitted: Pipeline
    table: Table
    values: LabelCodes
    costs: Costs
    cpus: int = 1
    result: TrainingResult = field(default_factory=lambda: TrainingResult(job_id="", verdict=None))

    def aside(self) -> Version:
        """The same model for a question that is no part of the replay, at no cost to it."""
        return replace(self, costs=Costs())

    def codes(self, first: int, end: int) -> Codes:
        """Its answers to the table's rows from `first` up to `end`.

        Raises:
            CannotAnswer: its estimator raises, or what it says is no answer.
        """
        starts = range(first, end, _LARGEST_BLOCK)
        answers = [self._answered(start, min(start + _LARGEST_BLOCK, end)) for start in starts]
        return np.concatenate([np.empty(0, np.int32), *answers])

    def _answered(self, first: int, end: int) -> Codes:
        try:
            return self.values.codes_of(self._ask(self.table.features.iloc[first:end]))
        except Exception as error:  # an estimator is other people's code
            told = f"version {self.name or 'of a baseline'} cannot answer the rows {first} to {end - 1}"
            raise CannotAnswer(f"{self.table.name}: {told}: {in_a_line(error)}") from error

    def _ask(self, features: pd.DataFrame) -> Sequence[str] | np.typing.NDArray[np.str_]:
        form, began = self.values.form, perf_counter()
        with threadpool_limits(self.cpus):
            answers = self.fitted.predict(features)
            if form.task == "classification" and form.scores == "none":
                found: Sequence[str] | np.typing.NDArray[np.str_] = np.asarray(answers, dtype=np.str_)
            else:
                found = form.of(self.fitted, answers, features)
        self.costs.predict += perf_counter() - began
        if len(found) != len(features):
            raise ValueError(f"it gives {len(found)} answers to {len(features)} rows")
        return found
