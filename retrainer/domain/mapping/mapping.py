"""From a decoded record to a prediction or a label, by the paths that the configuration names.

Two kinds of record take a label back. A *tombstone* has no value, so all that it says is in its key and headers. A
*delete* of change data capture (Debezium) holds the row that is gone in `before`, where the mapping reads `after`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeGuard

from retrainer.domain.answers import Task, bounded, class_text
from retrainer.domain.events import Label, Origin, Prediction, Record
from retrainer.domain.mapping.scores import scored
from retrainer.domain.mapping.slices import SlicePolicy, slices_of
from retrainer.domain.tally.measures import Scores
from retrainer.domain.values import SECOND, Micros, TimeUnit, canonical, iso, to_micros

MAX_FUTURE: Final[Micros] = 3600 * SECOND
"""How far an event time may lie ahead of its record's own Kafka timestamp before it is a mistake."""

LONGEST_REASON: Final = 300
"""Characters of the reason for a quarantine."""

_MISSING: Final = object()
_ID_SEPARATOR: Final = "\x1f"
_ESCAPED: Final = str.maketrans({"\\": "\\\\", _ID_SEPARATOR: "\\s"})


class Unusable(ValueError):
    """A record that cannot become an event; the message is the reason for its quarantine.

    A reason often quotes the record: it is cut to `LONGEST_REASON`, and what does not print is escaped.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(_printable(reason))


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
        slices: the parts of the traffic that predictions are tallied in beside the whole.
        scores: whether the scores of predictions are read; positive: the class that a single number speaks of.
        task: of a regression, values are numbers.
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
    slices: tuple[SlicePolicy, ...] = ()
    scores: Scores = "none"
    positive: str | None = None
    task: Task = "classification"


Document = Mapping[str, Any]
"""A decoded record value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """A record whose value has been decoded, ready to be asked for its fields; a tombstone's document is None."""

    record: Record
    document: object

    @property
    def is_tombstone(self) -> bool:
        """Whether the record has no value at all; a value that says null is one."""
        return self.record.value is None

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
            return _MISSING if record.key is None else key_text(record.key)
        if head == "$headers":
            return {name: key_text(value) for name, value in record.headers}
        return self.document if head == "$value" else _MISSING


def matches(mapping: EventMapping, envelope: Envelope) -> bool:
    """Whether a record belongs to the model.

    Of a tombstone only key, headers and timestamp can be asked: its id decides. A delete is asked for the row that it
    deleted.
    """
    if envelope.is_tombstone:
        asked = {path: wanted for path, wanted in mapping.where.items() if not _in_document(path)}
        return all(equals(envelope.get(path), wanted) for path, wanted in asked.items())
    deleted = _deleted(mapping, envelope)
    found = envelope if deleted is None else deleted.row
    return all(equals(found.get(path), wanted) for path, wanted in mapping.where.items())


def prediction_of(mapping: EventMapping, envelope: Envelope) -> Prediction:
    """The prediction in a record.

    Raises:
        Unusable: a required field is absent or cannot be used, or the record would take a prediction back.
    """
    if envelope.is_tombstone:
        raise Unusable("a tombstone: it has no value, and predictions are never taken back")
    if _deleted(mapping, envelope) is not None:
        raise Unusable("a delete: predictions are never taken back")
    origin = _origin(envelope.record)
    version = _first(mapping.version, envelope) if mapping.version else _MISSING
    return Prediction(
        _id(mapping, envelope),
        _time(mapping.time, envelope),
        origin,
        _answer(mapping, envelope),
        "" if version is _MISSING else _bounded("version", _canonical("version", version)),
        _slices(mapping, envelope) if mapping.slices else (),
    )


def _slices(mapping: EventMapping, envelope: Envelope) -> tuple[str, ...]:
    if not isinstance(mapping.features, Field):
        return slices_of(mapping.slices, features_of(mapping, envelope))
    # Every prediction comes by here: the object is asked as it is, without a copy, and so for what is nested, too.
    held = _first(mapping.features, envelope)
    return slices_of(mapping.slices, held if isinstance(held, Mapping) else {})


def label_of(mapping: EventMapping, envelope: Envelope) -> Label:
    """The label in a record; of a tombstone or a delete a retraction, which has no value.

    Raises:
        Unusable: a required field is absent or cannot be used.
    """
    origin = _origin(envelope.record)
    if envelope.is_tombstone:
        return Label(_id_of_tombstone(mapping, envelope), _time_or_record(mapping.time, envelope), origin, None)
    deleted = _deleted(mapping, envelope)
    if deleted is not None:
        return Label(_id(mapping, deleted.row), _time_of_delete(mapping.time, deleted, envelope), origin, None)
    return Label(_id(mapping, envelope), _time(mapping.time, envelope), origin, _class(mapping, "label", envelope))


def tells_time(mapping: EventMapping, envelope: Envelope) -> bool:
    """Whether the record of a label holds the event time that the mapping names.

    A retraction may hold none. It is then dated by the log or by the database, whose clocks may be far ahead of the
    events (in a backfill, say): that must not move the watermark.
    """
    if envelope.is_tombstone:
        return _first(mapping.time, envelope) is not _MISSING
    deleted = _deleted(mapping, envelope)
    return deleted is None or _first(_beside_row(mapping.time, deleted), envelope) is not _MISSING


class _Deleted(NamedTuple):
    """A delete of change data capture: the record as if the row were still there, and where the event stands in it."""

    row: Envelope
    prefix: str


