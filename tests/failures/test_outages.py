"""Cases 16 to 18, 20, 21, 23 and 30: something outside is away, hangs, or says nothing. (17 also: test_hanging.py)"""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import cast

import pytest
from kafka import TopicPartition

from retrainer.adapters.decoding import JsonDecoder
from retrainer.adapters.kafka import log as kafka_module
from retrainer.adapters.kafka.broker import EmbeddedBroker
from retrainer.adapters.kafka.log import KafkaLog
from retrainer.domain.batches import Columns
from retrainer.domain.events import Partition
from retrainer.errors import Unreachable
from retrainer.service.ingest.worker import Worker
from tests.contract.event_logs import EmbeddedRig
from tests.service.controlling import Control
from tests.service.world import LABELLED, PREDICTED, Log, World, at, policy
from tests.waiting import eventually


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[EmbeddedBroker, KafkaLog, Partition]]:
    """A broker that has stopped answering, its connections open, and a reader that has read from it."""
    monkeypatch.setattr(kafka_module, "_PATIENCE_SECONDS", 1.0)
    with EmbeddedBroker() as broker:
        partition = Partition("outage", 0)
        broker.create_topics({partition.topic: 1})
        with closing(KafkaLog(broker.bootstrap_servers, "group", {})) as log:
            log.assign({partition: 0})
            log.poll(0.25)
            assert broker._process is not None
            os.killpg(broker._process.pid, signal.SIGSTOP)
            try:
                yield broker, log, partition
            finally:
                os.killpg(broker._process.pid, signal.SIGCONT)


