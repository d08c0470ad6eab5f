"""Where the values of an event stand in a team's own records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, get_args

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from retrainer.config.section import Section
from retrainer.domain.mapping.mapping import Field
from retrainer.domain.values import TimeUnit

PATH_PATTERN: Final = r"^(\$key|\$timestamp|\$value|\$headers\.[^.]+|[^$.][^.]*)(\.[^.]+)*$"
_PATH: Final = re.compile(PATH_PATTERN)
_PATH_SCHEMA: Final = {"type": "string", "pattern": PATH_PATTERN}
_PATHS_SCHEMA: Final = {"type": "array", "items": _PATH_SCHEMA, "minItems": 1}
_UNITS: Final = get_args(TimeUnit)


def parse_path(value: object) -> str:
    """A dotted path such as `payload.after.id`, `$key` or `$headers.trace`.

    Raises:
        ValueError: it is not written like one.
    """
    if not isinstance(value, str) or not _PATH.fullmatch(value):
        raise ValueError("expected a path such as payload.after.id, $key, $headers.NAME, $timestamp or $value")
    return value


def _parse_field(value: object) -> Field:
    if isinstance(value, Field):
        return value
    paths = value if isinstance(value, list) and value else [value]
    return Field(paths=tuple(map(parse_path, paths)))


def _format_field(field: Field) -> Any:
    return field.paths[0] if len(field.paths) == 1 else list(field.paths)


def _parse_id(value: object) -> tuple[Field, ...]:
    match value:
        case tuple():
            return value
        case {"join": list(parts), **rest} if len(parts) > 1 and not rest:
            return tuple(map(_parse_field, parts))
        case Mapping():
            raise ValueError("expected a path, a list of paths or {join: [PATH, PATH]}")
        case _:
            return (_parse_field(value),)


def _format_id(parts: tuple[Field, ...]) -> Any:
    return _format_field(parts[0]) if len(parts) == 1 else {"join": list(map(_format_field, parts))}


def _parse_time(value: object) -> Field:
    match value:
        case {"path": path, "unit": unit, **rest} if unit in _UNITS and not rest:
            return Field(paths=_parse_field(path).paths, unit=unit)
        case Mapping():
            raise ValueError(f"expected a path or {{path: PATH, unit: UNIT}} with a unit of {', '.join(_UNITS)}")
        case _:
            return _parse_field(value)


def _format_time(field: Field) -> Any:
    return {"path": _format_field(field), "unit": field.unit} if field.unit else _format_field(field)


def _parse_features(value: object) -> Field | tuple[str, ...] | None:
    match value:
        case "*":
            return None
        case list() if value:
            return tuple(map(parse_path, value))
        case tuple() | Field():
            return value
        case str():
            return Field(paths=(parse_path(value),))
        case _:
            raise ValueError('expected a path, a list of paths or "*"')


def _format_features(features: Field | tuple[str, ...] | None) -> Any:
    if features is None:
        return "*"
    return features.paths[0] if isinstance(features, Field) else list(features)


def _path(name: str) -> Field:
    return Field(paths=(name,))


_ANY_PATH: Final[list[dict[str, Any]]] = [_PATH_SCHEMA, _PATHS_SCHEMA]
_JOIN_SCHEMA: Final = {
    "type": "object",
    "properties": {"join": {"type": "array", "items": {"anyOf": _ANY_PATH}, "minItems": 2}},
    "required": ["join"],
    "additionalProperties": False,
}
_TIME_SCHEMA: Final = {
    "type": "object",
    "properties": {"path": {"anyOf": _ANY_PATH}, "unit": {"enum": list(_UNITS)}},
    "required": ["path", "unit"],
    "additionalProperties": False,
}

Path = Annotated[str, PlainValidator(parse_path), WithJsonSchema(_PATH_SCHEMA)]
ValueField = Annotated[
    Field, PlainValidator(_parse_field), PlainSerializer(_format_field), WithJsonSchema({"anyOf": _ANY_PATH})
]
IdField = Annotated[
    tuple[Field, ...],
    PlainValidator(_parse_id),
    PlainSerializer(_format_id),
    WithJsonSchema({"anyOf": [*_ANY_PATH, _JOIN_SCHEMA]}),
]
TimeField = Annotated[
    Field,
    PlainValidator(_parse_time),
    PlainSerializer(_format_time),
    WithJsonSchema({"anyOf": [*_ANY_PATH, _TIME_SCHEMA]}),
]
FeaturesField = Annotated[
    Field | tuple[str, ...] | None,
    PlainValidator(_parse_features),
    PlainSerializer(_format_features),
    WithJsonSchema({"anyOf": [{"const": "*"}, *_ANY_PATH]}),
]
"""One field that holds an object, several by path, or None for every field that has no other use."""


class PredictionFields(Section):
    """Where a prediction's values stand. A list of paths means the first that is present."""

    id: IdField = (_path("prediction_id"),)
    """What joins a prediction with its label; `{join: [PATH, PATH]}` makes one of several."""
    time: TimeField = _path("timestamp")
    """When the model answered: ISO-8601 or a number; `{path: PATH, unit: ms}` declares the unit."""
    value: ValueField = _path("prediction")
    """What the model answered."""
    score: ValueField | None = _path("score")
    """How sure it was."""
    features: FeaturesField = _path("features")
    """An object of features, a list of paths, or "*" for every field that has no other use."""
    version: ValueField | None = _path("model_version")
    """Which version answered."""


class LabelFields(Section):
    """Where a label's values stand. A list of paths means the first that is present."""

    id: IdField = (_path("prediction_id"),)
    """What joins a label with its prediction."""
    time: TimeField = _path("timestamp")
    """When the truth became known."""
    value: ValueField = _path("label")
    """The truth."""
