"""When a model should be retrained: one section for each kind of trigger."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, model_validator

from retrainer.config.notation import (
    ENTRY_PATTERN,
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
from retrainer.config.section import NOT_EMPTY, Misfit, Section
from retrainer.config.suggest import did_you_mean


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

    features: Annotated[tuple[str, ...], NOT_EMPTY] | None = None
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


class TrialSettings(Section):
    """Fires when so much has come that nobody has learnt from that a candidate is worth a try: the sooner the faster
    the champion was found to fall behind, ever more rarely where it does not."""

    times: Number = Field(default=1.0, gt=0)
    """So many times the rows that the first champion learnt from have to come before the first trial."""
    price: Number | None = Field(default=None, gt=0)
    """What a retraining is worth: so many right answers; of an error, so many times the champion's own. By default a
    two-hundredth of the rows that the first champion learnt from."""


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
    | TrialSettings
    | ScheduleSettings
)


class OwnTrigger(NamedTuple):
    """A trigger of the user's own: its class as `package.module:Class`, and what it is made from."""

    entry: str
    settings: Mapping[str, Any]


_ENTRY: Final = re.compile(ENTRY_PATTERN)


def _is_none(value: object) -> bool:
    return value is None


class TriggerSettings(Section):
    """One trigger, written as `{KIND: settings}`; KIND may be a class of your own, as `package.module:Class`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
            "patternProperties": {f"^{ENTRY_PATTERN}$": {"type": "object"}},
        },
    )

    threshold: ThresholdSettings | None = Field(default=None, exclude_if=_is_none)
    drop: DropSettings | None = Field(default=None, exclude_if=_is_none)
    change: ChangeSettings | None = Field(default=None, exclude_if=_is_none)
    drift: DriftSettings | None = Field(default=None, exclude_if=_is_none)
    new_class: NewClassSettings | None = Field(default=None, exclude_if=_is_none)
    volume: VolumeSettings | None = Field(default=None, exclude_if=_is_none)
    trial: TrialSettings | None = Field(default=None, exclude_if=_is_none)
    schedule: ScheduleSettings | None = Field(default=None, exclude_if=_is_none)

    @model_validator(mode="before")
    @classmethod
    def _own_settings_may_be_null(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {key: {} if value is None and _is_entry(key) else value for key, value in data.items()}

    @model_validator(mode="after")
    def _has_one_kind(self) -> TriggerSettings:
        kinds = type(self).model_fields
        for kind, settings in self._own().items():
            if not _is_entry(kind):
                message = f"unknown kind of trigger: expected one of {', '.join(kinds)}, or a class of your own as"
                raise Misfit(kind, f"{message} package.module:Class{did_you_mean(kind, kinds)}")
            if not isinstance(settings, Mapping) or not all(isinstance(key, str) for key in settings):
                raise Misfit(kind, "expected a mapping of settings")
        if len(self._given()) != 1:
            raise Misfit("", f"expected exactly one of {', '.join(kinds)}, or package.module:Class")
        return self

    @property
    def kind(self) -> str:
        """Which kind of trigger this is."""
        (kind,) = self._given()
        return kind

    @property
    def settings(self) -> AnyTrigger | OwnTrigger:
        """The settings of that kind."""
        ((kind, settings),) = self._given().items()
        return OwnTrigger(kind, settings) if _is_entry(kind) else settings

    @property
    def own(self) -> OwnTrigger | None:
        """The user's own trigger, if this is one."""
        return next((OwnTrigger(entry, settings) for entry, settings in self._own().items()), None)

    @property
    def metric(self) -> str | None:
        """The metric that it looks at, if any."""
        return getattr(self.settings, "metric", None)

    def _given(self) -> dict[str, Any]:
        return {kind: settings for kind, settings in self if settings is not None}

    def _own(self) -> Mapping[str, Any]:
        return self.model_extra or {}


def _is_entry(kind: object) -> bool:
    return isinstance(kind, str) and _ENTRY.fullmatch(kind) is not None
