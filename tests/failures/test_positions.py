"""Cases 4 to 9, 15 and 28: where reading goes on, and when it must not."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from retrainer.adapters.kafka.broker import EmbeddedBroker
from retrainer.adapters.kafka.log import KafkaLog
from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Partition
from retrainer.errors import Refused, Unreachable
from tests.contract.event_logs import EmbeddedRig
from tests.contract.states import SqlRig
from tests.service.world import LABELLED, LABELS, PREDICTED, PREDICTIONS, Log, World, at, policy
from tests.waiting import eventually


def test_case_04_a_state_that_cannot_be_read_is_refused_whatever_kafka_has_committed(
    world: World, tmp_path: Path
) -> None:
    world.predict("f1", 0)
    world.log.committed = {PREDICTED: 1, LABELLED: 0}
    broken = tmp_path / "retrainer.db"
    broken.write_bytes(b"no database at all, however long it is" * 1000)
    world.state = SqlRig(broken).ingest
    with pytest.raises(Refused, match="cannot be read"):
        world.worker().run_once()
    assert world.log.polls == 0
    assert broken.read_bytes().startswith(b"no database")
    SqlRig.close_all()


def test_case_04_a_state_that_cannot_be_read_just_now_is_waited_for(world: World) -> None:
    world.predict("f1", 0)
    world.settle(world.worker())
    world.log.committed = {PREDICTED: 0, LABELLED: 0}
    world.manifest.go_away()
    worker = world.worker()
    for _ in range(30):
        worker.run_once()
        world.clock.advance(1)
    assert not worker.assigned
    world.manifest.come_back()
    world.predict("f2", 0)
    world.settle(worker)
    assert world.counts() == {"predictions.consumed": 2, "predictions.pending": 2}


def test_case_05_what_was_fetched_before_a_seek_is_not_counted_after_it(broker: EmbeddedBroker) -> None:
    """The client has fetched more than it handed out when the worker is revoked and seeks back."""
    with closing(EmbeddedRig(broker.bootstrap_servers)) as rig:
        predictions, labels = rig.topic(), rig.topic()
        for key in range(100):
            value = json.dumps({"id": key, "time": at(0), "prediction": "late", "version": "1"}).encode()
            rig.append(Partition(predictions, 0), value, timestamp=at(100_000) // 1000)
        world = World(models=(policy(predictions=predictions, labels=labels),))
        log = KafkaLog(broker.bootstrap_servers, uuid.uuid4().hex, {"max_poll_records": 10})
        with closing(log):
            worker = world.worker(cast("Log", log))
            for _ in range(3):
                worker.run_once()
            world.state.claim("ingest", "there/2", 0)
            world.clock.advance(2)
            worker.run_once()
            assert world.entries.of("shard.revoked")

            def counted() -> int:
                world.flush(worker)
                return world.counts().get("predictions.consumed", 0)

            eventually(lambda: counted() >= 100)
            for _ in range(3):
                assert counted() == 100
            assert world.positions() == {f"{predictions}-0": 100, f"{labels}-0": 0}


def test_case_06_offsets_without_records_are_passed_over(world: World) -> None:
    """The marks of transactions and what compaction removed: the log still covers them."""
    world.predict("f1", 0)
    world.log.leave_gap(PREDICTED, 5)
    world.predict("f2", 0)
    worker = world.worker()
    world.settle(worker)
    world.log.leave_gap(PREDICTED, 3)
    world.predict("f3", 0)
    world.settle(worker)
    assert world.positions()["predictions-0"] == 11
    assert world.counts() == {"predictions.consumed": 3, "predictions.pending": 3}
    assert "offsets.gap" not in world.entries.events


def test_case_07_a_truncated_log_stops_with_its_positions(world: World) -> None:
    """An unclean election has taken back what was consumed: offsets now mean other records."""
    for key in range(3):
        world.predict(key, 0)
    worker = world.worker()
    world.settle(worker)
    world.predict("read, and not committed", 0)
    worker.run_once()
    world.log.delete_topic(PREDICTIONS)
    world.log.create_topic(PREDICTIONS)
    for key in range(2):
        world.predict(key, 0)
    with pytest.raises(Refused, match="removed before they were read"):
        worker.run_once()
    gap = world.entries.one("offsets.gap")
    assert (gap["log_level"], gap["positions"]) == ("error", {"predictions-0": 4})
    assert world.counts()["predictions.consumed"] == 4


@pytest.mark.parametrize("running", [True, False])
def test_case_08_records_that_expired_unread_are_named_and_never_skipped(world: World, running: bool) -> None:
    for key in range(3):
        world.predict(key, 0)
    worker = world.worker()
    world.settle(worker)
    for key in range(3, 9):
        world.predict(key, 0)
    world.log.truncate_before(PREDICTED, 6)
    for _ in range(2):  # starting again changes nothing
        with pytest.raises(Refused, match="removed before they were read"):
            (worker if running else world.worker()).run_once()
    assert [gap["positions"] for gap in world.entries.of("offsets.gap")] == [{"predictions-0": 3}] * 2
    assert world.positions()["predictions-0"] == 3
    assert world.counts() == {"predictions.consumed": 3, "predictions.pending": 3}


@pytest.mark.parametrize("running", [True, False])
def test_case_09_a_topic_made_anew_is_refused(world: World, running: bool) -> None:
    world.predict("f1", 0)
    worker = world.worker()
    world.settle(worker)
    world.log.delete_topic(PREDICTIONS)
    world.log.create_topic(PREDICTIONS)
    world.predict("another f1", 0)
    world.predict("f2", 0)
    world.clock.advance(31)  # a running worker looks at the topics every 30 s
    with pytest.raises(Refused, match="deleted and created again"):
        world.settle(worker if running else world.worker())
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}


def test_case_15_buffer_and_positions_are_dropped_together_when_partitions_are_assigned_anew(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.predict("f1", 0)
    worker.run_once()
    world.log.create_topic(PREDICTIONS, 2)
    world.clock.advance(31)
    world.predict("f2", 0)
    world.predict("f3", 0, number=1)
    world.settle(worker)
    assert world.counts() == {"predictions.consumed": 3, "predictions.pending": 3}
    assert world.positions() == {"labels-0": 0, "predictions-0": 2, "predictions-1": 1}


def test_case_28_an_added_partition_is_told_and_read_from_its_start() -> None:
    world = World(start="latest")
    worker = world.worker()
    world.settle(worker)
    world.log.create_topic(PREDICTIONS, 2)
    world.predict("f1", 0, number=1)  # its key has moved, and its label may be on the old partition
    world.label("f1", 5)
    world.clock.advance(31)
    world.settle(worker)
    told = world.entries.one("partitions.added")
    assert (told["log_level"], told["partitions"]) == ("warning", ["predictions-1"])
    assert world.counts()["predictions.joined"] == 1


def test_a_topic_that_is_gone_is_waited_for_and_its_positions_are_kept(world: World) -> None:
    world.predict("f1", 0)
    worker = world.worker()
    world.settle(worker)
    world.log.delete_topic(LABELS)
    for _ in range(5):
        worker.run_once()
        world.clock.advance(10)
    assert world.entries.one("dependency.lost")["dependency"] == "broker"
    assert world.positions() == {"predictions-0": 1, "labels-0": 0}
    with pytest.raises(Unreachable):
        world.log.describe([LABELS])


class Repeating(Log):
    """A client that once hands out what it had handed out before (kafka-delta-ingest PR#92)."""

    again: Sequence[RecordBatch] = ()

    def poll(self, timeout: float, /) -> Sequence[RecordBatch]:
        found = super().poll(timeout)
        again, self.again = self.again, found
        return found or again


def test_case_05_records_from_before_the_position_are_not_counted_twice() -> None:
    world = World()
    world.log = Repeating(world.partitions)
    world.predict("f1", 0)
    worker = world.worker()
    for _ in range(6):
        world.flush(worker)
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}
    assert world.positions()["predictions-0"] == 1
