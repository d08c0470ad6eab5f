"""Measures: the cells of a tally that hold sums and histograms, for the metrics of scores and of errors.

A measure lies in a tally beside the counts of (label, prediction), as whole numbers, so that merging and taking back
are exact and their order never shows. Its cell is one of

* `(SUM, name)`: a sum. A name without a unit counts outcomes. `name@u` is in units of 2**u;
* `(POSITIVES, bin)` and `(NEGATIVES, bin)`: counts of outcomes that had a score in that bin, by whether the label is
  the positive class; or, where the bin's name begins with `c`, of those whose confidence was there, by whether the
  answer was right.

Classification sums losses in units of 2**-30 (1e-9). Errors of regression have no natural size: each is written in
the unit that suits its own magnitude, one of every 2**6, so that it keeps at least 36 binary digits (its relative
error is at most 2**-36, 1.5e-11) and stays below 2**41. A cell of a tally, which is one minute long, thus takes four
million outcomes before SQLite's 64-bit integers could overflow. Sizes above `LARGEST` count as `LARGEST`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, frexp, fsum, isfinite, ldexp, log
from typing import Final, Literal

from retrainer.domain.answers import Task, answer_of, score_of

Scores = Literal["none", "binned", "exact"]

Cell = tuple[str, str]
Expand = Callable[[str, str], Iterable[tuple[Cell, int]]]
"""(truth, value) of one outcome to the cells that it adds, with their weights."""

SUM: Final = "\x1fsum"
POSITIVES: Final = "\x1f+"
NEGATIVES: Final = "\x1f-"
_MEASURES: Final = frozenset([SUM, POSITIVES, NEGATIVES])

N: Final = "n"
"""Outcomes of regression."""
SCORED: Final = "scored"
"""Outcomes of classification that had a score; the sums of losses are over these."""
ROUNDED: Final = "rounded"
"""Outcomes of which only a rounded confidence is known."""
NONZERO: Final = "nonzero"
"""Outcomes of regression whose label is not 0: relative errors are over these."""

LARGEST: Final = 1e70
"""The greatest size of an error or a label that counts in full; its fourth power is still a number."""
LARGEST_LOSS: Final = 52 * log(2)
"""Log-loss of a class that was held impossible and happened (36.04), as scikit-learn has it."""

CONFIDENCE_BINS: Final = 10
"""Bins of confidence, of equal width, on which the calibration error is defined."""
ROUNDING: Final = 0.025
"""How far a rounded confidence may be from the true one."""
_CONFIDENCE: Final = "c"

_STEPS: Final = 32
"""Bins of scores in each halving of the distance to 0 and to 1: narrow where scores crowd, at most 1/128 wide."""
_HALVINGS: Final = 19
"""Scores closer to 0 or to 1 than 2**-20 share a bin."""

_FINE: Final = -30
_OCTAVES: Final = 6
_DIGITS: Final = 36
_SLACK: Final = 1e-6
"""Probabilities that are so little outside 0 to 1 were meant to be inside."""

_Add = tuple[Cell, int]


def expansion(task: Task, *, scores: Scores, positive: str | None) -> Expand | None:
    """What each outcome adds to its tally; None where that is one to its cell of (label, prediction), and no more.

    Args:
        scores: what the values carry. "exact": the model's scores. "binned": the confidence in the answered class,
            rounded to 1/20, which gives the calibration error alone.
        positive: the class that a single score is the probability of. Without one a score is the confidence in the
            answer, and losses are those of "the answer is right", which for two classes is the same.
    """
    if task == "regression":
        return _errors
    if scores == "exact":
        return _Exact(positive)
    return _rounded if scores == "binned" else None


def cells_from(task: Task, labels: Sequence[str], values: Sequence[str], expand: Expand | None) -> Counter[Cell]:
    """The tally of rows that were never in the log, such as held-out ones.

    Args:
        labels: one label a row; values: what was predicted of it, in the form that predictions are kept in.
    """
    expand = expand or expansion(task, scores="none", positive=None)
    if expand is None:
        return Counter(zip(labels, values, strict=True))
    cells = Counter[Cell]()
    for (truth, value), n in Counter(zip(labels, values, strict=True)).items():
        for cell, weight in expand(truth, value):
            cells[cell] += n * weight
    return Counter({cell: n for cell, n in cells.items() if n})


def is_measure(cell: Cell) -> bool:
    """Whether a cell holds something else than outcomes with a label and a prediction."""
    return cell[0] in _MEASURES


def settled(cells: Mapping[Cell, int]) -> Counter[Cell]:
    """The cells without counts that are not above zero; sums are kept whatever their sign.

    A window may hold a correction of an outcome that it no longer holds: that leaves less than none of it.
    """
    return Counter({cell: n for cell, n in cells.items() if n > 0 or (n and cell[0] == SUM)})


# What is read from cells


def sums(cells: Mapping[Cell, int]) -> dict[str, float]:
    """Every sum by its name, its units put together."""
    parts: dict[str, list[float]] = {}
    for (kind, name), n in cells.items():
        if kind == SUM:
            plain, _, unit = name.partition("@")
            parts.setdefault(plain, []).append(ldexp(n, int(unit or 0)))
    return {name: fsum(found) for name, found in parts.items()}


@dataclass(frozen=True)
class Bin:
    """Counts of one bin, which cannot be below zero."""

    positives: int
    negatives: int


def score_bins(cells: Mapping[Cell, int]) -> list[Bin]:
    """The histogram of the positive class's score, from the lowest scores to the highest."""
    found = {int(name) for kind, name in cells if _is_bin(kind) and not name.startswith(_CONFIDENCE)}
    return [_bin(cells, str(index)) for index in sorted(found)]


