"""The user's own file with a few values changed, and the reason beside each."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from retrainer.config.interpolate import Sheltered, shelter
from retrainer.config.load import Loaded, load_text
from retrainer.config.model import ModelSettings
from retrainer.errors import ConfigError, Problem
from retrainer.tune.edits import Edit, settings_with
from retrainer.tune.places import MappingEntry, Place, comment_of, places

_ORDER: Final = {name: number for number, name in enumerate(ModelSettings.model_fields)}
"""Sections of a model in the order in which they are documented."""
_WIDTH: Final = 118
_STEP: Final = 2
_HEADER: Final = "retrainer tune:"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A configuration as it stands in its file, and the model in it that is changed."""

    text: str
    loaded: Loaded
    model: str
    env: Mapping[str, str]

    @classmethod
    def of(cls, loaded: Loaded, model: str, env: Mapping[str, str]) -> Source:
        with loaded.path.open(encoding="utf-8-sig", newline="") as file:
            return cls(text=file.read(), loaded=loaded, model=model, env=env)

    def written(self, changes: Sequence[Edit], comments: Mapping[str, str], header: str) -> str:
        """The text with values changed, comments beside them by the key of their knob, and lines above the model.

        Raises:
            ConfigError: the text would not mean exactly these changes, as something is shared with others.
            Unplayable: the changes do not go together.
        """
        wanted = settings_with(self.loaded, self.model, changes).models
        text = self._changed(changes, comments, header)
        try:
            found = load_text(text, self.loaded.path, self.env).settings.models
        except ConfigError as error:
            raise ConfigError(*(self._shared(change, f" ({error})") for change in changes)) from error
        if found != wanted:
            raise ConfigError(*(self._shared(change) for change in changes))
        return text

    def _changed(self, changes: Sequence[Edit], comments: Mapping[str, str], header: str) -> str:
        sheltered = shelter(self.text)
        writing = _Writing(text=sheltered.text, sheltered=sheltered, model=self.model)
        left = dict(comments)
        for change in changes:
            end = writing.put(change.path, change.value)
            for key in change.keys:
                if key in left:
                    writing.remark(end, key, change.path, left.pop(key))
        writing.head(header)
        return sheltered.restored(writing.text)

    def _shared(self, change: Edit, why: str = "") -> Problem:
        told = "cannot be changed for this model alone, as an anchor shares it: expected it written out"
        return self.loaded.problem(("models", self.model, *change.path), told + why)


def yaml_of(value: Any) -> str:
    """A value of a knob on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {yaml_of(child)}" for key, child in value.items()) + "}"
    return repr(value) if isinstance(value, int | float) else str(value)


@dataclass
class _Writing:
    """A text that is changed step by step; references are hidden in it."""

    text: str
    sheltered: Sheltered
    model: str

    def __post_init__(self) -> None:
        self.eol = "\r\n" if "\r\n" in self.text else "\n"

    def put(self, path: Sequence[str], value: Any) -> int:
        """Set a value of the model, and give the place behind it."""
        here = self._model().value
        for depth, step in enumerate(path):
            if not here.is_mapping:
                return self._fill(here, path[depth:], value)
            entry = here.entry(step)
            if entry is None:
                return self._add(here, path[depth:], value, ranked=depth == 0)
            if depth == len(path) - 1:
                return self._replace(entry, yaml_of(value))
            here = entry.value
        raise AssertionError("a path has steps")

    def remark(self, end: int, key: str, path: Sequence[str], words: str) -> None:
        """A comment at the end of the line of a value; it names the setting where others stand beside it."""
        line, name = self._line(end), key.rpartition(".")[2]
        begin = comment_of(self.text, line)
        before, behind = self.text[line.start : end].lstrip(), self.text[end : line.stop if begin is None else begin]
        alone = path[-1] == name and before.startswith(f"{name}:") and not behind.strip(" ,}")
        told = words if alone else f"{name} {words}"
        self._swap(line.stop, line.stop, f"  # {told}" if begin is None else f"; {told}")

    def head(self, words: str) -> None:
        """Lines of comment above the model, in the place of those that an earlier tuning left."""
        start = self._line(self._model().start).start
        above, below = _without_header(self.text[:start]), self.text[start:]
        indent = below[: len(below) - len(below.lstrip(" "))]
        told = textwrap.wrap(f"{_HEADER} {words}", _WIDTH - len(indent), subsequent_indent="  ")
        self.text = above + "".join(f"{indent}# {one}{self.eol}" for one in told) + below

    def _model(self) -> MappingEntry:
        found = places(self.text, self.sheltered.restored).entry("models")
        entry = found.value.entry(self.model) if found else None
        if entry is None:
            raise ConfigError
        return entry

    def _replace(self, entry: MappingEntry, words: str) -> int:
        colon = "" if ":" in self.text[entry.end : entry.value.start] else ":"
        value = entry.value
        if value.start == value.end or (value.is_mapping and value.closes is None):
            lead = self.text[entry.end : value.start].partition(":")[0]
            return self._swap(entry.end, value.end, f"{lead}: {words}")
        return self._swap(value.start, value.end, colon + words)

    def _fill(self, here: Place, path: Sequence[str], value: Any) -> int:
        """Where no mapping stands: one that takes over what it is an alias for, or a new one."""
        inside = _nested(path, value)
        words = f"{{<<: *{here.alias}, {inside}}}" if here.alias else f"{{{inside}}}"
        lead = " " if here.start == here.end else ""
        return self._swap(here.start, here.end, lead + words)

    def _add(self, here: Place, path: Sequence[str], value: Any, *, ranked: bool) -> int:
        """A new entry: behind those that come before it in the documentation, or the last one."""
        before = here.entries
        if ranked:
            rank = _ORDER.get(path[0], len(_ORDER))
            before = [one for one in before if _ORDER.get(one.key, -1) < rank] or before
        if here.closes is not None:
            if not before:
                return self._swap(here.closes, here.closes, _nested(path, value))
            return self._swap(before[-1].behind, before[-1].behind, f", {_nested(path, value)}")
        lines = [f"{' ' * (here.column + _STEP * depth)}{step}:" for depth, step in enumerate(path)]
        added = f"{self.eol.join(lines)} {yaml_of(value)}"
        stop = self._line(before[-1].behind).stop
        return self._swap(stop, stop, self.eol + added)

    def _line(self, at: int) -> slice:
        begin = self.text.rfind("\n", 0, at) + 1
        end = self.text.find("\n", at)
        end = len(self.text) if end < 0 else end
        return slice(begin, end - 1 if self.text[begin:end].endswith("\r") else end)

    def _swap(self, begin: int, end: int, words: str) -> int:
        self.text = self.text[:begin] + words + self.text[end:]
        return begin + len(words)


def _without_header(above: str) -> str:
    """Without the lines at its end that a tuning left."""
    lines = above.splitlines(keepends=True)
    last = len(lines)
    while last and lines[last - 1].lstrip().startswith("#   "):
        last -= 1
    is_header = last > 0 and lines[last - 1].lstrip().startswith(f"# {_HEADER}")
    return "".join(lines[: last - 1]) if is_header else above


def _nested(path: Sequence[str], value: Any) -> str:
    """In braces, without the outer ones."""
    step, *below = path
    return f"{step}: {{{_nested(below, value)}}}" if below else f"{step}: {yaml_of(value)}"
