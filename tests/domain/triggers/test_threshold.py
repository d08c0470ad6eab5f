"""`threshold`: where exactly the line is, how many breaches it takes, and when it looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.metrics.registry import wilson
from retrainer.domain.metrics.windows import CountWindow, History, TimeWindow
from retrainer.domain.triggers.base import Level, Reading, Scene, State
from retrainer.domain.triggers.threshold import Threshold
from retrainer.domain.values import iso
from tests.domain.making import MINUTE, thorough
from tests.plain import plain_threshold

TEN = CountWindow(outcomes=10)


def outcomes(hits: int, misses: int) -> Counter[tuple[str, str]]:
    return Counter({("x", "x"): hits, ("x", "y"): misses})


def readings(trigger: Threshold, slots: Sequence[tuple[int, int]]) -> list[Reading]:
    """What the trigger says after each slot of so many hits and misses."""
    history, state = History(trigger.window), dict[str, Any]()
    said = []
    for slot, (hits, misses) in enumerate(slots):
        history.add(slot, outcomes(hits, misses))
        found, reading = trigger.evaluate(state, Scene(history=history))
        state = dict(found)
        said.append(reading)
    return said


def levels(trigger: Threshold, *hits_of_ten: int) -> list[Level]:
    """What the trigger says after each evaluation: each slot fills the window anew."""
    return [reading.level for reading in readings(trigger, [(hits, 10 - hits) for hits in hits_of_ten])]


class TestTheLine:
    @pytest.mark.parametrize(("hits", "level"), [(6, Level.QUIET), (5, Level.QUIET), (4, Level.FIRED)])
    def test_a_score_must_be_below_it(self, hits: int, level: Level) -> None:
        assert levels(plain_threshold(metric="accuracy", window=TEN, below=0.5), hits) == [level]

    @pytest.mark.parametrize(("hits", "level"), [(4, Level.QUIET), (5, Level.QUIET), (6, Level.FIRED)])
    def test_an_error_must_be_above_it(self, hits: int, level: Level) -> None:
        assert levels(plain_threshold(metric="accuracy", window=TEN, above=0.5), hits) == [level]

    def test_at_zero_it_is_a_line_too(self) -> None:
        assert levels(plain_threshold(metric="accuracy", window=TEN, above=0.0), 0, 1) == [Level.QUIET, Level.FIRED]

    @pytest.mark.parametrize(("hits", "level"), [(7, Level.QUIET), (6, Level.WARNED), (5, Level.WARNED)])
    def test_a_warning_comes_before(self, hits: int, level: Level) -> None:
        assert levels(plain_threshold(metric="accuracy", window=TEN, below=0.5, warn_below=0.7), hits) == [level]

    @pytest.mark.parametrize(("hits", "level"), [(3, Level.QUIET), (4, Level.WARNED), (5, Level.WARNED)])
    def test_a_warning_of_an_error_comes_before(self, hits: int, level: Level) -> None:
        assert levels(plain_threshold(metric="accuracy", window=TEN, above=0.5, warn_above=0.3), hits) == [level]

    def test_a_metric_of_the_positive_class_speaks_of_that_class(self) -> None:
        history = History(TEN)
        history.add(0, Counter({("a", "a"): 1, ("a", "b"): 3, ("b", "b"): 6}))
        fired = [
            plain_threshold(metric="recall", window=TEN, below=0.5, positive=positive)
            .evaluate({}, Scene(history=history))[1]
            .fired
            for positive in ("a", "b")
        ]
        assert fired == [True, False]


class TestConfidence:
    @pytest.mark.parametrize("hits", [0, 39, 40, 41, 50, 59, 60, 61, 100])
    def test_a_breach_needs_the_whole_interval_beyond_the_line(self, hits: int) -> None:
        window = CountWindow(outcomes=100)
        low, high = wilson(hits, 100)
        below = plain_threshold(metric="accuracy", window=window, below=0.5, confident=True)
        above = plain_threshold(metric="accuracy", window=window, above=0.5, confident=True)
        assert readings(below, [(hits, 100 - hits)])[0].fired is (high < 0.5) is (hits < 41)
        assert readings(above, [(hits, 100 - hits)])[0].fired is (low > 0.5) is (hits > 59)

    def test_a_warning_does_not(self) -> None:
        trigger = plain_threshold(metric="accuracy", window=TEN, below=0.5, warn_below=0.6, confident=True)
        assert levels(trigger, 4) == [Level.WARNED]


class TestBreaches:
    TWO_OF_THREE = plain_threshold(metric="accuracy", window=TEN, below=0.5, breaches=(2, 3))
    Q, W, F = Level.QUIET, Level.WARNED, Level.FIRED

    def test_two_of_three_fires_at_the_second_and_not_before(self) -> None:
        assert levels(self.TWO_OF_THREE, 1, 1) == [self.W, self.F]
        assert levels(self.TWO_OF_THREE, 9, 1, 9, 1) == [self.Q, self.W, self.Q, self.F]

    def test_two_that_lie_further_apart_do_not(self) -> None:
        assert levels(self.TWO_OF_THREE, 1, 9, 9, 1) == [self.W, self.Q, self.Q, self.W]

    def test_it_stays_fired_as_long_as_two_of_three_are(self) -> None:
        assert levels(self.TWO_OF_THREE, 1, 1, 9, 9) == [self.W, self.F, self.F, self.Q]

    def test_after_three_clean_ones_it_begins_anew(self) -> None:
        assert levels(self.TWO_OF_THREE, 1, 1, 9, 9, 9, 1, 1)[-4:] == [self.Q, self.Q, self.W, self.F]

    @thorough
    @given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 5), st.integers(0, 3))
    def test_n_of_m_counts_the_newest_m(self, breached: list[bool], needed: int, more: int) -> None:
        of = needed + more
        trigger = plain_threshold(metric="accuracy", window=TEN, below=0.5, breaches=(needed, of))
        said = levels(trigger, *[1 if breach else 9 for breach in breached])
        fired = [sum(breached[max(0, n - of) : n]) >= needed for n in range(1, len(breached) + 1)]
        assert [level is Level.FIRED for level in said] == fired


class TestWhenItLooks:
    def test_not_before_the_window_is_full(self) -> None:
        trigger = plain_threshold(metric="accuracy", window=TEN, below=0.5)
        assert [reading.level for reading in readings(trigger, [(0, 1)] * 10)] == [Level.QUIET] * 9 + [Level.FIRED]

    def test_then_at_every_tenth_of_it(self) -> None:
        trigger = plain_threshold(metric="accuracy", window=CountWindow(outcomes=100), below=0.5)
        said = readings(trigger, [(0, 1)] * 135)
        assert said[98].evidence == {}
        ends = [reading.evidence["to"] for reading in said[99:]]
        assert ends == [iso(end * MINUTE) for end in (100, 110, 120, 130) for _ in range(10)][:36]

    def test_a_slot_with_many_tenths_is_one_evaluation(self) -> None:
        assert levels(TestBreaches.TWO_OF_THREE, 0) == [Level.WARNED]

    def test_between_evaluations_the_last_answer_stands(self) -> None:
        trigger = plain_threshold(metric="accuracy", window=CountWindow(outcomes=100), below=0.5)
        before, *after = readings(trigger, [(40, 60), (9, 0), (1, 0)])
        assert before.fired
        assert after[0] == before
        assert after[1].evidence["n"] == 110

    def test_a_time_window_looks_at_every_tenth_of_its_span(self) -> None:
        trigger = plain_threshold(metric="accuracy", window=TimeWindow(span=20 * MINUTE), below=0.5)
        ends = [reading.evidence["to"] for reading in readings(trigger, [(0, 1)] * 8)]
        assert ends == [iso(end * MINUTE) for end in (1, 2, 2, 4, 4, 6, 6, 8)]

    def test_without_a_value_the_last_answer_stands(self) -> None:
        trigger = plain_threshold(metric="recall", window=TEN, below=0.5, positive="fraud")
        history = History(TEN)
        history.add(0, Counter({("fraud", "no"): 10}))
        state, reading = trigger.evaluate({}, Scene(history=history))
        assert reading.fired
        history.add(1, Counter({("no", "no"): 10}))
        assert trigger.evaluate(state, Scene(history=history))[1] == reading


def test_the_evidence_tells_what_was_seen_and_what_was_asked_for() -> None:
    trigger = plain_threshold(metric="accuracy", window=TEN, below=0.5, warn_below=0.6, breaches=(2, 3))
    low, high = wilson(4, 11)
    _, reading = readings(trigger, [(9, 1), (4, 7)])
    assert reading.evidence == {
        "metric": "accuracy",
        "value": 4 / 11,
        "low": low,
        "high": high,
        "n": 11,
        "window": "10 outcomes",
        "below": 0.5,
        "warn_below": 0.6,
        "needed": "2 of 3",
        "breaches": "1 of 2",
        "from": "1970-01-01T00:01:00+00:00",
        "to": "1970-01-01T00:02:00+00:00",
    }


@thorough
@given(
    st.builds(
        Threshold,
        metric=st.sampled_from(["accuracy", "recall"]),
        window=st.sampled_from([TEN, TimeWindow(span=5 * MINUTE)]),
        below=st.sampled_from([0.3, 0.5]),
        warn_below=st.none() | st.just(0.7),
        breaches=st.sampled_from([(1, 1), (2, 3), (3, 5)]),
        confident=st.booleans(),
    ),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20),
    st.data(),
)
def test_a_restart_at_any_point_changes_no_answer(
    trigger: Threshold, slots: list[tuple[int, int]], data: st.DataObject
) -> None:
    uninterrupted = readings(trigger, slots)
    history = History(trigger.window)
    state: State = {}
    for slot, (hits, misses) in enumerate(slots):
        if data.draw(st.booleans()):
            state = msgspec.json.decode(msgspec.json.encode(state))
        history.add(slot, outcomes(hits, misses))
        state, reading = trigger.evaluate(state, Scene(history=history))
        assert reading == uninterrupted[slot]
