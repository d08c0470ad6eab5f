"""What is wrong with a value, in the words of the person who wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import NoneType
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from retrainer.config.document import KeyPath
from retrainer.config.secrets import is_secret, without_credentials
from retrainer.config.suggest import did_you_mean

_EXPECTED: Final[Mapping[str, str]] = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "a number greater than {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_type": "a whole number",
    "less_than": "a number less than {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "string_too_short": "text that is not empty",
    "string_type": "text",
    "tuple_type": "a list",
}
"""pydantic's kinds of error, each with what was expected instead."""

_QUOTED: Final = re.compile("'([^']*)'")


def explain(error: ErrorDetails, root: type[BaseModel], *, secret: bool = False) -> tuple[KeyPath, str]:
    """Where an error of validation is, and what to tell about it.

    A secret value is not quoted, nor is a key, which stands in front of the message anyway.
    """
    path, kind = _path(error), error["type"]
    if kind == "missing":
        return path, _missing(root, path)
    if kind == "extra_forbidden":
        return path, f"unknown key{did_you_mean(str(path[-1]), known_keys(root, path[:-1]))}"
    if kind == "misfit":
        key = error["ctx"]["key"]
        return (*path, key) if key else path, error["msg"]
    quoted = not secret and not is_secret(path) and path == error["loc"]
    return path, _expected(error) + (f", got {_shown(error['input'])}" if quoted else "")


def known_keys(root: type[BaseModel], path: KeyPath) -> tuple[str, ...]:
    """The keys that a section may have."""
    section = _section_at(root, path)
    return tuple(section.model_fields) if section else ()


def _path(error: ErrorDetails) -> KeyPath:
    path = error["loc"]
    return path[:-1] if path and path[-1] == "[key]" else path


def _missing(root: type[BaseModel], path: KeyPath) -> str:
    section = _section_at(root, path[:-1])
    choices = get_args(section.model_fields[str(path[-1])].annotation) if section else ()
    named = [choice for choice in choices if isinstance(choice, str)]
    return f"required, but not given: expected {_either(named)}" if named else "required, but not given"


def _expected(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"expected {_either(_QUOTED.findall(context['expected']))}"
    if kind in _EXPECTED:
        return "expected " + _EXPECTED[kind].format(**context)
    return error["msg"]


def _either(choices: list[str]) -> str:
    *others, last = choices
    return f"{', '.join(others)} or {last}" if others else last


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    text = without_credentials(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 80 else f"{text[:77]}..."


def _section_at(root: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """The section that a path leads to, through mappings, lists and what may be null."""
    here: Any = root
    for step in path:
        here = _below(here, step)
    return here if _is_section(here) else None


def _below(kind: Any, step: str | int) -> Any:
    if not _is_section(kind):
        return _section_among(get_args(kind))
    field = kind.model_fields.get(step)
    annotation = field.annotation if field else None
    return _section_among(get_args(annotation)) if NoneType in get_args(annotation) else annotation


def _section_among(kinds: tuple[Any, ...]) -> Any:
    return next(filter(_is_section, kinds), None)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
