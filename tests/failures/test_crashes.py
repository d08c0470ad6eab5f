"""Cases 1 to 3, 19 and 34: a process that dies by kill -9, wherever it stands."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from retrainer.adapters.files.segments import LocalSegments
from retrainer.domain.deciding.jobs import JobState
from retrainer.errors import Refused
from tests.service.controlling import Control
from tests.service.world import LABELLED, PREDICTED, Crash, World
from tests.waiting import eventually

_BIG = 300_000
"""Bytes of a record whose segment is no row of the manifest but a file."""


def predict_big(world: World, key: str) -> None:
    world.predict(key, 0, note=random.Random(key).randbytes(_BIG).hex())


def die(world: World, place: str) -> None:
    """A worker that dies at a place, with a prediction before it that is committed and one that is not."""
    predict_big(world, "f1")
    worker = world.worker()
    world.settle(worker)
    predict_big(world, "f2")
    world.crasher.arm(place)
    with pytest.raises(Crash):
        world.settle(worker)


def test_case_01_a_file_that_a_crash_left_half_written_is_swept_and_its_records_read_again(world: World) -> None:
    die(world, "segment.write")
    (left,) = [name for name in world.segments.files if name.endswith(".part")]
    world.settle(world.worker())
    assert world.entries.one("segments.swept")["names"] == [left]
    assert world.counts() == {"predictions.consumed": 2, "predictions.pending": 2}


WRITER = """
import sys
from pathlib import Path
from retrainer.adapters.files.segments import LocalSegments

segments = LocalSegments(Path(sys.argv[1]))
content = bytes(range(256)) * 16384
for number in range(10**6):
    segments.write(f"000000-{number:08d}.parquet", content)
"""


def test_case_01_a_process_killed_in_mid_write_leaves_only_whole_files(tmp_path: Path) -> None:
    content = bytes(range(256)) * 16384
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)])
        eventually(lambda at=folder: len(list(at.glob("*.parquet"))) > 3)  # type: ignore[misc]  # the default binds it
        writer.kill()
        writer.wait()
        assert all(path.read_bytes() == content for path in folder.glob("*.parquet"))
        left = sorted(path.name for path in folder.iterdir())
        world = World()
        world.files = LocalSegments(folder)
        world.settle(world.worker())
        assert world.entries.one("segments.swept")["names"] == left
        assert list(folder.iterdir()) == []


def test_case_02_a_file_without_its_commit_counts_for_nothing(world: World) -> None:
    die(world, "segment.written")
    assert len(world.segments.files) == 2
    assert world.counts() == {"predictions.consumed": 1, "predictions.pending": 1}
    world.settle(world.worker())
    assert len(world.entries.one("segments.swept")["names"]) == 1
    assert len(world.segments.files) == 2
    assert world.counts() == {"predictions.consumed": 2, "predictions.pending": 2}


def test_case_02_a_file_that_a_commit_names_and_that_is_gone_is_refused(world: World) -> None:
    predict_big(world, "f1")
    world.settle(world.worker())
    world.segments.files.clear()
    with pytest.raises(Refused, match="segment"):
        world.settle(world.worker())


def test_case_03_positions_come_from_the_manifest_when_kafka_never_heard_of_the_commit(world: World) -> None:
    world.predict("f1", 0)
    world.crasher.arm("log.commit")
    with pytest.raises(Crash):
        world.settle(world.worker())
    assert world.log.committed == {}
    world.predict("f2", 0)
    world.settle(world.worker())
    assert world.entries.of("shard.assigned")[-1]["positions"] == {"predictions-0": 1, "labels-0": 0}
    assert world.counts() == {"predictions.consumed": 2, "predictions.pending": 2}
    assert world.log.committed == {PREDICTED: 2, LABELLED: 0}


@pytest.mark.parametrize("place", ["commit.begin", "commit.middle", "commit.end"])
def test_case_19_a_poison_record_is_set_aside_in_the_commit_that_passes_it(world: World, place: str) -> None:
    worker = world.worker()
    world.settle(worker)
    world.write(PREDICTED, b"\xff poison")
    world.crasher.arm(place)
    with pytest.raises(Crash):
        world.settle(worker)
    assert len(world.quarantined()) == world.positions()["predictions-0"] == (1 if place == "commit.end" else 0)
    world.settle(world.worker())
    assert [one.record.value for one in world.quarantined()] == [b"\xff poison"]
    assert world.counts() == {"predictions.consumed": 1, "predictions.quarantined": 1}


@pytest.mark.parametrize("place", ["take.begin", "take.end"])
def test_case_34_a_crash_between_a_decision_and_its_job_launches_one_job(control: Control, place: str) -> None:
    world = control.world
    for number in range(10):
        world.predict(number, 0, "late")
        world.label(number, 1, "on_time")
    world.predict("later", 20)
    world.settle(world.worker())
    controller = control.controller()
    controller.run_once()
    controller.compare_aliases()
    world.crasher.arm(place)
    with pytest.raises(Crash):
        controller.run_once()
    assert len(control.state.jobs()) == (1 if place == "take.end" else 0)
    assert control.trainings.specs == []
    control.controller().round()
    assert [decision.outcome.value for decision in control.state.decisions("flights", 10)] == ["retrain"]
    assert len(control.state.jobs()) == 1
    assert control.stored().state is JobState.PROMOTED
    assert len(control.registry.runs) == 1
