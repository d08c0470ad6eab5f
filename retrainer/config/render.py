"""Settings back in the notation that they were written in, and that notation as a JSON Schema for editors."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

import yaml
from pydantic.json_schema import GenerateJsonSchema

from retrainer.config.document import FLOAT, KeyPath
from retrainer.config.interpolate import escape
from retrainer.config.secrets import MASK, is_secret, without_credentials
from retrainer.config.settings import Settings


def resolved(settings: Settings, secrets: Collection[KeyPath] = ()) -> str:
    """Every value in force, as YAML that can be loaded again; secrets, and values at `secrets`, are masked."""
    tree = _masked(settings.model_dump(), (), frozenset(secrets))
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a configuration file, for completion and checks in editors.

    Below `models` nothing is required, as it may come from `defaults`; `retrainer check` knows.
    """
    # Of the two modes of pydantic, this one writes defaults in the notation of the file.
    schema = Settings.model_json_schema(mode="serialization", schema_generator=_Untitled)
    parts: dict[str, Any] = schema["$defs"]
    for name, part in parts.items():
        if name != "KafkaSettings":
            part.pop("required", None)
    schema["properties"]["defaults"] = {
        "$ref": "#/$defs/ModelSettings",
        "description": "The same keys as a model; merged under each one.",
    }
    _let_values_be_references([schema, *parts.values()])
    parts["Reference"] = _REFERENCE
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "retrainer"}


class _Untitled(GenerateJsonSchema):
    """Titles would only repeat the keys."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - the signature is pydantic's
        return False


class _Dumper(yaml.SafeDumper):
    """Quotes text that would be read as something else."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"({FLOAT.pattern})$"), list("-+.0123456789"))


def _masked(value: Any, path: KeyPath, secrets: frozenset[KeyPath]) -> Any:
    if isinstance(value, dict):
        return {key: _masked(child, (*path, key), secrets) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(child, (*path, index), secrets) for index, child in enumerate(value)]
    if value is not None and (path in secrets or is_secret(path)):
        return MASK
    return escape(without_credentials(value)) if isinstance(value, str) else value


_REFERENCE: Final = {
    "type": "string",
    "pattern": r"\$\{.*\}",
    "description": "Taken from outside: ${VAR}, ${VAR:-default} or ${file:/path}.",
}


def _let_values_be_references(schemas: Iterable[dict[str, Any]]) -> None:
    """Let every value below that is not just any text be taken from outside, too."""
    for schema in schemas:
        if "$ref" in schema or schema.get("type") in ("object", "array"):
            _let_values_be_references(_values(schema))
        elif not _takes_any_text(schema):
            told = {key: schema.pop(key) for key in ("default", "description") if key in schema}
            choices = schema.pop("anyOf", None) or [dict(schema)]
            schema.clear()
            schema.update(anyOf=[*choices, {"$ref": "#/$defs/Reference"}], **told)


def _values(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key in ("properties", "patternProperties"):
        yield from schema.get(key, {}).values()
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield schema[key]


def _takes_any_text(schema: dict[str, Any]) -> bool:
    if "anyOf" in schema:
        return any(map(_takes_any_text, schema["anyOf"]))
    restricted = schema.keys() & {"pattern", "enum", "const"}
    return not restricted and ("type" not in schema or "string" in schema["type"])
