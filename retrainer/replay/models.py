"""Versions that answer rows of a table, in large blocks and no earlier than they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Final

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from retrainer.domain.training import TrainingResult
from retrainer.replay.table import Codes, Table

_SMALLEST_BLOCK: Final = 4_096
_LARGEST_BLOCK: Final = 131_072


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


@dataclass
class Version:
    """One fitted model. What it answers to a row never depends on when it is asked, nor on the rows beside it.

    Attributes:
        result: what its training found.
    """

    name: str
    fitted: Pipeline
    table: Table
    costs: Costs
    cpus: int = 1
    result: TrainingResult = field(default_factory=lambda: TrainingResult(job_id="", verdict=None))
    _first: int = field(default=0, init=False)
    _block: Codes = field(default_factory=lambda: np.empty(0, np.int32), init=False)
    _size: int = field(default=_SMALLEST_BLOCK, init=False)

    def answers(self, features: pd.DataFrame) -> list[str]:
        """Its answer to each row: (rows, features) to classes."""
        return [str(answer) for answer in self._ask(features)]

    def aside(self) -> Version:
        """The same model for a question that is no part of the replay, at no cost to it."""
        return replace(self, costs=Costs())

    def codes(self, first: int, end: int) -> Codes:
        """Its answers to the table's rows from `first` up to `end`. Rows are asked for in order."""
        parts: list[Codes] = []
        while first < end:
            held = self._first + len(self._block)
            if not self._first <= first < held:
                self._fill(first)
                continue
            stop = min(end, held)
            parts.append(self._block[first - self._first : stop - self._first])
            first = stop
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int32), *parts])

    def _fill(self, first: int) -> None:
        """Answer the rows from here on in one block, twice as many as last time: most versions stay for long."""
        block = self.table.features.iloc[first : first + self._size]
        self._first, self._block = first, self.table.classes.codes_of(self._ask(block))
        self._size = min(2 * self._size, _LARGEST_BLOCK)

    def _ask(self, features: pd.DataFrame) -> np.typing.NDArray[np.str_]:
        began = perf_counter()
        with threadpool_limits(self.cpus):
            answers = self.fitted.predict(features)
        self.costs.predict += perf_counter() - began
        return np.asarray(answers, dtype=np.str_)
