"""The names of metrics that a configuration may use; what is known of each is the domain's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from retrainer.domain.metrics.registry import METRICS, Metric, Task

__all__ = ["DEFAULT_METRIC", "METRICS", "Metric", "Task", "metrics_of"]

DEFAULT_METRIC: Final[Mapping[Task, str]] = MappingProxyType({"classification": "accuracy", "regression": "mae"})


def metrics_of(task: Task) -> tuple[str, ...]:
    """The names of a task's metrics."""
    return tuple(name for name, metric in METRICS.items() if metric.task == task)
