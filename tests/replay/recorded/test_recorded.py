"""What the service itself has stored, replayed: the same decisions again, and others where the policy is another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from retrainer.adapters.decoding import TopicDecoders
from retrainer.adapters.files.datasets import ParquetDatasets
from retrainer.adapters.files.segments import LocalSegments
from retrainer.adapters.kafka.broker import EmbeddedBroker
from retrainer.adapters.manifest.database import Database
from retrainer.adapters.manifest.decisions import SqlDecisionState
from retrainer.adapters.manifest.ingest import SqlIngestState
from retrainer.cli import main
from retrainer.domain.deciding.decisions import DecisionAnswer
from retrainer.domain.deciding.jobs import JobState
from retrainer.domain.events import Partition
from retrainer.domain.judging.order import Recipe, RowsPolicy
from retrainer.domain.lateness.coverage import CoveragePolicy
from retrainer.domain.metrics.windows import CountWindow
from retrainer.domain.values import Micros, iso
from retrainer.errors import Refused
from retrainer.ports.manifest.decisions import RequestKind
from retrainer.replay.recorded.play import PlayedAgain, builds, play_again
from retrainer.replay.recorded.recording import Recording
from retrainer.service.jobs.dataset import DatasetBuilder
from retrainer.service.people.asking import ask
from retrainer.service.policy import ModelPolicy
from tests.plain import plain_threshold
from tests.service.controlling import Control, model
from tests.service.world import MINUTE, World

STEPS = 60

Capture = pytest.CaptureFixture[str]


def nothing(_: ModelPolicy, __: Micros, ___: Path) -> str | None:
    raise AssertionError("the service has run this job: its result is known")


class Story:
    """A service over ten hours of events, six minutes at a time: the model is good and bad by turns."""

    def __init__(self, folder: Path, policy: ModelPolicy, seed: int = 4, world: World | None = None) -> None:
        self.control = Control(world or World(), folder / "jobs", policy)
        self.control.registry.seed()
        self.control.trainings.plans.extend(["error", "accept", "inconclusive", "reject", "accept"])
        self.control.trainings.plans.popleft()
        self.controller = self.control.controller()
        self.worker = self.control.world.worker()
        self.random = np.random.default_rng(seed)

    def tell(self) -> None:
        for step in range(STEPS):
            self.events(step)
            if step in (18, 44):
                self.ask(RequestKind.RETRAIN)
            if step in (27, 31):
                self.ask(RequestKind.PAUSE if step == 27 else RequestKind.RESUME)
            for _ in range(2):
                self.controller.round()
            self.control.clock.advance(4)

    def events(self, step: int) -> None:
        world, wrong = self.control.world, 0.55 if step // 8 % 2 else 0.15
        version = self.control.registry.champion or ""
        for number in range(8):
            key, minute = f"{step}/{number}", step * 6 + number % 6
            world.predict(key, minute, "late", version=version, hour=minute % 24)
            world.label(key, minute + 1, "on_time" if self.random.random() < wrong else "late")
        world.settle(self.worker)

    def ask(self, kind: RequestKind) -> None:
        ask(self.control.state, "flights", kind, "a person's wish", self.control.clock)


def watched(**changes: object) -> ModelPolicy:
    coverage = CoveragePolicy(width=1, max_delay=60 * MINUTE)
    return replace(model(), coverage=coverage, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    story = Story(tmp_path_factory.mktemp("recorded"), watched())
    story.tell()
    return story


@pytest.fixture(scope="module")
def again(story: Story) -> PlayedAgain:
    recording = Recording.of(story.control.state, story.control.policy)
    return play_again(story.control.policy, recording, nothing, 0)


def test_the_same_policy_decides_the_same(again: PlayedAgain) -> None:
    was = again.recording.decisions
    told = [(one.decision.slot_end, one.decision.outcome, one.decision.reason) for one in again.decisions]
    assert told == [(one.slot_end, one.outcome, one.reason) for one in was]
    assert again.same == len(was)
    assert {one.reason for one in was} >= {"fired", "cooldown", "back_off", "paused"}
    assert len([one for one in was if one.request]) == 2


def test_it_is_given_the_same_evidence(again: PlayedAgain) -> None:
    for ours, was in zip(again.decisions, again.recording.decisions, strict=True):
        assert ours.decision.evidence == was.evidence
        assert ours.decision.champion == was.champion


def test_its_jobs_went_as_they_went(again: PlayedAgain) -> None:
    was = again.recording.jobs
    assert [(ran.job.decision_id, ran.job.state) for ran in again.jobs] == [(job.decision_id, job.state) for job in was]
    assert [one.version for one in again.promotions] == [job.version for job in was if job.state is JobState.PROMOTED]
    assert {job.state for job in was} >= {JobState.PROMOTED, JobState.REJECTED, JobState.FAILED}


def test_another_policy_decides_otherwise_and_trains_on_the_stored_rows(story: Story, tmp_path: Path) -> None:
    """It fires later and less often. What the service did not train is trained here, and judged by live answers."""
    control = story.control
    low = plain_threshold(metric="accuracy", window=CountWindow(outcomes=20), below=0.5)
    rows = RowsPolicy(kind="all")
    recipe = Recipe(estimator="sklearn.tree.DecisionTreeClassifier", params={"max_depth": 1}, rows=rows, holdout=0.5)
    other = watched(recipe=recipe)
    other = replace(other, watch=replace(other.watch, triggers={"low_accuracy": low}))
    builder = DatasetBuilder(
        state=control.state, segments=control.world.segments, decoders=TopicDecoders(), datasets=ParquetDatasets()
    )
    recording = Recording.of(control.state, control.policy)
    found = play_again(other, recording, builds(builder), 0)
    retrained = [one for one in found.decisions if one.decision.outcome is DecisionAnswer.RETRAIN]
    assert found.same < len(recording.decisions)
    assert len(retrained) == len(found.jobs) > 0
    own = [ran for ran in found.jobs if ran.job.decision_id not in {job.decision_id for job in recording.jobs}]
    judged = [ran for ran in own if ran.result.verdict is not None]
    assert judged
    assert all(ran.result.champion_by in ("events", "none") for ran in judged)
    assert {one.decision.champion for one in found.decisions} <= {"1", "2", "3", "4", "5", "6"}


CONFIG = """\
kafka: {bootstrap_servers: "localhost:9092"}
models:
  flights:
    task: classification
    predictions: {topic: predictions, fields: {id: id, time: time, value: prediction, version: version, features: "*"}}
    labels: {topic: labels, fields: {id: id, time: time, value: label}, max_delay: 60m, lateness: 5m}
    triggers: {low_accuracy: {threshold: {metric: accuracy, window: 10, below: 0.6, breaches: 1 of 1}}}
    guards: {min_labels: 10, cooldown: 30m, per_day: 10}
    training: {estimator: sklearn.tree.DecisionTreeClassifier, rows: all, holdout: 0.5}
    judge: {min_rows: 5}
