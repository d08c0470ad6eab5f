"""From the bytes of records to documents and to columns. JSON; other encodings come beside it.

`TopicDecoders` is the one place that chooses the encoding of a topic.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from retrainer.domain.batches import Column, Columns
from retrainer.domain.mapping.mapping import Unusable
from retrainer.ports.decoder import Decoder

_FAILURES: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_DEEPEST_NUMBER: Final = 16
"""How far within a document a number may stand that is too large to be held."""
_NOT_FOR_STRUCTS: Final = re.compile(r'[\x00-\x1f"\\\ud800-\udfff]')
"""What msgspec does not allow in the name of a struct's field."""

_Path = tuple[str, ...]


class TopicDecoders:
    """Which encoding a topic has: every topic is JSON."""

    def __init__(self) -> None:
        self._json = JsonDecoder()

    def of(self, _topic: str) -> Decoder:
        """The decoder of a topic's records."""
        return self._json


class JsonDecoder:
    """Decodes UTF-8 JSON. A number that is too large to be held is infinite."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder().decode

    def decode(self, value: bytes) -> object:
        try:
            return self._decode(value)
        except msgspec.ValidationError:
            return _with_infinity(value)
        except _FAILURES as error:
            raise Unusable(f"not JSON: {error}") from None

    def columns(self, paths: Sequence[str]) -> Callable[[Sequence[bytes | None]], tuple[Columns, Collection[int]]]:
        return _ColumnReader(paths).read


def _with_infinity(value: bytes) -> object:
    """A document in which some number is too large."""
    try:
        return _parted(value, _DEEPEST_NUMBER)
    except _FAILURES as error:
        raise Unusable(f"not JSON: {error}") from None


def _parted(value: bytes, deepest: int) -> object:
    """Decoded part by part, as far as that is needed to find the numbers that are too large."""
    try:
        return msgspec.json.decode(value)
    except msgspec.ValidationError:
        if not deepest:
            raise
    begin = value.lstrip(b" \t\r\n")[:1]
    if begin == b"{":
        fields = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
        return {name: _parted(bytes(part), deepest - 1) for name, part in fields.items()}
    if begin == b"[":
        parts = msgspec.json.decode(value, type=list[msgspec.Raw])
        return [_parted(bytes(part), deepest - 1) for part in parts]
    return float(value)


class _ColumnReader:
    """Reads just some paths, into structs that are made for them: what nobody asks for is passed over, not built.

    msgspec checks what it passes over, but for its text being UTF-8; that is looked at here. So whether a record is
    JSON does not depend on what it is asked for.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._level = _level([tuple(path.split(".")) if path else () for path in paths], (), count())
        self._decode = msgspec.json.Decoder(self._level.kind or object).decode

    def read(self, values: Sequence[bytes | None]) -> tuple[Columns, Collection[int]]:
        unread: Collection[int] = ()
        try:
            found = list(map(self._decode, values))  # type: ignore[arg-type]  # None is what the except is for, too
            if not all(map(bytes.isascii, values)):  # type: ignore[arg-type]  # as above
                unread = [row for row, value in enumerate(values) if not _is_utf8(value)]
        except (*_FAILURES, TypeError):
            found, unread = self._one_by_one(values)
        return dict(self._level.columns(found)), unread

    def _one_by_one(self, values: Sequence[bytes | None]) -> tuple[list[Any], Sequence[int]]:
        found, unread = [], []
        for row, value in enumerate(values):
            try:
                found.append(self._decode(value))  # type: ignore[arg-type]  # as above
            except (*_FAILURES, TypeError):
                found.append(None)
                unread.append(row)
            else:
                unread += [] if _is_utf8(value) else [row]
        return found, unread


@dataclass(frozen=True, kw_only=True)
class _Depth:
    """One level of the documents: read into a struct of its own, or, without a `kind`, taken as it is."""

    kind: type[msgspec.Struct] | None = None
    nothing: tuple[None, ...] = ()
    """What is read where the level is absent."""
    below: Sequence[_Depth] = ()
    """Its fields in their order."""
    whole: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of a level that is taken as it is: each path, and the names that lead to it from here."""

    def columns(self, found: Sequence[Any]) -> Iterator[tuple[str, Column]]:
        """The columns of a level that was found in some documents."""
        for path, names in self.whole.items():
            yield path, [_within(one, names) for one in found] if names else found
        if self.kind:
            for level, column in zip(self.below, self._fields(found), strict=True):
                yield from level.columns(column)

    def _fields(self, found: Sequence[Any]) -> Sequence[Column]:
        if not found:
            return [()] * len(self.below)
        try:
            return list(zip(*map(astuple, found), strict=True))
        except TypeError:  # it is not everywhere
            rows = [self.nothing if one is None else astuple(one) for one in found]
            return list(zip(*rows, strict=True))


def _level(paths: Sequence[_Path], above: _Path, numbers: Iterator[int]) -> _Depth:
    """How to read one level, from the paths through it.

    It is taken as it is where it is asked for itself, and where it has names that no struct can have.
    """
    names = dict.fromkeys(path[len(above)] for path in paths if len(path) > len(above))
    if above in paths or not all(map(_is_for_structs, names)):
        return _Depth(whole={".".join(path): path[len(above) :] for path in paths})
    fields, below = {f"f{place}": name for place, name in enumerate(names)}, []
    for name in names:
        deeper = (*above, name)
        below.append(_level([path for path in paths if path[: len(deeper)] == deeper], deeper, numbers))
    kinds: list[Any] = [level.kind | None if level.kind else object for level in below]
    defined = [(one, kind, None) for one, kind in zip(fields, kinds, strict=True)]
    kind = msgspec.defstruct(f"Columns{next(numbers)}", defined, rename=fields, gc=False)
    return _Depth(kind=kind, nothing=(None,) * len(below), below=below)


def _is_for_structs(name: str) -> bool:
    """Whether msgspec takes it for the name of a field."""
    return not _NOT_FOR_STRUCTS.search(name)


def _within(found: object, names: Sequence[str]) -> object:
    for name in names:
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def _is_utf8(value: bytes | None) -> bool:
    if value is None:
        return False
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
