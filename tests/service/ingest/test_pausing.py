"""Partitions that are not read for now: those far ahead, those of halted topics, nearly all where memory is short."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrainer.domain.events import Partition, Record
from retrainer.domain.values import Micros
from retrainer.errors import Refused
from retrainer.service.ingest import pausing
from retrainer.service.ingest.worker import Worker
from tests.effort import much
from tests.service.world import FLIGHTS, LABELLED, LABELS, MINUTE, PREDICTED, PREDICTIONS, Log, World, at, policy

MIB = 2**20
DENSE = Partition(PREDICTIONS, 1)
WIDTH = 16.25
"""A quarter of the horizon of `FLIGHTS`, in minutes."""


class EvenLog(Log):
    """Brings as many records of every partition at a time, as brokers do."""

    def _take(self) -> list[Record]:
        held, found = self._paused, []
        for partition in self._positions:
            self._paused = {*held, *self._positions} - ({partition} - held)
            found += super()._take()
        self._paused = held
        return found


@dataclass
class Watched:
    """A worker, and what was to be seen after each of its rounds."""

    world: World
    worker: Worker
    sizes: list[int] = field(default_factory=list)
    paused: list[frozenset[Partition]] = field(default_factory=list)
    apart: list[Micros] = field(default_factory=list)
    """How far apart in event time the fastest and the slowest partition were."""

    def read_all(self) -> None:
        for _ in range(2000):
            self.round()
            if self.worker.assigned and self.world.log.exhausted:
                self.world.flush(self.worker)
                return
        raise AssertionError("the worker does not come to the end")

    def round(self, seconds: float = 0.25) -> None:
        self.worker.run_once()
        self.world.clock.advance(seconds)
        shard = self.worker._shard
        assert shard is not None
        self.sizes.append(sum(len(model.table) for model in shard._models))
        self.paused.append(self.world.log.paused)
        seen = [time for model in shard._models for time in model.clock.seen.values()]
        self.apart.append(max(seen, default=0) - min(seen, default=0))

    @property
    def ever_paused(self) -> set[Partition]:
        return set().union(*self.paused)


def even_world(batch: int = 20, **changes: object) -> World:
    world = World(**{"partitions": {PREDICTIONS: 2, LABELS: 1}, **changes})  # type: ignore[arg-type]  # any of its fields
    world.log = EvenLog(world.partitions, batch=batch)
    world.log.fail_at = world.crasher
    return world


def fill(world: World, minutes: int = 200, dense: int = 10) -> World:
    """Ten times as many records a minute on one partition as on the others."""
    for minute in range(minutes):
        world.predict(f"s{minute}", minute)
        world.label(f"s{minute}", minute + 10)
        for number in range(dense):
            world.predict(f"d{minute}-{number}", minute + number / dense, number=1)
    return world


def read(world: World) -> Watched:
    watched = Watched(world, world.worker())
    watched.round(2)
    watched.round()  # with the first commit it knows where the ends are
    watched.read_all()
    return watched


def truth(world: World) -> Mapping[str, object]:
    """What must not depend on the order in which partitions were read."""
    return {
        "counts": [world.counts(model.model) for model in world.models],
        "tallies": [world.tallies(model.model) for model in world.models],
        "positions": world.positions(),
    }


def at_once(*models: object, **changes: object) -> World:
    """A world that reads everything in one go."""
    return World(partitions={PREDICTIONS: 2, LABELS: 1}, **changes)  # type: ignore[arg-type]  # any of its fields


# Those far ahead


def test_partitions_far_ahead_wait_until_the_slowest_is_near() -> None:
    watched = read(fill(even_world()))
    assert watched.ever_paused == {PREDICTED, LABELLED}
    assert watched.paused[-1] == frozenset()
    assert sum(DENSE in held for held in watched.paused) == 0
    assert max(watched.apart) <= (WIDTH + 20) * MINUTE  # a round brings 20 minutes
    told = watched.world.entries.of("partitions.held")
    assert {entry["log_level"] for entry in told} == {"debug"}
    assert ["labels-0", "predictions-0"] in [entry["partitions"] for entry in told]
    assert told[-1]["partitions"] == []
    assert all(one != next_one for one, next_one in pairwise(told))  # it is told when it changes


def test_waiting_changes_no_outcome() -> None:
    watched = read(fill(even_world()))
    once = fill(at_once())
    once.settle(once.worker())
    assert watched.ever_paused
    assert truth(watched.world) == truth(once)
    assert sum(once.tallies().values()) == 200


def test_waiting_bounds_what_has_to_be_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels that are read long before their predictions would all be in memory at once."""

    def lagging() -> World:
        world = even_world()
        for minute in range(500):
            for number in range(5):
                world.label(f"{minute}-{number}", minute + 1)
                world.predict(f"{minute}-{number}", minute)
            for _ in range(5):  # what concerns nobody takes as long to be read
                world.write(PREDICTED, b"poison")
        return world

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pausing, "ahead", lambda *_: set())
        apart = read(lagging())
    together = read(lagging())
    assert truth(together.world) == truth(apart.world)
    assert max(together.sizes) < 0.55 * max(apart.sizes)


