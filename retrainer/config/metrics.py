"""The names of metrics that a configuration may use, and what is known of each without computing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Task = Literal["classification", "regression"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric as configuration sees it: whose it is, which way is better, whether it needs the model's scores."""

    task: Task
    higher_is_better: bool = True
    needs_score: bool = False


METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        "accuracy": Metric(task="classification"),
        "balanced_accuracy": Metric(task="classification"),
        "precision": Metric(task="classification"),
        "recall": Metric(task="classification"),
        "f1": Metric(task="classification"),
        "f1_macro": Metric(task="classification"),
        "f1_weighted": Metric(task="classification"),
        "auc": Metric(task="classification", needs_score=True),
        "log_loss": Metric(task="classification", higher_is_better=False, needs_score=True),
        "brier": Metric(task="classification", higher_is_better=False, needs_score=True),
        "calibration_error": Metric(task="classification", higher_is_better=False, needs_score=True),
        "mae": Metric(task="regression", higher_is_better=False),
        "rmse": Metric(task="regression", higher_is_better=False),
        "mape": Metric(task="regression", higher_is_better=False),
        "r2": Metric(task="regression"),
    }
)
DEFAULT_METRIC: Final[Mapping[Task, str]] = MappingProxyType({"classification": "accuracy", "regression": "mae"})


def metrics_of(task: Task) -> tuple[str, ...]:
    """The names of a task's metrics."""
    return tuple(name for name, metric in METRICS.items() if metric.task == task)
