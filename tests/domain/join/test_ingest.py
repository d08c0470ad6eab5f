"""One model's view of the records: what each came to, per side, and that nothing goes missing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.batches import batches_of
from retrainer.domain.events import Partition, Side
from retrainer.domain.join.ingest import IngestPolicy, ModelDelta, ModelIngest, Progress, imbalance
from retrainer.domain.join.rules import Absent, JoinPolicy, Status
from retrainer.domain.mapping.mapping import Envelope, EventMapping, Field, Unusable
from retrainer.domain.tally.arrivals import DELAY, HIT, PREDICTED, ArrivalKey, delay_bucket
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.values import Micros, slot_of
from tests.domain.making import MINUTE, NOON, TOMBSTONE, envelope, thorough
from tests.domain.oracle import outcomes_in

JOIN = JoinPolicy(max_delay=60 * MINUTE, lateness=MINUTE)
CLICKS = replace(JOIN, absent=Absent(after=5 * MINUTE, value="no"))
P, L = Side.PREDICTIONS, Side.LABELS


def mapping(topic: str, **where: str) -> EventMapping:
    return EventMapping(
        topic=topic,
        id=(Field(paths=("id",)),),
        time=Field(paths=("time",), unit="us"),
        value=Field(paths=("value",)),
        version=Field(paths=("version",)),
        where=where,
    )


POLICY = IngestPolicy(
    model="m", predictions=mapping("predictions", model="m"), labels=mapping("labels", model="m"), join=JOIN
)
SHARED = replace(POLICY, predictions=mapping("events", kind="answer"), labels=mapping("events", kind="truth"))


def model(policy: IngestPolicy = POLICY, progress: Progress | None = None) -> ModelIngest:
    partitions = [Partition(topic, 0) for topic in policy.topics]
    return ModelIngest(policy, partitions, progress or Progress())


def event(topic: str, key: object, time: Micros = NOON, value: object = "x", **other: Any) -> Envelope:
    document = {"model": "m", "id": key, "time": time, "value": value, **other}
    return envelope(document, topic=topic, time=time)


def take(found: ModelIngest, one: Envelope) -> str | None:
    """Hand a record over that has no columns; the reason if it has to be quarantined."""
    batch = batches_of([one.record])[0]
    columns = {path: [None] for path in found.paths(batch.partition.topic)}
    return found.ingest(batch, columns, [0], lambda _: one).get(0)


def refuse(found: ModelIngest, topic: str) -> None:
    """Hand a record over that cannot even be decoded."""

    def poison(_: int) -> Envelope:
        raise Unusable("not JSON")

    batch = batches_of([envelope({}, topic=topic).record])[0]
    found.ingest(batch, {path: [None] for path in found.paths(topic)}, [0], poison)


class TestCounting:
    def test_each_side_counts_its_own(self) -> None:
        found = model()
        assert take(found, event("predictions", 1)) is None
        assert take(found, event("predictions", 2)) is None
        assert take(found, event("labels", 1)) is None
        assert found.take_delta().counts == {
            (P, "consumed"): 2,
            (P, "joined"): 1,
            (P, "pending"): 1,
            (L, "consumed"): 1,
            (L, "applied"): 1,
        }

    @pytest.mark.parametrize(("topic", "side"), [("predictions", P), ("labels", L)])
    def test_what_is_not_the_models_is_filtered(self, topic: str, side: Side) -> None:
        found = model()
        assert take(found, event(topic, 1, model="other")) is None
        assert found.take_delta().counts == {(side, "consumed"): 1, (side, "filtered"): 1}
        assert found.clock.newest is None

    @pytest.mark.parametrize(("topic", "side"), [("predictions", P), ("labels", L)])
    def test_what_cannot_be_used_is_quarantined_with_the_reason(self, topic: str, side: Side) -> None:
        found = model()
        assert take(found, event(topic, None)) == "id: nothing at id"
        assert found.take_delta().counts == {(side, "consumed"): 1, (side, "quarantined"): 1}

    def test_a_time_that_is_quarantined_does_not_move_the_watermark(self) -> None:
        found = model()
        take(found, envelope({"model": "m", "id": 1, "time": 2 * NOON, "value": "x"}, topic="predictions"))
        found.advance(at_end=[Partition("predictions", 0), Partition("labels", 0)])
        assert found.progress == Progress()

    def test_what_is_filtered_is_never_quarantined(self) -> None:
        assert take(model(), envelope({"model": "other"}, topic="predictions")) is None

    @pytest.mark.parametrize(("topic", "side"), [("predictions", P), ("labels", L)])
    def test_what_could_not_be_decoded_is_quarantined_unseen(self, topic: str, side: Side) -> None:
        found = model()
        refuse(found, topic)
        assert found.take_delta().counts == {(side, "consumed"): 1, (side, "quarantined"): 1}

    def test_another_topic_is_none_of_its_business(self) -> None:
        found = model()
        refuse(found, "other")
        assert take(found, event("other", 1)) is None
        assert found.take_delta().counts == {}


class TestOneTopicForBothSides:
    def test_every_record_is_consumed_by_both(self) -> None:
        found = model(SHARED)
        take(found, event("events", 1, kind="answer"))
        take(found, event("events", 1, kind="truth"))
        take(found, event("events", 1, kind="else"))
        assert found.take_delta().counts == {
            (P, "consumed"): 3,
            (P, "filtered"): 2,
            (P, "joined"): 1,
            (L, "consumed"): 3,
            (L, "filtered"): 2,
            (L, "applied"): 1,
        }

    def test_what_could_not_be_decoded_is_quarantined_for_both(self) -> None:
        found = model(SHARED)
        refuse(found, "events")
        assert found.take_delta().counts == {
            (P, "consumed"): 1,
            (P, "quarantined"): 1,
            (L, "consumed"): 1,
            (L, "quarantined"): 1,
        }

    def test_one_side_may_use_what_the_other_cannot(self) -> None:
        labels = replace(mapping("events"), value=Field(paths=("truth",)))
        found = model(replace(POLICY, predictions=mapping("events"), labels=labels))
        assert take(found, event("events", 1)) == "label: nothing at truth"
        assert found.take_delta().counts == {
            (P, "consumed"): 1,
            (P, "pending"): 1,
            (L, "consumed"): 1,
            (L, "quarantined"): 1,
        }

    def test_it_is_one_topic(self) -> None:
        assert SHARED.topics == ("events",)
        assert SHARED.sides_of("events") == (P, L)
        assert POLICY.topics == ("labels", "predictions")
        assert POLICY.sides_of("labels") == (L,)
        assert POLICY.sides_of("other") == ()


class TestRetractions:
    LABELS_BY_KEY = replace(POLICY.labels, id=(Field(paths=("id", "$key")),), where={})
    BY_KEY = replace(POLICY, labels=LABELS_BY_KEY)
    SHARED_BY_KEY = replace(SHARED, labels=replace(LABELS_BY_KEY, topic="events", where={"kind": "truth"}))

    @pytest.mark.parametrize(("policy", "topic"), [(BY_KEY, "labels"), (SHARED_BY_KEY, "events")])
    def test_a_tombstone_takes_the_label_of_its_key_back(self, policy: IngestPolicy, topic: str) -> None:
        found = model(policy)
        take(found, event(policy.predictions.topic, 1, kind="answer"))
        take(found, event(topic, 1, kind="truth"))
        assert take(found, envelope(TOMBSTONE, topic=topic, key=b"1", time=NOON + MINUTE)) is None
        delta = found.take_delta()
        assert {status: n for status, n in delta.counts.items() if status[1] not in ("consumed", "filtered")} == {
            (P, "pending"): 1,
            (L, "superseded"): 1,
            (L, "retracting"): 1,
        }
        assert sorted(outcomes_in(delta.tallies).values()) == [-1, 1]
        assert imbalance(delta.counts) == {}

    @pytest.mark.parametrize(("topic", "side"), [("predictions", P), ("labels", L)])
    def test_one_that_can_take_nothing_back_is_quarantined_once(self, topic: str, side: Side) -> None:
        found = model()
        assert (take(found, envelope(TOMBSTONE, topic=topic)) or "").startswith("a tombstone: it has no value")
        assert found.take_delta().counts == {(side, "consumed"): 1, (side, "quarantined"): 1}

    def test_behind_a_delete_it_says_nothing_more(self) -> None:
        rows = replace(POLICY.labels, id=(Field(paths=("after.id",)),), value=Field(paths=("after.value",)), where={})
        found = model(replace(POLICY, labels=rows))
        deleted = {"op": "d", "before": {"id": 1, "value": "x"}, "after": None, "time": NOON}
        assert take(found, envelope(deleted, topic="labels", time=NOON)) is None
        assert take(found, envelope(TOMBSTONE, topic="labels", key=b"1", time=NOON)) is None
        assert found.take_delta().counts == {(L, "consumed"): 2, (L, "filtered"): 1, (L, "waiting"): 1}

    def test_on_a_topic_of_both_kinds_it_concerns_the_labels_alone(self) -> None:
        found = model(SHARED)
        assert (take(found, envelope(TOMBSTONE, topic="events")) or "").count("tombstone") == 1
        assert found.take_delta().counts == {
            (P, "consumed"): 1,
            (P, "filtered"): 1,
            (L, "consumed"): 1,
            (L, "quarantined"): 1,
        }

    def test_the_logs_clock_does_not_move_the_watermark(self) -> None:
        found = model(self.BY_KEY)
        take(found, event("labels", 1, NOON))
        take(found, envelope(TOMBSTONE, topic="labels", key=b"1", time=NOON + 900 * MINUTE))
        assert found.clock.newest == NOON
        timed = model(replace(self.BY_KEY, labels=replace(self.LABELS_BY_KEY, time=Field(paths=("$timestamp",)))))
        take(timed, envelope(TOMBSTONE, topic="labels", key=b"1", time=NOON + 900 * MINUTE))
        assert timed.clock.newest == NOON + 900 * MINUTE

    def test_what_is_implied_at_a_close_is_in_what_is_drained(self) -> None:
        found = model(replace(POLICY, join=replace(JOIN, absent=Absent(after=MINUTE, value="no"))))
        take(found, event("predictions", 1))
        found.take_delta()
        found.advance_to(NOON + 2 * MINUTE)
        delta = found.take_delta()
        assert delta.counts == {(P, "pending"): -1, (P, "implied"): 1}
        assert outcomes_in(delta.tallies) == {TallyKey("", WHOLE, slot_of(NOON) + 1, "no", "x"): 1}


class TestProgress:
    ENDS = (Partition("predictions", 0), Partition("labels", 0))

    def test_advancing_closes_the_slots_that_the_watermark_has_passed(self) -> None:
        found = model()
        take(found, event("predictions", 1, NOON))
        found.advance(self.ENDS)
        assert found.progress == Progress(watermark=NOON - MINUTE, first_open=slot_of(NOON) - 1)
        assert found.take_delta().progress == found.progress

    def test_it_never_goes_back(self) -> None:
        found = model()
        found.advance_to(NOON)
        for watermark in (NOON - MINUTE, None, NOON):
            found.advance_to(watermark)
            assert found.progress == Progress(watermark=NOON, first_open=slot_of(NOON))

    def test_it_goes_on_from_what_was_stored(self) -> None:
        found = model(progress=Progress(watermark=NOON, first_open=slot_of(NOON)))
        assert take(found, event("predictions", 1, NOON - 62 * MINUTE)) is None
        found.advance(self.ENDS)
        delta = found.take_delta()
        assert delta.counts == {(P, "consumed"): 1, (P, "late"): 1}
        assert delta.progress == Progress(watermark=NOON, first_open=slot_of(NOON))

    def test_within_a_slot_the_watermark_moves_and_nothing_closes(self) -> None:
        found = model()
        found.advance_to(NOON)
        found.advance_to(NOON + 1)
        assert found.progress == Progress(watermark=NOON + 1, first_open=slot_of(NOON))


class TestDraining:
    def test_gives_what_has_changed_and_begins_anew(self) -> None:
        found = model()
        take(found, event("predictions", 1, version="7"))
        found.advance_to(NOON + 2 * MINUTE)
        take(found, event("labels", 1, NOON + MINUTE))
        take(found, event("labels", None))
        slot = slot_of(NOON) + 2
        assert found.take_delta() == ModelDelta(
            model="m",
            progress=Progress(watermark=NOON + 2 * MINUTE, first_open=slot),
            tallies={
                TallyKey("7", WHOLE, slot, "x", "x"): 1,
                ArrivalKey("7", slot_of(NOON), PREDICTED, slot_of(NOON)).in_tallies: 1,
                ArrivalKey("7", slot, HIT, slot_of(NOON)).in_tallies: 1,
                ArrivalKey("7", slot, DELAY, delay_bucket(MINUTE)).in_tallies: 1,
            },
            counts={
                (P, "consumed"): 1,
                (P, "joined"): 1,
                (L, "consumed"): 2,
                (L, "applied"): 1,
                (L, "quarantined"): 1,
            },
            newest=NOON + MINUTE,
            moved_to_open=1,
        )
        assert found.take_delta() == ModelDelta(model="m", progress=found.progress, tallies={}, counts={})

    def test_what_has_turned_from_one_into_the_other_is_a_difference(self) -> None:
        found = model()
        take(found, event("predictions", 1))
        found.take_delta()
        take(found, event("labels", 1))
        assert found.take_delta().counts == {
            (P, "pending"): -1,
            (P, "joined"): 1,
            (L, "consumed"): 1,
            (L, "applied"): 1,
        }


_documents: st.SearchStrategy[dict[str, object]] = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["m", "other"]),
        "kind": st.sampled_from(["answer", "truth"]),
        "id": st.sampled_from([1, 2, "1", None, [], 0.5]),
        "time": st.integers(-90, 90).map(lambda minute: NOON + minute * MINUTE) | st.none(),
        "value": st.sampled_from(["x", "y", None, {}]),
    },
)


@thorough
@given(
    st.sampled_from([POLICY, SHARED, replace(TestRetractions.BY_KEY, join=CLICKS), TestRetractions.SHARED_BY_KEY]),
    st.lists(st.one_of(_documents, st.just(TOMBSTONE), st.none(), st.integers(-90, 200)), max_size=60),
    st.data(),
)
def test_every_record_is_accounted_for_at_every_commit(
    policy: IngestPolicy, steps: list[dict[str, object] | str | int | None], data: st.DataObject
) -> None:
    found, counts, records = model(policy), Counter[Status](), Counter[str]()
    for step in steps:
        topic = data.draw(st.sampled_from(policy.topics))
        if isinstance(step, int):
            found.advance_to(NOON + step * MINUTE)
            counts.update(found.take_delta().counts)
            assert imbalance(counts) == {}
            assert min(counts.values(), default=0) >= 0
            continue
        records[topic] += 1
        refuse(found, topic) if step is None else take(found, envelope(step, topic=topic, key=b"1"))
    counts.update(found.take_delta().counts)
    assert imbalance(counts) == {}
    assert counts[P, "consumed"] == records[policy.predictions.topic]
    assert counts[L, "consumed"] == records[policy.labels.topic]


def test_an_imbalance_says_which_side_and_by_how_much() -> None:
    assert imbalance({(P, "consumed"): 3, (P, "joined"): 2, (L, "consumed"): 1, (L, "late"): 1}) == {P: -1}
    assert imbalance({(L, "applied"): 2}) == {L: 2}