def confidence_bins(cells: Mapping[Cell, int]) -> list[tuple[Bin, str]]:
    """The histogram of confidence (positive: the answer was right), with the name of each bin's sum of confidence."""
    found = sorted({name for kind, name in cells if _is_bin(kind) and name.startswith(_CONFIDENCE)})
    return [(_bin(cells, name), name) for name in found]


def _is_bin(kind: str) -> bool:
    return kind in (POSITIVES, NEGATIVES)


def _bin(cells: Mapping[Cell, int], name: str) -> Bin:
    return Bin(max(0, cells.get((POSITIVES, name), 0)), max(0, cells.get((NEGATIVES, name), 0)))


# Classification


@dataclass(frozen=True)
class _ScoreParts:
    """One outcome's score, taken apart.

    Attributes:
        chance: the probability that was given to what happened.
        brier: the squared error of the probabilities.
        confidence: the probability of the answered class.
        score: that of the positive class; None where no class is known to be it.
        positive: whether the label is the positive class.
    """

    chance: float
    brier: float
    confidence: float
    score: float | None
    positive: bool


class _Exact:
    def __init__(self, positive: str | None) -> None:
        self._positive = positive

    def __call__(self, truth: str, value: str) -> Iterator[_Add]:
        answer = answer_of(value)
        yield (truth, answer), 1
        judged = self._judged(truth, answer, score_of(value))
        if judged is None:
            return
        loss = min(LARGEST_LOSS, -log(judged.chance)) if judged.chance > 0 else LARGEST_LOSS
        yield (SUM, SCORED), 1
        yield _fine("log_loss", loss)
        yield _fine("log_loss2", loss * loss)
        yield _fine("brier", judged.brier)
        yield _fine("brier2", judged.brier * judged.brier)
        yield from _calibration(judged.confidence, truth == answer)
        if judged.score is not None:
            yield (POSITIVES if judged.positive else NEGATIVES, str(score_bin(judged.score))), 1

    def _judged(self, truth: str, answer: str, score: float | Mapping[str, float] | None) -> _ScoreParts | None:
        if isinstance(score, Mapping):
            return self._of_many(truth, answer, score)
        found = None if score is None else _probability(score)
        return None if found is None else self._of_one(truth, answer, found)

    def _of_one(self, truth: str, answer: str, score: float) -> _ScoreParts:
        """A single score: of the positive class against the others, or of the answer against the others."""
        happened = truth == (self._positive or answer)
        error = score - happened
        return _ScoreParts(
            chance=score if happened else 1 - score,
            brier=error * error,
            confidence=score if self._positive in (None, answer) else 1 - score,
            score=None if self._positive is None else score,
            positive=happened,
        )

    def _of_many(self, truth: str, answer: str, scores: Mapping[str, float]) -> _ScoreParts | None:
        """A probability of each class; Brier's error is their sum, or, as is usual of two classes, half of it."""
        chances = {name: found for name, one in scores.items() if (found := _probability(one)) is not None}
        if len(chances) < len(scores) or not chances:
            return None
        whole = fsum((chance - (name == truth)) ** 2 for name, chance in chances.items()) + (truth not in chances)
        positive = self._positive or (max(chances) if len(chances) == 2 else None)
        return _ScoreParts(
            chance=chances.get(truth, 0.0),
            brier=whole / 2 if len(chances) <= 2 else whole,
            confidence=chances.get(answer, 0.0),
            score=None if positive is None else chances.get(positive, 0.0),
            positive=truth == positive,
        )


