"""Quality metrics, computed from the cells of tallies, with their intervals.

One piece of code serves live tallies and held-out rows alike. `METRICS` says all that is known of each: to add one,
write its functions in `quality` and enter it there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from retrainer.domain.answers import Task
from retrainer.domain.metrics import counts, errors, scores
from retrainer.domain.metrics.counts import correct
from retrainer.domain.metrics.intervals import Interval, Moments, wilson
from retrainer.domain.tally.measures import NONZERO, SUM, Cell, N, settled

__all__ = [
    "CLASSIFICATION",
    "METRICS",
    "Cells",
    "Estimate",
    "Interval",
    "Metric",
    "Moments",
    "Task",
    "correct",
    "estimate",
    "moments",
    "per_class",
    "size",
    "value",
    "wilson",
    "worse",
]

Cells = Mapping[Cell, int]
"""How many outcomes had (label, prediction), and measures of their scores or errors (see `measures`)."""

_Value = Callable[[Cells, str | None], float | None]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A metric's value over `n` outcomes with a 95 % interval; no interval where no formula is known for it.

    Attributes:
        n: the outcomes that the value is over: of precision the answers "positive", of recall the positive labels.
        bound: how far the value may be from that of the scores themselves, where it is computed from bins.
    """

    metric: str
    value: float
    n: int
    low: float | None = None
    high: float | None = None
    bound: float | None = None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """All that is known of a metric.

    Attributes:
        needs_score: whether it needs the model's scores beside its answers.
        value: from cells and the positive class; None where it is not defined.
        interval: at 95 %, of cells for which there is a value; None where no formula applies.
        outcomes: how many outcomes the value is over.
        bound: how far binning may have moved the value.
        moments: of the number whose mean over outcomes the metric is (of its square for rmse); None for others.
    """

    task: Task
    higher_is_better: bool = True
    needs_score: bool = False
    value: _Value
    interval: Callable[[Cells, str | None], Interval | None]
    outcomes: Callable[[Cells, str | None], int]
    bound: Callable[[Cells], float | None] = lambda _: None
    moments: Callable[[Cells], Moments] | None = None


def size(cells: Cells) -> int:
    """How many outcomes there are; below zero where more were taken back than came."""
    return counts.count(cells) + cells.get((SUM, N), 0)


def value(metric: str, cells: Cells, positive: str | None = None) -> float | None:
    """The metric over some outcomes; None where it is not defined (no outcomes, or no such class).

    Raises:
        KeyError: there is no such metric.
    """
    return METRICS[metric].value(_settled(cells), positive)


def estimate(metric: str, cells: Cells, positive: str | None = None) -> Estimate | None:
    """The metric with its size and interval; None where it is not defined.

    Raises:
        KeyError: there is no such metric.
    """
    known, cells = METRICS[metric], _settled(cells)
    found = known.value(cells, positive)
    if found is None:
        return None
    low, high = known.interval(cells, positive) or (None, None)
    n = known.outcomes(cells, positive)
    return Estimate(metric=metric, value=found, n=n, low=low, high=high, bound=known.bound(cells))


def moments(metric: str, cells: Cells) -> Moments | None:
    """Of the number whose mean the metric is, or, for rmse, whose mean's root it is; None for other metrics.

    Raises:
        KeyError: there is no such metric.
    """
    read = METRICS[metric].moments
    found = read(_settled(cells)) if read else None
    return found if found is not None and found.n else None


def worse(metric: str, found: float, *, than: float) -> bool:
    """Whether the first value is the worse of the two.

    Raises:
        KeyError: there is no such metric.
    """
    return found < than if METRICS[metric].higher_is_better else found > than


def per_class(cells: Cells) -> dict[str, dict[str, Estimate]]:
    """Precision, recall and F1 of each class that is a label or an answer."""
    return {name: _of_class(found) for name, found in counts.classes(_settled(cells)).items()}


def _of_class(found: counts.ClassCounts) -> dict[str, Estimate]:
    rows = (
        ("precision", found.precision, found.answered, counts.precision_limits(found)),
        ("recall", found.recall, found.actual, counts.recall_limits(found)),
        ("f1", found.f1, found.involved, counts.f1_limits(found)),
    )
    return {name: Estimate(metric=name, value=it, n=n, low=low, high=high) for name, it, n, (low, high) in rows}


