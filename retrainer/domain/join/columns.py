"""From many records at once to predictions or labels in columns, by the same mapping as `mapping` one by one.

What producers usually write (text ids, ISO or numeric times, text values) is handled column by column. A record that
has anything else is named in `Mapped.odd`, and its owner hands it to `mapping`, which knows every case and gives the
reason if it cannot be used. Whether a record is odd depends on it alone, never on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from retrainer.domain.answers import LONGEST_CLASS, class_text
from retrainer.domain.batches import Column, Columns, RecordBatch, is_text, kinds_in
from retrainer.domain.events import Label, Prediction, Side
from retrainer.domain.join.cells import Group
from retrainer.domain.join.codes import Codes
from retrainer.domain.join.column_times import read_times
from retrainer.domain.join.entries import RETRACTION, packed
from retrainer.domain.join.event_columns import Events, Mask, Numbers
from retrainer.domain.mapping.mapping import (
    MAX_FUTURE,
    EventMapping,
    Field,
    equals,
    joined_id,
    key_text,
    names_taken,
    reads_rows,
    reads_scores,
)
from retrainer.domain.mapping.scores import scored_column
from retrainer.domain.mapping.slices import SliceValues, features_needed, slices_of
from retrainer.domain.values import canonical

_MOST_KNOWN: Final = 100_000
_LONGEST_KNOWN: Final = 200
_LARGEST_EXACT_FLOAT: Final = 2**53
_FARTHEST_MS: Final = 10**14
"""No event time lies near it: a record's own timestamp beyond it might as well be this one."""
_OFFSET_BITS: Final = np.uint64(48)
_DELETES: Final = ("op", "payload.op")
_REFUSED: Final = -2
"""In place of a code, where there can be none."""
_NO_GROUP: Final = -1


class Mapped(NamedTuple):
    """The events in a batch, how many records were filtered out, and the numbers of those to look at one by one."""

    events: Events
    filtered: int
    odd: Sequence[int]


