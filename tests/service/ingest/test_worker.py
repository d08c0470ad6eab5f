"""The worker, round by round: what it reads becomes true in one commit, or not at all."""

from __future__ import annotations

import pytest

from retrainer.domain.values import iso, moment
from retrainer.ports.event_log import Start
from retrainer.ports.manifest.progress import StoredPosition
from retrainer.ports.telemetry import FlushCommitted
from tests.service.world import FLIGHTS, LABELLED, LABELS, PREDICTED, PREDICTIONS, World, at, policy

# From records to tallies


def test_records_become_tallies(world: World, kept: str) -> None:
    world.predict("f1", 0, "late")
    world.predict("f2", 1, "on_time")
    world.predict("f3", 2, "late", version="2")
    world.label("f1", 10, "late")
    world.label("f2", 10, "late")
    world.label("f3", 30, "late")
    world.settle(world.worker())
    assert world.tallies() == {
        ("1", 10, "late", "late"): 1,
        ("1", 10, "late", "on_time"): 1,
        ("2", 30, "late", "late"): 1,
    }
    assert world.counts() == {
        "predictions.consumed": 3,
        "predictions.joined": 3,
        "labels.consumed": 3,
        "labels.applied": 3,
    }
    assert world.positions() == {"predictions-0": 3, "labels-0": 3}
    assert world.decisions.ingest_view().ends == {PREDICTED: 3, LABELLED: 3}
    assert world.watermark() == 25
    assert len(world.segments.files) == (1 if kept == "files" else 0)


def test_what_belongs_to_no_model_is_counted_and_kept() -> None:
    world = World(models=(policy(where={"airline": "UA"}),))
    world.predict("f1", 0, airline="UA")
    world.predict("f2", 0, airline="DL")
    world.predict("f3", 0)
    world.settle(world.worker())
    assert world.counts() == {"predictions.consumed": 3, "predictions.filtered": 2, "predictions.pending": 1}
    segment = next(iter(world.state.segments()))
    assert segment.content is not None
    assert [len(batch.offsets) for batch in world.segments.unpack(segment.content)] == [3]


def test_models_that_share_topics_are_read_once() -> None:
    world = World(models=(policy("ua", where={"airline": "UA"}), policy("dl", where={"airline": "DL"})))
    for key, airline in (("f1", "UA"), ("f2", "DL"), ("f3", "DL")):
        world.predict(key, 0, airline=airline)
        world.label(key, 5, airline=airline)
    world.settle(world.worker())
    assert world.tallies("ua") == {("1", 5, "late", "late"): 1}
    assert world.tallies("dl") == {("1", 5, "late", "late"): 2}
    assert len(list(world.state.segments())) == 1
    assert world.state.positions()[PREDICTED].position == 3


# When it commits


