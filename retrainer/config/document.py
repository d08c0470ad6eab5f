"""A YAML file as a tree in which every value knows its line.

Plain scalars are read as YAML 1.2 does: `no`, `on` and `12:30` are text, `0123` keeps its zero.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import yaml

from retrainer.config.interpolate import Sheltered, has_reference, interpolate, shelter

Scalar = str | int | float | bool | None
KeyPath = tuple[str | int, ...]
"""How to get to a value: keys of mappings and indexes of lists."""

_CONSTANTS: Final[Mapping[str, Scalar]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,999})")
FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"([-+]?)\.(?:(inf)|(nan))", re.IGNORECASE)
_KNOWN_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "int", "map", "null", "seq", "str", "timestamp", "value")
)
_MERGE: Final = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True)
class Located:
    """A value and the line that it stands on (that of its key, within a mapping).

    Attributes:
        secret: it was read from a file by `${file:...}`, so it must not be shown.
        broken: it could not be read; a problem has been recorded already.
    """

    value: Scalar | dict[str, Located] | list[Located]
    line: int
    secret: bool = False
    broken: bool = False

    @property
    def children(self) -> Iterator[tuple[str | int, Located]]:
        """The entries of a mapping or a list; none of a scalar."""
        if isinstance(self.value, dict):
            yield from self.value.items()
        elif isinstance(self.value, list):
            yield from enumerate(self.value)

    def plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        return [child.plain() for child in self.value] if isinstance(self.value, list) else self.value

    def closest(self, path: KeyPath) -> Located:
        """What stands at a path, or what would hold it."""
        here = self
        for step in path:
            below = dict(here.children).get(step)
            if below is None:
                break
            here = below
        return here

    def walk(self, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Located]]:
        """Everything below, each with its path, parents first."""
        for step, child in self.children:
            yield (*path, step), child
            yield from child.walk((*path, step))


def merge(under: Located, over: Located) -> Located:
    """`over`, and what only `under` has, at any depth."""
    if not isinstance(under.value, dict) or not isinstance(over.value, dict):
        return over
    both = {key: merge(under.value[key], child) if key in under.value else child for key, child in over.value.items()}
    return replace(over, value={**under.value, **both})


@dataclass(frozen=True, kw_only=True)
class Flaw:
    """Something that cannot be read, and where."""

    line: int
    path: KeyPath
    message: str


@dataclass(frozen=True, kw_only=True)
class Document:
    """A file as it was read; where it has flaws, the tree has broken values."""

    root: Located
    flaws: tuple[Flaw, ...] = ()


def read(text: str, env: Mapping[str, str], folder: Path) -> Document:
    """Read YAML, filling in what it takes from the environment and from files."""
    sheltered = shelter(text)
    try:
        node = yaml.compose(sheltered.text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return _unreadable(line, ", ".join(filter(None, ("not YAML", error.context, error.problem))))
    except (yaml.YAMLError, RecursionError):
        return _unreadable(1, "not YAML, it holds characters or a depth that YAML does not allow")
    reader = _NodeReader(sheltered, env, folder)
    root = reader.located(node, (), 1) if node else Located(None, 1)
    return Document(root=root, flaws=tuple(reader.flaws))


def _unreadable(line: int, message: str) -> Document:
    return Document(root=Located(None, line, broken=True), flaws=(Flaw(line=line, path=(), message=message),))


@dataclass
class _NodeReader:
    """Turns YAML nodes into located values, and collects what is wrong with them."""

    sheltered: Sheltered
    env: Mapping[str, str]
    folder: Path
    flaws: list[Flaw] = field(default_factory=list)
    _open: set[int] = field(default_factory=set)

    def located(self, node: yaml.Node, path: KeyPath, line: int) -> Located:
        if node.tag not in _KNOWN_TAGS:
            return self._broken(line, path, f"expected a plain value, got the tag {node.tag}")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, line)
        if id(node) in self._open:
            return self._broken(line, path, "expected a value, got an alias for something that holds it")
        self._open.add(id(node))
        try:
            return self._collection(node, path, line)
        finally:
            self._open.remove(id(node))

    def _collection(self, node: yaml.Node, path: KeyPath, line: int) -> Located:
        if isinstance(node, yaml.MappingNode):
            return Located(self._mapping(node, path), line)
        items = enumerate(node.value)
        return Located([self.located(item, (*path, index), _line(item)) for index, item in items], line)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Located]:
        entries: dict[str, Located] = {}
        included: dict[str, Located] = {}
        for key, value in node.value:
            name, line = self._key(key), _line(key)
            if key.tag == _MERGE:
                included |= self._included(value, path, line)
            elif name is None:
                self._broken(line, path, "expected a key that is text")
            elif name in entries:
                self._broken(line, (*path, name), f"given twice, first in line {entries[name].line}")
            else:
                entries[name] = self.located(value, (*path, name), line)
        return {**included, **entries}

    def _key(self, node: yaml.Node) -> str | None:
        return self.sheltered.restored(node.value) if isinstance(node, yaml.ScalarNode) else None

    def _included(self, node: yaml.Node, path: KeyPath, line: int) -> dict[str, Located]:
        """What `<<` takes over from other mappings; of several the first wins."""
        found = self.located(node, path, line)
        sources = found.value if isinstance(found.value, list) else [found]
        merged: dict[str, Located] = {}
        for source in reversed(sources):
            if isinstance(source.value, dict):
                merged |= source.value
            else:
                self._broken(line, (*path, "<<"), "expected an alias for a mapping")
        return merged

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath, line: int) -> Located:
        text = self.sheltered.restored(node.value)
        if not has_reference(text):
            return Located(text if node.style else _resolved(text), line)
        try:
            filled = interpolate(text, self.env, self.folder)
        except ValueError as error:
            return self._broken(line, path, str(error))
        as_it_is = node.style is not None or filled.secret
        return Located(filled.text if as_it_is else _resolved_exactly(filled.text), line, secret=filled.secret)

    def _broken(self, line: int, path: KeyPath, message: str) -> Located:
        self.flaws.append(Flaw(line=line, path=path, message=message))
        return Located(None, line, broken=True)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _resolved(text: str) -> Scalar:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if FLOAT.fullmatch(text):
        return float(text)
    found = _NOT_FINITE.fullmatch(text)
    return float(text.replace(".", "", 1)) if found else text


def _resolved_exactly(text: str) -> Scalar:
    """As above, but only where nothing is lost: a password such as 007 or 1.50 stays as it is."""
    value = _resolved(text)
    return value if value is None or json.dumps(value) == text else text