class ColumnMapping:
    """One model's mapping of one topic. `values` and `groups` are the codes that the columns hold."""

    def __init__(
        self, mapping: EventMapping, values: Codes[str], groups: Codes[Group], side: Side = Side.PREDICTIONS
    ) -> None:
        self._mapping = mapping
        self._values = values
        self._groups = groups
        self._slice_values = SliceValues(text for group in groups.values for text in group[1])
        self._has_groups = side is Side.PREDICTIONS
        self._features = _feature_paths(mapping) if self._has_groups else {}
        self._value_codes = _CodeCache(self._value_of)
        self._reads_scores = self._has_groups and reads_scores(mapping)
        self._answers = _CodeCache(self._answer_of)
        self._generation = values.generation
        self._group_codes = _CodeCache(self._group_of)
        self._deletes = _DELETES if reads_rows(mapping) else ()
        self.is_supported = self._features is not None and "$headers" not in self._used()

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths into the document whose columns `events` needs."""
        used = map(_in_document, self._used()) if self.is_supported else ()
        return tuple(dict.fromkeys(path for path in used if path is not None))

    def events(self, batch: RecordBatch, columns: Columns, unread: Collection[int]) -> Mapped:
        """The events of a batch; `unread` are records whose columns say nothing."""
        n = len(batch.offsets)
        if not self.is_supported:
            return Mapped(_no_events(), 0, range(n))
        usable = np.ones(n, np.bool_)
        usable[list(unread)] = False
        for path in self._deletes:
            if columns[path].count("d"):
                usable &= np.fromiter((found != "d" for found in columns[path]), np.bool_, n)
        own = usable & self._matches(_BatchRows(batch, columns), n)
        numbers, events = self._own_events(batch, columns, own)
        filtered = int(np.count_nonzero(usable & ~own))
        is_odd = ~usable | own
        is_odd[numbers] = False
        return Mapped(events, filtered, np.flatnonzero(is_odd).tolist())

    def single(self, events: Sequence[Prediction | Label]) -> Events:
        """Predictions, or labels, that were mapped one by one."""
        origins = [packed(one.origin.partition, one.origin.offset) for one in events]
        values = [RETRACTION if one.value is None else self._values.of(one.value) for one in events]
        groups = [self._group(one.version, one.slices) if isinstance(one, Prediction) else _NO_GROUP for one in events]
        return Events(
            *hashed([one.id for one in events]),
            np.array([one.time for one in events], np.int64),
            np.array(origins, np.uint64),
            np.array(values, np.int32),
            np.array(groups, np.int32),
        )

    def _used(self) -> Iterable[str]:
        """Every path that the mapping looks at, as it was written."""
        mapping = self._mapping
        version = [mapping.version] if mapping.version and self._has_groups else []
        score = [mapping.score] if mapping.score and self._reads_scores else []
        own = (*mapping.id, mapping.time, mapping.value, *version, *score)
        used = [path for field in own for path in field.paths]
        features = [path for path in (self._features or {}).values() if path is not None]
        return dict.fromkeys([*used, *mapping.where, *features, *self._deletes])

    def _matches(self, rows: _BatchRows, n: int) -> Mask:
        mask = np.ones(n, np.bool_)
        for path, wanted in self._mapping.where.items():
            column = rows.column(path)
            if column.count(wanted) == n:
                continue
            is_equal = wanted.__eq__ if is_text(column) else lambda found, wanted=wanted: equals(found, wanted)
            mask &= np.fromiter(map(is_equal, column), np.bool_, n)
        return mask

    def _own_events(self, batch: RecordBatch, columns: Columns, own: Mask) -> tuple[NDArray[np.intp], Events]:
        """The events in the model's own records, as far as they fit, and the numbers of those that do.

        Only what becomes an event gets codes: neither other models' records nor broken ones fill the memory.
        """
        numbers = np.flatnonzero(own)
        rows = _BatchRows(batch, columns, None if len(numbers) == len(own) else own.tolist())
        fit = np.ones(len(numbers), np.bool_)
        ids, times = self._ids(rows, fit), self._times(rows, numbers, fit)
        texts, keys = self._value_texts(rows, fit), self._group_keys(rows, fit)
        numbers, ids, times, texts, *keys = _only(fit, numbers, ids, times, texts, *keys)
        values = self._value_column(texts)
        numbers, ids, times, values, *keys = _only(values != _REFUSED, numbers, ids, times, values, *keys)
        groups = self._group_column(keys, len(numbers))
        numbers, ids, times, values, groups = _only(groups != _REFUSED, numbers, ids, times, values, groups)
        origins = np.uint64(batch.partition.number) << _OFFSET_BITS | np.asarray(batch.offsets, np.uint64)[numbers]
        return numbers, Events(*hashed(ids), times, origins, values, groups)

    def _ids(self, rows: _BatchRows, fit: Mask) -> Sequence[str]:
        parts = [_texts(rows.first(part), fit) for part in self._mapping.id]
        return parts[0] if len(parts) == 1 else list(map(joined_id, zip(*parts, strict=True)))

    def _times(self, rows: _BatchRows, numbers: NDArray[np.intp], fit: Mask) -> NDArray[np.int64]:
        where = self._mapping.time
        times = read_times(rows.first(where), where.unit, fit)
        stamps = np.asarray(rows.batch.timestamps, np.int64)[numbers]
        fit &= times <= np.clip(stamps, -_FARTHEST_MS, _FARTHEST_MS) * 1000 + MAX_FUTURE
        return times

    def _group_keys(self, rows: _BatchRows, fit: Mask) -> Sequence[Column]:
        """By what the groups of predictions are known, in columns: version, and the features that slices look at."""
        version, paths = self._mapping.version, (self._features or {}).values()
        if not self._has_groups:
            return ()
        versions = _texts(rows.first(version), fit, absent="") if version else [""] * len(fit)
        return versions, *([None] * len(fit) if path is None else _hashable(rows.column(path)) for path in paths)

    def _group_column(self, keys: Sequence[Column], n: int) -> Numbers:
        if not keys:
            return np.full(n, _NO_GROUP, np.int32)
        return self._group_codes.column(keys[0] if len(keys) == 1 else zip(*keys, strict=True), n)

    def _value_texts(self, rows: _BatchRows, fit: Mask) -> Sequence[str]:
        """Of labels and answers as they came; with the scores that are read."""
        mapping = self._mapping
        texts = _texts(rows.first(mapping.value), fit)
        if mapping.score is None or not self._reads_scores:
            return texts
        # Before anything is put to it: a class that looks like one with a score must not become one.
        fit &= self._answers.column(texts, len(texts)) != _REFUSED
        return scored_column(texts, rows.first(mapping.score), mapping.scores, mapping.positive)

    def _value_column(self, texts: Sequence[str]) -> Numbers:
        if self._generation != self._values.generation:
            self._value_codes.clear()
            self._generation = self._values.generation
        return self._value_codes.column(texts, len(texts))

    def _answer_of(self, text: str) -> int:
        """The length of a class that can be used."""
        try:
            return len(class_text(text, self._mapping.task, self._mapping.classes))
        except ValueError:
            return _REFUSED

    def _value_of(self, text: str) -> int:
        if self._reads_scores:
            return self._values.of(text)
        try:
            return self._values.of(class_text(text, self._mapping.task, self._mapping.classes))
        except ValueError:
            return _REFUSED

    def _group_of(self, key: str | tuple[Any, ...]) -> int:
        version, *found = (key,) if isinstance(key, str) else key
        if len(version) > LONGEST_CLASS:
            return _REFUSED
        values = (one.value if isinstance(one, _Typed) else one for one in found)
        features = dict(zip(self._features or (), values, strict=True))
        return self._group(version, slices_of(self._mapping.slices, features))

    def _group(self, version: str, slices: tuple[str, ...]) -> int:
        return self._groups.of((version, self._slice_values.admit(slices)))


class _BatchRows:
    """Some rows of a batch: all, or those that `which` says."""

    def __init__(self, batch: RecordBatch, columns: Columns, which: Sequence[bool] | None = None) -> None:
        self.batch = batch
        self._columns = columns
        self._which = which

    def column(self, path: str) -> Column:
        whole = self._whole(path)
        return whole if self._which is None else list(compress(whole, self._which))

    def first(self, field: Field) -> Column:
        """The first that is there on any of the field's paths."""
        first, *others = map(self.column, field.paths)
        for other in others:
            first = [b if a is None else a for a, b in zip(first, other, strict=True)]
        return first

    def _whole(self, path: str) -> Column:
        batch = self.batch
        within = _in_document(path)
        if within is not None:
            return self._columns[within]
        if path == "$timestamp":
            return batch.timestamps
        if path == "$key":
            return [None if key is None else key_text(key) for key in batch.keys]
        root, *names = path.split(".")
        if root == "$headers" and len(names) == 1 and batch.headers is not None:
            return [_header(headers, names[0]) for headers in batch.headers]
        return [None] * len(batch.offsets)


