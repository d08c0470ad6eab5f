"""One model: where its events are, what is measured, and when and how it is retrained."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PlainSerializer, PlainValidator, PrivateAttr, WithJsonSchema, model_validator

from retrainer.config.fields import LabelFields, Path, PredictionFields
from retrainer.config.metrics import DEFAULT_METRIC, Task
from retrainer.config.notation import (
    ClassName,
    Duration,
    MetricName,
    Name,
    RegisteredName,
    RetrainWhen,
    Span,
    Text,
    Topic,
)
from retrainer.config.section import NOT_EMPTY, Misfit, Section
from retrainer.config.training import GuardSettings, JudgeSettings, PromotionSettings, TrainingSettings
from retrainer.config.triggers import TriggerSettings
from retrainer.domain.mapping.slices import SlicePolicy


def _parse_slice(value: object) -> SlicePolicy:
    match value:
        case SlicePolicy():
            return value
        case str() if value:
            return SlicePolicy(name=value)
        case {"name": str(name), "when": str(when), **rest} if name and not rest:
            return _conditional(name, when)
        case _:
            raise ValueError("expected a feature's name or {name: NAME, when: CONDITION}")


def _conditional(name: str, when: str) -> SlicePolicy:
    SlicePolicy(name=name)  # so that what is wrong with the name is told of the slice, and the rest of the condition
    try:
        return SlicePolicy(name=name, when=when.strip())
    except ValueError as error:
        raise Misfit("when", str(error)) from None


def _format_slice(part: SlicePolicy) -> Any:
    return part.name if part.when is None else {"name": part.name, "when": part.when}


_SLICE_SCHEMA: Final = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "when": {"type": "string"}},
    "required": ["name", "when"],
    "additionalProperties": False,
}
SliceSetting = Annotated[
    SlicePolicy,
    PlainValidator(_parse_slice),
    PlainSerializer(_format_slice),
    WithJsonSchema({"anyOf": [{"type": "string"}, _SLICE_SCHEMA]}),
]


class PredictionSettings(Section):
    """Where the model's predictions are."""

    topic: Topic
    time_format: Text | None = None
    """How times are written; null: ISO-8601, or a number told apart by its size."""
    where: Mapping[Path, ClassName] = Field(default_factory=dict)
    """Only the records whose fields equal these."""
    fields: PredictionFields = PredictionFields()
    expect_every: Span | None = None
    """Silence longer than this raises predictions.stalled."""


class AbsentSettings(Section):
    """What it means when no label comes."""

    after: Span
    """How long after the prediction, by event time; at most labels.max_delay."""
    value: ClassName
    """The label that is implied then; a real one that comes later corrects it."""


class LabelSettings(Section):
    """Where the labels of the model's predictions are, and how they join."""

    topic: Topic
    time_format: Text | None = None
    """How times are written; null: ISO-8601, or a number told apart by its size."""
    when_null: Literal["ignore", "retract", "quarantine"] | None = None
    """What becomes of a record whose label is null; null: quarantine."""
    deleted: Mapping[Path, ClassName] = Field(default_factory=dict)
    """Records whose fields equal these take the label back."""
    where: Mapping[Path, ClassName] = Field(default_factory=dict)
    """Only the records whose fields equal these."""
    fields: LabelFields = LabelFields()
    max_delay: Span = timedelta(days=3)
    """A label later than this does not join."""
    lateness: Duration = timedelta(minutes=1)
    """How far out of order event time may be before a slot closes."""
    corrections: Literal["last", "first"] = "last"
    """Which label of the same id counts, by event time."""
    absent: AbsentSettings | None = None
    """What it means when no label comes; null: nothing."""
    mature_after: Duration | None = None
    """When an outcome counts as final; null: the 95th percentile of the delays seen."""
    expect_every: Span | None = None
    """Silence longer than this raises labels.stalled."""


class ModelSettings(Section):
    """One model that is watched and retrained."""

    registered_model: RegisteredName
    """The registered model's name in MLflow; default: the key of this section."""
    task: Task
    classes: tuple[ClassName, ...] | None = None
    """Null: as seen."""
    positive: ClassName | None = None
    """Which class a single score, precision and recall speak of."""
    observe: bool = False
    """Decide and record, never train."""
    preset: Literal["debezium", "debezium-unwrapped", "cloudevents", "mongodb"] | None = None
    """A format of records: the single keys below are then as it needs them."""
    numbers: Mapping[Text, Text] = Field(default_factory=dict)
    """A feature that is text, to an example of how it writes numbers."""
    predictions: PredictionSettings
    labels: LabelSettings
    metrics: Annotated[tuple[MetricName, ...], NOT_EMPTY] = ()
    """The first is the one that judges; default: accuracy, or mae for a regression."""
    slices: tuple[SliceSetting, ...] = ()
    """What is measured beside the whole: each value of a feature, or where a condition holds."""
    triggers: Mapping[Name, TriggerSettings] = Field(default_factory=dict)
    retrain_when: RetrainWhen | None = None
    """and, or, not over trigger names; null: any of them."""
    guards: GuardSettings = GuardSettings()
    training: TrainingSettings = TrainingSettings()
    judge: JudgeSettings = JudgeSettings()
    promotion: PromotionSettings = PromotionSettings()

    _name: str = PrivateAttr(default="")

    @property
    def name(self) -> str:
        """The key of this section."""
        return self._name

    @model_validator(mode="before")
    @classmethod
    def _has_a_metric(cls, data: Any) -> Any:
        match data:
            case {"task": "classification" | "regression" as task} if data.get("metrics") is None:
                return {**data, "metrics": (DEFAULT_METRIC[task],)}
            case _:
                return data
