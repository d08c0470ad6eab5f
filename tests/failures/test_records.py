"""Cases 25 to 27, 32, 33 and 35: late, early, odd and few records; and the same records in another order."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effort import much
from tests.service.world import LABELLED, LABELS, MINUTE, PREDICTED, PREDICTIONS, World, at, policy

SHORT = policy(max_delay=4 * MINUTE, lateness=1 * MINUTE)
PATIENT = policy(max_delay=90 * MINUTE, lateness=90 * MINUTE)
"""Nothing of this is ever late, so that no order of arrival can make a difference."""


@pytest.mark.parametrize("restarted", [False, True])
def test_case_25_a_label_before_its_prediction_is_held(world: World, restarted: bool) -> None:
    worker = world.worker()
    world.label("f1", 20)
    world.settle(worker)
    assert world.counts() == {"labels.consumed": 1, "labels.waiting": 1}
    worker = world.worker() if restarted else worker
    world.predict("f1", 18)
    world.settle(worker)
    assert sum(world.tallies().values()) == 1
    assert world.counts() == {
        "predictions.consumed": 1,
        "predictions.joined": 1,
        "labels.consumed": 1,
        "labels.applied": 1,
    }


def test_case_26_a_label_after_its_time_is_counted_and_kept_and_not_joined() -> None:
    world = World(models=(SHORT,))
    worker = world.worker()
    world.predict("f1", 0)
    world.settle(worker)
    for minute in (20, 40):
        world.predict(f"at {minute}", minute)
        world.settle(worker)
    world.label("f1", 3)
    world.settle(worker)
    assert world.tallies() == {}
    counts = world.counts()
    assert counts["labels.late"] == counts["labels.consumed"] == 1
    assert counts["predictions.unlabelled"] >= 1
    world.models = (policy(max_delay=60 * MINUTE, lateness=5 * MINUTE),)  # it was kept: a longer horizon finds it
    world.settle(world.worker())
    assert sum(world.tallies().values()) == 1


def test_case_27_an_idle_topic_does_not_hold_the_join_back(world: World) -> None:
    """Labels have stopped coming; that their partition was read to its end is what tells it from one that is behind."""
    worker = world.worker()
    world.predict("f1", 0)
    world.label("f1", 1)
    world.settle(worker)
    for minute in (30, 60, 90, 150):
        world.predict(f"at {minute}", minute)
        world.settle(worker)
    assert world.watermark() == 145
    assert world.counts()["predictions.unlabelled"] >= 1


def test_case_27_a_topic_that_is_behind_does_hold_the_join_back() -> None:
    """As much silence, and records behind it: what they hold must not become late."""
    world = World(batch=1, flush_bytes=1)
    worker = world.worker()
    world.label("f1", 1)
    for minute in (0, 30, 60, 90, 120):
        world.predict(f"f{minute // 30 + 1}", minute)
        world.label(f"other {minute}", 2)
    for _ in range(3):
        worker.run_once()
    mark = world.watermark()
    assert mark is None or mark < 30
    world.settle(worker)
    assert world.counts().get("labels.late", 0) == 0
    assert world.counts()["predictions.joined"] == 1


def test_case_32_a_field_that_is_added_changes_nothing(world: World) -> None:
    worker = world.worker()
    world.predict("f1", 0)
    world.settle(worker)
    world.predict("f2", 1, added={"deep": [1, 2, {"er": None}]}, another="text")
    world.label("f2", 2, comment="new")
    world.settle(worker)
    assert world.tallies() == {("1", 2, "late", "late"): 1}
    assert world.quarantined() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("time", "soon"), ("time", {"seconds": 1}), ("id", ["f2"]), ("id", None), ("prediction", {"class": "late"})],
)
def test_case_32_a_field_whose_type_has_changed_is_quarantined_and_the_rest_goes_on(
    world: World, field: str, value: object
) -> None:
    worker = world.worker()
    world.predict("f1", 0)
    world.settle(worker)
    document = {"id": "f2", "time": at(0), "prediction": "late", "version": "1", field: value}
    world.write(PREDICTED, json.dumps(document).encode())
    world.predict("f3", 1)
    world.settle(worker)
    (bad,) = world.quarantined()
    assert bad.reason.startswith(field)
    assert bad.record.value == json.dumps(document).encode()
    assert world.counts() == {"predictions.consumed": 3, "predictions.quarantined": 1, "predictions.pending": 2}


def test_case_33_one_record_in_a_quiet_hour_is_committed_on_the_clock(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.clock.advance(3600)
    worker.run_once()
    world.predict("f1", 0)
    worker.run_once()
    for _ in range(3):
        world.clock.advance(1)
        worker.run_once()
    assert world.positions() == {"predictions-0": 1, "labels-0": 0}
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}


@st.composite
def records(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    """Predictions, labels, duplicates, corrections and poison of few ids."""
    found = []
    for number in range(draw(st.integers(1, 14))):
        topic = draw(st.sampled_from([PREDICTIONS, LABELS]))
        name = "prediction" if topic == PREDICTIONS else "label"
        # No two of an id at one time: which of them counts would follow from their offsets, which differ by order.
        minute = draw(st.integers(0, 20)) + number / 100
        document = {"id": draw(st.integers(0, 3)), "time": at(minute), name: draw(st.sampled_from("ab"))}
        value = json.dumps({**document, "version": "1"}).encode()
        found.append((topic, draw(st.sampled_from([value, value, value, value + b"poison"]))))
    return found


def told(written: list[tuple[str, bytes]], batch: int, rounds: int) -> dict[str, object]:
    """What is true in the end if the records are read in this order, in such batches and in so many rounds."""
    world = World(models=(PATIENT,), batch=batch, flush_bytes=1 if batch < 5 else 2**26)
    worker = world.worker()
    size = -(-len(written) // rounds)
    for start in range(0, len(written), size):
        for topic, value in written[start : start + size]:
            world.write(PREDICTED if topic == PREDICTIONS else LABELLED, value)
        world.settle(worker)
    return {"counts": world.counts(), "tallies": {key: n for key, n in world.tallies().items() if n}}


@settings(max_examples=much(150), deadline=None)
@given(st.data(), records(), st.integers(1, 20), st.integers(1, 5))
def test_case_35_the_same_events_in_another_order_and_batching_come_to_the_same_counts(
    data: st.DataObject, written: list[tuple[str, bytes]], batch: int, rounds: int
) -> None:
    shuffled = data.draw(st.permutations(written))
    assert told(shuffled, batch, rounds) == told(written, 10_000, 1)