def _deleted(mapping: EventMapping, envelope: Envelope) -> _Deleted | None:
    """The delete in a record, if it is one and the mapping reads rows; the event may stand in `payload`."""
    document = envelope.document
    if not isinstance(document, Mapping):
        return None
    if _is_delete(document):
        row, prefix = {**document, "after": document["before"]}, ""
    elif _is_delete(payload := document.get("payload")):
        row, prefix = {**document, "payload": {**payload, "after": payload["before"]}}, "payload."
    else:
        return None
    if not any(_is_in_row(path, prefix) for path in mapping.value.paths):
        return None
    return _Deleted(Envelope(record=envelope.record, document=row), prefix)


def _is_delete(event: object) -> TypeGuard[Document]:
    return (
        isinstance(event, Mapping)
        and event.get("op") == "d"
        and event.get("after") is None
        and isinstance(event.get("before"), Mapping)
    )


def _is_in_row(path: str, prefix: str) -> bool:
    return f"{path.removeprefix('$value.')}.".startswith(f"{prefix}after.")


def _in_document(path: str) -> bool:
    head = path.split(".", maxsplit=1)[0]
    return head == "$value" or not head.startswith("$")


def _id_of_tombstone(mapping: EventMapping, envelope: Envelope) -> str:
    try:
        return _id(mapping, envelope)
    except Unusable as unusable:
        raise Unusable(f"a tombstone: it has no value, and its key and headers give no id: {unusable}") from None


def _time_of_delete(where: Field, deleted: _Deleted, envelope: Envelope) -> Micros:
    own = _beside_row(where, deleted)
    if _first(own, envelope) is not _MISSING:
        return _time(own, envelope)
    event = Field(paths=(f"{deleted.prefix}ts_ms", f"{deleted.prefix}source.ts_ms"), unit="ms")
    return _time_or_record(event, envelope)


def _beside_row(where: Field, deleted: _Deleted) -> Field:
    """Without the paths into the row: its own time says when it was written, not when it was deleted."""
    return Field(paths=tuple(path for path in where.paths if not _is_in_row(path, deleted.prefix)), unit=where.unit)


def _time_or_record(where: Field, envelope: Envelope) -> Micros:
    """The time at a field; where there is none the record's own."""
    if _first(where, envelope) is not _MISSING:
        return _time(where, envelope)
    return _time(Field(paths=("$timestamp",), unit="ms"), envelope)


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
    taken = names_taken(mapping)
    document = envelope.document if isinstance(envelope.document, Mapping) else {}
    return {name: value for name, value in document.items() if name not in taken}


def names_taken(mapping: EventMapping) -> frozenset[str]:
    """The fields of a document that have another use than to be features."""
    optional = [one for one in (mapping.version, mapping.score) if one is not None]
    used = [*mapping.id, mapping.time, mapping.value, *optional]
    paths = [*(path for one in used for path in one.paths), *mapping.where]
    return frozenset(path.removeprefix("$value.").split(".")[0] for path in paths)


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
    return parts[0] if len(parts) == 1 else joined_id(parts)


def _time(where: Field, envelope: Envelope) -> Micros:
    raw = _required(where, "time", envelope)
    try:
        time = to_micros(raw, where.unit)
    except ValueError as error:
        raise Unusable(f"time: {error}") from None
    if time > envelope.record.timestamp * 1000 + MAX_FUTURE:
        raise Unusable(f"time: {iso(time)} is more than an hour ahead of the record's own timestamp")
    return time


def _answer(mapping: EventMapping, envelope: Envelope) -> str:
    answer = _class(mapping, "prediction", envelope)
    if mapping.score is None or not reads_scores(mapping):
        return answer
    return scored(answer, _first(mapping.score, envelope), mapping.scores, mapping.positive)


def _class(mapping: EventMapping, name: str, envelope: Envelope) -> str:
    found = _canonical(name, _required(mapping.value, name, envelope))
    try:
        return class_text(found, mapping.task, mapping.classes)
    except ValueError as error:
        raise Unusable(f"{name}: {error}") from None


def _bounded(name: str, text: str) -> str:
    try:
        return bounded(text)
    except ValueError as error:
        raise Unusable(f"{name}: {error}") from None


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


def equals(found: object, wanted: str) -> bool:
    """Whether a value is there and its canonical text is the one that is wanted."""
    try:
        return found is not _MISSING and canonical(found) == wanted
    except ValueError:
        return False


def _printable(reason: str) -> str:
    short = reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 3]}..."
    if short.isprintable():
        return short
    escaped = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in short)
    return escaped if len(escaped) <= LONGEST_REASON else f"{escaped[: LONGEST_REASON - 3]}..."


def _origin(record: Record) -> Origin:
    return Origin(record.partition.topic, record.partition.number, record.offset)


def key_text(raw: bytes) -> str:
    """A key or a header as text."""
    # Escaped, not replaced: two keys that are no text (numbers in binary, say) must stay two.
    return raw.decode("utf-8", errors="backslashreplace")


def reads_scores(mapping: EventMapping) -> bool:
    """Whether the scores of predictions become part of their values."""
    return mapping.scores != "none" and mapping.score is not None and mapping.task == "classification"


def reads_rows(mapping: EventMapping) -> bool:
    """Whether the records are rows of change data capture, so that some may be deletes."""
    return any(_is_in_row(path, prefix) for path in mapping.value.paths for prefix in ("", "payload."))


def repeats_delete(mapping: EventMapping) -> bool:
    """Whether a tombstone says nothing that the delete before it has not said: rows whose id is not in the key."""
    return reads_rows(mapping) and any(all(map(_in_document, part.paths)) for part in mapping.id)


def joined_id(parts: Sequence[str]) -> str:
    """One id of several."""
    return _ID_SEPARATOR.join(part.translate(_ESCAPED) for part in parts)
