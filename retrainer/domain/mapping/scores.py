"""Scores as they stand in predictions, on their way into the text of the answer.

A score is the model's probability: a number, or an object from class to number. One that is missing, null or not what
it should be does no harm: the answer then has none. Scores that are kept "binned" are the answered class's probability,
to 1/20; those that are "exact" are kept as they came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeGuard

import numpy as np

from retrainer.domain.answers import with_score
from retrainer.domain.batches import Column, kinds_in
from retrainer.domain.tally.measures import Scores

LONGEST_SCORE: Final = 4000
"""Characters of an object of scores; a longer one counts as missing, as each is remembered until its label comes."""

_STEPS: Final = 20
"""As many as arrivals have bins: more would make more cells of each minute."""


def scored(answer: str, found: object, scores: Scores, positive: str | None) -> str:
    """The text of an answer and of the score that was `found` beside it, if that can be used.

    `positive` is the class that a single number speaks of; None: it speaks of the answered one.
    """
    if isinstance(found, Mapping):
        return _with_object(answer, found, scores)
    if not _is_chance(found):
        return answer
    if scores == "exact":
        return with_score(answer, found)
    return answer + _ENDINGS[_own(answer, round(found * _STEPS), positive)]


def scored_column(answers: Sequence[str], found: Column, scores: Scores, positive: str | None) -> Sequence[str]:
    """The same of many."""
    if scores == "exact" or kinds_in(found) != {float}:
        return [scored(answer, one, scores, positive) for answer, one in zip(answers, found, strict=True)]
    chances = np.array(found, np.float64)
    usable = (chances >= 0) & (chances <= 1)
    steps = np.rint(np.where(usable, chances, 0) * _STEPS).astype(np.int64)
    if positive is not None:
        mirrored = np.fromiter((answer != positive for answer in answers), np.bool_, len(answers))
        steps = np.where(mirrored, _STEPS - steps, steps)
    endings = map(_ENDINGS.__getitem__, np.where(usable, steps, _NONE).tolist())
    return [answer + ending for answer, ending in zip(answers, endings, strict=True)]


def _with_object(answer: str, found: Mapping[str, object], scores: Scores) -> str:
    chances = {name: float(chance) for name, chance in found.items() if _is_chance(chance)}
    if not chances or len(chances) < len(found):
        return answer
    if scores == "binned":
        return answer + _ENDINGS[round(chances[answer] * _STEPS) if answer in chances else _NONE]
    value = with_score(answer, chances)
    return value if len(value) - len(answer) <= LONGEST_SCORE else answer


def _is_chance(found: object) -> TypeGuard[float]:
    return isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found <= 1


def _own(answer: str, steps: int, positive: str | None) -> int:
    return steps if positive is None or answer == positive else _STEPS - steps


_ENDINGS: Final = [*(with_score("", step / _STEPS) for step in range(_STEPS + 1)), ""]
"""What is put to an answer, by steps of its score; the last for none."""
_NONE: Final = _STEPS + 1
