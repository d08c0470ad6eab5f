"""One model's policies, gathered: what the controller and its jobs need to know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from retrainer.domain.decisions import DecisionPolicy
from retrainer.domain.evaluation import WatchPolicy
from retrainer.domain.ingest import IngestPolicy
from retrainer.domain.training import Recipe
from retrainer.domain.values import SECOND, Micros
from retrainer.domain.verdicts import JudgePolicy
from retrainer.ports import Limits, Timetable


@dataclass(frozen=True, kw_only=True)
class PromotionPolicy:
    """What happens to an accepted candidate. `takes_effect` in microseconds of event time."""

    registered_model: str
    mode: Literal["automatic", "register"] = "automatic"
    alias: str = "champion"
    takes_effect: Micros = 300 * SECOND


@dataclass(frozen=True, kw_only=True)
class ModelPolicy:
    """Everything that is decided and done about one model."""

    name: str
    task: Literal["classification", "regression"]
    ingest: IngestPolicy
    watch: WatchPolicy
    deciding: DecisionPolicy
    recipe: Recipe
    judge: JudgePolicy
    promotion: PromotionPolicy
    schedules: Mapping[str, Timetable] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    mature_after: Micros | None = None
