"""One model's policies, gathered: what the controller and its jobs need to know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from retrainer.domain.deciding.deliberation import DeliberationPolicy
from retrainer.domain.deciding.jobs import PromotionMode
from retrainer.domain.deciding.schedules import Timetable
from retrainer.domain.deciding.situation import DecisionPolicy
from retrainer.domain.deciding.watch import WatchPolicy
from retrainer.domain.join.ingest import IngestPolicy
from retrainer.domain.judging.order import Recipe
from retrainer.domain.judging.verdicts import JudgePolicy
from retrainer.domain.lateness.coverage import CoveragePolicy
from retrainer.domain.values import Micros
from retrainer.ports.training import Limits


@dataclass(frozen=True, kw_only=True)
class PromotionPolicy:
    """What happens to an accepted candidate. `takes_effect` in microseconds of event time."""

    registered_model: str
    mode: PromotionMode
    alias: str
    challenger_alias: str
    takes_effect: Micros
    expires: Micros
    """So long a challenger that nothing decides about is judged on; in microseconds of event time."""


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
    limits: Limits
    checks_on: Literal["alert", "hold"] = "alert"
    """Whether training rows that look broken keep a candidate from being taken."""
    coverage: CoveragePolicy | None = None
    """How late labels may be; None: nobody asks which are missing."""
    mature_after: Micros | None = None

    @property
    def deliberation(self) -> DeliberationPolicy:
        """What a deliberation about the model needs of it."""
        return DeliberationPolicy(
            watch=self.watch, deciding=self.deciding, schedules=self.schedules, coverage=self.coverage
        )