def test_case_16_a_partition_that_falls_silent_is_read_by_a_new_client(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other partitions go on, so that nothing but this partition's own progress shows it."""
    monkeypatch.setattr(kafka_module, "_STALLED_AFTER_SECONDS", 0.3)
    with closing(EmbeddedRig(broker.bootstrap_servers)) as rig:
        silent, well = Partition(rig.topic(), 0), Partition(rig.topic(), 0)
        world = World(models=(policy(predictions=silent.topic, labels=well.topic),))

        def predict(key: str) -> None:
            value = json.dumps({"id": key, "time": at(0), "prediction": "late", "version": "1"}).encode()
            rig.append(silent, value, timestamp=at(100_000) // 1000)

        def consumed(side: str, n: int) -> bool:
            world.flush(worker)
            return world.counts().get(f"{side}.consumed", 0) == n

        with closing(KafkaLog(broker.bootstrap_servers, uuid.uuid4().hex, {})) as log:
            worker = world.worker(cast("Log", log))
            predict("f1")
            eventually(lambda: consumed("predictions", 1))
            log._reader.pause(TopicPartition(*silent))
            predict("f2")
            predict("f3")
            rig.append(well, b"poison", timestamp=at(100_000) // 1000)
            eventually(lambda: consumed("labels", 1))
            eventually(lambda: consumed("predictions", 3))
            assert not consumed("predictions", 4)
            assert "dependency.lost" not in world.entries.events


def test_case_17_a_commit_to_a_broker_that_hangs_keeps_nobody_waiting(
    hung: tuple[EmbeddedBroker, KafkaLog, Partition],
) -> None:
    _, log, partition = hung
    started = time.monotonic()
    for position in range(20):
        log.commit_offsets({partition: position})
    assert time.monotonic() - started < 0.5
    log.close()
    assert time.monotonic() - started < 6


def test_case_17_polling_a_broker_that_hangs_ends_each_time(hung: tuple[EmbeddedBroker, KafkaLog, Partition]) -> None:
    _, log, _ = hung

    def is_away() -> bool:
        started = time.monotonic()
        try:
            log.poll(0.25)
        except Unreachable:
            return True
        finally:
            assert time.monotonic() - started < 8
        return False

    eventually(is_away, 30)


def test_case_18_a_broker_that_is_away_for_a_day_is_tried_all_day_and_said_once(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.predict("f1", 0)
    worker.run_once()
    world.log.go_away()
    polls = world.log.polls
    for _ in range(24 * 3600 // 10):
        worker.run_once()
        world.clock.advance(10)
    assert world.log.polls - polls > 5000
    assert world.entries.of("dependency.lost") == [
        {"log_level": "error", "dependency": "broker", "error": "the broker in memory is away"}
    ]
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}
    world.log.come_back()
    world.label("f1", 5)
    world.settle(worker)
    assert world.entries.one("dependency.recovered")["after_seconds"] > 86_000
    assert world.tallies() == {("1", 5, "late", "late"): 1}


def test_case_20_a_quarantine_that_cannot_be_written_blocks_and_drops_nothing(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.write(PREDICTED, b"poison")
    worker.run_once()
    world.manifest.go_away()
    polls = world.log.polls
    for key in range(30):
        world.predict(key, 0)
        worker.run_once()
        world.clock.advance(5)
    assert world.log.polls - polls <= 2  # until the first commit that fails
    assert world.log.committed == {PREDICTED: 0, LABELLED: 0}
    world.manifest.come_back()
    world.settle(worker)
    assert [one.record.value for one in world.quarantined()] == [b"poison"]
    assert world.counts() == {
        "predictions.consumed": 31,
        "predictions.quarantined": 1,
        "predictions.pending": 30,
    }


@pytest.mark.parametrize(
    "place", ["claim.begin", "begin.begin", "poll", "ends", "segment.write", "commit.begin", "commit.middle"]
)
def test_case_21_what_is_wrong_outside_never_puts_a_record_into_quarantine(world: World, place: str) -> None:
    failures = 3

    def fail(reached: str) -> None:
        nonlocal failures
        if reached == place and failures:
            failures -= 1
            raise Unreachable(f"{reached} failed")

    world.manifest.fail_at = world.log.fail_at = world.segments.fail_at = fail
    worker = world.worker()
    for key in range(5):
        world.predict(key, 0, note="x" * 300_000)
        with suppress(AssertionError):  # it may be away at the end of a round
            world.settle(worker)
    world.clock.advance(30)
    world.settle(worker)
    assert failures == 0
    assert world.quarantined() == []
    assert world.counts() == {"predictions.consumed": 5, "predictions.pending": 5}


class Reaching(JsonDecoder):
    """A decoder of every topic that asks something outside, as one with a schema registry does."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False

    def of(self, _topic: str) -> Reaching:
        return self

    def columns(self, paths: Sequence[str]) -> Callable[[Sequence[bytes | None]], tuple[Columns, Collection[int]]]:
        read = super().columns(paths)

        def reach(values: Sequence[bytes | None]) -> tuple[Columns, Collection[int]]:
            if self.away:
                raise Unreachable("no answer from the registry of schemas")
            return read(values)

        return reach


def test_case_21_a_decoder_that_cannot_be_reached_ends_the_worker_and_skips_no_record(world: World) -> None:
    """A client never brings again what it has handed out: to wait and poll on would be to skip it."""
    decoder = Reaching()

    def started() -> Worker:
        made = world.worker()
        return Worker(made.policy, replace(made.parts, decoders=decoder), "here/1")

    world.predict("f1", 0)
    worker = started()
    world.settle(worker)
    decoder.away = True
    world.predict("f2", 0)
    world.write(PREDICTED, b"poison")
    with pytest.raises(Unreachable, match="registry of schemas"):
        world.settle(worker)
    assert world.positions()["predictions-0"] == 1
    assert world.quarantined() == []
    decoder.away = False
    world.settle(started())
    assert world.counts() == {
        "predictions.consumed": 3,
        "predictions.quarantined": 1,
        "predictions.pending": 2,
    }
    assert world.stored() == {PREDICTED: [0, 1, 2]}


@pytest.mark.parametrize("away", ["manifest", "log"])
def test_case_23_poison_that_came_before_an_outage_is_passed_after_it(world: World, away: str) -> None:
    worker = world.worker()
    world.settle(worker)
    world.predict("f1", 0)
    world.write(PREDICTED, b"poison")
    world.predict("f2", 0)
    worker.run_once()
    outside = world.manifest if away == "manifest" else world.log
    outside.go_away()
    for _ in range(10):
        worker.run_once()
        world.clock.advance(3)
    world.write(PREDICTED, b"more poison")
    outside.come_back()
    world.settle(worker)
    assert [one.record.value for one in world.quarantined()] == [b"poison", b"more poison"]
    assert world.counts() == {"predictions.consumed": 4, "predictions.quarantined": 2, "predictions.pending": 2}
    assert world.positions()["predictions-0"] == 4


def test_case_30_while_mlflow_is_away_ingest_and_deciding_go_on_and_the_job_waits(control: Control) -> None:
    world = control.world
    controller = control.controller()
    controller.run_once()
    controller.compare_aliases()  # the champion is known
    control.registry.go_away()
    worker = world.worker()
    for key in range(10):
        world.predict(key, 0, "late")
        world.label(key, 1, "on_time")
    world.predict("later", 20)
    world.settle(worker)
    assert world.counts()["predictions.joined"] == 10
    controller.run_once()
    assert [decision.outcome.value for decision in control.state.decisions("flights", 10)] == ["retrain"]
    eventually(lambda: "dependency.lost" in world.entries.events)
    assert not control.stored().ended
    control.registry.come_back()

    def has_ended() -> bool:
        control.clock.advance(5)
        return control.stored().ended

    eventually(has_ended)
    controller.finish_jobs()
    assert control.stored().state.value == "promoted"
    assert control.registry.champion == "2"
