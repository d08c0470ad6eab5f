"""When a model should be retrained: one section for each kind of trigger."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, model_validator

from retrainer.config.notation import (
    Between,
    BreachCount,
    Breaches,
    Count,
    Cron,
    MetricName,
    Number,
    Span,
    TimeZone,
    Window,
)
from retrainer.config.section import Misfit, Section


class ThresholdSettings(Section):
    """Fires when evaluations of a metric are beyond a line."""

    metric: MetricName
    below: Number | None = None
    """The line of a score."""
    above: Number | None = None
    """The line of an error."""
    warn_below: Number | None = None
    warn_above: Number | None = None
    window: Window = 2000
    """A count of outcomes, or a duration."""
    breaches: BreachCount = Breaches(2, 3)
    """How many of the newest evaluations must be beyond the line."""
    confident: bool = False
    """Whether the whole confidence interval must be beyond the line."""

    @model_validator(mode="after")
    def _has_one_line(self) -> ThresholdSettings:
        if (self.below is None) == (self.above is None):
            raise Misfit("", "expected either below (for a score) or above (for an error)")
        return self

    @model_validator(mode="after")
    def _warns_before_it_fires(self) -> ThresholdSettings:
        if self.warn_below is not None and (self.below is None or self.warn_below <= self.below):
            raise Misfit("warn_below", f"expected a value greater than below, {_line(self.below)}")
        if self.warn_above is not None and (self.above is None or self.warn_above >= self.above):
            raise Misfit("warn_above", f"expected a value less than above, {_line(self.above)}")
        return self


def _line(line: float | None) -> str:
    return "which is not set" if line is None else f"which is {line:g}"


class DropSettings(Section):
    """Fires when a metric has fallen below what the champion's own evaluation promised."""

    metric: MetricName
    by: Number = Field(gt=0)
    """By how much, in the metric's unit."""
    window: Window = 2000
    breaches: BreachCount = Breaches(2, 3)
    confident: bool = False


class ChangeSettings(Section):
    """Fires when a sequential test finds that the outcomes have changed for the worse."""

    metric: MetricName
    confidence: Between = 0.95
    """One minus the chance that it ever fires without a change."""


class DriftSettings(Section):
    """Notices that features look different from those that the champion was trained on."""

    features: tuple[str, ...] | None = None
    """Which ones to watch; null: all."""
    window: Window = 2000
    confidence: Between = 0.95
    launches: bool = False
    """Whether it may launch a retraining by itself; otherwise it only alerts."""


class NewClassSettings(Section):
    """Fires when labels name a class that the champion has never seen."""

    labels: Count = 1
    """How many labels of that class it takes."""


class VolumeSettings(Section):
    """Fires when so many labels have come since the last retraining."""

    labels: Count


class ScheduleSettings(Section):
    """Fires by the clock: on a cron expression, or at a fixed interval."""

    cron: Cron | None = None
    """Minute, hour, day of the month, month, day of the week (0 and 7 are Sunday)."""
    every: Span | None = None
    timezone: TimeZone = ZoneInfo("UTC")

    @model_validator(mode="after")
    def _has_one_rhythm(self) -> ScheduleSettings:
        if (self.cron is None) == (self.every is None):
            raise Misfit("", "expected either cron or every")
        return self


AnyTrigger = (
    ThresholdSettings
    | DropSettings
    | ChangeSettings
    | DriftSettings
    | NewClassSettings
    | VolumeSettings
    | ScheduleSettings
)


def _is_none(value: object) -> bool:
    return value is None


class TriggerSettings(Section):
    """One trigger, written as `{KIND: settings}`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    threshold: ThresholdSettings | None = Field(default=None, exclude_if=_is_none)
    drop: DropSettings | None = Field(default=None, exclude_if=_is_none)
    change: ChangeSettings | None = Field(default=None, exclude_if=_is_none)
    drift: DriftSettings | None = Field(default=None, exclude_if=_is_none)
    new_class: NewClassSettings | None = Field(default=None, exclude_if=_is_none)
    volume: VolumeSettings | None = Field(default=None, exclude_if=_is_none)
    schedule: ScheduleSettings | None = Field(default=None, exclude_if=_is_none)

    @model_validator(mode="after")
    def _has_one_kind(self) -> TriggerSettings:
        if len(self._given()) != 1:
            raise Misfit("", f"expected exactly one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def kind(self) -> str:
        """Which kind of trigger this is."""
        (kind,) = self._given()
        return kind

    @property
    def settings(self) -> AnyTrigger:
        """The settings of that kind."""
        (settings,) = self._given().values()
        return settings

    @property
    def metric(self) -> str | None:
        """The metric that it looks at, if any."""
        return getattr(self.settings, "metric", None)

    def _given(self) -> dict[str, AnyTrigger]:
        return {kind: settings for kind, settings in self if settings is not None}