def test_little_traffic_is_committed_on_the_clock(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.predict("f1", 0)
    for _ in range(19):
        worker.run_once()
        world.clock.advance(0.1)
        assert world.positions() == {"predictions-0": 0, "labels-0": 0}
    world.clock.advance(0.1)
    worker.run_once()
    assert world.positions() == {"predictions-0": 1, "labels-0": 0}


def test_much_traffic_is_committed_at_once() -> None:
    world = World(flush_bytes=300)
    worker = world.worker()
    worker.run_once()
    for number in range(5):
        world.predict(number, 0)
    worker.run_once()
    assert world.positions()["predictions-0"] == 5


def test_a_partition_with_more_to_read_holds_the_watermark_back() -> None:
    world = World(partitions={PREDICTIONS: 2, LABELS: 1}, batch=2, flush_bytes=1)
    worker = world.worker()
    world.predict("far", 100, number=0)
    for minute in (11, 12, 13):
        world.predict(minute, minute, number=1)
    worker.run_once()
    worker.run_once()
    assert world.positions() == {"labels-0": 0, "predictions-0": 1, "predictions-1": 1}
    assert world.watermark() == 6
    world.settle(worker)
    assert world.watermark() == 95


def test_nothing_new_is_not_committed(world: World) -> None:
    worker = world.worker()
    world.predict("f1", 0)
    world.settle(worker)
    begun = len(world.entries.of("flush.committed"))
    world.flush(worker)
    world.flush(worker)
    assert len(world.entries.of("flush.committed")) == begun


def test_a_flush_says_what_it_committed(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.entries.clear()
    world.predict("f1", 10)
    world.write(PREDICTED, b"poison")
    world.settle(worker)
    assert world.entries.one("flush.committed") == {
        "log_level": "debug",
        "records": 2,
        "quarantined": 1,
        "positions": {"predictions-0": 2, "labels-0": 0},
        "watermarks": {"flights": iso(at(5))},
        "seconds": 0.0,
    }


# Where it begins


@pytest.mark.parametrize(
    ("start", "position"),
    [("earliest", 0), ("latest", 3), (moment(at(1)), 1), (moment(at(2)), 2)],
)
def test_the_first_start_begins_where_the_owner_says(start: Start, position: int) -> None:
    world = World(start=start)
    for minute in range(3):
        world.log.append(PREDICTIONS, b"{}", timestamp=at(minute) // 1000)
    world.worker().run_once()
    assert world.state.positions()[PREDICTED] == StoredPosition(
        position=position, topic_id=world.log.describe([PREDICTIONS])[PREDICTED]
    )


def test_a_first_start_that_dies_begins_at_the_same_place_again() -> None:
    world = World(start="latest")
    worker = world.worker()
    worker.run_once()
    world.predict("f1", 0)
    world.settle(world.worker())
    assert world.counts()["predictions.consumed"] == 1


def test_a_start_seeks_the_manifests_positions_whatever_the_group_has_committed(world: World) -> None:
    for number in range(4):
        world.predict(number, 0)
    world.settle(world.worker())
    assert world.log.committed == {PREDICTED: 4, LABELLED: 0}
    world.log.committed = {PREDICTED: 1, LABELLED: 0}
    world.predict("new", 1)
    world.settle(world.worker())
    assert world.counts()["predictions.consumed"] == 5
    world.log.committed = {PREDICTED: 99, LABELLED: 99}
    world.predict("newer", 2)
    world.settle(world.worker())
    assert world.counts() == {"predictions.consumed": 6, "predictions.pending": 6}
    assert world.entries.of("shard.assigned")[-1]["positions"] == {"predictions-0": 5, "labels-0": 0}


def test_the_group_hears_of_positions_only_once_they_are_true(world: World) -> None:
    world.predict("f1", 0)
    order: list[str] = []
    world.manifest.fail_at = world.log.fail_at = order.append
    world.settle(world.worker())
    assert order[-4:] == ["commit.begin", "commit.middle", "commit.end", "log.commit"]


def test_each_commit_is_told_as_values_to_whoever_measures(world: World) -> None:
    for number in range(4):
        world.predict(number, 0)
    world.write(PREDICTED, b"not JSON")
    world.settle(world.worker())
    told = world.telemetry.of(FlushCommitted)
    assert sum(one.records for one in told) == 5
    assert sum(one.quarantined for one in told) == 1
    assert (told[-1].positions[PREDICTED], told[-1].ends[PREDICTED]) == (5, 5)
    assert all(one.seconds >= 0 for one in told)


def test_a_topic_that_is_not_there_yet_is_waited_for() -> None:
    world = World(partitions={PREDICTIONS: 1})
    worker = world.worker()
    for _ in range(10):
        assert not worker.run_once()
        world.clock.advance(1)
    assert world.entries.one("dependency.lost")["dependency"] == "broker"
    world.log.create_topic(LABELS)
    world.clock.advance(30)
    world.settle(worker)
    assert world.positions() == {"predictions-0": 0, "labels-0": 0}


# Records that cannot be used


def test_records_that_cannot_be_used_are_set_aside_with_bytes_and_reason(world: World) -> None:
    world.predict("f1", 0)
    world.write(PREDICTED, b"\xff not json", key=b"\x00k", headers=(("trace", b"\xfe"),))
    world.write(PREDICTED, None, key=b"f1")
    world.write(PREDICTED, b'{"id": null, "time": 1, "prediction": "late"}')
    world.write(LABELLED, b'{"id": "f1", "time": "soon", "label": "late"}')
    world.write(LABELLED, b"[]")
    world.write(LABELLED, b"1e400")
    world.label("f1", 5)
    world.settle(world.worker())
    assert world.tallies() == {("1", 5, "late", "late"): 1}
    assert world.counts() == {
        "predictions.consumed": 4,
        "predictions.quarantined": 3,
        "predictions.joined": 1,
        "labels.consumed": 4,
        "labels.quarantined": 3,
        "labels.applied": 1,
    }
    found = {(one.record.partition.topic, one.record.offset): one for one in world.manifest.quarantined}
    assert list(found) == [("labels", 0), ("labels", 1), ("labels", 2)] + [("predictions", n) for n in (1, 2, 3)]
    assert found["predictions", 1].record.value == b"\xff not json"
    assert found["predictions", 1].record.key == b"\x00k"
    assert found["predictions", 1].record.headers == (("trace", b"\xfe"),)
    assert found["predictions", 1].reason.startswith("not JSON")
    assert found["predictions", 2].record.value is None
    assert "tombstone" in found["predictions", 2].reason
    assert found["predictions", 3].reason.startswith("id")
    assert found["labels", 0].reason.startswith("time")
    logged = {(one["topic"], one["offset"]): one["reason"] for one in world.entries.of("event.quarantined")}
    assert logged == {at: one.reason for at, one in found.items()}


@pytest.mark.parametrize("first", ["flights", "others"])
def test_what_one_model_cannot_use_another_may(first: str) -> None:
    models = (FLIGHTS, policy("others", value="other"))
    world = World(models=models if first == "flights" else models[::-1])
    world.predict("f1", 0)
    world.label("f1", 5)
    world.settle(world.worker())
    assert world.tallies("flights") == {("1", 5, "late", "late"): 1}
    assert world.counts("others") == {
        "predictions.consumed": 1,
        "predictions.quarantined": 1,
        "labels.consumed": 1,
        "labels.waiting": 1,
    }
    assert [one.reason for one in world.manifest.quarantined] == ["prediction: nothing at other"]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_times_at_the_ends_of_the_calendar_harm_nobody(world: World, time: str) -> None:
    world.write(PREDICTED, b'{"id": "f1", "time": "%s", "prediction": "late"}' % time.encode())
    world.settle(world.worker())
    world.predict("f2", 10)
    world.label("f2", 11)
    world.settle(world.worker())
    assert world.tallies() == {("1", 11, "late", "late"): 1}


def test_what_cannot_be_stored_yet_is_neither_dropped_nor_passed(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.write(PREDICTED, b"poison")
    worker.run_once()
    world.manifest.go_away()
    for _ in range(20):
        worker.run_once()
        world.clock.advance(1)
    assert world.log.committed[PREDICTED] == 0
    world.manifest.come_back()
    world.settle(worker)
    assert [one.record.value for one in world.manifest.quarantined] == [b"poison"]
    assert world.positions()["predictions-0"] == 1
