"""The text of a prediction's value: the answer, and the score that came with it, if one did.

    "late"                           a class alone
    "late\\x1f0.87"                   with a number: the probability of the positive class, or of the answered one where
                                     no positive class is known or the score was rounded
    "late\\x1f{"late":0.9,...}"       with the probability of each class
    "12.5"                           the number of a regression

A class never holds the separator, so that each text can be taken apart again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Final, Literal

from retrainer.domain.values import canonical

Task = Literal["classification", "regression"]
Score = float | Mapping[str, float]
"""A probability from 0 to 1, or one for each class."""

SEPARATOR: Final = "\x1f"
LONGEST_CLASS: Final = 200
"""Characters of a class, a number or a version: each that ever came is kept, where of an id only a hash is."""


def with_score(answer: str, score: Score | None) -> str:
    """The text of an answer with its score, which keeps six significant digits."""
    if score is None:
        return answer
    if isinstance(score, Mapping):
        return f"{answer}{SEPARATOR}{_object_text(score)}"
    return f"{answer}{SEPARATOR}{score:.6g}"


def answer_of(value: str) -> str:
    """The class, or the number of a regression, without the score."""
    return value.partition(SEPARATOR)[0]


def score_of(value: str) -> Score | None:
    """The score that came with an answer; None where none did."""
    text = value.partition(SEPARATOR)[2]
    if not text:
        return None
    if text.startswith("{"):
        score: Mapping[str, float] = json.loads(text)
        return score
    return float(text)


def confidence_of(value: str, positive: str | None) -> float | None:
    """The probability of the answered class, from 0 to 1; None where there is no score, or none of that class.

    `positive` is the class that a single number speaks of; None: it speaks of the answered one, as those that were
    rounded always do.
    """
    score, answer = score_of(value), answer_of(value)
    if isinstance(score, Mapping):
        return score.get(answer)
    if score is None or positive is None or answer == positive:
        return score
    return 1 - score


def bounded(text: str) -> str:
    """A class or a version that is not too long.

    Raises:
        ValueError: it is.
    """
    if len(text) > LONGEST_CLASS:
        raise ValueError(f"expected at most {LONGEST_CLASS} characters, got {len(text)}: {text[:40]!r}...")
    return text


def class_text(text: str, task: Task, classes: Collection[str] | None) -> str:
    """A label or an answer as it is kept: one of the `classes` (None: any class), or a canonical number.

    Raises:
        ValueError: it is none of the classes, too long, has the separator in it, or is no finite number.
    """
    if task == "regression":
        return _number_text(bounded(text))
    if classes is None:
        bounded(text)
    elif text not in classes:
        raise ValueError(f"{text[:40]!r} is none of the classes {', '.join(sorted(classes))}")
    if SEPARATOR in text:
        raise ValueError(f"expected a class without the control character U+001F, got {text[:40]!r}")
    return text


def _number_text(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, got {text[:40]!r}")
    return canonical(number)


def _object_text(score: Mapping[str, float]) -> str:
    """Compact, in the order of the names, so that equal scores are equal texts."""
    pairs = (f"{json.dumps(name)}:{chance:.6g}" for name, chance in sorted(score.items()))
    return f"{{{','.join(pairs)}}}"