def test_the_narrowest_distance_is_ten_minutes() -> None:
    short = policy(max_delay=2 * MINUTE, lateness=1 * MINUTE)
    near, far = even_world(models=(short,)), even_world(models=(short,))
    for world, minutes in ((near, 9.9), (far, 10.1)):
        world.label("x", minutes)
        for number in range(100):
            world.predict(number, 0)
            world.label(number, minutes)
    assert read(near).ever_paused == set()
    assert LABELLED in read(far).ever_paused


def test_a_partition_is_let_go_when_the_slow_one_reaches_its_end() -> None:
    world = even_world(batch=10)
    for number in range(300):
        world.predict(number, number)
    for number in range(100):
        world.label(number, number / 10)
    watched = Watched(world, world.worker())
    while not watched.ever_paused:
        watched.round()
    assert watched.paused[-1] == {PREDICTED}
    while watched.paused[-1]:
        watched.round()
    assert world.log._positions[LABELLED] == 100
    watched.read_all()
    assert world.counts()["predictions.consumed"] == 300


def test_what_comes_late_on_a_partition_that_was_at_its_end_makes_the_others_wait_again() -> None:
    world = even_world(batch=10)
    world.label("first", 0)
    for number in range(100):
        world.predict(number, number)
    watched = Watched(world, world.worker())
    while not world.log.exhausted:
        watched.round()
    assert watched.ever_paused == set()
    for number in range(100):
        world.label(number, number / 10)
        world.predict(f"more {number}", 100 + number)
    watched.round(2)
    watched.round()
    assert watched.paused[-1] == {PREDICTED}
    watched.read_all()
    assert world.positions() == {"labels-0": 101, "predictions-0": 200, "predictions-1": 0}


def test_a_worker_that_dies_while_partitions_wait_leaves_nothing_behind() -> None:
    world = fill(even_world())
    watched = Watched(world, world.worker())
    while not (watched.ever_paused and world.positions().get("labels-0")):
        watched.round()
    read(world)
    once = fill(at_once())
    once.settle(once.worker())
    assert truth(world) == truth(once)


def test_an_outage_of_the_broker_lets_nobody_run_ahead() -> None:
    """Where the ends are cannot be said meanwhile; what was known of them still tells who has more to read."""
    world = fill(even_world())
    watched = Watched(world, world.worker())
    while not watched.ever_paused:
        watched.round()
    world.log.go_away()
    for _ in range(20):
        watched.round(1)
    assert watched.paused[-1] == watched.paused[-20] != frozenset()
    world.log.come_back()
    watched.round()
    assert watched.paused[-1]
    watched.read_all()


TRAINS = policy("trains", predictions="train-predictions", labels="train-labels")


def test_sources_that_share_nothing_do_not_wait_for_each_other() -> None:
    topics = {PREDICTIONS: 1, LABELS: 1, "train-predictions": 1, "train-labels": 1}
    world = even_world(models=(FLIGHTS, TRAINS), partitions=topics, batch=10)
    for number in range(200):
        document = {"id": number, "time": at(number / 100), "prediction": "late", "version": "1", "label": "late"}
        world.write(Partition("train-predictions", 0), json.dumps(document).encode())
        world.write(Partition("train-labels", 0), json.dumps(document).encode())
        world.predict(number, 1000 + number)
        world.label(number, 1001 + number)
    watched = read(world)
    assert watched.ever_paused == set()
    assert world.counts("trains")["predictions.joined"] == world.counts("flights")["predictions.joined"] == 200


def test_sources_that_share_a_topic_wait_for_its_slowest_partition() -> None:
    other = policy("other", labels="other-labels")
    topics = {PREDICTIONS: 1, LABELS: 1, "other-labels": 1}
    world = even_world(models=(FLIGHTS, other), partitions=topics, batch=10)
    for number in range(200):
        world.predict(number, number / 10)
        world.label(number, number)
        world.write(Partition("other-labels", 0), json.dumps({"id": number, "time": at(number), "label": "x"}).encode())
    watched = read(world)
    assert watched.ever_paused == {LABELLED, Partition("other-labels", 0)}
    assert world.counts()["labels.consumed"] == world.counts("other")["labels.consumed"] == 200


@st.composite
def paces(draw: st.DrawFn) -> Sequence[Sequence[int]]:
    """Of each partition, the minutes of its records."""
    records = st.lists(st.integers(0, 300), max_size=30).map(sorted)
    return draw(st.lists(records | st.lists(st.integers(0, 300), max_size=30), min_size=5, max_size=5))


@settings(max_examples=much(60), deadline=None)
@given(paces(), st.integers(1, 8))
def test_whatever_the_times_everything_is_read(minutes: Sequence[Sequence[int]], batch: int) -> None:
    """Three models in a chain of topics, each with another horizon: never do all wait for one another."""
    models = (
        policy("a", max_delay=20 * MINUTE),
        policy("b", labels="others", max_delay=200 * MINUTE),
        policy("c", predictions="thirds", labels="others", max_delay=1 * MINUTE),
    )
    topics = {PREDICTIONS: 2, LABELS: 1, "others": 1, "thirds": 1}
    world = even_world(models=models, partitions=topics, batch=batch)
    numbers = count()
    for partition, times in zip(sorted(world.log._held), minutes, strict=True):
        for minute in times:
            document = {"id": next(numbers), "time": at(minute), "prediction": "a", "version": "1", "label": "a"}
            world.write(partition, json.dumps(document).encode())
    read(world)
    assert sum(world.positions().values()) == sum(map(len, minutes))


