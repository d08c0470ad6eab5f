"""From a point of the space to what is written into the configuration, and to the settings that this means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from retrainer.config.load import Loaded
from retrainer.config.model import ModelSettings
from retrainer.config.rules import MODEL_RULES, clashes
from retrainer.config.settings import Settings
from retrainer.tune.space import TRIGGERS, Point, SearchSpace


class Unplayable(Exception):
    """Values that do not go together, or that a history cannot be played with."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A value at a place within the model; `keys` are the knobs that it is there for."""

    path: tuple[str, ...]
    value: Any
    keys: tuple[str, ...]


def edits(space: SearchSpace, point: Point) -> list[Edit]:
    """What a point changes."""
    values, changed = space.values(point), space.changed(point)
    about_triggers = {knob.key for knob in space.knobs if knob.trigger} | {TRIGGERS}
    plain = [
        Edit(path=tuple(key.split(".")), value=value, keys=(key,))
        for key, value in changed.items()
        if key not in about_triggers or _stands(space, key)
    ]
    if about_triggers.isdisjoint(changed):
        return plain
    return [*_new(space, point, values), *_off(space, point), *plain]


def _stands(space: SearchSpace, key: str) -> bool:
    """Whether it is a number of a trigger that the configuration has."""
    return key != TRIGGERS and key.split(".")[1] in space.launching.given


def _new(space: SearchSpace, point: Point, values: dict[str, Any]) -> Iterator[Edit]:
    """Triggers that do not stand in the configuration: those that are added, or all where it has none."""
    about, changed, on = space.launching, space.changed(point), space.on(point)
    left = [TRIGGERS] if TRIGGERS in changed else []
    for name in on:
        if name in about.given:
            continue
        own = [knob.key for knob in space.knobs if knob.trigger == name]
        numbers = [values[key] for key in own]
        section = about.section(
            name,
            confidence=numbers[0] if numbers and name == about.shift else about.confidence,
            times=numbers[0] if numbers and name == about.trial else about.times,
        )
        keys = (*left, *(key for key in own if key in changed))
        left = []
        yield Edit(path=("triggers", name), value=section, keys=keys)


def _off(space: SearchSpace, point: Point) -> Iterator[Edit]:
    """Triggers that stand there and do not launch any more are left out of `retrain_when`."""
    about, on = space.launching, space.on(point)
    off = [name for name in about.on if name in about.given and name not in on]
    if off:
        names = [name for name in about.given if name not in off] + [name for name in on if name not in about.given]
        added = any(name not in about.given for name in on)
        yield Edit(path=("retrain_when",), value=" or ".join(names), keys=() if added else (TRIGGERS,))


def settings_with(loaded: Loaded, model: str, changes: Sequence[Edit]) -> Settings:
    """The settings of a file with some values changed.

    Raises:
        Unplayable: they do not go together.
    """
    tree = loaded.root.plain()
    for change in changes:
        _put(tree["models"][model], change.path, change.value)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise Unplayable(str(error.errors(include_url=False)[0]["msg"])) from error
    for clash in clashes(tree["models"][model], ModelSettings, MODEL_RULES):
        raise Unplayable(f"{'.'.join(map(str, clash.path))}: {clash.message}")
    return settings


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    *above, last = path
    for step in above:
        if not isinstance(tree.get(step), dict):
            tree[step] = {}
        tree = tree[step]
    tree[last] = value
