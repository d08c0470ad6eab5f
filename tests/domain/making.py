"""Events and records in one short call each, and how thorough property tests are."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from hypothesis import HealthCheck, settings

from retrainer.domain.deciding.jobs import Job
from retrainer.domain.events import Label, Origin, Partition, Prediction, Record
from retrainer.domain.mapping.mapping import Envelope
from retrainer.domain.values import SECOND, SLOT_WIDTH, Micros
from tests.effort import much

T = TypeVar("T")

# Deadlines say how busy the machine is, nothing about the code.
thorough = settings(max_examples=much(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])
quick = settings(thorough, max_examples=much(50))

MINUTE: Final[Micros] = SLOT_WIDTH
NOON: Final[Micros] = 1_366_027_200 * SECOND
"""2013-04-15T12:00:00Z."""

TOMBSTONE: Final = "a tombstone"
"""In place of a document: the record has no value."""

_offsets = itertools.count()


def origin(topic: str = "t", partition: int = 0) -> Origin:
    """A new place in the log, after every other."""
    return Origin(topic, partition, next(_offsets))


def prediction(
    key: str,
    time: Micros,
    value: str = "x",
    version: str = "1",
    at: Origin | None = None,
    slices: tuple[str, ...] = (),
) -> Prediction:
    return Prediction(key, time, at or origin("predictions"), value, version, slices)


def label(key: str, time: Micros, value: str | None = "x", at: Origin | None = None) -> Label:
    return Label(key, time, at or origin("labels"), value)


def retraction(key: str, time: Micros, at: Origin | None = None) -> Label:
    return label(key, time, None, at)


def envelope(
    document: object,
    *,
    topic: str = "events",
    partition: int = 0,
    time: Micros = NOON,
    key: bytes | None = None,
    headers: Sequence[tuple[str, bytes]] = (),
) -> Envelope:
    """A decoded record, or a tombstone; `time` is its own, in the log."""
    is_tombstone = document is TOMBSTONE
    value = None if is_tombstone else b"..."
    record = Record(Partition(topic, partition), next(_offsets), time // 1000, key, value, headers)
    return Envelope(record=record, document=None if is_tombstone else document)


def restored(value: T) -> T:
    """The value after a round trip through what is persisted."""
    return msgspec.json.decode(msgspec.json.encode(value), type=type(value))


def nested(path: str, value: object) -> Mapping[str, object]:
    """A document that holds the value at a dotted path."""
    head, _, rest = path.partition(".")
    return {head: nested(rest, value) if rest else value}


def a_job(**facts: Any) -> Job:
    """One that challenges version 1."""
    plain: dict[str, Any] = {
        "job_id": "j",
        "decision_id": "d",
        "model": "flights",
        "triggers": ("any",),
        "reason": "",
        "decided_at": 9,
        "known_by": 9,
        "champion": "1",
        "judgement": 1,
        "created_at": 9,
    }
    return Job(**{**plain, **facts})
