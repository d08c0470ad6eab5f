"""The worker, round by round: what it reads becomes true in one commit, or not at all."""

from __future__ import annotations

from threading import Event

import pytest

from retrainer.domain.events import Partition
from retrainer.domain.values import iso, moment
from retrainer.errors import Refused, Unreachable
from retrainer.ports import Start
from retrainer.service import shard as shard_module
from retrainer.stores import StoredPosition
from tests.service.world import FLIGHTS, LABELS, MINUTE, PREDICTIONS, Crash, World, at, policy

PREDICTED, LABELLED = Partition(PREDICTIONS, 0), Partition(LABELS, 0)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=["inline", "files"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Segments as rows, or each in a file of its own."""
    if request.param == "files":
        monkeypatch.setattr(shard_module, "_INLINE_BYTES", -1)
    return str(request.param)


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
    assert len(world.segments.unpack(segment.content)) == 3


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


# Across restarts


@pytest.mark.parametrize("restarted", [False, True])
def test_labels_that_come_before_their_predictions_join_later(world: World, restarted: bool, kept: str) -> None:
    worker = world.worker()
    world.label("f1", 20, "late")
    world.label("f1", 30, "on_time")
    world.settle(worker)
    assert world.counts() == {"labels.consumed": 2, "labels.waiting": 2}
    worker = world.worker() if restarted else worker
    world.predict("f1", 10, "late")
    world.settle(worker)
    assert world.tallies() == {
        ("1", 25, "late", "late"): 1,  # it came when its own slot had closed
        ("1", 30, "late", "late"): -1,
        ("1", 30, "on_time", "late"): 1,
    }
    assert world.counts() == {
        "predictions.consumed": 1,
        "predictions.joined": 1,
        "labels.consumed": 2,
        "labels.applied": 1,
        "labels.superseded": 1,
    }


@pytest.mark.parametrize("restarted", [False, True])
def test_a_correction_after_its_outcome(world: World, restarted: bool) -> None:
    worker = world.worker()
    world.predict("f1", 10, "late")
    world.label("f1", 20, "on_time")
    world.settle(worker)
    worker = world.worker() if restarted else worker
    world.label("f1", 21, "late")
    world.settle(worker)
    assert sum(world.tallies().values()) == 1
    assert world.tallies()["1", 21, "late", "late"] == 1


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_late_stays_late(restarted: bool) -> None:
    """A replay knows what the watermark was when each record came: here it had moved by itself in between."""
    world = World(models=(policy(max_delay=4 * MINUTE, lateness=1 * MINUTE),))
    worker = world.worker()
    worker.run_once()
    world.predict("other", 8)
    worker.run_once()
    world.log.go_away()  # where its topics end is not known, and so the watermark waits
    world.flush(worker)
    world.log.come_back()
    world.clock.advance(1)
    world.flush(worker)
    assert world.watermark() == 7
    world.predict("f1", 4)
    world.predict("f1", 0)  # the earliest would count, but it is late
    world.settle(worker)
    worker = world.worker() if restarted else worker
    world.label("f1", 5)
    world.settle(worker)
    assert world.counts() == {
        "predictions.consumed": 3,
        "predictions.late": 1,
        "predictions.joined": 1,
        "predictions.pending": 1,
        "labels.consumed": 1,
        "labels.applied": 1,
    }


@pytest.mark.parametrize("restarted", [False, True])
def test_labels_without_a_prediction_are_forgotten_one_by_one(restarted: bool) -> None:
    world = World(models=(policy(max_delay=4 * MINUTE, lateness=1 * MINUTE),))
    worker = world.worker()
    for key, minute in (("f1", 0), ("f1", 8), ("other", 13)):
        world.label(key, minute)
        world.settle(worker)
    worker = world.worker() if restarted else worker
    world.label("last", 40)
    world.settle(worker)
    assert world.counts() == {"labels.consumed": 4, "labels.orphaned": 3, "labels.waiting": 1}


def test_a_restart_reads_only_segments_that_still_matter() -> None:
    world = World(models=(policy(max_delay=4 * MINUTE, lateness=1 * MINUTE),))
    worker = world.worker()
    for number in range(60):
        world.predict(number, number)
        world.settle(worker)
    world.settle(world.worker())
    assert len(list(world.state.segments())) == 60
    assert world.entries.of("shard.assigned")[-1]["replayed"] == 12


def test_slots_close_only_in_the_commit_that_closed_them(world: World) -> None:
    worker = world.worker()
    world.predict("f1", 10)
    world.settle(worker)
    assert world.watermark() == 5
    world.predict("f2", 20)
    world.crasher.arm("commit.middle")
    with pytest.raises(Crash):
        world.settle(worker)
    assert world.watermark() == 5
    world.crasher.arm("commit.end")
    with pytest.raises(Crash):
        world.settle(world.worker())
    assert world.watermark() == 15
    assert world.positions()["predictions-0"] == 2


def test_segment_files_that_nobody_registered_are_swept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_module, "_INLINE_BYTES", -1)
    for place in ("segment.write", "segment.written", "commit.begin"):
        world.predict(place, 0)
        world.crasher.arm(place)
        with pytest.raises(Crash):
            world.settle(world.worker())
    assert len(world.segments.files) == 1  # a start sweeps what the one before left
    world.settle(world.worker())
    assert len(world.entries.of("segments.swept")) == 3
    assert list(world.segments.files) == list(world.state.segment_files())
    assert world.counts() == {"predictions.consumed": 3, "predictions.pending": 3}


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


# Topics that change


def test_a_topic_that_was_created_anew_is_refused(world: World) -> None:
    world.predict("f1", 0)
    world.settle(world.worker())
    world.log.delete_topic(PREDICTIONS)
    world.log.create_topic(PREDICTIONS)
    for _ in range(3):
        world.predict("f2", 0)
    with pytest.raises(Refused, match="topic predictions was deleted and created again"):
        world.worker().run_once()
    assert world.positions()["predictions-0"] == 1


def test_a_topic_that_is_created_anew_while_it_is_read_is_refused(world: World) -> None:
    worker = world.worker()
    world.predict("f1", 0)
    world.settle(worker)
    world.log.delete_topic(PREDICTIONS)
    world.log.create_topic(PREDICTIONS)
    world.predict("another", 0)
    world.clock.advance(31)
    worker.run_once()
    with pytest.raises(Refused, match="topic predictions was deleted and created again"):
        worker.run_once()
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}


def test_records_that_were_removed_before_a_start_are_a_gap(world: World) -> None:
    for number in range(3):
        world.predict(number, 0)
    world.settle(world.worker())
    for number in range(3, 9):
        world.predict(number, 0)
    world.log.truncate_before(PREDICTED, 5)
    with pytest.raises(Refused, match="removed before they were read"):
        world.worker().run_once()
    assert world.entries.one("offsets.gap")["positions"] == {"predictions-0": 3}
    assert world.positions()["predictions-0"] == 3


def test_records_that_are_removed_while_reading_are_a_gap(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    for number in range(9):
        world.predict(number, 0)
    world.log.truncate_before(PREDICTED, 5)
    with pytest.raises(Refused, match="removed before they were read"):
        worker.run_once()
    assert world.entries.one("offsets.gap")["positions"] == {"predictions-0": 0}


def test_what_was_read_before_a_gap_is_kept() -> None:
    world = World(batch=3)
    worker = world.worker()
    worker.run_once()
    for number in range(9):
        world.predict(number, 0)
    worker.run_once()
    world.log.truncate_before(PREDICTED, 5)
    with pytest.raises(Refused, match="removed before they were read"):
        worker.run_once()
    assert world.entries.one("offsets.gap")["positions"] == {"predictions-0": 3}
    assert world.counts() == {"predictions.consumed": 3, "predictions.pending": 3}
    assert world.positions()["predictions-0"] == 3


def test_a_position_beyond_the_end_is_a_gap_too(world: World) -> None:
    lease = world.state.claim("ingest", "test", 0)
    ids = world.log.describe([PREDICTIONS, LABELS])
    world.state.begin(lease, {one: StoredPosition(position=7, topic_id=ids[one]) for one in (PREDICTED, LABELLED)})
    with pytest.raises(Refused, match="removed before they were read"):
        world.settle(world.worker())


def test_added_partitions_are_read_from_their_start() -> None:
    world = World(start="latest")
    worker = world.worker()
    world.settle(worker)
    world.log.create_topic(PREDICTIONS, 3)
    for number in range(3):
        world.predict(f"f{number}", 10, number=number)
        world.label(f"f{number}", 11)
    world.settle(worker)
    assert world.counts()["predictions.consumed"] == 1
    world.clock.advance(31)
    worker.run_once()
    assert world.entries.one("partitions.added")["partitions"] == ["predictions-1", "predictions-2"]
    world.settle(worker)
    assert world.counts()["predictions.joined"] == 3
    assert world.positions() == {"labels-0": 3, "predictions-0": 1, "predictions-1": 1, "predictions-2": 1}


def test_what_was_read_when_a_partition_is_added_is_read_again_not_twice(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.log.create_topic(PREDICTIONS, 2)
    world.clock.advance(31)
    world.predict("f1", 0)
    world.settle(worker)
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}


# Models that change


@pytest.mark.parametrize("kind", ["new", "changed"])
def test_a_new_or_changed_model_is_computed_from_the_segments(kind: str, kept: str) -> None:
    world = World()
    worker = world.worker()
    world.predict("f1", 0, "late", other="on_time")
    world.settle(worker)
    world.label("f1", 5, "on_time")
    world.predict("f2", 6, "late", other="late")
    world.settle(worker)
    world.write(PREDICTED, b"poison")
    world.settle(worker)
    assert world.tallies() == {("1", 5, "on_time", "late"): 1}
    name = "flights" if kind == "changed" else "others"
    changed = policy(name, value="other")
    world.models = (changed,) if kind == "changed" else (FLIGHTS, changed)
    world.entries.clear()
    worker = world.worker()
    world.settle(worker)
    assert world.entries.one("model.backfilled") == {"log_level": "info", "model": name, "segments": 3}
    assert world.tallies(name) == {("1", 5, "on_time", "on_time"): 1}
    assert world.counts(name) == {
        "predictions.consumed": 3,
        "predictions.quarantined": 1,
        "predictions.joined": 1,
        "predictions.pending": 1,
        "labels.consumed": 1,
        "labels.applied": 1,
    }
    assert len(world.manifest.quarantined) == 1
    world.label("f2", 7, "late")
    world.settle(worker)
    assert world.tallies(name) == {("1", 5, "on_time", "on_time"): 1, ("1", 7, "late", "late"): 1}
    world.entries.clear()
    world.settle(world.worker())
    assert world.entries.of("model.backfilled") == []
    assert sum(world.tallies("flights").values()) == 2


@pytest.mark.parametrize("place", ["commit.begin", "commit.middle", "commit.end"])
def test_a_model_is_not_computed_in_part(world: World, place: str) -> None:
    worker = world.worker()
    world.predict("f1", 0)
    world.label("f1", 5)
    world.settle(worker)
    world.models = (policy(lateness=6 * MINUTE), policy("others"))
    world.crasher.arm(place)
    with pytest.raises(Crash):
        world.settle(world.worker())
    world.settle(world.worker())
    for name in ("flights", "others"):
        assert world.tallies(name) == {("1", 5, "late", "late"): 1}


def test_a_model_on_other_topics_joins_without_touching_the_rest(world: World) -> None:
    world.predict("f1", 0)
    world.settle(world.worker())
    world.models = (FLIGHTS, policy("hotels", predictions="stays", labels="ratings"))
    world.log.create_topic("stays")
    world.log.create_topic("ratings")
    world.write(Partition("stays", 0), b'{"id": 1, "time": %d, "prediction": "good"}' % at(0))
    world.settle(world.worker())
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}
    assert world.counts("hotels") == {"predictions.consumed": 1, "predictions.pending": 1}


# Owners


def test_a_worker_that_was_succeeded_drops_what_it_holds(world: World) -> None:
    sleeper = world.worker()
    world.settle(sleeper)
    world.predict("f1", 0)
    sleeper.run_once()
    reader = world.log.another_reader()
    successor = world.worker(reader, owner="there/2")
    world.settle(successor, reader)
    before = world.facts()
    world.clock.advance(2)
    sleeper.run_once()
    assert not sleeper.assigned
    assert world.facts() == before
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}
    assert "newer process" in world.entries.one("shard.revoked")["reason"]


def test_a_worker_that_was_succeeded_notices_although_it_is_idle(world: World) -> None:
    sleeper = world.worker()
    world.settle(sleeper)
    reader = world.log.another_reader()
    world.settle(world.worker(reader, owner="there/2"), reader)
    world.predict("f1", 0)
    world.settle(world.worker(reader, owner="there/2"), reader)
    world.flush(sleeper)
    assert not sleeper.assigned
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}


def test_a_commit_whose_answer_was_lost_is_not_made_twice(world: World, kept: str) -> None:
    worker = world.worker()
    world.settle(worker)
    world.predict("f1", 0)
    world.label("f1", 5)

    def lose(place: str) -> None:
        if place == "commit.end":
            world.manifest.fail_at = lambda _: None
            raise Unreachable("the answer was lost")

    world.manifest.fail_at = lose
    world.flush(worker)
    world.settle(worker)
    assert world.tallies() == {("1", 5, "late", "late"): 1}
    assert len(list(world.state.segments())) == 1


# Outages


def test_a_database_that_is_away_is_said_once_and_nothing_is_read_meanwhile(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.predict("f1", 0)
    worker.run_once()
    world.manifest.go_away()
    world.clock.advance(2)
    worker.run_once()
    polls = world.log.polls
    for _ in range(60):
        world.predict("more", 0)
        assert not worker.run_once()
        world.clock.advance(1)
    assert world.log.polls == polls
    assert world.entries.one("dependency.lost")["dependency"] == "database"
    world.manifest.come_back()
    world.settle(worker)
    assert world.entries.one("dependency.recovered")["dependency"] == "database"
    assert world.counts()["predictions.consumed"] == 61


def test_a_broker_that_is_away_is_said_once_and_what_was_read_is_committed(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.predict("f1", 0)
    worker.run_once()
    world.log.go_away()
    for _ in range(60):
        worker.run_once()
        world.clock.advance(1)
    assert world.entries.one("dependency.lost")["dependency"] == "broker"
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}
    world.log.come_back()
    world.predict("f2", 0)
    world.settle(worker)
    assert world.entries.one("dependency.recovered")["dependency"] == "broker"
    assert world.counts()["predictions.consumed"] == 2


def test_a_database_that_is_away_at_the_start_is_called_by_its_name(world: World) -> None:
    def away(place: str) -> None:
        if place == "begin.begin":
            raise Unreachable("the database is locked")

    worker = world.worker()
    world.manifest.fail_at = away
    for _ in range(10):
        worker.run_once()
        world.clock.advance(1)
    assert not worker.assigned
    assert world.entries.one("dependency.lost")["dependency"] == "database"
    world.manifest.fail_at = lambda _: None
    world.settle(worker)
    assert world.entries.one("dependency.recovered")["dependency"] == "database"


@pytest.mark.parametrize("seconds", [-86_400, 86_400])
def test_a_wall_clock_that_jumps_changes_nothing(world: World, seconds: float) -> None:
    worker = world.worker()
    for number in range(4):
        world.predict(number, 0)
        world.settle(worker)
        world.clock.jump(seconds)
    assert world.counts() == {"predictions.consumed": 4, "predictions.pending": 4}
    assert world.watermark() == -5


# Leaving


def test_a_stop_commits_what_was_read(world: World) -> None:
    worker = world.worker()
    worker.run_once()
    world.predict("f1", 0)
    worker.run_once()
    stop = Event()
    stop.set()
    worker.run(stop)
    assert world.positions() == {"predictions-0": 1, "labels-0": 0}


@pytest.mark.parametrize("away", ["database", "broker"])
def test_a_stop_during_an_outage_loses_nothing(world: World, away: str) -> None:
    worker = world.worker()
    worker.run_once()
    world.predict("f1", 0)
    worker.run_once()
    outside = world.manifest if away == "database" else world.log
    outside.go_away()
    worker.stop()
    outside.come_back()
    world.settle(world.worker())
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}


def test_a_stop_before_the_first_round(world: World) -> None:
    world.worker().stop()
    assert world.positions() == {}


def test_a_stop_of_one_that_was_succeeded(world: World) -> None:
    sleeper = world.worker()
    world.settle(sleeper)
    world.predict("f1", 0)
    sleeper.run_once()
    reader = world.log.another_reader()
    world.settle(world.worker(reader), reader)
    sleeper.stop()
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}
