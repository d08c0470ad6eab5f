"""From a decoded record to a prediction or a label, by the paths that the configuration names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from retrainer.domain.events import Label, Origin, Prediction, Record
from retrainer.domain.values import SECOND, Micros, TimeUnit, canonical, iso, to_micros

MAX_FUTURE: Final[Micros] = 3600 * SECOND
"""How far an event time may lie ahead of its record's own Kafka timestamp before it is a mistake."""

_MISSING: Final = object()
_ID_SEPARATOR: Final = "\x1f"
_ESCAPED: Final = str.maketrans({"\\": "\\\\", _ID_SEPARATOR: "\\s"})


class Unusable(ValueError):
    """A record that cannot become an event; the message is the reason for its quarantine."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """Where one value stands in a record: several paths mean the first that is present.

    A path is dotted (`payload.after.id`); it may start with `$key`, `$headers`, `$timestamp` or `$value`. What is
    null counts as absent.
    """

    paths: tuple[str, ...]
    unit: TimeUnit | None = None


@dataclass(frozen=True, kw_only=True)
class EventMapping:
    """Where a model's events stand in the records of one topic.

    Attributes:
        where: path to text; only records whose values equal these belong to the model.
        id: one field, or several that make up the id together.
        classes: the values that count; None for any.
        features: a field that holds an object; a list of names; or None for every field that has no other use.
    """

    topic: str
    id: tuple[Field, ...]
    time: Field
    value: Field
    version: Field | None = None
    score: Field | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    classes: frozenset[str] | None = None
    features: Field | tuple[str, ...] | None = None


Document = Mapping[str, Any]
"""A decoded record value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """A record whose value has been decoded, ready to be asked for its fields."""

    record: Record
    document: object

    def get(self, path: str) -> object:
        """The value at a path; a marker that is no value where it is absent (see `present`)."""
        head, *rest = path.split(".")
        if head.startswith("$"):
            found = self._root(head)
        else:
            found, rest = self.document, [head, *rest]
        for name in rest:
            if not isinstance(found, Mapping) or name not in found:
                return _MISSING
            found = found[name]
        return found

    def _root(self, head: str) -> object:
        record = self.record
        if head == "$timestamp":
            return record.timestamp
        if head == "$key":
            return _MISSING if record.key is None else _text(record.key)
        if head == "$headers":
            return {name: _text(value) for name, value in record.headers}
        return self.document if head == "$value" else _MISSING


def matches(mapping: EventMapping, envelope: Envelope) -> bool:
    """Whether a record belongs to the model."""
    return all(_equals(envelope.get(path), wanted) for path, wanted in mapping.where.items())


def prediction_of(mapping: EventMapping, envelope: Envelope) -> Prediction:
    """The prediction in a record.

    Raises:
        Unusable: a required field is absent or cannot be used.
    """
    origin = _origin(envelope.record)
    version = _first(mapping.version, envelope) if mapping.version else _MISSING
    return Prediction(
        _id(mapping, envelope),
        _time(mapping, envelope),
        origin,
        _class(mapping, "prediction", envelope),
        "" if version is _MISSING else _canonical("version", version),
    )


def label_of(mapping: EventMapping, envelope: Envelope) -> Label:
    """The label in a record.

    Raises:
        Unusable: a required field is absent or cannot be used.
    """
    origin = _origin(envelope.record)
    return Label(_id(mapping, envelope), _time(mapping, envelope), origin, _class(mapping, "label", envelope))


def features_of(mapping: EventMapping, envelope: Envelope) -> Document:
    """The features in a prediction record: numbers, text, booleans; nested values are left out."""
    if isinstance(mapping.features, tuple):
        found = {name: envelope.get(name) for name in mapping.features}
    elif mapping.features is not None:
        held = _first(mapping.features, envelope)
        found = dict(held) if isinstance(held, Mapping) else {}
    else:
        found = _other_fields(mapping, envelope)
    return {name: _feature(value) for name, value in found.items() if not isinstance(value, dict | list)}


def _other_fields(mapping: EventMapping, envelope: Envelope) -> dict[str, Any]:
    optional = [one for one in (mapping.version, mapping.score) if one is not None]
    used = [*mapping.id, mapping.time, mapping.value, *optional]
    paths = [*(path for one in used for path in one.paths), *mapping.where]
    taken = {path.removeprefix("$value.").split(".")[0] for path in paths}
    document = envelope.document if isinstance(envelope.document, Mapping) else {}
    return {name: value for name, value in document.items() if name not in taken}


def _feature(value: object) -> object:
    absent = value is _MISSING or (isinstance(value, float) and not math.isfinite(value))
    return None if absent else value


def _first(where: Field, envelope: Envelope) -> object:
    for path in where.paths:
        found = envelope.get(path)
        if found is not _MISSING and found is not None:
            return found
    return _MISSING


def _id(mapping: EventMapping, envelope: Envelope) -> str:
    parts = [_canonical("id", _required(part, "id", envelope)) for part in mapping.id]
    return parts[0] if len(parts) == 1 else _ID_SEPARATOR.join(part.translate(_ESCAPED) for part in parts)


def _time(mapping: EventMapping, envelope: Envelope) -> Micros:
    raw = _required(mapping.time, "time", envelope)
    try:
        time = to_micros(raw, mapping.time.unit)
    except ValueError as error:
        raise Unusable(f"time: {error}") from None
    if time > envelope.record.timestamp * 1000 + MAX_FUTURE:
        raise Unusable(f"time: {iso(time)} is more than an hour ahead of the record's own timestamp")
    return time


def _class(mapping: EventMapping, name: str, envelope: Envelope) -> str:
    found = _canonical(name, _required(mapping.value, name, envelope))
    if mapping.classes is not None and found not in mapping.classes:
        raise Unusable(f"{name}: {found[:40]!r} is none of the classes {', '.join(sorted(mapping.classes))}")
    return found


def _required(where: Field, name: str, envelope: Envelope) -> object:
    found = _first(where, envelope)
    if found is _MISSING:
        raise Unusable(f"{name}: nothing at {' or '.join(where.paths)}")
    return found


def _canonical(name: str, found: object) -> str:
    try:
        return canonical(found)
    except ValueError as error:
        raise Unusable(f"{name}: {error}") from None


def _equals(found: object, wanted: str) -> bool:
    try:
        return found is not _MISSING and canonical(found) == wanted
    except ValueError:
        return False


def _origin(record: Record) -> Origin:
    return Origin(record.partition.topic, record.partition.number, record.offset)


def _text(raw: bytes) -> str:
    # Escaped, not replaced: two keys that are no text (numbers in binary, say) must stay two.
    return raw.decode("utf-8", errors="backslashreplace")


def topics(mappings: Sequence[EventMapping]) -> tuple[str, ...]:
    """The topics of some mappings, each once, in order of name."""
    return tuple(sorted({mapping.topic for mapping in mappings}))
