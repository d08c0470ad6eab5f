"""Where things stand in a YAML text, so that a few values are changed and every other character stays.

A place ends where its last word does: comments and empty lines behind it belong to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml


@dataclass(kw_only=True)
class Place:
    """A value: from its first character (of an anchor before it) to the end of its last one.

    Attributes:
        closes: of a mapping in braces, where the closing one stands.
        column: of a mapping in lines, how far its keys are indented.
        alias: the name that it refers to.
    """

    start: int
    end: int
    entries: list[MappingEntry] = field(default_factory=list)
    is_mapping: bool = False
    closes: int | None = None
    column: int = 0
    alias: str = ""

    def entry(self, key: str) -> MappingEntry | None:
        return next((one for one in self.entries if one.key == key), None)


@dataclass(frozen=True, kw_only=True)
class MappingEntry:
    """A key of a mapping, where it begins and ends, and its value."""

    key: str
    start: int
    end: int
    value: Place

    @property
    def behind(self) -> int:
        """Where key and value have ended."""
        return max(self.end, self.value.end)


def places(text: str, as_text: Callable[[str], str] = str) -> Place:
    """The tree of a text that is known to be YAML; an empty one is an empty scalar."""
    events: Iterator[Any] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            return _PlaceReader(text, as_text, events).place(next(events))
    return Place(start=0, end=0)


@dataclass(frozen=True)
class _PlaceReader:
    text: str
    as_text: Callable[[str], str]
    events: Iterator[Any]

    def place(self, event: Any) -> Place:
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(event)
        if isinstance(event, yaml.SequenceStartEvent):
            while not isinstance(one := next(self.events), yaml.SequenceEndEvent):
                end = self.place(one).end
            return Place(start=start, end=_index(one) + 1 if event.flow_style else end)
        if isinstance(event, yaml.AliasEvent):
            return Place(start=start, end=end, alias=str(event.anchor))
        return Place(start=start, end=start + len(self.text[start:end].rstrip()))  # blocks of text end with a new line

    def _mapping(self, event: Any) -> Place:
        entries: list[MappingEntry] = []
        column = 0
        while not isinstance(key := next(self.events), yaml.MappingEndEvent):
            name = self.as_text(key.value) if isinstance(key, yaml.ScalarEvent) else ""
            column = column if entries else key.start_mark.column
            begin, end = _index(key), self.place(key).end
            entries.append(MappingEntry(key=name, start=begin, end=end, value=self.place(next(self.events))))
        start, close = _index(event), _index(key)
        if event.flow_style:
            return Place(start=start, end=close + 1, entries=entries, is_mapping=True, closes=close)
        end = entries[-1].behind if entries else close
        return Place(start=start, end=end, entries=entries, is_mapping=True, column=column)


def _index(event: Any) -> int:
    return int(event.start_mark.index)


def comment_of(text: str, line: slice) -> int | None:
    """Where the comment of a line begins, if it has one."""
    tokens = yaml.scan(text, Loader=yaml.SafeLoader)
    ends = [mark.index for token in tokens if (mark := token.end_mark) and line.start <= mark.index <= line.stop]
    found = text.find("#", max([line.start, *ends]), line.stop)
    return None if found < 0 else found
