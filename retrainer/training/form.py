"""A model's answers as texts, in the form that predictions are kept in: a class, one with its score, or a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from retrainer.domain.answers import Score, Task, answer_of, score_of, with_score
from retrainer.domain.judging.order import TrainingSpec
from retrainer.domain.metrics.registry import METRICS
from retrainer.domain.tally.measures import Expand, expansion
from retrainer.domain.values import canonical

Wanted = Literal["none", "if_given", "needed"]

CLOSE: Final = 1e-5
"""Two numbers are alike where they differ by so much of themselves at most: scores keep six digits in a text."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """How answers are written.

    Attributes:
        positive: the class that a score is the probability of. Without one there is a probability of each class.
        scores: whether a class comes with its score: never, where the model gives one, or always.
    """

    task: Task = "classification"
    positive: str | None = None
    scores: Wanted = "none"

    @property
    def expand(self) -> Expand | None:
        """What a row with such an answer adds to a tally."""
        return expansion(self.task, scores="none" if self.scores == "none" else "exact", positive=self.positive)

    def of(self, model: Any, answers: Iterable[object], features: Any) -> list[str]:
        """One text for each answer.

        Args:
            model: what gave the answers; asked for the probabilities where scores are wanted.

        Raises:
            ValueError: an answer of a regression is no finite number, or there are no scores where they are needed.
        """
        if self.task == "regression":
            return [_number(answer) for answer in answers]
        classes = [canonical(answer) for answer in _plain(answers)]
        if self.scores == "none" or not classes:
            return classes
        if not hasattr(model, "predict_proba"):
            if self.scores == "needed":
                raise ValueError("it gives no probabilities (predict_proba)")
            return classes
        known = [canonical(name) for name in _plain(model.classes_)]
        scores = self._scores(known, np.asarray(model.predict_proba(features), dtype=np.float64))
        return [with_score(name, score) for name, score in zip(classes, scores, strict=True)]

    def certain(self, answer: str, shares: dict[str, float] | None = None) -> str:
        """The text of an answer that was not computed: with those probabilities, or without a doubt."""
        if self.task == "regression" or self.scores == "none":
            return answer
        found = shares if shares is not None else {answer: 1.0}
        return with_score(answer, found if self.positive is None else found.get(self.positive, 0.0))

    def differing(self, ours: Sequence[str], theirs: Sequence[str]) -> int:
        """How many answers are not alike."""
        return sum(not self._alike(one, other) for one, other in zip(ours, theirs, strict=True))

    def _scores(self, classes: list[str], chances: npt.NDArray[np.float64]) -> Iterable[Score]:
        if self.positive is None:
            return [dict(zip(classes, row, strict=True)) for row in chances.tolist()]
        if self.positive not in classes:
            return [0.0] * len(chances)
        scores: list[Score] = chances[:, classes.index(self.positive)].tolist()
        return scores

    def _alike(self, one: str, other: str) -> bool:
        if self.task == "regression":
            return _close(float(one), float(other))
        if answer_of(one) != answer_of(other):
            return False
        ours, theirs = score_of(one), score_of(other)
        if isinstance(ours, float) and isinstance(theirs, float):
            return _close(ours, theirs)
        if ours is None or theirs is None or isinstance(ours, float) or isinstance(theirs, float):
            return ours is theirs
        return ours.keys() == theirs.keys() and all(_close(ours[name], theirs[name]) for name in ours)


def form_of(spec: TrainingSpec) -> Form:
    """What the order's metrics need of an answer."""
    judging = (spec.metrics[0], *spec.judge.floors)
    wanted = {name for name in (*judging, *spec.metrics) if name in METRICS and METRICS[name].needs_score}
    scores: Wanted = "needed" if wanted.intersection(judging) else "if_given" if wanted else "none"
    return Form(task=spec.task, positive=spec.positive, scores=scores)


def _number(answer: object) -> str:
    found = float(str(answer))
    if not isfinite(found):
        raise ValueError(f"it answers with {found}, which is no finite number")
    return canonical(found)


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= CLOSE * max(abs(one), abs(other)) + 1e-9


def _plain(values: Iterable[object]) -> list[object]:
    return [value.item() if isinstance(value, np.generic) else value for value in values]