class _CodeCache(dict[Any, int]):
    """Remembers the codes of what comes often; not of what would take much memory."""

    def __init__(self, code_of: Callable[[Any], int]) -> None:
        super().__init__()
        self._code_of = code_of

    def __missing__(self, key: Any) -> int:
        code = self._code_of(key)
        parts = key if isinstance(key, tuple) else (key,)
        if code != _REFUSED and not any(isinstance(part, str) and len(part) > _LONGEST_KNOWN for part in parts):
            self[key] = code
        return code

    def column(self, keys: Iterable[Any], n: int) -> Numbers:
        if len(self) > _MOST_KNOWN:
            self.clear()
        return np.fromiter(map(self.__getitem__, keys), np.int32, n)


class _Typed(NamedTuple):
    """A value that is equal to another whose text is not the same: True to 1, 1e16 to 10000000000000000."""

    value: object
    kind: type


def hashed(ids: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The 128 bits (XXH3, two columns) by which ids are told apart: two of ten million agree once in 10^24 times."""
    try:
        digests = b"".join([xxh3_128_digest(one.encode()) for one in ids])
    except UnicodeEncodeError:
        digests = b"".join([xxh3_128_digest(one.encode("utf-8", "surrogatepass")) for one in ids])
    words = np.frombuffer(digests, ">u8").astype(np.uint64)
    return words[0::2].copy(), words[1::2].copy()


def _only(fit: Mask, *columns: Any) -> tuple[Any, ...]:
    """The same columns without the rows that do not fit."""
    if fit.all():
        return columns
    which = fit.tolist()
    return tuple(column[fit] if isinstance(column, np.ndarray) else list(compress(column, which)) for column in columns)


def _texts(column: Column, fit: Mask, absent: str | None = None) -> Sequence[str]:
    """Canonical texts; `absent` is for those that are not there, which do not fit without one."""
    if is_text(column):
        return column  # type: ignore[return-value]  # as was just seen
    texts = [absent if found is None else _canonical(found) for found in column]
    if None in texts:
        fit &= np.fromiter((text is not None for text in texts), np.bool_, len(texts))
    return [text or "" for text in texts]


def _canonical(found: object) -> str | None:
    try:
        return canonical(found)
    except ValueError:
        return None


def _hashable(column: Column) -> Column:
    """Features by which a group can be known; nested values count as missing."""
    return column if kinds_in(column) <= _PLAIN else [_key(found) for found in column]


def _key(found: object) -> object:
    if isinstance(found, bool):
        return _Typed(found, bool)
    if isinstance(found, float):
        return found if abs(found) <= _LARGEST_EXACT_FLOAT else _Typed(found, float)
    return found if isinstance(found, str | int) else None


_PLAIN: Final = {str, int, type(None)}


def _feature_paths(mapping: EventMapping) -> Mapping[str, str | None] | None:
    """Where the features stand that slices look at, None for what is never there; None where records must be asked."""
    names = sorted(features_needed(mapping.slices))
    features = mapping.features
    if not names:
        return {}
    if isinstance(features, tuple):
        return {name: name if name in features else None for name in names}
    if "." in "".join(names):  # the name of one feature, or the path to a nested one: that differs by record
        return None
    if features is None:
        taken = names_taken(mapping)
        return {name: None if name in taken else f"$value.{name}" for name in names}
    head = features.paths[0]
    is_simple = len(features.paths) == 1 and _in_document(head) is not None
    return {name: f"{head}.{name}" for name in names} if is_simple else None


def _in_document(path: str) -> str | None:
    """The path within the document, which is empty for all of it; None for a path to elsewhere."""
    root, _, within = path.partition(".")
    if root == "$value":
        return within
    return None if root.startswith("$") else path


def _header(headers: Iterable[tuple[str, bytes]], name: str) -> str | None:
    found = dict(headers).get(name)
    return None if found is None else key_text(found)


def _no_events() -> Events:
    none = np.empty(0, np.uint64)
    return Events(none, none, np.empty(0, np.int64), none, np.empty(0, np.int32), np.empty(0, np.int32))
