"""One model: where its events are, what is measured, and when and how it is retrained."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field, PlainSerializer, PlainValidator, PrivateAttr, WithJsonSchema, model_validator

from retrainer.config.fields import LabelFields, Path, PredictionFields
from retrainer.config.metrics import DEFAULT_METRIC, Task
from retrainer.config.notation import ClassName, Duration, MetricName, Name, RegisteredName, RetrainWhen, Span, Topic
from retrainer.config.section import NOT_EMPTY, Section
from retrainer.config.training import GuardSettings, JudgeSettings, PromotionSettings, TrainingSettings
from retrainer.config.triggers import TriggerSettings


class Slice(NamedTuple):
    """A part of the traffic that is measured on its own: each value of a field, or where a condition holds."""

    name: str
    field: str | None = None
    when: str | None = None


_WHEN_NODES: Final = (
    ast.BoolOp, ast.boolop, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, ast.cmpop,
    ast.Name, ast.Constant, ast.List, ast.Tuple, ast.Set, ast.expr_context,
)  # fmt: skip
"""Comparisons, `and`, `or`, `not`, `in`, literals and feature names; nothing is called."""


def _parse_slice(value: object) -> Slice:
    match value:
        case Slice():
            return value
        case str() if value:
            return Slice(value, field=value)
        case {"name": str(name), "when": str(when), **rest} if name and not rest:
            return Slice(name, when=_checked_when(when))
        case _:
            raise ValueError("expected a feature's name or {name: NAME, when: CONDITION}")


def _checked_when(text: str) -> str:
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    if tree is None or not all(isinstance(node, _WHEN_NODES) for node in ast.walk(tree)):
        raise ValueError("expected a condition such as distance > 1500 and carrier in ('AA', 'UA')")
    return text.strip()


def _format_slice(part: Slice) -> Any:
    return part.field or {"name": part.name, "when": part.when}


_SLICE_SCHEMA: Final = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "when": {"type": "string"}},
    "required": ["name", "when"],
    "additionalProperties": False,
}
SliceSetting = Annotated[
    Slice,
    PlainValidator(_parse_slice),
    PlainSerializer(_format_slice),
    WithJsonSchema({"anyOf": [{"type": "string"}, _SLICE_SCHEMA]}),
]


class PredictionSettings(Section):
    """Where the model's predictions are."""

    topic: Topic
    where: Mapping[Path, ClassName] = Field(default_factory=dict)
    """Only the records whose fields equal these."""
    fields: PredictionFields = PredictionFields()
    expect_every: Span | None = None
    """Silence longer than this raises predictions.stalled."""


class AbsentSettings(Section):
    """What it means when no label comes."""

    after: Span
    value: ClassName


class LabelSettings(Section):
    """Where the labels of the model's predictions are, and how they join."""

    topic: Topic
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
    predictions: PredictionSettings
    labels: LabelSettings
    metrics: Annotated[tuple[MetricName, ...], NOT_EMPTY] = ()
    """The first is the one that judges; default: accuracy, or mae for a regression."""
    slices: tuple[SliceSetting, ...] = ()
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