# Those of halted topics


def test_a_halted_topic_stops_no_other() -> None:
    """Nor do the others wait for it, however far behind it was."""
    world = even_world(batch=10, poison_limit=20)
    world.label("f0", 0)
    for _ in range(100):
        world.write(LABELLED, b"poison")
    for number in range(300):
        world.predict(number, number)
    watched = Watched(world, world.worker())
    for _ in range(100):
        watched.round()
    world.flush(watched.worker)
    assert world.entries.one("topic.halted")["topic"] == LABELS
    assert watched.paused[-1] == {LABELLED}
    assert world.counts()["predictions.consumed"] == 300
    assert 20 <= world.positions()["labels-0"] < 101


# Where memory is short


@dataclass
class Short:
    """A worker whose memory a test sets; of 100 MiB that it may have."""

    world: World
    watched: Watched

    def use(self, mib: float, seconds: float = 2) -> None:
        """So much is resident at the next flush."""
        self.world.memory.bytes = round(mib * MIB)
        self.watched.round(seconds)
        self.watched.round(0)

    @property
    def free_bytes(self) -> int:
        shard = self.watched.worker._shard
        assert shard is not None
        return sum(model.table.rows.free_bytes for model in shard._models)


@pytest.fixture
def short() -> Short:
    """With much to read everywhere; labels are five minutes behind."""
    world = even_world(batch=1, memory_limit=100 * MIB)
    for number in range(2000):
        world.predict(number, 5 + number / 1000)
        world.predict(f"more {number}", 5 + number / 1000, number=1)
        world.label(number, number / 1000)
    watched = Watched(world, world.worker())
    watched.round()
    return Short(world, watched)


def test_with_too_little_memory_only_the_slowest_partition_is_read(short: Short) -> None:
    short.use(99)
    assert "memory.short" not in short.world.entries.events
    short.use(130)
    told = short.world.entries.one("memory.short")
    assert (told["log_level"], told["used_mib"], told["limit_mib"]) == ("error", 130, 100)
    assert told["remembered"] == {"flights": short.watched.sizes[-1]}
    assert short.watched.paused[-1] == {PREDICTED, DENSE}
    short.use(120)
    before = short.world.positions()
    for _ in range(10):
        short.use(110)
    after = short.world.positions()
    assert {at for at in after if after[at] > before[at]} == {"labels-0"}
    short.use(90)
    assert short.world.entries.one("memory.short")  # once, however long it took
    recovered = short.world.entries.one("memory.recovered")
    assert (recovered["log_level"], recovered["used_mib"], recovered["limit_mib"]) == ("info", 90, 100)
    assert short.watched.paused[-1] == frozenset()


def test_with_too_little_memory_for_a_minute_it_stops_and_says_how_much_it_needs(short: Short) -> None:
    for _ in range(31):
        short.use(130)
    with pytest.raises(Refused, match=r"state\.memory of 100 MiB is too little: 130 MiB .* about \d+ MiB") as refused:
        short.use(130)
    assert "max_delay" in str(refused.value)
    assert short.world.counts()  # what was read before is committed


def test_what_is_needed_grows_with_the_part_of_the_horizon_that_is_not_remembered_yet() -> None:
    world = World(memory_limit=100 * MIB)
    for number in range(60_000):
        world.predict(number, number / 60_000)  # one minute of 65
    worker = world.worker()
    world.memory.bytes = 130 * MIB
    while "memory.short" not in world.entries.events:
        world.flush(worker)
    world.clock.advance(60)
    with pytest.raises(Refused) as refused:
        world.flush(worker)
    needed = int(str(refused.value).split("about ")[1].split()[0])
    held = 60_000 * 61 / MIB
    assert needed == pytest.approx(130 + 64 * held, rel=0.02)


def test_memory_that_is_free_again_for_ids_counts_for_nothing() -> None:
    world = World(memory_limit=100 * MIB)
    worker = world.worker()
    for number in range(30_000):
        world.predict(number, 0)
    world.settle(worker)
    world.predict("later", 1000)
    world.settle(worker)
    short = Short(world, Watched(world, worker))
    free = short.free_bytes
    assert free > 29_000 * 61
    short.use((100 * MIB + free) / MIB)
    assert "memory.short" not in world.entries.events
    short.use((101 * MIB + free) / MIB)
    assert world.entries.one("memory.short")["used_mib"] == 101


def test_a_platform_that_cannot_tell_its_memory_is_never_short(world: World) -> None:
    world.memory_limit = 1
    world.predict("f1", 0)
    world.settle(world.worker())
    assert not {"memory.short", "memory.recovered"} & set(world.entries.events)