def _settled(cells: Cells) -> Cells:
    """Without counts below zero, which a correction of an outcome that is not among them leaves."""
    return settled(cells) if min(cells.values(), default=0) < 0 else cells


def _all(cells: Cells, _: str | None) -> int:
    return size(cells)


def _of_positive(read: Callable[[counts.ClassCounts], int]) -> Callable[[Cells, str | None], int]:
    def outcomes(cells: Cells, positive: str | None) -> int:
        found = counts.positive_counts(cells, positive)
        return read(found) if found else 0

    return outcomes


METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        "accuracy": Metric(
            task="classification",
            value=counts.accuracy,
            interval=counts.accuracy_interval,
            outcomes=_all,
            moments=counts.accuracy_moments,
        ),
        "balanced_accuracy": Metric(
            task="classification",
            value=counts.balanced_accuracy,
            interval=counts.balanced_accuracy_interval,
            outcomes=_all,
        ),
        "precision": Metric(
            task="classification",
            value=counts.precision,
            interval=counts.precision_interval,
            outcomes=_of_positive(lambda found: found.answered),
        ),
        "recall": Metric(
            task="classification",
            value=counts.recall,
            interval=counts.recall_interval,
            outcomes=_of_positive(lambda found: found.actual),
        ),
        "f1": Metric(
            task="classification",
            value=counts.f1,
            interval=counts.f1_interval,
            outcomes=_of_positive(lambda found: found.involved),
        ),
        "f1_macro": Metric(
            task="classification",
            value=counts.f1_macro,
            interval=counts.f1_macro_interval,
            outcomes=_all,
        ),
        "f1_weighted": Metric(
            task="classification",
            value=counts.f1_weighted,
            interval=counts.f1_weighted_interval,
            outcomes=_all,
        ),
        "auc": Metric(
            task="classification",
            needs_score=True,
            value=scores.auc,
            interval=scores.auc_interval,
            outcomes=lambda cells, _: scores.ranked(cells),
            bound=scores.auc_bound,
        ),
        "log_loss": Metric(
            task="classification",
            higher_is_better=False,
            needs_score=True,
            value=scores.log_loss,
            interval=scores.log_loss_interval,
            outcomes=lambda cells, _: scores.scored(cells),
            moments=scores.log_losses,
        ),
        "brier": Metric(
            task="classification",
            higher_is_better=False,
            needs_score=True,
            value=scores.brier,
            interval=scores.brier_interval,
            outcomes=lambda cells, _: scores.scored(cells),
            moments=scores.squared,
        ),
        "calibration_error": Metric(
            task="classification",
            higher_is_better=False,
            needs_score=True,
            value=scores.calibration_error,
            interval=scores.calibration_interval,
            outcomes=lambda cells, _: scores.calibrated(cells),
            bound=scores.calibration_bound,
        ),
        "mae": Metric(
            task="regression",
            higher_is_better=False,
            value=errors.mae,
            interval=errors.mae_interval,
            outcomes=_all,
            moments=errors.absolute,
        ),
        "rmse": Metric(
            task="regression",
            higher_is_better=False,
            value=errors.rmse,
            interval=errors.rmse_interval,
            outcomes=_all,
            moments=errors.squared,
        ),
        "mape": Metric(
            task="regression",
            higher_is_better=False,
            value=errors.mape,
            interval=errors.mape_interval,
            outcomes=lambda cells, _: max(0, cells.get((SUM, NONZERO), 0)),
            moments=errors.relative,
        ),
        "r2": Metric(
            task="regression",
            value=errors.r2,
            interval=errors.r2_interval,
            outcomes=_all,
        ),
    }
)
"""Every metric, by the name that configuration uses."""

CLASSIFICATION: Final[Mapping[str, _Value]] = MappingProxyType(
    {
        name: metric.value
        for name, metric in METRICS.items()
        if metric.task == "classification" and not metric.needs_score
    }
)
"""The metrics that need nothing but labels and answers."""
