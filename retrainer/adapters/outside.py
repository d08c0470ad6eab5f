"""Classes of the user's own, named in the configuration as `package.module:Class`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from retrainer.domain.triggers.guarded import Guarded, guarded


def load_trigger(entry: str, settings: Mapping[str, Any]) -> Guarded:
    """The trigger that an entry names, made from its settings.

    Raises:
        ValueError: it cannot be imported or made, or is no trigger; says which, for a person to read.
    """
    made = _made(entry, _class_of(entry), settings)
    evaluate = getattr(made, "evaluate", None)
    if not callable(evaluate):
        raise ValueError(f"expected a class with evaluate(state, scene), which {entry} has not")
    try:
        inspect.signature(evaluate).bind({}, None)
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected {entry} to have evaluate(state, scene): {error}") from None
    return guarded(entry, made)


def _class_of(entry: str) -> type[Any]:
    module, _, name = entry.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except AttributeError:
        raise ValueError(f"expected a class such as package.module:Class: {module} has no {name}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever importing somebody's module raises
        raise ValueError(f"cannot import {module}: {type(error).__name__}: {error}") from None
    if not inspect.isclass(found):
        raise ValueError(f"expected a class, but {entry} is of type {type(found).__name__}")
    return found


def _made(entry: str, kind: type[Any], settings: Mapping[str, Any]) -> Any:
    try:
        return kind(**settings)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever somebody's class raises
        given = f" with {', '.join(settings)}" if settings else ""  # their values may be secrets
        raise ValueError(f"cannot make {entry}{given}: {type(error).__name__}: {error}") from None
