"""Records that take a label back: tombstones, and deletes of change data capture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from retrainer.domain.events import Label
from retrainer.domain.mapping.mapping import (
    MAX_FUTURE,
    Envelope,
    EventMapping,
    Field,
    Unusable,
    label_of,
    matches,
    prediction_of,
    tells_time,
)
from retrainer.domain.values import SECOND, Micros
from tests.domain.making import NOON, TOMBSTONE, envelope


def at(*paths: str) -> Field:
    return Field(paths=paths)


def refusal(how: EventMapping, found: Envelope) -> str:
    with pytest.raises(Unusable) as caught:
        label_of(how, found)
    return str(caught.value)


KEYED = EventMapping(topic="labels", id=(at("$key"),), time=at("time"), value=at("value"))


def tombstone(key: bytes | None = b"7", **headers: bytes) -> Envelope:
    return envelope(TOMBSTONE, key=key, headers=list(headers.items()))


class TestTombstones:
    def test_take_the_label_of_their_key_back_when_the_log_had_them(self) -> None:
        found = tombstone()
        origin = (found.record.partition.topic, found.record.partition.number, found.record.offset)
        assert label_of(KEYED, found) == Label("7", NOON, label_of(KEYED, found).origin, None)
        assert label_of(KEYED, found).origin == origin

    def test_the_id_may_be_in_headers_and_of_several_fields(self) -> None:
        how = replace(KEYED, id=(at("tenant", "$headers.tenant"), at("$key")))
        live = envelope({"tenant": 3, "time": 0, "value": "x"}, key=b"7")
        assert label_of(how, tombstone(tenant=b"3")).id == label_of(how, live).id

    @pytest.mark.parametrize("paths", [("id",), ("$value",), ("$value.id",)])
    def test_without_an_id_they_are_unusable(self, paths: tuple[str, ...]) -> None:
        how = replace(KEYED, id=(at("$key"), at(*paths)))
        told = f"a tombstone: it has no value, and its key and headers give no id: id: nothing at {paths[0]}"
        assert refusal(how, tombstone()) == told

    def test_without_a_key_too(self) -> None:
        assert refusal(KEYED, tombstone(key=None)).endswith("id: nothing at $key")

    @pytest.mark.parametrize("time", [at("time", "$headers.at"), Field(paths=("$headers.at",), unit="us")])
    def test_a_time_that_can_be_had_counts(self, time: Field) -> None:
        how, found = replace(KEYED, time=time), tombstone(at=str(NOON - SECOND).encode())
        assert label_of(how, found).time == NOON - SECOND
        assert tells_time(how, found)

    def test_one_far_ahead_is_unusable(self) -> None:
        how = replace(KEYED, time=at("$headers.at"))
        assert refusal(how, tombstone(at=str(NOON + MAX_FUTURE + 1).encode())).startswith("time: ")

    def test_the_logs_time_is_no_event_time_unless_the_mapping_says_so(self) -> None:
        assert not tells_time(KEYED, tombstone())
        assert tells_time(replace(KEYED, time=at("$timestamp")), tombstone())

    def test_where_asks_what_it_can(self) -> None:
        assert matches(replace(KEYED, where={"model": "m", "$value.kind": "label"}), tombstone())
        told = replace(KEYED, where={"model": "m", "$headers.model": "m"})
        assert matches(told, tombstone(model=b"m"))
        assert not matches(told, tombstone(model=b"other"))
        assert not matches(told, tombstone())

    def test_take_no_prediction_back(self) -> None:
        with pytest.raises(Unusable, match=r"^a tombstone: it has no value, and predictions are never taken back$"):
            prediction_of(KEYED, tombstone())

    def test_a_value_that_says_null_is_none(self) -> None:
        assert refusal(KEYED, envelope(None, key=b"7")) == "time: nothing at time"


ROW = {"id": 7, "late": True, "model": "m", "changed_at": (NOON - 60 * SECOND) // 1000}
ROWS = EventMapping(
    topic="labels",
    id=(at("after.id"),),
    time=Field(paths=("after.changed_at",), unit="ms"),
    value=at("after.late"),
    where={"after.model": "m"},
)


def delete(**changes: Any) -> dict[str, Any]:
    """A delete as Debezium writes it; a change to None leaves the field out."""
    event = {"op": "d", "before": ROW, "after": None, "ts_ms": NOON // 1000 - 1, "source": {"ts_ms": NOON // 1000 - 2}}
    return {name: value for name, value in {**event, **changes}.items() if value is not None}


def wrapped(how: EventMapping) -> EventMapping:
    """The mapping of records whose event stands in `payload`."""
    return replace(
        how,
        id=tuple(at(*(f"payload.{path}" for path in part.paths)) for part in how.id),
        time=replace(how.time, paths=tuple(f"payload.{path}" for path in how.time.paths)),
        value=at(*(f"$value.payload.{path}" for path in how.value.paths)),
        where={f"payload.{path}": value for path, value in how.where.items()},
    )


class TestDeletes:
    @pytest.mark.parametrize("in_payload", [False, True])
    @pytest.mark.parametrize("said", [{"after": None}, {}])
    def test_take_the_label_of_the_row_back(self, in_payload: bool, said: Mapping[str, None]) -> None:
        document = {**delete(after=None), **said}
        how, found = (wrapped(ROWS), {"payload": document}) if in_payload else (ROWS, document)
        retraction = label_of(how, envelope(found))
        assert (retraction.id, retraction.value, retraction.time) == ("7", None, NOON - 1000)
        assert matches(how, envelope(found))

    @pytest.mark.parametrize(
        ("event", "time"),
        [
            (delete(), NOON - 1000),
            (delete(ts_ms=None), NOON - 2000),
            (delete(ts_ms=None, source=None), NOON),
            (delete(ts_ms=None, source="db"), NOON),
        ],
    )
    def test_when_the_event_says_then_when_the_database_then_when_the_log(
        self, event: dict[str, Any], time: Micros
    ) -> None:
        assert label_of(ROWS, envelope(event)).time == time
        assert label_of(wrapped(ROWS), envelope({"payload": event})).time == time
        assert not tells_time(ROWS, envelope(event))

    @pytest.mark.parametrize("path", ["source.ts_ms", "$value.source.ts_ms"])
    def test_a_mapped_time_beside_the_row_goes_before(self, path: str) -> None:
        how = replace(ROWS, time=Field(paths=("after.changed_at", path), unit="ms"))
        assert label_of(how, envelope(delete())).time == NOON - 2000
        assert tells_time(how, envelope(delete()))

    def test_a_time_that_cannot_be_used_is_named(self) -> None:
        assert refusal(ROWS, envelope(delete(ts_ms=NOON // 1000 + 3_600_001))).startswith("time: ")
        assert refusal(ROWS, envelope(delete(ts_ms="soon"))).startswith("time: expected an ISO-8601 time")

    def test_of_another_models_row_are_not_the_models(self) -> None:
        assert not matches(ROWS, envelope(delete(before={**ROW, "model": "other"})))

    def test_need_the_id_in_the_row_that_was(self) -> None:
        assert refusal(ROWS, envelope(delete(before={"model": "m"}))) == "id: nothing at after.id"

    def test_the_id_may_be_in_the_key(self) -> None:
        how = replace(ROWS, id=(at("$key"),))
        assert label_of(how, envelope(delete(before={"model": "m"}), key=b"7")).id == "7"

    @pytest.mark.parametrize(
        "event",
        [delete(op="u"), delete(op="t"), {**delete(), "before": None}, {**delete(), "after": {"id": 7, "late": None}}],
    )
    def test_what_is_not_one_is_read_as_it_is(self, event: dict[str, Any]) -> None:
        how = replace(ROWS, time=at("$timestamp"), id=(at("before.id", "$key"),))
        assert refusal(how, envelope(event, key=b"7")) == "label: nothing at after.late"

    def test_the_row_that_is_written_anew_is_a_label(self) -> None:
        written = label_of(ROWS, envelope(delete(op="c", after=ROW)))
        assert (written.value, written.time) == ("true", NOON - 60 * SECOND)

    def test_mean_nothing_where_the_mapping_reads_no_rows(self) -> None:
        how = EventMapping(topic="labels", id=(at("id"),), time=at("$timestamp"), value=at("op"))
        assert label_of(how, envelope({**delete(), "id": 7})).value == "d"
        how = replace(how, value=at("afterwards.late", "op"))
        assert label_of(how, envelope({**delete(), "id": 7})).value == "d"

    @pytest.mark.parametrize("in_payload", [False, True])
    def test_take_no_prediction_back(self, in_payload: bool) -> None:
        how, found = (wrapped(ROWS), {"payload": delete()}) if in_payload else (ROWS, delete())
        assert matches(how, envelope(found))
        with pytest.raises(Unusable, match=r"^a delete: predictions are never taken back$"):
            prediction_of(how, envelope(found))