def _rounded(truth: str, value: str) -> Iterator[_Add]:
    answer, score = answer_of(value), score_of(value)
    yield (truth, answer), 1
    found = _probability(score) if isinstance(score, float) else None
    if found is not None:
        yield (SUM, ROUNDED), 1
        yield from _calibration(found, truth == answer)


def _calibration(confidence: float, right: bool) -> Iterator[_Add]:
    """Bins that hold their upper edge, as Guo et al. 2017 have them."""
    name = f"{_CONFIDENCE}{max(0, ceil(confidence * CONFIDENCE_BINS) - 1)}"
    yield (POSITIVES if right else NEGATIVES, name), 1
    yield _fine(name, confidence)


def score_bin(score: float) -> int:
    """The number of a score's bin: 0 at one half, the more negative the closer to 0. Exact, with no logarithm."""
    if score == 0.5:
        return 0
    return -1 - _tail(score) if score < 0.5 else 1 + _tail(1 - score)


def _tail(distance: float) -> int:
    """How many bins lie between one half and this distance from 0 or 1."""
    fraction, exponent = frexp(distance)
    if -exponent > _HALVINGS or not distance:
        return _HALVINGS * _STEPS
    return (-1 - exponent) * _STEPS + _STEPS - 1 - int((fraction - 0.5) * 2 * _STEPS)


def _probability(score: float) -> float | None:
    """A score between 0 and 1; None where it is no probability."""
    return min(1.0, max(0.0, score)) if -_SLACK <= score <= 1 + _SLACK else None


def _fine(name: str, found: float) -> _Add:
    return (SUM, f"{name}@{_FINE}"), round(ldexp(found, -_FINE))


# Regression


def _errors(truth: str, value: str) -> Iterator[_Add]:
    """An outcome whose label or answer is no number adds nothing.

    A relative error has no value where the label is 0: those outcomes count in every other sum.
    """
    label, answer = _number(truth), _number(value)
    if label is None or answer is None:
        return
    error = _clipped(label - answer)
    yield (SUM, N), 1
    yield from _floating(_powers(error, label))
    if label:
        relative = min(LARGEST, abs(error / label))
        yield (SUM, NONZERO), 1
        yield from _floating((("rel", relative), ("rel2", relative * relative)))


def _powers(error: float, label: float) -> Sequence[tuple[str, float]]:
    square, square_label = error * error, label * label
    return (
        ("e", abs(error)),
        ("e2", square),
        ("e4", square * square),
        ("y", label),
        ("y2", square_label),
        ("y3", square_label * label),
        ("y4", square_label * square_label),
        ("e2y", square * label),
        ("e2y2", square * square_label),
    )


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return _clipped(found) if isfinite(found) else None


def _clipped(found: float) -> float:
    return min(LARGEST, max(-LARGEST, found))


def _floating(found: Iterable[tuple[str, float]]) -> Iterator[_Add]:
    """Each in the unit that suits its magnitude; nothing where it is 0."""
    for name, one in found:
        if one:
            unit = frexp(one)[1] // _OCTAVES * _OCTAVES - _DIGITS
            yield (SUM, f"{name}@{unit}"), round(ldexp(one, -unit))
