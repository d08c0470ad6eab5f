"""From records to events: paths, filters, and a reason for whatever cannot be used."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retrainer.domain.events import Label, Origin, Partition, Prediction, Record
from retrainer.domain.mapping.mapping import (
    MAX_FUTURE,
    Document,
    Envelope,
    EventMapping,
    Field,
    Unusable,
    features_of,
    label_of,
    matches,
    prediction_of,
    tells_time,
)
from retrainer.domain.values import SECOND, iso, to_micros
from tests.domain.making import NOON, TOMBSTONE, envelope, nested, thorough


def at(*paths: str) -> Field:
    return Field(paths=paths)


PLAIN = EventMapping(topic="events", id=(at("id"),), time=at("time"), value=at("value"))
RECORD: Document = {"id": 7, "time": iso(NOON), "value": "late"}


def mapping(**changes: Any) -> EventMapping:
    return replace(PLAIN, **changes)


def reason(how: EventMapping, found: Envelope) -> str:
    with pytest.raises(Unusable) as caught:
        prediction_of(how, found)
    with pytest.raises(Unusable):
        label_of(how, found)
    return str(caught.value)


class TestEvents:
    def test_a_prediction_says_when_what_and_from_where(self) -> None:
        record = Record(Partition("events", 3), 42, NOON // 1000, None, b"...")
        found = prediction_of(
            mapping(version=at("model.version")),
            Envelope(record=record, document={**RECORD, "model": {"version": 2}}),
        )
        assert found == Prediction("7", NOON, Origin("events", 3, 42), "late", "2")

    def test_a_label_has_no_version(self) -> None:
        record = Record(Partition("events", 3), 42, NOON // 1000, None, b"...")
        found = label_of(mapping(version=at("value")), Envelope(record=record, document=RECORD))
        assert found == Label("7", NOON, Origin("events", 3, 42), "late")

    def test_however_it_is_written_the_same_value_is_the_same(self) -> None:
        forms = [{**RECORD, "id": key, "value": truth} for key, truth in ((7, True), ("7", "true"), (7.0, True))]
        assert {(label_of(PLAIN, envelope(form)).id, label_of(PLAIN, envelope(form)).value) for form in forms} == {
            ("7", "true")
        }

    @pytest.mark.parametrize("extra", [{}, {"version": None}])
    def test_without_a_version_it_is_empty(self, extra: Document) -> None:
        assert prediction_of(mapping(version=at("version")), envelope({**RECORD, **extra})).version == ""
        assert prediction_of(PLAIN, envelope({**RECORD, "version": 3})).version == ""


class TestPaths:
    @pytest.mark.parametrize("path", ["id", "payload.id", "payload.after.id", "$value.id", "$value.payload.after.id"])
    def test_dots_lead_into_objects(self, path: str) -> None:
        document = {**RECORD, **nested(path.removeprefix("$value."), "deep")}
        assert prediction_of(mapping(id=(at(path),)), envelope(document)).id == "deep"

    @pytest.mark.parametrize(
        "document", [RECORD, {"payload": None}, {"payload": "text"}, {"payload": [1]}, {"payload": {"after": {}}}]
    )
    def test_a_path_that_leads_nowhere_is_absent(self, document: Document) -> None:
        told = reason(mapping(id=(at("payload.after.id"),)), envelope({**RECORD, **document}))
        assert told == "id: nothing at payload.after.id"

    @pytest.mark.parametrize("document", [None, 3, "text", ["id"], True, 0.5])
    def test_a_record_that_is_no_object_has_no_fields(self, document: object) -> None:
        assert reason(PLAIN, envelope(document)) == "id: nothing at id"

    def test_the_key_the_headers_and_the_time_of_the_record_count_too(self) -> None:
        how = mapping(id=(at("$key"),), time=at("$timestamp"), value=at("$headers.answer"))
        found = prediction_of(
            how, envelope({}, key=b"k1", headers=[("other", b"x"), ("answer", "yes \u00e9".encode())])
        )
        assert (found.id, found.time, found.value) == ("k1", NOON, "yes \u00e9")

    @pytest.mark.parametrize("path", ["$key", "$key.id", "$headers.id", "$timestamp.id", "$other", "$other.id"])
    def test_what_the_record_lacks_is_absent(self, path: str) -> None:
        assert reason(mapping(id=(at(path),)), envelope(RECORD)) == f"id: nothing at {path}"

    def test_keys_that_are_no_text_stay_apart(self) -> None:
        how = mapping(id=(at("$key"),))
        one, other = (prediction_of(how, envelope(RECORD, key=n.to_bytes(8))) for n in (0x80, 0x81))
        assert one.id != other.id

    @pytest.mark.parametrize(
        ("document", "key"),
        [({"a": 1, "b": 2}, "1"), ({"b": 2}, "2"), ({"a": None, "b": 2}, "2"), ({"a": 0, "b": 2}, "0")],
    )
    def test_of_several_paths_the_first_that_leads_to_a_value_counts(self, document: Document, key: str) -> None:
        how = mapping(id=(at("a", "b"),))
        assert prediction_of(how, envelope({**RECORD, **document})).id == key

    def test_if_none_does_all_are_named(self) -> None:
        assert reason(mapping(id=(at("a", "b.c"),)), envelope(RECORD)) == "id: nothing at a or b.c"


class TestIdsOfSeveralFields:
    HOW = mapping(id=(at("a"), at("b")))

    def of(self, *parts: object) -> str:
        return prediction_of(self.HOW, envelope({**RECORD, "a": parts[0], "b": parts[1]})).id

    def test_agree_when_every_part_does(self) -> None:
        assert self.of(1, "x") == self.of("1", "x")

    @thorough
    @given(*[st.tuples(*[st.text("ab:\x1f\\s", max_size=3)] * 2)] * 2)
    @example(("a", "b:c"), ("a:b", "c"))
    @example(("a", "b\x1fc"), ("a\x1fb", "c"))
    @example(("a", "\\s"), ("a", "\x1f"))
    def test_differ_when_any_part_does(self, one: tuple[str, str], other: tuple[str, str]) -> None:
        assert (self.of(*one) == self.of(*other)) is (one == other)

    def test_are_unusable_without_a_part(self) -> None:
        assert reason(self.HOW, envelope({**RECORD, "a": 1})) == "id: nothing at b"


class TestReasons:
    @pytest.mark.parametrize("field", ["id", "time", "value"])
    @pytest.mark.parametrize("given_as", ["absent", "null"])
    def test_what_is_required_is_named_when_it_is_not_there(self, field: str, given_as: str) -> None:
        document = {name: value for name, value in RECORD.items() if name != field}
        if given_as == "null":
            document[field] = None
        with pytest.raises(Unusable, match=f": nothing at {field}$"):
            label_of(PLAIN, envelope(document))

    @pytest.mark.parametrize(
        ("field", "value", "told"),
        [
            ("id", math.nan, "id: expected a finite number, got nan"),
            ("id", {}, "id: expected text, a number or a boolean, got an object"),
            ("time", "soon", "time: expected an ISO-8601 time or a number, got 'soon'"),
            ("time", math.inf, "time: expected a time, got inf"),
            ("time", True, "time: expected a time, got a boolean"),
            ("time", "9999-12-31T23:59:59-23:00", "time: expected a time between the years 1 and 9999"),
            ("value", math.nan, "prediction: expected a finite number, got nan"),
            ("value", [1], "prediction: expected text, a number or a boolean, got a list"),
            ("version", {}, "version: expected text, a number or a boolean, got an object"),
        ],
    )
    def test_what_cannot_be_used_is_named_and_shown(self, field: str, value: object, told: str) -> None:
        with pytest.raises(Unusable) as caught:
            prediction_of(mapping(version=at("version")), envelope({**RECORD, field: value}))
        assert str(caught.value).startswith(told)

    def test_a_label_that_cannot_be_used_is_called_a_label(self) -> None:
        with pytest.raises(Unusable, match=r"^label: nothing at value$"):
            label_of(PLAIN, envelope({"id": 1, "time": 0}))


class TestClasses:
    HOW = mapping(classes=frozenset({"late", "true"}))

    @pytest.mark.parametrize(("value", "name"), [("late", "late"), (True, "true")])
    def test_one_of_them_counts_however_it_is_written(self, value: object, name: str) -> None:
        assert prediction_of(self.HOW, envelope({**RECORD, "value": value})).value == name
        assert label_of(self.HOW, envelope({**RECORD, "value": value})).value == name

    def test_another_value_is_unusable(self) -> None:
        told = reason(self.HOW, envelope({**RECORD, "value": "Late"}))
        assert told == "prediction: 'Late' is none of the classes late, true"


class TestTimes:
    def test_an_hour_ahead_of_the_record_is_the_most(self) -> None:
        assert prediction_of(PLAIN, envelope({**RECORD, "time": iso(NOON + MAX_FUTURE)})).time == NOON + MAX_FUTURE
        told = reason(PLAIN, envelope({**RECORD, "time": iso(NOON + MAX_FUTURE + 1)}))
        assert told == "time: 2013-04-15T13:00:00.000001+00:00 is more than an hour ahead of the record's own timestamp"

    def test_the_past_may_be_long_ago(self) -> None:
        assert prediction_of(PLAIN, envelope({**RECORD, "time": 0})).time == 0

    def test_a_declared_unit_is_believed(self) -> None:
        how = mapping(time=Field(paths=("time",), unit="us"))
        assert prediction_of(how, envelope({**RECORD, "time": 5_000_000})).time == 5 * SECOND


class TestWhere:
    HOW = mapping(where={"model": "flights", "meta.live": "true"})

    def test_every_field_must_equal_its_text(self) -> None:
        assert matches(self.HOW, envelope({"model": "flights", "meta": {"live": True}}))

    @pytest.mark.parametrize(
        "document",
        [
            {},
            None,
            {"model": "flights"},
            {"model": "flights", "meta": {"live": False}},
            {"model": "trains", "meta": {"live": True}},
            {"model": None, "meta": {"live": True}},
            {"model": ["flights"], "meta": {"live": True}},
        ],
    )
    def test_else_the_record_is_not_the_models(self, document: object) -> None:
        assert not matches(self.HOW, envelope(document))

    def test_without_any_every_record_is(self) -> None:
        assert matches(PLAIN, envelope(None))

    def test_headers_can_tell_too(self) -> None:
        how = mapping(where={"$headers.model": "1"})
        assert matches(how, envelope({}, headers=[("model", b"1")]))
        assert not matches(how, envelope({}, headers=[("model", b"2")]))


class TestFeatures:
    def test_of_an_object(self) -> None:
        how = mapping(features=at("payload.x", "x"))
        assert features_of(how, envelope({**RECORD, "payload": {"x": {"a": 1, "b": "t"}}})) == {"a": 1, "b": "t"}
        assert features_of(how, envelope({**RECORD, "x": {"a": 2}})) == {"a": 2}

    @pytest.mark.parametrize("held", [{}, {"x": None}, {"x": 3}, {"x": []}])
    def test_of_an_object_that_is_not_there(self, held: Document) -> None:
        assert features_of(mapping(features=at("x")), envelope({**RECORD, **held})) == {}

    def test_by_name_the_absent_ones_are_missing(self) -> None:
        how = mapping(features=("a", "deep.b", "c"))
        assert features_of(how, envelope({"a": 1, "deep": {"b": True}, "d": 4})) == {"a": 1, "deep.b": True, "c": None}

    @pytest.mark.parametrize("prefix", ["", "$value."])
    def test_every_field_that_has_no_other_use(self, prefix: str) -> None:
        how = EventMapping(
            topic="events",
            id=(at(f"{prefix}id"), at(f"{prefix}part")),
            time=at(f"{prefix}made_at", f"{prefix}sent_at"),
            value=at(f"{prefix}answer"),
            version=at(f"{prefix}model.version"),
            score=at(f"{prefix}score"),
            where={f"{prefix}kind": "flight"},
        )
        used = ("id", "part", "made_at", "sent_at", "answer", "model", "score", "kind")
        assert features_of(how, envelope({**dict.fromkeys(used, 1), "a": 1, "b": "t"})) == {"a": 1, "b": "t"}

    def test_fields_of_the_record_itself_take_no_feature_away(self) -> None:
        how = mapping(id=(at("$key"),), time=at("$timestamp"), where={"$headers.kind": "x"})
        assert features_of(how, envelope({"value": 1, "key": 2, "timestamp": 3})) == {"key": 2, "timestamp": 3}

    def test_of_a_record_that_is_no_object(self) -> None:
        assert features_of(PLAIN, envelope([1, 2])) == {}

    @pytest.mark.parametrize(
        "how", [PLAIN, mapping(features=("a", "b", "c")), mapping(features=at("x"))], ids=["*", "names", "object"]
    )
    def test_no_number_is_missing_and_what_is_nested_left_out(self, how: EventMapping) -> None:
        values = {"a": math.nan, "b": -math.inf, "c": None}
        document = {**RECORD, **values, "x": {**values, "list": [1], "object": {"y": 1}}, "list": [1]}
        assert features_of(how, envelope(document)) == {"a": None, "b": None, "c": None}

    def test_a_nested_one_is_left_out_by_name_as_well(self) -> None:
        assert features_of(mapping(features=("a", "b")), envelope({"a": {"b": 1}, "b": 2})) == {"b": 2}


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc") | st.text(), inner, max_size=4),
    max_leaves=8,
)
rows = st.fixed_dictionaries({}, optional=dict.fromkeys("abc", json))
deletes = st.fixed_dictionaries(
    {"op": st.just("d"), "before": rows}, optional={"after": st.none() | rows, "ts_ms": json, "source": rows, "a": json}
)
documents = json | rows | deletes | st.fixed_dictionaries({"payload": deletes})
plain_paths = ["a", "b", "a.b", "c.a", "$key", "$headers.h", "$timestamp", "$value.b", "$value"]
paths = st.sampled_from([*plain_paths, "after.a", "after.b", "$value.after.a", "payload.after.a", "payload.after.b"])
fields = st.builds(
    Field, paths=st.lists(paths, min_size=1, max_size=2).map(tuple), unit=st.sampled_from([None, "s", "ms", "us", "ns"])
)
mappings = st.builds(
    EventMapping,
    topic=st.just("events"),
    id=st.lists(fields, min_size=1, max_size=2).map(tuple),
    time=fields,
    value=fields,
    version=st.none() | fields,
    where=st.dictionaries(paths, st.sampled_from(["", "true", "1"]), max_size=1),
    features=st.none() | fields | st.lists(paths, max_size=2).map(tuple),
)


@thorough
@given(mappings, documents | st.just(TOMBSTONE), st.none() | st.binary(max_size=9), st.binary(max_size=9))
def test_anything_is_an_event_or_unusable_and_never_a_crash(
    how: EventMapping, document: object, key: bytes | None, header: bytes
) -> None:
    found = envelope(document, key=key, headers=[("h", header)])
    assert tells_time(how, found) in {True, False}
    assert matches(how, found) in {True, False}
    assert all(not isinstance(value, dict | list) for value in features_of(how, found).values())
    gone = {"a tombstone", "a delete"}
    sides = ((prediction_of, {"id", "time", "prediction", "version"}), (label_of, {"id", "time", "label"}))
    for read, named in sides:
        event = usable(read, how, found)
        if isinstance(event, str):
            assert event.split(":")[0] in named | gone
        else:
            assert event.time <= NOON + MAX_FUTURE
            assert to_micros(iso(event.time)) == event.time


def usable(
    read: Callable[[EventMapping, Envelope], Prediction | Label], how: EventMapping, found: Envelope
) -> Prediction | Label | str:
    """The event, or the reason why there is none."""
    try:
        return read(how, found)
    except Unusable as unusable:
        return str(unusable)