state: {database: "sqlite:///state.sqlite", segments: segments}
"""


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Story]:
    """A service whose state is where the configuration beside it says."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    database = Database(f"sqlite:///{tmp_path / 'state.sqlite'}")
    world = World()
    world.state, world.decisions = SqlIngestState(database), SqlDecisionState(database)
    world.files = world.segments = LocalSegments(tmp_path / "segments")  # type: ignore[assignment]  # the real one
    story = Story(tmp_path, watched(), world=world)
    yield story
    database.close()


def test_the_command_replays_what_a_service_has_stored(stored: Story, tmp_path: Path) -> None:
    stored.tell()
    before = stored.control.state.jobs(), stored.control.state.ledger("flights")
    out = tmp_path / "out"
    assert main(["replay", str(tmp_path / "config.yaml"), "--recorded", "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    was = stored.control.state.decisions("flights", 1_000)
    assert report["recorded"]["decisions"] == report["recorded"]["same"] == len(was)
    assert [one["reason"] for one in report["decisions"]] == [one.reason for one in was]
    assert [one["row"] for one in report["decisions"]] == sorted(one["row"] for one in report["decisions"])
    assert report["rows"] == pytest.approx(STEPS * 8, abs=20)
    assert report["promotions"] == report["recorded"]["promotions"] > 2
    assert 0.5 < report["metric"]["value"] < 0.8
    assert "what the service has stored" in (out / "report.html").read_text()
    assert before == (stored.control.state.jobs(), stored.control.state.ledger("flights"))


def test_the_command_says_that_there_is_nothing(stored: Story, tmp_path: Path, capsys: Capture) -> None:
    assert stored.control.policy.name == "flights"
    given = ["replay", str(tmp_path / "config.yaml"), "--recorded", "--out", str(tmp_path / "out")]
    assert main(given) == 3
    assert "nothing of flights has been stored" in capsys.readouterr().err


def test_what_nobody_has_stored_cannot_be_replayed(tmp_path: Path) -> None:
    control = Control(World(), tmp_path, watched())
    with pytest.raises(Refused, match="nothing of flights has been stored"):
        Recording.of(control.state, control.policy)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_files_of_events_are_replayed_as_the_service_would_have_read_them(tmp_path: Path, form: str) -> None:
    """The same events as a service consumes, which fires on the fall in the middle; the versions are those recorded."""
    story = Story(tmp_path, watched())
    (tmp_path / "config.yaml").write_text(CONFIG)
    for step in range(30):
        story.events(step)
    files = [str(_filed(story, topic, tmp_path, form)) for topic in ("predictions", "labels")]
    given = ["replay", str(tmp_path / "config.yaml"), "--events", *files, "--out", str(tmp_path / "out")]
    assert main(given) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    story.controller.round()
    was = story.control.state.decisions("flights", 1_000)
    first = report["decisions"][0]
    assert was[0].reason == "fired"
    assert (first["reason"], first["time"]) == (was[0].reason, iso(was[0].slot_end))
    assert first["evidence"] == was[0].evidence
    assert first["champion"] == "1"
    assert report["rows"] == pytest.approx(30 * 8, abs=20)
    assert report["recorded"] is None
    assert report["jobs"][0]["verdict"] != "unfinished"


def test_files_that_cannot_be_read_are_named(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    given = ["--events", str(tmp_path / "p.jsonl"), str(tmp_path / "l.jsonl"), "--out", str(tmp_path / "out")]
    assert main(["replay", str(tmp_path / "config.yaml"), *given]) == 3
    assert "p.jsonl: cannot be read" in capsys.readouterr().err


def _documents(story: Story, topic: str) -> list[dict[str, Any]]:
    records = story.control.world.log._held[Partition(topic, 0)].records
    return [json.loads(record.value or b"") for record in records]


def _filed(story: Story, topic: str, folder: Path, form: str) -> Path:
    documents = _documents(story, topic)
    path = folder / f"{topic}.{form}"
    if form == "jsonl":
        path.write_text("\n".join(json.dumps(document) for document in documents))
    else:
        pq.write_table(pa.Table.from_pylist(documents), path)
    return path


def test_topics_are_replayed_from_their_beginning_and_nobody_notices(
    tmp_path: Path, broker: EmbeddedBroker, capsys: Capture
) -> None:
    story = Story(tmp_path, watched())
    for step in range(30):
        story.events(step)
    names = {topic: f"replayed.{topic}" for topic in ("predictions", "labels")}
    broker.create_topics(dict.fromkeys(names.values(), 2))
    with closing(KafkaProducer(bootstrap_servers=broker.bootstrap_servers)) as producer:
        for topic, name in names.items():
            for document in _documents(story, topic):
                producer.send(name, key=str(document["id"]).encode(), value=json.dumps(document).encode())
        producer.flush()
    text = CONFIG.replace("localhost:9092", broker.bootstrap_servers)
    for topic, name in names.items():
        text = text.replace(f"topic: {topic}", f"topic: {name}")
    (tmp_path / "config.yaml").write_text(text)
    given = ["replay", str(tmp_path / "config.yaml"), "--topics", "--out", str(tmp_path / "out"), "--json"]
    assert main(given) == 0
    report = json.loads(capsys.readouterr().out)
    story.controller.round()
    (first, *_) = story.control.state.decisions("flights", 1_000)
    assert report["decisions"][0]["time"] == iso(first.slot_end)
    assert report["decisions"][0]["evidence"] == first.evidence
    with closing(KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, group_id="retrainer")) as consumer:
        assert all(
            consumer.committed(TopicPartition(name, number)) is None for name in names.values() for number in (0, 1)
        )
