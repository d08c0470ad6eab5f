"""The features of live predictions, followed through stored parts: what a window shows at the end of a slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.adapters.decoding import TopicDecoders
from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Partition
from retrainer.domain.features.drift import DriftView
from retrainer.domain.features.drift_windows import Learner
from retrainer.domain.features.profiles import Profile, profile_of, values_of
from retrainer.domain.metrics.windows import CountWindow, TimeWindow, Window
from retrainer.domain.values import Slot, slot_of
from retrainer.errors import Refused, Unreachable
from retrainer.service.control.drifting import CHAMPIONS_ROWS, Drifting, DriftParts, reference_of
from tests.domain.making import quick
from tests.service.world import FLIGHTS, MINUTE, PREDICTIONS, World, at

TEN = CountWindow(outcomes=10)
HOUR = TimeWindow(span=60 * MINUTE)
LEARNT = profile_of({"hour": values_of([n % 24 for n in range(480)]), "tail": values_of(["x", "y"] * 240)}, 480)
FIRST = slot_of(at(0))


def drifting(world: World, *windows: Window) -> Drifting:
    parts = DriftParts(
        state=world.decisions,
        segments=world.files,
        decoders=TopicDecoders(),
        clock=world.clock,
        logger=world.entries.logger,
        telemetry=world.telemetry,
    )
    return Drifting(FLIGHTS, windows or (TEN,), parts)


def followed(world: World, *windows: Window, profile: Profile | None = LEARNT, since: float | None = None) -> Drifting:
    """Following champion 1 from the beginning, or since a minute."""
    found = drifting(world, *windows)
    start = None if since is None else at(since)
    found.follow("1", start, reference_of(profile, start), None)
    return found


def read(found: Drifting) -> None:
    for _ in range(100):
        if not found.run_once(60):
            return
    raise AssertionError("it never comes to an end")


def consume(world: World) -> None:
    world.settle(world.worker())


def predict(world: World, minute: float, hour: object = 3, tail: object = "x", key: object = None) -> None:
    world.predict(key if key is not None else f"{minute}-{hour}", minute, hour=hour, tail=tail)


def hours(view: DriftView, profile: Profile = LEARNT) -> list[int]:
    """How many predictions fell into each bin of `hour`."""
    assert sum(view.counts["hour"]) == view.n
    return [int(n) for n in view.counts["hour"]]


def binned(*values: object, profile: Profile = LEARNT) -> list[int]:
    return [int(n) for n in profile.features["hour"].binned(values_of(values))]


class TestWindows:
    def test_a_count_window_holds_the_newest_whole_slots(self, world: World) -> None:
        for minute in range(8):
            for n in range(3):
                predict(world, minute, hour=minute, key=f"{minute}-{n}")
        predict(world, 30)
        consume(world)
        found = followed(world)
        read(found)
        assert found.at(FIRST + 2) == {}, "nine predictions are too few"
        view = found.at(FIRST + 7)["10 outcomes"]
        assert (view.n, view.first, view.end, view.tenth) == (12, at(4), at(8), at(7))
        assert hours(view) == binned(*[hour for hour in (4, 5, 6, 7) for _ in range(3)])
        assert view.source == CHAMPIONS_ROWS
        assert view.evidence["n"] == 12

    def test_a_time_window_holds_its_span(self, world: World) -> None:
        for minute in range(0, 200, 10):
            predict(world, minute, hour=minute // 10)
        consume(world)
        found = followed(world, HOUR)
        read(found)
        view = found.at(FIRST + 179)["1h"]
        assert hours(view) == binned(12, 13, 14, 15, 16, 17)
        assert (view.end, view.tenth) == (at(180), at(174))

    def test_only_slots_that_have_closed_are_complete(self, world: World) -> None:
        for minute in range(30):
            predict(world, minute)
        consume(world)
        found = followed(world)
        read(found)
        assert found.closed == FIRST + 24, "the worker waits 5 minutes for what is late"
        assert found.at(found.closed - 1)["10 outcomes"].n == 10

    def test_predictions_of_before_the_champion_do_not_count(self, world: World) -> None:
        for minute in range(40):
            predict(world, minute)
        consume(world)
        found = followed(world, since=20)
        read(found)
        assert found.at(FIRST + 25) == {}
        assert found.at(FIRST + 29)["10 outcomes"].first == at(20)

    def test_what_comes_after_its_slot_has_closed_is_left_out_whenever_it_is_read(self, world: World) -> None:
        worker, early = world.worker(), followed(world)
        for minute in range(30):
            predict(world, minute)
        world.settle(worker)
        read(early)
        early.at(FIRST + 20)
        predict(world, 15, hour=9, key="late")
        predict(world, 28, hour=9, key="in time")
        for minute in range(30, 60):
            predict(world, minute, hour=9)
        world.settle(worker)
        read(early)
        afterwards = followed(world)
        read(afterwards)
        for found in (early, afterwards):
            assert found.at(FIRST + 21)["10 outcomes"].first == at(12)
            assert hours(found.at(FIRST + 29)["10 outcomes"]) == binned(*[3] * 9, 9)

    def test_what_is_not_the_models_or_cannot_be_used_is_left_out(self, world: World) -> None:
        world.write(Partition(PREDICTIONS, 0), b"\xff")
        world.write(Partition(PREDICTIONS, 0), b'{"id": 1, "time": 0, "prediction": null}')
        for minute in range(20):
            predict(world, minute, hour=None if minute % 2 else 5)
            world.label(f"{minute}", minute)
        consume(world)
        found = followed(world)
        read(found)
        assert hours(found.at(FIRST + 12)["10 outcomes"]) == binned(*[5, None] * 5)

    def test_a_slot_may_be_asked_for_again(self, world: World) -> None:
        for minute in range(30):
            predict(world, minute, hour=minute)
        consume(world)
        found = followed(world)
        read(found)
        first = found.at(FIRST + 12)
        second = found.at(FIRST + 15)
        assert found.at(FIRST + 12) is first
        assert hours(first["10 outcomes"]) != hours(second["10 outcomes"])


class TestReading:
    def test_each_part_is_read_once(self, world: World) -> None:
        found = followed(world)
        worker = world.worker()
        for minute in range(40):
            predict(world, minute, hour=minute)
            if minute % 7 == 0:
                world.settle(worker)
                read(found)
                read(found)
        world.settle(worker)
        read(found)
        assert hours(found.at(FIRST + 33)["10 outcomes"]) == binned(*range(24, 34))

    def test_a_step_takes_no_longer_than_it_may(self, world: World) -> None:
        for minute in range(1000):
            predict(world, minute)
        consume(world)
        found = followed(world)
        steps = 1
        while found.run_once(0):
            steps += 1
        assert steps >= 4
        assert found.at(FIRST + 900)["10 outcomes"].n == 10

    def test_after_a_restart_only_what_a_window_may_still_hold_is_read(self, world: World) -> None:
        worker = world.worker()
        for minute in range(1000):
            predict(world, minute, hour=minute % 24)
            if minute % 50 == 0:
                world.settle(worker)
        world.settle(worker)
        read_back: list[bytes] = []
        unpack = world.files.unpack

        def counted(content: bytes) -> Sequence[RecordBatch]:
            read_back.append(content)
            return unpack(content)

        world.files.unpack = counted  # type: ignore[method-assign]  # counts
        found = drifting(world)
        found.follow("1", None, reference_of(LEARNT, None), FIRST + 900)
        read(found)
        assert hours(found.at(FIRST + 900)["10 outcomes"]) == binned(*[hour % 24 for hour in range(891, 901)])
        assert 0 < len(read_back) <= 5, "of 21"

    def test_what_cannot_be_read_is_told_once_and_tried_again(self, world: World) -> None:
        for minute in range(30):
            predict(world, minute)
        consume(world)
        found = followed(world)
        blind: list[bool] = []
        whole, world.decisions.segments = world.decisions.segments, refused  # type: ignore[method-assign]  # a fault
        for wait in (0, 61):
            world.clock.advance(wait)
            assert not found.run_once(60)
            blind.append(found.is_blind)
        world.decisions.segments = whole  # type: ignore[method-assign]  # put back
        for wait in (0, 61):  # not before a minute has passed
            world.clock.advance(wait)
            read(found)
            blind.append(found.is_blind)
        assert blind == [True, True, True, False]
        assert found.at(FIRST + 20)["10 outcomes"].n == 10
        assert world.entries.one("segments.unreadable")["error"] == "segment s1 cannot be read"

    def test_an_outage_in_the_middle_counts_nothing_twice(self, world: World) -> None:
        for minute in range(300):
            predict(world, minute, hour=minute % 24)
        consume(world)
        found = followed(world)
        assert found.run_once(0)
        whole, world.decisions.model_progress = world.decisions.model_progress, away  # type: ignore[method-assign]  # a fault
        found._steps = None  # as an outage while reading leaves it
        with pytest.raises(Unreachable):
            found.run_once(60)
        world.decisions.model_progress = whole  # type: ignore[method-assign]  # put back
        read(found)
        assert hours(found.at(FIRST + 200)["10 outcomes"]) == binned(*[hour % 24 for hour in range(191, 201)])


def refused(**_: object) -> Any:
    raise Refused("segment s1 cannot be read")


def away() -> Any:
    raise Unreachable("the database is away")


class TestReferences:
    def test_without_a_profile_the_first_predictions_are_the_reference(self, world: World) -> None:
        for minute in range(40):
            predict(world, minute, hour=minute % 4)
        consume(world)
        found = followed(world, profile=None)
        read(found)
        assert found.reference is not None
        assert found.reference.profile == profile_of(
            {"hour": values_of([n % 4 for n in range(10)]), "tail": values_of(["x"] * 10)}, 10
        )
        assert found.reference.since == at(10)
        assert found.reference.source == "the first 10 predictions that were seen"
        assert found.at(FIRST + 18) == {}
        assert found.at(FIRST + 19)["10 outcomes"].first == at(10)

    def test_while_it_learns_nobody_has_to_wait_for_it(self, world: World) -> None:
        for minute in range(12):
            predict(world, minute)
        consume(world)
        found = followed(world, profile=None)
        read(found)
        assert (found.reference, found.closed, found.at(FIRST + 5)) == (None, FIRST + 6, {})

    def test_it_holds_little_more_than_it_learns_from(self, world: World) -> None:
        learner = Learner(10, None)
        for part in range(5):
            read_now = learner.fresh()
            for slot in range(500):
                read_now.add(500 * part + slot, {"hour": slot})
                assert read_now.held <= 20
            learner.absorb(read_now)
            assert learner.held <= 20
        found = learner.learnt(10_000)
        assert found is not None
        assert found.since == 10 * MINUTE

    def test_another_champion_is_compared_with_its_own(self, world: World) -> None:
        for minute in range(60):
            predict(world, minute, hour=minute % 24)
        consume(world)
        found = followed(world)
        read(found)
        assert found.at(FIRST + 20) != {}
        night = profile_of({"hour": values_of([0, 1, 2] * 50)}, 150)
        found.follow("2", at(30), reference_of(night, at(30)), FIRST + 21)
        assert (found.closed, found.at(FIRST + 35)) == (None, {})
        read(found)
        view = found.at(FIRST + 45)["10 outcomes"]
        assert view.reference == night
        assert hours(view, night) == binned(*[hour % 24 for hour in range(36, 46)], profile=night)
        found.follow("2", at(30), None, None)
        assert found.reference is not None, "the champion is the same"


@quick
@given(
    st.lists(st.tuples(st.integers(0, 90), st.sampled_from([None, 0, 3, 9, 23, "x"])), min_size=30, max_size=80),
    st.lists(st.integers(1, 79), max_size=4),
    st.sampled_from([None, LEARNT]),
    st.integers(0, 85),
)
def test_views_follow_from_the_events_alone(
    events: list[tuple[int, Any]], cuts: Sequence[int], profile: Profile | None, restart: int
) -> None:
    """However they were cut into commits and readings, and wherever the controller was started again."""
    events.sort(key=lambda event: event[0])

    def shown(cuts: Sequence[int], restart: int | None) -> Mapping[Slot, Any]:
        world = World()
        worker, found = world.worker(), followed(world, TEN, HOUR, profile=profile)
        views: dict[Slot, Any] = {}
        asked = FIRST
        for place, (minute, hour) in enumerate([*events, (130, 0)]):
            predict(world, minute, hour, key=place)
            if place not in cuts and place != len(events):
                continue
            world.settle(worker)
            read(found)
            for slot in range(asked, found.closed or asked):
                asked = slot + 1
                views[slot] = {
                    name: (view.n, view.first, view.tenth, hours(view)) for name, view in found.at(slot).items()
                }
                if slot == FIRST + (restart if restart is not None else -1):
                    kept, found = found.reference, drifting(world, TEN, HOUR)
                    found.follow("1", None, kept, asked)
                    read(found)
        return views

    whole = shown((), None)
    assert len(whole) > 85
    assert shown(cuts, restart) == whole


def test_features_of_a_view_are_compared_on_demand(world: World) -> None:
    random = np.random.default_rng(1)
    for minute in range(200):
        predict(world, minute, hour=int(random.integers(0, 3)), tail="x" if minute % 2 else "y")
    consume(world)
    found = followed(world, CountWindow(outcomes=100))
    read(found)
    features = found.at(FIRST + 150)["100 outcomes"].features
    assert (features["hour"].psi or 0) > 1
    assert (features["tail"].psi or 0) < 0.2
