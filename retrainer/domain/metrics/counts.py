"""Metrics of a classifier's answers, from the counts of (label, prediction)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import fsum, sqrt
from typing import Final

from retrainer.domain.metrics.intervals import Interval, Moments, around, of_average, of_share
from retrainer.domain.tally.measures import Cell, is_measure

Cells = Mapping[Cell, int]

_ADDED: Final = 2.0
"""Right and wrong answers that are added before a variance is computed, so that a flawless table is not certain."""


@dataclass(frozen=True)
class ClassCounts:
    """One class against all others."""

    hits: int
    actual: int
    answered: int

    @property
    def involved(self) -> int:
        """Outcomes whose label or whose answer is the class."""
        return self.actual + self.answered - self.hits

    @property
    def precision(self) -> float:
        return self.hits / self.answered if self.answered else 0.0

    @property
    def recall(self) -> float:
        return self.hits / self.actual if self.actual else 0.0

    @property
    def f1(self) -> float:
        total = self.actual + self.answered
        return 2 * self.hits / total if total else 0.0


def count(cells: Cells) -> int:
    """Outcomes with a label and a prediction."""
    return sum(n for cell, n in cells.items() if not is_measure(cell))


def correct(cells: Cells) -> int:
    """How many predictions equal their label."""
    return sum(n for (truth, answer), n in cells.items() if truth == answer)


def classes(cells: Cells) -> dict[str, ClassCounts]:
    """The counts of every class that is a label or an answer of some outcome."""
    hits, actual, answered = Counter[str](), Counter[str](), Counter[str]()
    for cell, n in cells.items():
        if n and not is_measure(cell):
            truth, answer = cell
            actual[truth] += n
            answered[answer] += n
            hits[truth] += n if truth == answer else 0
    names = {name for name in actual | answered if actual[name] or answered[name]}
    return {name: ClassCounts(hits[name], actual[name], answered[name]) for name in sorted(names)}


# Values


def accuracy(cells: Cells, _: str | None) -> float | None:
    """The share of answers that are right."""
    n = count(cells)
    return correct(cells) / n if n else None


def balanced_accuracy(cells: Cells, _: str | None) -> float | None:
    """The average over the classes of the labels of their recalls."""
    recalls = [counts.recall for counts in classes(cells).values() if counts.actual]
    return sum(recalls) / len(recalls) if recalls else None


def f1_macro(cells: Cells, _: str | None) -> float | None:
    """The average of every class's F1."""
    scores = [counts.f1 for counts in classes(cells).values()]
    return sum(scores) / len(scores) if scores else None


def f1_weighted(cells: Cells, _: str | None) -> float | None:
    """The average of every class's F1, each as often as the class is a label."""
    n = count(cells)
    return sum(counts.f1 * counts.actual for counts in classes(cells).values()) / n if n else None


def precision(cells: Cells, positive: str | None) -> float | None:
    """The share of the answers "positive" that are right."""
    return _of_positive(cells, positive, lambda counts: counts.precision)


def recall(cells: Cells, positive: str | None) -> float | None:
    """The share of the positive labels that were answered so."""
    return _of_positive(cells, positive, lambda counts: counts.recall)


def f1(cells: Cells, positive: str | None) -> float | None:
    """The harmonic mean of precision and recall."""
    return _of_positive(cells, positive, lambda counts: counts.f1)


def _of_positive(cells: Cells, positive: str | None, score: Callable[[ClassCounts], float]) -> float | None:
    counts = positive_counts(cells, positive)
    return None if counts is None else score(counts)


def positive_counts(cells: Cells, positive: str | None) -> ClassCounts | None:
    """Those of the positive class; of the greatest name in sort order (`true`, `1`) where none is declared."""
    found = classes(cells)
    return found.get(positive or max(found, default=""))


def accuracy_moments(cells: Cells) -> Moments:
    right = correct(cells)
    return Moments(n=count(cells), total=right, squares=right)


# Intervals


def accuracy_interval(cells: Cells, _: str | None) -> Interval:
    """Wilson's."""
    return of_share(correct(cells), count(cells))


def balanced_accuracy_interval(cells: Cells, _: str | None) -> Interval:
    """MOVER over Wilson's intervals of the recalls, which are independent: each label is of one class."""
    parts = [counts for counts in classes(cells).values() if counts.actual]
    return of_average((counts.recall, recall_limits(counts)) for counts in parts)


