"""How candidates are made, judged and promoted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from retrainer.config.forms import TrainingPlace, Weights
from retrainer.config.notation import (
    Alias,
    Amount,
    Between,
    Count,
    DottedPath,
    Duration,
    Entrypoint,
    MetricName,
    Number,
    Rows,
    Seed,
    Share,
    Size,
    Span,
    Text,
)
from retrainer.config.section import NOT_EMPTY, Misfit, Section
from retrainer.domain.judging.order import RowsPolicy


class GuardSettings(Section):
    """What must hold before any trigger may start a job."""

    min_labels: Count = 500
    min_coverage: Share = 0.5
    """Of the labels that are usual at that age."""
    cooldown: Duration = timedelta(hours=6)
    per_day: Count = 4


class SearchSettings(Section):
    """A search for parameters."""

    trials: Count
    time: Span | None = None
    params: Mapping[str, Any]


class CheckSettings(Section):
    """What happens when the training rows look broken."""

    on: Literal["alert", "hold"] = "alert"


class SandboxSettings(Section):
    """How far own code is kept from the machine."""

    mode: Literal["auto", "none", "required"] = "auto"
    network: bool = False


class LimitSettings(Section):
    """What a training process may use."""

    time: Span = timedelta(minutes=20)
    memory: Size = 4 * 2**30
    """Resident size of its process group."""
    cpus: Count = 1


WAYS: Final = ("estimator", "pipeline", "entrypoint", "command")
"""The ways of saying what is trained; one of them is used."""


class TrainingSettings(Section):
    """How a candidate is trained."""

    on: TrainingPlace | None = None
    """Where it is trained: process, {ray: {...}} or {kubernetes: {...}}; null: process."""
    rows: Rows = RowsPolicy()
    """Which outcomes it learns from: {last: N or DURATION}, since_change, all or auto."""
    holdout: Between = 0.25
    """The newest part of the rows, on which it is judged."""
    refit: bool = True
    """Whether an accepted recipe is fitted again on all rows."""
    weights: Weights | None = None
    """Null: every row counts alike."""
    estimator: DottedPath | None = None
    """Any scikit-learn estimator by dotted path."""
    pipeline: Annotated[tuple[Any, ...], NOT_EMPTY] | None = None
    """Steps of preprocessing, and an estimator."""
    entrypoint: Entrypoint | None = None
    """A function of your own, as package.module:function."""
    command: Annotated[tuple[Text, ...], NOT_EMPTY] | None = None
    """A command and its arguments."""
    params: Mapping[str, Any] = Field(default_factory=dict)
    """What the estimator is created with."""
    search: SearchSettings | None = None
    checks: CheckSettings = CheckSettings()
    code: Text | None = None
    """The folder of own code."""
    sandbox: SandboxSettings | None = None
    """Null: none."""
    environment: tuple[Text, ...] = ()
    """Variables that the job may see besides the usual ones."""
    price: Amount | None = None
    """What a job costs, in right answers; null: from the rows at hand."""
    limits: LimitSettings = LimitSettings()
    seed: Seed = 0

    @model_validator(mode="after")
    def _has_at_most_one_way(self) -> TrainingSettings:
        ways = [way for way in WAYS if getattr(self, way) is not None]
        if len(ways) > 1:
            raise Misfit(ways[1], f"expected only one of {' and '.join(ways)}: set the others to null")
        return self


class LossSettings(Section):
    """A tolerated loss, in the metric's unit."""

    max_loss: Amount = 0.05


class JudgeSettings(Section):
    """What a candidate must show before it may become champion."""

    min_rows: Count = 300
    improvement: Number = 0.0
    """By how much it must be better, in the metric's unit; positive means better."""
    by: Literal["evidence", "gain"] | None = None
    """Whether evidence that it is better promotes it, or an expected gain; null: evidence."""
    baselines: Literal["tell", "block"] | None = None
    """What becomes of one that does not beat the baselines; null: it is rejected."""
    confidence: Between = 0.95
    """Over all judgements against the same champion."""
    slices: LossSettings | None = None
    floors: Mapping[MetricName, Number] = Field(default_factory=dict)
    """Metric to the value it must reach: at least for a score, at most for an error."""
    expires: Span = timedelta(days=7)
    """An inconclusive challenger is dropped then."""


class ProbationSettings(Section):
    """How long a new champion is watched, and what it may lose."""

    labels: Count = 1000
    max_loss: Amount | None = None
    """Null: .02 of a score, 2 % of an error."""
    time: Span = timedelta(days=7)
    rollback: Literal["automatic", "ask"] = "automatic"


class ApprovalSettings(Section):
    """How long a candidate waits for a person."""

    expires: Span = timedelta(days=7)


class PromotionSettings(Section):
    """What happens to an accepted candidate."""

    mode: Literal["automatic", "approval", "register", "shadow", "experiment"] = "automatic"
    approval: ApprovalSettings | None = None
    alias: Alias = "champion"
    challenger_alias: Alias = "challenger"
    takes_effect: Duration = timedelta(minutes=5)
    """Events without a version belong to the new champion from then on."""
    probation: ProbationSettings | None = ProbationSettings()

    @model_validator(mode="after")
    def _has_two_aliases(self) -> PromotionSettings:
        if self.alias == self.challenger_alias:
            raise Misfit("challenger_alias", f'expected another alias than alias, which is "{self.alias}"')
        return self
