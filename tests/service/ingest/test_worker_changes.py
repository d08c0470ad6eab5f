"""What a worker meets again after a restart: its events, its topics and its models, as they were or changed."""

from __future__ import annotations

import pytest

from retrainer.domain.events import Partition
from retrainer.errors import Refused
from retrainer.ports.manifest.progress import StoredPosition
from retrainer.service.ingest import cut as storing
from tests.service.world import FLIGHTS, LABELLED, LABELS, MINUTE, PREDICTED, PREDICTIONS, Crash, World, at, policy

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
    monkeypatch.setattr(storing, "_INLINE_BYTES", -1)
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
