"""The right answer, told in one pass over what the topics really hold. It shares no code with retrainer.

`read` gives the records; `expected` says what they come to. Within an id, the set of events decides; what a barrier
left beyond its horizon is forgotten there.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, NoReturn

from kafka import KafkaConsumer, TopicPartition

from tests.chaos.plan import HOUR, MINUTE, MODELS, Barrier, Topics

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = -(2**62)


class Found(NamedTuple):
    """One record as the topic holds it."""

    side: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Event(NamedTuple):
    """One usable record. In order of time, then of the log: topic, partition, offset."""

    time: int
    topic: str
    partition: int
    offset: int
    side: str
    barrier: int
    value: str | None
    version: str


@dataclass
class Expected:
    """What the manifest has to say. Tallies by model, slot, version, truth, answer."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    tallies: Counter[tuple[str, int, str, str, str]] = field(default_factory=Counter)
    quarantined: dict[tuple[str, int, int], tuple[bytes | None, bytes | None]] = field(default_factory=dict)
    ends: Counter[tuple[str, int]] = field(default_factory=Counter)
    watermarks: dict[str, int] = field(default_factory=dict)


def read(bootstrap: str, topics: Topics) -> Iterator[Found]:
    """Every record of both topics, partition by partition, by a consumer that knows nothing of retrainer."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, max_poll_records=20_000)
    sides = dict(zip(topics.both, ("predictions", "labels"), strict=True))
    for topic, side in sides.items():
        for number in sorted(consumer.partitions_for_topic(topic)):
            at = TopicPartition(topic, number)
            consumer.assign([at])
            consumer.seek_to_beginning(at)
            end = consumer.end_offsets([at])[at]
            while consumer.position(at) < end:
                for one in consumer.poll(timeout_ms=1000).get(at, ()):
                    yield Found(side, number, one.offset, one.timestamp, one.key, one.value)
    consumer.close()


def expected(records: Iterable[Found], topics: Topics, barriers: Sequence[Barrier]) -> Expected:
    """What the records come to."""
    found = Expected()
    ids: dict[str, dict[str, list[Event]]] = {model: defaultdict(list) for model in MODELS}
    names = dict(zip(("predictions", "labels"), topics.both, strict=True))
    for record in records:
        topic = names[record.side]
        at = (topic, record.partition)
        found.ends[at] = max(found.ends[at], record.offset + 1)
        barrier = sum(record.offset >= one.ends[at] for one in barriers)
        for model in MODELS:
            found.counts[model, record.side, "consumed"] += 1
            try:
                key, time, value, version = _mapped(model, record)
            except _Filtered:
                found.counts[model, record.side, "filtered"] += 1
            except (ValueError, RecursionError):
                found.counts[model, record.side, "quarantined"] += 1
                found.quarantined[topic, record.partition, record.offset] = (record.key, record.value)
            else:
                event = Event(time, topic, record.partition, record.offset, record.side, barrier, value, version)
                ids[model][key].append(event)
                if record.value is not None:  # a tombstone is dated by the log, whose clock says nothing of the events
                    found.watermarks[model] = max(found.watermarks.get(model, _NEVER), time)
    for model, rules in MODELS.items():
        found.watermarks[model] = found.watermarks.get(model, _NEVER) - rules.lateness
        floors = [_NEVER, *(one.watermarks[model] // MINUTE for one in barriers)]
        for events in ids[model].values():
            _follow(found, model, events, floors)
    found.counts, found.tallies = +found.counts, Counter({k: n for k, n in found.tallies.items() if n})
    return found


def _follow(found: Expected, model: str, events: list[Event], floors: Sequence[int]) -> None:
    """One id from barrier to barrier: what is over its horizon at one is settled there and remembered no longer."""
    rules, held = MODELS[model], list[Event]()
    for barrier, floor in enumerate(floors):
        held = _forget(found, model, held, floor)
        known = any(one.side == "predictions" for one in held)
        for one in events:
            if one.barrier == barrier:
                waits = rules.horizon if one.side == "predictions" else 2 * rules.horizon
                if (one.time + waits) // MINUTE < floor and (one.side == "predictions" or not known):
                    found.counts[model, one.side, "late"] += 1
                else:
                    held.append(one)
    held = _forget(found, model, held, max(found.watermarks[model] // MINUTE, *floors))
    _settle(found, model, held, forgotten=False)


def _forget(found: Expected, model: str, held: list[Event], floor: int) -> list[Event]:
    rules = MODELS[model]
    first = min((one for one in held if one.side == "predictions"), default=None)
    if first is None:
        kept = [one for one in held if (one.time + 2 * rules.horizon) // MINUTE >= floor]
        found.counts[model, "labels", "orphaned"] += len(held) - len(kept)
        return kept
    if (first.time + rules.horizon) // MINUTE >= floor:
        return held
    _settle(found, model, held, forgotten=True)
    return []


def _settle(found: Expected, model: str, held: list[Event], *, forgotten: bool) -> None:
    """What a set of events of one id comes to."""
    rules, counts = MODELS[model], found.counts
    predictions = sorted(one for one in held if one.side == "predictions")
    labels = sorted(one for one in held if one.side == "labels")
    if not predictions:
        counts[model, "labels", "waiting"] += len(labels)
        return
    first = predictions[0]
    fitting = [one for one in labels if -rules.horizon <= one.time - first.time <= rules.max_delay]
    late = sum(one.time - first.time > rules.max_delay for one in labels)
    said, implied = _tell(found, model, first, fitting)
    taken_back = sum(one.value is None for one in fitting)
    missed = "unlabelled" if forgotten else "pending"
    counts[model, "predictions", "duplicate"] += len(predictions) - 1
    counts[model, "predictions", "joined" if said else "implied" if implied else missed] += 1
    counts[model, "labels", "late"] += late
    counts[model, "labels", "orphaned"] += len(labels) - len(fitting) - late
    counts[model, "labels", "applied"] += said
    counts[model, "labels", "retracting"] += taken_back
    counts[model, "labels", "superseded"] += len(fitting) - taken_back - said


def _tell(found: Expected, model: str, first: Event, fitting: list[Event]) -> tuple[bool, bool]:
    """Follow the outcome of one prediction through time; whether a label says it in the end, or absence does."""
    rules = MODELS[model]
    moments: list[tuple[int, str | None, bool]] = [(one.time, one.value, False) for one in fitting]
    if rules.absent and (first.time + rules.absent[0]) // MINUTE < found.watermarks[model] // MINUTE:
        moments.append((first.time + rules.absent[0], rules.absent[1], True))
        moments.sort(key=lambda one: (one[0], one[2]))
    said = implied = before = None
    for time, value, is_implied in moments:
        if is_implied:
            implied = value
        elif value is None or said is None or rules.last:
            said = value
        now, slot = said or implied, max(first.time, time) // MINUTE
        for truth, n in ((before, -1), (now, 1)):
            if truth is not None:
                found.tallies[model, slot, first.version, truth, str(first.value)] += n
        before = now
    return said is not None, implied is not None


class _Filtered(Exception):
    """A record of another model."""


def _mapped(model: str, record: Found) -> tuple[str, int, str | None, str]:
    """Id, time, value and version. Raises ValueError where there is no making sense of it."""
    if record.value is None:
        if record.side == "predictions" or record.key is None:
            raise ValueError
        return record.key.decode(), record.timestamp * 1000, None, ""
    document = json.loads(record.value.decode("utf-8"), parse_constant=_refuse)
    if not isinstance(document, dict) or document.get("model") != model:
        raise _Filtered
    time = _micros(document.get("timestamp"))
    if time > record.timestamp * 1000 + HOUR:
        raise ValueError
    version = document.get("model_version") if record.side == "predictions" else None
    value = _text(document.get("prediction" if record.side == "predictions" else "label"))
    key = document.get("prediction_id")
    if key is None and record.side == "labels" and record.key is not None:
        key = record.key.decode()
    return _text(key), time, value, "" if version is None else _text(version)


def _micros(found: Any) -> int:
    if isinstance(found, str):
        return (datetime.fromisoformat(found) - _EPOCH) // timedelta(microseconds=1)
    if type(found) is not int or not 1e11 <= found < 1e14:  # milliseconds, all that the traffic writes
        raise ValueError
    return found * 1000


def _text(found: Any) -> str:
    if not isinstance(found, str | int | float) or isinstance(found, bool):
        raise ValueError  # no traffic has booleans for ids or classes
    return str(int(found)) if isinstance(found, float) else str(found)


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
