"""Whatever is in a topic, a record becomes an event or goes to the quarantine with a few words; nothing ever fails."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.adapters.decoding import TopicDecoders
from retrainer.domain.answers import LONGEST_CLASS
from retrainer.domain.batches import batches_of
from retrainer.domain.events import Partition, Record, Side
from retrainer.domain.join.ingest import IngestPolicy, ModelIngest, Progress, imbalance
from retrainer.domain.join.rules import JoinPolicy
from retrainer.domain.mapping.mapping import LONGEST_REASON, EventMapping, Field
from retrainer.domain.mapping.slices import SlicePolicy
from retrainer.service.intake import Intake
from tests.domain.making import MINUTE, NOON, thorough
from tests.domain.mapping.records import ONLY
from tests.service.world import LABELLED, PREDICTED, PREDICTIONS, World, at

MEGABYTES: Final = 10 * 2**20
LONG: Final = "x" * MEGABYTES
P, L = Side.PREDICTIONS, Side.LABELS


def mapping(name: str) -> EventMapping:
    return EventMapping(
        topic="events",
        id=(Field(paths=("id", "$key", "$headers.id")),),
        time=Field(paths=("time",)),
        value=Field(paths=(name,)),
        version=Field(paths=("version",)),
        features=Field(paths=("features",)),
        slices=(SlicePolicy(name="carrier"), SlicePolicy(name="far", when="distance > 1500 or not carrier")),
    )


def model() -> ModelIngest:
    join = JoinPolicy(max_delay=60 * MINUTE, lateness=MINUTE)
    policy = IngestPolicy(model="m", predictions=mapping("prediction"), labels=mapping("label"), join=join)
    return ModelIngest(policy, [ONLY], Progress())


def taken(*found: Record) -> tuple[dict[int, str], Counter[tuple[Side, str]]]:
    """Reasons by row, and counts, which add up."""
    one = model()
    intake = Intake(TopicDecoders(), [one])
    reasons = {row: reason for batch in batches_of(found) for row, reason in intake.ingest(batch).items()}
    one.advance_to(NOON + 600 * MINUTE)
    counts = Counter(one.take_delta().counts)
    assert counts[P, "consumed"] == counts[L, "consumed"] == len(found)
    assert imbalance(counts) == {}
    for reason in reasons.values():
        assert_short(reason)
    return reasons, counts


def assert_short(reason: str) -> None:
    """Of both sides, at most."""
    assert reason
    assert reason.isprintable()
    assert len(reason) <= 2 * LONGEST_REASON + len("; ")


def record(value: bytes | None, key: bytes | None = None, headers: Sequence[tuple[str, bytes]] = ()) -> Record:
    return Record(ONLY, 0, NOON // 1000, key, value, headers)


def event(**fields: Any) -> Record:
    return record(json.dumps({"id": "1", "time": NOON, "prediction": "a", "label": "a", **fields}).encode())


HEADERS = st.lists(st.tuples(st.sampled_from(["id", ""]) | st.text(max_size=3), st.binary(max_size=6)), max_size=3)
TORN = st.builds(lambda end: event(features={"carrier": "A", "distance": 1.5}).value[:end], st.integers(0, 130))  # type: ignore[index]  # it has one
SPOILT = st.builds(
    lambda place, byte: b"%b%c%b" % (event().value[:place], byte, event().value[place + 1 :]),  # type: ignore[index]  # it has one
    st.integers(0, 70),
    st.integers(0, 255),
)
STAMPS = st.integers(-(2**63), 2**63 - 1) | st.just(NOON // 1000)
RECORDS = st.builds(
    Record, st.just(ONLY), st.integers(0, 2**40), STAMPS, st.none() | st.binary(max_size=6),
    st.none() | st.binary(max_size=20) | TORN | SPOILT, HEADERS.map(tuple),
)  # fmt: skip


@thorough
@given(st.lists(RECORDS, max_size=8))
def test_random_bytes(found: list[Record]) -> None:
    taken(*found)


HOSTILE: Final = [
    b"", b" ", b"null", b"0", b'""', b"[]", b"{", b"\x00", b"\xff\xfe\x00", b'\xef\xbb\xbf{"id":1}',
    b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"id":' * 100_000, b'{"features":' + b"[" * 100_000,
    *(b'{"id":"1","time":%b,"prediction":"a"}' % time for time in (b"NaN", b"Infinity", b"-1e400", b"9" * 10_000)),
    b'{"id":"1","time":"%b","prediction":"a"}' % (b"9" * 10_000), b'{"id":"1","time":"\\n\\u0000","prediction":"a"}',
    b'{"id":%b,"time":1,"prediction":"a"}' % (b"9" * 10_000), b'{"id":[[],{"a":"%b"}]}' % (b"x" * MEGABYTES),
    event(prediction=LONG, label=LONG).value, event(version=LONG, label=None).value, event(time=LONG).value,
    event(time="2013-04-15T12:00:00." + "0" * MEGABYTES + "\n").value, b'{"id":"' + LONG.encode(),
    event(time="0001-01-01\n00:00:00." + "0" * MEGABYTES + "+23:59").value, event(time=10**4000).value,
    b"\xff" * MEGABYTES, b"\x01" * MEGABYTES, b"[" + b"1," * (MEGABYTES // 2),
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: f"{bytes(value[:30])!r}-{len(value)}")
def test_what_cannot_be_used_is_quarantined_with_a_few_printable_words(value: bytes) -> None:
    reasons, counts = taken(record(value), event(), record(value))
    assert set(reasons) == {0, 2}
    assert counts[P, "quarantined"] == counts[L, "quarantined"] == 2
    assert counts[P, "joined"] == 1


@pytest.mark.parametrize(
    "fields",
    [{"id": LONG}, {"features": {"carrier": LONG, "distance": LONG}}, {"features": {"a": LONG}}, {LONG: 1},
     {"more": list(range(10**6))}, {"features": None}, {"features": [LONG]}, {"version": "x" * LONGEST_CLASS}],
)  # fmt: skip
def test_what_is_only_large_or_strange_is_used(fields: dict[str, Any]) -> None:
    reasons, counts = taken(event(**fields), event(**fields))
    assert reasons == {}
    assert counts[P, "joined"] == counts[P, "duplicate"] == counts[L, "applied"] == 1


def test_the_key_and_headers_may_be_any_bytes() -> None:
    value = json.dumps({"time": NOON, "prediction": "a", "label": "a"}).encode()
    found = [
        record(value, key=b"\xff\x00\xd7"),
        record(value, headers=[("id", b"\xff"), ("", b""), ("id", b"\xfe" * 2**17)]),
        record(None, key=b"\xff" * 2**17),
    ]
    reasons, counts = taken(*found)
    assert reasons == {}
    assert counts[P, "joined"] == 2
    assert counts[L, "orphaned"] == 1


@pytest.mark.parametrize("stamp", [2**63 - 1, -(2**63)])
def test_a_tombstone_whose_own_time_is_none(stamp: int) -> None:
    reasons, _ = taken(record(None, key=b"1")._replace(timestamp=stamp))
    assert "expected a time between the years 1 and 9999" in reasons[0]


class TestThroughAWorker:
    def test_the_quarantine_has_them_all_and_the_rest_goes_on(self) -> None:
        world = World()
        hostile = [value for value in HOSTILE if value is not None]
        for value in hostile:
            world.predict("same", 1)
            world.write(PREDICTED, value, key=b"\xff", headers=[("\x00", b"\xfe")])
            world.write(LABELLED, value)
        world.label("same", 2)
        world.settle(world.worker())
        quarantined = world.quarantined()
        assert [one.record.value for one in quarantined if one.record.partition == PREDICTED] == hostile
        assert [one.record.value for one in quarantined if one.record.partition == LABELLED] == hostile
        for one in quarantined:
            assert_short(one.reason)
        assert world.counts() == {
            "predictions.consumed": 2 * len(hostile),
            "predictions.quarantined": len(hostile),
            "predictions.duplicate": len(hostile) - 1,
            "predictions.joined": 1,
            "labels.consumed": len(hostile) + 1,
            "labels.quarantined": len(hostile),
            "labels.applied": 1,
        }

    def test_a_record_that_only_its_unread_part_spoils_is_in_no_dataset_and_no_count(self) -> None:
        """What is counted can be learned from: both ask whether the whole of a record is JSON."""
        world = World()
        world.write(Partition(PREDICTIONS, 0), b'{"id":1,"time":%d,"prediction":"a","z":"\xff"}' % at(1))
        world.settle(world.worker())
        assert world.counts() == {"predictions.consumed": 1, "predictions.quarantined": 1}