def precision_interval(cells: Cells, positive: str | None) -> Interval | None:
    """Wilson's, over the answers "positive"."""
    counts = positive_counts(cells, positive)
    return None if counts is None else precision_limits(counts)


def recall_interval(cells: Cells, positive: str | None) -> Interval | None:
    """Wilson's, over the positive labels."""
    counts = positive_counts(cells, positive)
    return None if counts is None else recall_limits(counts)


def f1_interval(cells: Cells, positive: str | None) -> Interval | None:
    """Wilson's, over the outcomes that the positive class is involved in."""
    counts = positive_counts(cells, positive)
    return None if counts is None else f1_limits(counts)


def precision_limits(counts: ClassCounts) -> Interval:
    return of_share(counts.hits, counts.answered)


def recall_limits(counts: ClassCounts) -> Interval:
    return of_share(counts.hits, counts.actual)


def f1_limits(counts: ClassCounts) -> Interval:
    """F1 = 2 s / (1 + s), where s is the share of hits among the outcomes whose label or answer is the class: a
    proportion, whose Wilson limits are carried over, as the function grows with s."""
    low, high = of_share(counts.hits, counts.involved)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def f1_macro_interval(cells: Cells, _: str | None) -> Interval:
    """The delta method over the multinomial table of (label, prediction): Takahashi et al. 2022, Confidence interval
    for micro-averaged F1 and macro-averaged F1 scores, doi 10.1007/s10489-021-02635-5. Two right and two wrong
    answers are added for the variance, as Agresti and Coull (1998, doi 10.1080/00031305.1998.10480550) do for
    a proportion."""
    value = f1_macro(cells, None)
    return _by_delta(cells, value or 0.0, _macro_weights)


def f1_weighted_interval(cells: Cells, _: str | None) -> Interval:
    """As that of f1_macro, with the classes' shares among the labels as weights, which vary too."""
    value = f1_weighted(cells, None)
    return _by_delta(cells, value or 0.0, _label_weights)


_Table = Mapping[Cell, float]


@dataclass(frozen=True)
class _Weight:
    """What a class's F1 counts for, and how the average grows with the class's share of the labels for that alone."""

    weight: float
    growth: float


def _macro_weights(scores: Mapping[str, float], _: Mapping[str, float]) -> dict[str, _Weight]:
    return {name: _Weight(1 / len(scores), 0.0) for name in scores}


def _label_weights(scores: Mapping[str, float], actual: Mapping[str, float]) -> dict[str, _Weight]:
    return {name: _Weight(actual[name], score) for name, score in scores.items()}


def _by_delta(
    cells: Cells, value: float, weights_of: Callable[[Mapping[str, float], Mapping[str, float]], dict[str, _Weight]]
) -> Interval:
    table, n = _smoothed(cells)
    if len(table) == 1:
        return of_share(round(n), round(n))
    actual, both, hits = (defaultdict[str, float](float) for _ in range(3))
    for (truth, answer), share in table.items():
        actual[truth] += share
        both[truth] += share
        both[answer] += share
        hits[truth] += share if truth == answer else 0.0
    scores = {name: 2 * hits[name] / both[name] for name in both}
    weights = weights_of(scores, actual)
    slopes = {name: weights[name].weight / both[name] for name in both}
    first = second = 0.0
    for (truth, answer), share in table.items():
        slope = -slopes[truth] * scores[truth] - slopes[answer] * scores[answer] + weights[truth].growth
        slope += 2 * slopes[truth] if truth == answer else 0.0
        first += share * slope
        second += share * slope * slope
    return around(value, sqrt(max(0.0, second - first * first) / n))


def _smoothed(cells: Cells) -> tuple[_Table, float]:
    """The shares of the table, some right and some wrong answers added; and of how many outcomes they are."""
    table = defaultdict[Cell, float](float)
    table.update({cell: float(n) for cell, n in cells.items() if n > 0 and not is_measure(cell)})
    names = sorted({name for cell in table for name in cell})
    if len(names) > 1:
        for name, other in zip(names, [*names[1:], names[0]], strict=True):
            table[name, name] += _ADDED / len(names)
            table[name, other] += _ADDED / len(names)
    n = fsum(table.values())
    return {cell: found / n for cell, found in table.items()}, n
