"""Quality metrics of a classifier, computed from the counts of (truth, answer) pairs, and their intervals.

One piece of code serves live tallies and held-out rows alike. To add a metric, write one function and enter it
in `CLASSIFICATION`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from types import MappingProxyType
from typing import Final

Cells = Mapping[tuple[str, str], int]
"""How many outcomes had (label, prediction)."""

_Metric = Callable[[Cells, str | None], float | None]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A metric's value over `n` outcomes with a 95 % interval; no interval where no formula is known for it."""

    metric: str
    value: float
    n: int
    low: float | None = None
    high: float | None = None


def value(metric: str, cells: Cells, positive: str | None = None) -> float | None:
    """The metric over some outcomes; None where it is not defined (no outcomes, or no such class).

    Raises:
        KeyError: there is no such metric.
    """
    return CLASSIFICATION[metric](cells, positive)


def estimate(metric: str, cells: Cells, positive: str | None = None) -> Estimate | None:
    """The metric with its size and interval; None where it is not defined."""
    found = value(metric, cells, positive)
    if found is None:
        return None
    n = size(cells)
    low, high = wilson(correct(cells), n) if metric == "accuracy" else (None, None)
    return Estimate(metric=metric, value=found, n=n, low=low, high=high)


def size(cells: Cells) -> int:
    """How many outcomes there are."""
    return sum(cells.values())


def correct(cells: Cells) -> int:
    """How many predictions equal their label."""
    return sum(n for (truth, answer), n in cells.items() if truth == answer)


def wilson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided score interval of a proportion (Wilson 1927, doi 10.1080/01621459.1927.10502953)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = hits / n
    centre = share + z * z / (2 * n)
    margin = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At a share of 0 or 1 the limit equals it, which rounding must not hide.
    return max(0.0, min(share, (centre - margin) / scale)), min(1.0, max(share, (centre + margin) / scale))


@dataclass(frozen=True)
class _ClassCounts:
    """One class against all others."""

    hits: int
    actual: int
    answered: int

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


def _per_class(cells: Cells) -> dict[str, _ClassCounts]:
    hits, actual, answered = Counter[str](), Counter[str](), Counter[str]()
    for (truth, answer), n in cells.items():
        actual[truth] += n
        answered[answer] += n
        if truth == answer:
            hits[truth] += n
    names = {name for name in actual | answered if actual[name] or answered[name]}
    return {name: _ClassCounts(hits[name], actual[name], answered[name]) for name in sorted(names)}


def _accuracy(cells: Cells, _: str | None) -> float | None:
    n = size(cells)
    return correct(cells) / n if n else None


def _balanced_accuracy(cells: Cells, _: str | None) -> float | None:
    recalls = [counts.recall for counts in _per_class(cells).values() if counts.actual]
    return sum(recalls) / len(recalls) if recalls else None


def _f1_macro(cells: Cells, _: str | None) -> float | None:
    scores = [counts.f1 for counts in _per_class(cells).values()]
    return sum(scores) / len(scores) if scores else None


def _f1_weighted(cells: Cells, _: str | None) -> float | None:
    n = size(cells)
    return sum(counts.f1 * counts.actual for counts in _per_class(cells).values()) / n if n else None


def _of_positive(score: Callable[[_ClassCounts], float]) -> _Metric:
    """A metric of the positive class; the greatest name in sort order (`true`, `1`) where none is declared."""

    def metric(cells: Cells, positive: str | None) -> float | None:
        classes = _per_class(cells)
        counts = classes.get(positive or max(classes, default=""))
        return score(counts) if counts else None

    return metric


CLASSIFICATION: Final[Mapping[str, _Metric]] = MappingProxyType(
    {
        "accuracy": _accuracy,
        "balanced_accuracy": _balanced_accuracy,
        "f1_macro": _f1_macro,
        "f1_weighted": _f1_weighted,
        "precision": _of_positive(lambda counts: counts.precision),
        "recall": _of_positive(lambda counts: counts.recall),
        "f1": _of_positive(lambda counts: counts.f1),
    }
)
"""Every metric of a classifier, by the name that configuration uses."""
