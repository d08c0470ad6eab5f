"""Many records at once are read exactly as `mapping` reads each of them, whatever else comes in the same batch."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from retrainer.adapters.decoding import JsonDecoder, TopicDecoders
from retrainer.domain.batches import RecordBatch, batches_of
from retrainer.domain.events import Label, Prediction, Record, Side
from retrainer.domain.join.codes import Codes
from retrainer.domain.join.column_times import read_times
from retrainer.domain.join.columns import ColumnMapping, Mapped, hashed
from retrainer.domain.join.entries import packed
from retrainer.domain.join.ingest import IngestPolicy, ModelIngest, Progress
from retrainer.domain.join.rules import JoinPolicy
from retrainer.domain.join.watermark import EventClock
from retrainer.domain.mapping.mapping import (
    Envelope,
    EventMapping,
    Field,
    Unusable,
    label_of,
    matches,
    prediction_of,
    repeats_delete,
    tells_time,
)
from retrainer.domain.mapping.slices import SlicePolicy
from retrainer.domain.values import Micros, TimeUnit, moment, to_micros
from retrainer.service.intake import Intake, document_of
from tests.domain.join.reference import ReferenceIndex
from tests.domain.making import MINUTE, NOON, thorough
from tests.domain.mapping.records import CLOCKS, MOMENTS, ODDITIES, ONLY, mappings, records
from tests.domain.oracle import nonzero
from tests.effort import much

DECODER = JsonDecoder()
JOIN = JoinPolicy(max_delay=60 * MINUTE, lateness=MINUTE)
SIDES = st.sampled_from(list(Side))


def envelope_of(record: Record) -> Envelope:
    return Envelope(record=record, document=document_of(record, DECODER))


def event_of(side: Side, mapping: EventMapping, envelope: Envelope) -> Prediction | Label | None:
    """What one record is for one side, by `mapping`; None if it is filtered out."""
    if not matches(mapping, envelope):
        return None
    return prediction_of(mapping, envelope) if side is Side.PREDICTIONS else label_of(mapping, envelope)


def batch_of(found: Sequence[Record]) -> RecordBatch:
    return batches_of(found)[0] if found else RecordBatch(ONLY, [], [], [], [])


class Read(NamedTuple):
    """An event as it stands in the columns, and all that they say of it."""

    id: tuple[int, int]
    time: Micros
    origin: int
    value: str
    group: tuple[str, tuple[str, ...]] | None


class ColumnReading:
    """One side of a model that reads in columns."""

    def __init__(self, side: Side, mapping: EventMapping) -> None:
        self.values: Codes[str] = Codes()
        self.groups: Codes[tuple[str, tuple[str, ...]]] = Codes()
        self.mapping = ColumnMapping(mapping, self.values, self.groups, side)
        self.reader = DECODER.columns(self.mapping.paths)

    def read(self, found: Sequence[Record]) -> tuple[list[Read], Mapped]:
        batch = batch_of(found)
        mapped = self.mapping.events(batch, *self.reader(batch.values))
        rows = zip(*(column.tolist() for column in mapped.events), strict=True)
        return [
            Read((high, low), time, origin, self.values[value], self.groups[group] if group >= 0 else None)
            for high, low, time, origin, value, group in rows
        ], mapped


def expected(event: Prediction | Label) -> Read:
    high, low = hashed([event.id])
    group = (event.version, event.slices) if isinstance(event, Prediction) else None
    origin = packed(event.origin.partition, event.origin.offset)
    return Read((int(high[0]), int(low[0])), event.time, origin, str(event.value), group)


@thorough
@given(st.data(), SIDES, mappings())
def test_what_is_read_in_columns_is_what_mapping_says(data: st.DataObject, side: Side, mapping: EventMapping) -> None:
    found = data.draw(records(mapping))
    events, mapped = ColumnReading(side, mapping).read(found)
    usual = [record for record in found if record.offset not in set(mapped.odd)]
    told = [event_of(side, mapping, envelope_of(record)) for record in usual]
    assert events == [expected(one) for one in told if one is not None]
    assert mapped.filtered == told.count(None)
    note(f"usual: {10 * len(usual) // max(1, len(found))} of 10")


@thorough
@given(st.data(), SIDES, mappings())
def test_whether_a_record_is_odd_depends_on_it_alone(data: st.DataObject, side: Side, mapping: EventMapping) -> None:
    found = data.draw(records(mapping))
    reader = ColumnReading(side, mapping)
    alone = [record.offset for record in found if reader.read([record])[1].odd]
    assert list(reader.read(found)[1].odd) == alone
    assert list(ColumnReading(side, mapping).read(found)[1].odd) == alone


class OneByOne:
    """A model that takes its records one by one, by `mapping` and the reference of the join."""

    def __init__(self, policy: IngestPolicy) -> None:
        self.policy = policy
        self.index = ReferenceIndex(policy.join, counting=policy.counting)
        self.clock = EventClock([ONLY], policy.join.lateness)
        self.counts: Counter[tuple[Side, str]] = Counter()

    def take(self, record: Record) -> list[str]:
        """The reasons for which it is quarantined."""
        reasons = []
        for side in self.policy.sides_of(record.partition.topic):
            self.counts[side, "consumed"] += 1
            try:
                self._take_side(side, record)
            except Unusable as unusable:
                self.counts[side, "quarantined"] += 1
                reasons.append(str(unusable))
        return reasons

    def _take_side(self, side: Side, record: Record) -> None:
        envelope = envelope_of(record)
        mapping = self.policy.predictions if side is Side.PREDICTIONS else self.policy.labels
        shared = len(self.policy.sides_of(record.partition.topic)) > 1
        is_meant = record.value is not None or not ((shared and side is Side.PREDICTIONS) or repeats_delete(mapping))
        event = event_of(side, mapping, envelope) if is_meant else None
        if event is None:
            self.counts[side, "filtered"] += 1
            return
        if isinstance(event, Prediction):
            self.index.add_prediction(event)
        else:
            self.index.add_label(event)
        if isinstance(event, Prediction) or event.value is not None or tells_time(mapping, envelope):
            self.clock.saw(record.partition, event.time)


TOPICS = st.sampled_from([("events", "events"), ("events", "other"), ("other", "events")])


@settings(thorough, max_examples=much(150))
@given(st.data(), TOPICS)
def test_a_model_comes_to_the_same_as_record_by_record(data: st.DataObject, topics: tuple[str, str]) -> None:
    predictions, labels = (data.draw(mappings(topic)) for topic in topics)
    labels = replace(labels, task=predictions.task)
    policy = IngestPolicy(model="m", predictions=predictions, labels=labels, join=JOIN)
    found = data.draw(records(predictions if topics[0] == "events" else labels))
    sizes = data.draw(st.lists(st.integers(1, 5), max_size=len(found)))
    model, reference = ModelIngest(policy, [ONLY], Progress()), OneByOne(policy)
    intake = Intake(TopicDecoders(), [model])
    reasons: dict[int, str] = {}
    for batch in parts(found, sizes):
        reasons |= {batch.offsets[row]: reason for row, reason in intake.ingest(batch).items()}
    told = {record.offset: "; ".join(dict.fromkeys(reference.take(record))) for record in found}
    assert reasons == {offset: reason for offset, reason in told.items() if reason}
    assert model.clock.seen == reference.clock.seen
    delta, change = model.take_delta(), reference.index.drain()
    assert nonzero(delta.counts) == nonzero(Counter(change.statuses) + reference.counts)
    assert nonzero(delta.tallies) == nonzero(change.cells)


def parts(found: Sequence[Record], sizes: Sequence[int]) -> list[RecordBatch]:
    """The records in batches of these sizes, and a last one of the rest."""
    batches, rest = [], list(found)
    for size in sizes:
        batches.append(batch_of(rest[:size]))
        rest = rest[size:]
    return [*batches, batch_of(rest)]


# Event times

FORMATS = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"]
ZONES = ["", "Z", "+00:00", "+02:30", "-00:00", "z"]
UNITS: list[TimeUnit | None] = [None, "s", "ms", "us", "ns"]
MOST_MOMENTS = st.integers(-(2**34), 2**33).map(lambda seconds: moment(seconds * 10**6 + 123_456))


@thorough
@given(st.lists(MOST_MOMENTS, min_size=1, max_size=5), st.sampled_from(FORMATS), st.sampled_from(ZONES))
def test_times_that_are_written_alike(moments: list[datetime], form: str, zone: str) -> None:
    check_times([moment.strftime(form) + zone for moment in moments], None)


@thorough
@given(st.lists(MOMENTS | ODDITIES, max_size=6), st.sampled_from(UNITS))
def test_times_of_every_kind(found: list[object], unit: TimeUnit | None) -> None:
    check_times(found, unit)


def check_times(found: Sequence[object], unit: TimeUnit | None) -> None:
    """What fits is what `to_micros` has; it fits alone just as it does among others."""
    fit = np.ones(len(found), np.bool_)
    times = read_times(found, unit, fit)
    for row in np.flatnonzero(fit).tolist():
        assert times[row] == to_micros(found[row], unit)
    for row, one in enumerate(found):
        alone = np.ones(1, np.bool_)
        read_times([one], unit, alone)
        assert fit[row] == alone[0]


@pytest.mark.parametrize("text", ["2013-02-29T00:00:00Z", "2013-04-31T00:00:00Z", "2013-04-15T24:00:01Z"])
def test_moments_that_never_were_do_not_fit(text: str) -> None:
    fit = np.ones(2, np.bool_)
    read_times(["2013-02-28T00:00:00Z", text], None, fit)
    assert fit.tolist() == [True, False]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("text", CLOCKS)
def test_a_text_that_may_be_a_number_and_a_date(text: str, unit: TimeUnit | None) -> None:
    check_times([text, "2013-04-15T12:00:00Z"], unit)


@pytest.mark.parametrize("micros", [2**32 * 10**6 - 1, 2**31 * 10**6 + 1, -(2**32) * 10**6 + 1, -1])
@pytest.mark.parametrize("form", ["{}Z", "{}+01:00"])
def test_microseconds_are_exact_as_far_as_they_fit(micros: Micros, form: str) -> None:
    text = form.format(moment(micros).strftime("%Y-%m-%dT%H:%M:%S.%f"))
    fit = np.ones(1, np.bool_)
    assert read_times([text], None, fit).tolist() == [to_micros(text)]
    assert fit.all() == (abs(to_micros(text)) < 2**32 * 10**6)


# What stays in memory, and what does not

PLAIN = EventMapping(
    topic="events",
    id=(Field(paths=("id",)),),
    time=Field(paths=("time",)),
    value=Field(paths=("value",)),
    version=Field(paths=("version",)),
    where={"model": "m"},
    features=Field(paths=("features",)),
    slices=(SlicePolicy(name="carrier"), SlicePolicy(name="far", when="distance > 1500")),
)


def record(offset: int = 0, **fields: Any) -> Record:
    usual = {"id": "1", "time": NOON, "value": "late", "version": "3", "model": "m", "features": {"carrier": "AA"}}
    return Record(ONLY, offset, NOON // 1000, None, json.dumps({**usual, **fields}).encode())


PLAIN_RECORDS = [
    record(),
    record(id=7, version=2),
    record(time="2013-04-15T12:00:00Z"),
    record(value=True, features={"carrier": True, "distance": 1e300}),
    record(version=None, features=None),
    record(features={}),
    record(features={"carrier": ["nested"]}),
    record(value=1.5, model="other"),
]
AT_OTHER_PATHS = [
    replace(PLAIN, features=None),
    replace(PLAIN, features=("features.carrier", "carrier", "distance")),
    replace(PLAIN, features=Field(paths=("$value.features",)), id=(Field(paths=("$value.id",)),)),
    replace(
        PLAIN, id=(Field(paths=("$key",)), Field(paths=("$headers.trace", "id"))), time=Field(paths=("$timestamp",))
    ),
]


@pytest.mark.parametrize("mapping", [PLAIN, *AT_OTHER_PATHS])
@pytest.mark.parametrize("one", PLAIN_RECORDS)
def test_what_producers_usually_write_is_not_odd(mapping: EventMapping, one: Record) -> None:
    assert list(ColumnReading(Side.PREDICTIONS, mapping).read([one._replace(key=b"k")])[1].odd) == []


@pytest.mark.parametrize("why", [{"model": "other"}, {"id": None}, {"time": "never"}, {"value": "x" * 201}])
def test_only_what_becomes_an_event_is_remembered(why: dict[str, object]) -> None:
    reading = ColumnReading(Side.PREDICTIONS, PLAIN)
    theirs = {"value": "theirs", "version": "9", "features": {"carrier": "ZZ"}}
    reading.read([record(), record(1, **{**theirs, **why}), record(2)])
    assert reading.values.values == ("late",)
    assert reading.groups.values == (("3", ("carrier=AA",)),)


def test_a_long_version_is_not_remembered() -> None:
    reading = ColumnReading(Side.PREDICTIONS, PLAIN)
    assert reading.read([record(version="x" * 201)])[1].odd == [0]
    assert len(reading.groups) == 0


def test_a_label_has_no_group() -> None:
    reading = ColumnReading(Side.LABELS, PLAIN)
    assert reading.read([record(), record(version=["none", "of", "its", "business"])])[1].odd == []
    assert len(reading.groups) == 0


@pytest.mark.parametrize(
    ("first", "second", "texts"),
    [(1, True, ["1", "true"]), (True, 1, ["true", "1"]), (1, 1.0, ["1", "1"]), (0, False, ["0", "false"]),
     (10**16, 1e16, ["10000000000000000", "1e+16"]), (1e16, 10**16, ["1e+16", "10000000000000000"])],
)  # fmt: skip
def test_values_that_are_equal_and_not_the_same(first: object, second: object, texts: list[str]) -> None:
    found = [record(features={"carrier": one}) for one in (first, second)]
    for parts_of in ([found], [[one] for one in found]):
        reading = ColumnReading(Side.PREDICTIONS, PLAIN)
        groups = [event.group for part in parts_of for event in reading.read(part)[0]]
        assert [group[1][0] for group in groups if group] == [f"carrier={text}" for text in texts]


def test_long_features_do_not_pile_up() -> None:
    reading = ColumnReading(Side.PREDICTIONS, replace(PLAIN, slices=PLAIN.slices[1:]))
    tracemalloc.start()
    for turn in range(5):
        reading.read([record(features={"distance": "x" * 10**6 + str(turn)})])
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 10**6 < most


def test_of_every_other_field_those_with_a_use_are_no_features() -> None:
    mapping = replace(PLAIN, features=None, slices=(SlicePolicy(name="id"), SlicePolicy(name="carrier")))
    (event,) = ColumnReading(Side.PREDICTIONS, mapping).read([record(carrier="AA")])[0]
    assert event.group == ("3", ("carrier=AA",))


@pytest.mark.parametrize("stamp", [-(2**63), 2**63 - 1])
def test_a_records_own_timestamp_may_be_any_number(stamp: int) -> None:
    events, mapped = ColumnReading(Side.PREDICTIONS, PLAIN).read([record(time=1)._replace(timestamp=stamp)])
    assert (len(events), list(mapped.odd)) == ((1, []) if stamp > 0 else (0, [0]))


def test_a_prediction_without_features_is_one_whose_features_are_all_missing() -> None:
    mapping = replace(PLAIN, slices=(SlicePolicy(name="unknown", when="carrier == None or not distance"),))
    absent: list[object] = [{}, None, "none", []]
    for features in absent:
        found = record(features=features)
        assert prediction_of(mapping, envelope_of(found)).slices == ("unknown",)
        assert all(
            event.group == ("3", ("unknown",)) for event in ColumnReading(Side.PREDICTIONS, mapping).read([found])[0]
        )
