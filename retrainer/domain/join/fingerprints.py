"""Whether a policy is the one that something was computed with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any


def fingerprint(policy: object) -> str:
    """The same for equal policies (frozen dataclasses of plain values), in every process and every release.

    What has its default says nothing, so that a setting that comes new changes no fingerprint.
    """
    facts = json.dumps(_facts(policy), sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def _facts(value: object) -> object:
    if is_dataclass(value):
        held = {one.name: getattr(value, one.name) for one in fields(value) if one.compare}
        defaults = {one.name: _default(one) for one in fields(value)}
        return {name: _facts(found) for name, found in held.items() if found != defaults[name]}
    if isinstance(value, Mapping):
        return {str(key): _facts(found) for key, found in value.items()}
    if isinstance(value, frozenset):
        return sorted(str(found) for found in value)
    if isinstance(value, tuple | list):
        return [_facts(found) for found in value]
    return value


def _default(field: Field[Any]) -> object:
    return field.default_factory() if field.default_factory is not MISSING else field.default
