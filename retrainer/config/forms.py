"""Values that may be written in more than one form. Of capabilities that are not built yet, for now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import PlainValidator, TypeAdapter, WithJsonSchema

from retrainer.config.notation import DURATION_SCHEMA, Span, as_text, only
from retrainer.config.quantities import format_duration

_SPAN: Final[TypeAdapter[timedelta]] = TypeAdapter(Span)


def _parse_tokens(value: object) -> Any:
    match value:
        case str() | int() if not isinstance(value, bool) and as_text(value):
            return as_text(value)
        case Mapping() if value and all(map(_is_token, value.values())):
            return value
        case _:
            raise ValueError("expected text, {NAME: TOKEN} or {NAME: {token: TOKEN, may: [read]}}")


def _is_token(value: object) -> bool:
    match value:
        case str(token) | {"token": str(token)} if token:
            may = value.get("may", ["read"]) if isinstance(value, Mapping) else ["read"]
            return isinstance(may, list) and bool(may) and all(isinstance(right, str) for right in may)
        case _:
            return False


def _parse_weights(value: object) -> Any:
    match value:
        case {"half_life": half_life, **rest} if not rest:
            return {"half_life": format_duration(_SPAN.validate_python(half_life))}
        case {"class": "balanced", **rest} if not rest:
            return {"class": "balanced"}
        case _:
            raise ValueError("expected {half_life: DURATION} or {class: balanced}")


def _parse_place(value: object) -> Any:
    match value:
        case "process":
            return value
        case {"ray": {}, **rest} | {"kubernetes": {}, **rest} if not rest:
            return value
        case _:
            raise ValueError("expected process, {ray: {...}} or {kubernetes: {...}}")


Weights = Annotated[
    Mapping[str, str],
    PlainValidator(_parse_weights),
    WithJsonSchema({"anyOf": [only("half_life", DURATION_SCHEMA), only("class", {"const": "balanced"})]}),
]
Tokens = Annotated[
    str | Mapping[str, Any],
    PlainValidator(_parse_tokens),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "object", "minProperties": 1}]}),
]
TrainingPlace = Annotated[
    str | Mapping[str, Any],
    PlainValidator(_parse_place),
    WithJsonSchema(
        {"anyOf": [{"const": "process"}, only("ray", {"type": "object"}), only("kubernetes", {"type": "object"})]}
    ),
]
