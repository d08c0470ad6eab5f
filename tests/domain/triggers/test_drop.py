"""`drop`: where its line is, what a breach is, and that windows which happen to be bad do not fire."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest

from retrainer.domain.metrics.registry import Estimate, estimate
from retrainer.domain.metrics.windows import CountWindow, History
from retrainer.domain.tally.measures import expansion
from retrainer.domain.triggers.base import Level, Reading, Scene, State
from retrainer.domain.triggers.drop import Drop, words
from tests.plain import plain_drop

Slot = Counter[tuple[str, str]]
PROMISED = Estimate(metric="accuracy", value=0.9, n=4000, low=0.89, high=0.91)
WINDOW = CountWindow(outcomes=1000)


def slots(rate: float, count: int, seed: int = 0) -> list[Slot]:
    rng = np.random.default_rng(seed)
    hits = [int(rng.binomial(100, rate)) for _ in range(count)]
    return [Counter({("a", "a"): hit, ("b", "a"): 100 - hit}) for hit in hits]


def exact(*hits: int) -> list[Slot]:
    """Slots of a thousand outcomes: each fills the window anew."""
    return [Counter({("a", "a"): hit, ("b", "a"): 1000 - hit}) for hit in hits]


def life(
    trigger: Drop, cells: Iterable[Slot], baseline: Estimate | None = None, *, restarting: bool = False
) -> list[Reading]:
    given = {baseline.metric: baseline} if baseline else {}
    history, state, said = History(trigger.window), dict[str, object](), []
    for number, one in enumerate(cells):
        history.add(number, one)
        known: State = json.loads(json.dumps(state)) if restarting else state
        found, reading = trigger.evaluate(known, Scene(history=history, baseline=given))
        state = dict(found)
        said.append(reading)
    return said


def levels(trigger: Drop, *hits: int) -> list[Level]:
    return [reading.level for reading in life(trigger, exact(*hits), PROMISED)]


Q, W, F = Level.QUIET, Level.WARNED, Level.FIRED


def errors(size: float) -> Slot:
    """A slot of a regression whose errors have this standard deviation."""
    expand = expansion("regression", scores="none", positive=None)
    assert expand is not None
    cells: Slot = Counter()
    for error in np.random.default_rng(3).normal(0, size, 1000).tolist():
        for cell, n in expand("10", repr(10 + error)):
            cells[cell] += n
    return cells


class TestTheLine:
    def test_it_lies_so_far_below_the_lower_limit_of_the_verdict(self) -> None:
        trigger = plain_drop(metric="accuracy", by=0.03, window=WINDOW)
        assert levels(trigger, 861) == [Q]
        assert levels(trigger, 859) == [W]
        reading = life(trigger, exact(859), PROMISED)[0]
        assert reading.evidence["line"] == pytest.approx(0.86)
        assert reading.evidence["baseline_from"] == "verdict"

    def test_without_a_verdict_below_that_of_the_first_outcomes(self) -> None:
        trigger = plain_drop(metric="accuracy", by=0.02, window=WINDOW, min_labels=400)
        readings = life(trigger, [*slots(0.9, 4, 1), *slots(0.7, 20, 2)])
        first = estimate("accuracy", sum((Counter(one) for one in slots(0.9, 4, 1)), Counter()))
        assert first is not None
        assert first.low is not None
        assert words(readings[2].evidence) == "its baseline is not known yet (300 of 400 outcomes)"
        assert readings[-1].fired
        assert readings[-1].evidence["line"] == pytest.approx(first.low - 0.02)
        assert readings[-1].evidence["baseline_n"] == 400

    def test_of_an_error_above_the_upper_limit(self) -> None:
        cells = errors(3)
        for metric, value in (("rmse", 2.0), ("mae", 1.6)):
            promised = Estimate(metric=metric, value=value, n=2000, low=value - 0.1, high=value + 0.1)
            near = plain_drop(metric=metric, by=0.1, window=WINDOW)
            far = plain_drop(metric=metric, by=1.5, window=WINDOW)
            assert life(near, [cells], promised)[-1].fired
            assert life(far, [cells], promised)[-1].level is Q

    @pytest.mark.parametrize("size", [30, 1000, 1e9])
    def test_however_large_errors_become(self, size: float) -> None:
        for metric, value in (("rmse", 1.0), ("mae", 0.8)):
            promised = Estimate(metric=metric, value=value, n=2000, low=value - 0.1, high=value + 0.1)
            assert life(plain_drop(metric=metric, by=0.1, window=WINDOW), [errors(size)], promised)[-1].fired

    def test_a_baseline_that_comes_later_does_not_move_it(self) -> None:
        trigger, history = plain_drop(metric="accuracy", by=0.0, window=WINDOW), History(WINDOW)
        history.add(0, exact(900)[0])
        state, _ = trigger.evaluate({}, Scene(history=history, baseline={"accuracy": PROMISED}))
        other = Estimate(metric="accuracy", value=0.5, n=4000, low=0.49, high=0.51)
        history.add(1, exact(880)[0])
        _, reading = trigger.evaluate(state, Scene(history=history, baseline={"accuracy": other}))
        assert reading.evidence["line"] == pytest.approx(0.89)


class TestBreaches:
    TWO_OF_THREE = plain_drop(metric="accuracy", by=0.03, window=WINDOW, breaches=(2, 3))

    def test_two_of_three_fire_at_the_second(self) -> None:
        assert levels(self.TWO_OF_THREE, 700, 700) == [W, F]
        assert levels(self.TWO_OF_THREE, 700, 900, 900, 700) == [W, Q, Q, W]

    def test_it_ends_when_they_are_no_longer_among_the_last(self) -> None:
        assert levels(self.TWO_OF_THREE, 700, 700, 950, 950) == [W, F, F, Q]

    def test_with_confident_the_whole_interval_must_be_beyond(self) -> None:
        sure = plain_drop(metric="accuracy", by=0.03, window=WINDOW, confident=True)
        assert levels(sure, 850) == [Q]  # up to .871
        assert levels(sure, 800) == [F]

    def test_it_looks_at_every_tenth_of_the_window(self) -> None:
        trigger = plain_drop(metric="accuracy", by=0.03, window=WINDOW)
        tiny = [Counter({("b", "a"): 10, ("a", "a"): 15}) for _ in range(60)]
        readings = life(trigger, tiny, PROMISED)
        assert readings[38].level is Q
        assert [reading.evidence["n"] for reading in readings[39:48]] == [1000] * 9
        assert len({reading.evidence["to"] for reading in readings[39:60]}) == 6


class TestThePromise:
    def test_a_bad_window_alone_does_not_fire(self) -> None:
        """Accuracy stands a little above the line: some windows are beyond it, by chance."""
        trigger = plain_drop(metric="accuracy", by=0.03, window=CountWindow(outcomes=500))
        fired, breached = 0, 0
        for seed in range(6):
            readings = life(trigger, slots(0.87, 400, seed), PROMISED)
            fired += any(reading.fired for reading in readings)
            breached += any(reading.level is W for reading in readings)
        assert fired == 0
        assert breached == 6

    def test_a_real_drop_fires_soon(self) -> None:
        trigger = plain_drop(metric="accuracy", by=0.03, window=WINDOW)
        readings = life(trigger, [*slots(0.9, 100, 4), *slots(0.8, 30, 5)], PROMISED)
        fired = next(number for number, reading in enumerate(readings) if reading.fired)
        assert 100 <= fired < 122
        assert "evidence" in words(readings[-1].evidence)

    def test_a_metric_that_is_no_mean_has_breaches_alone(self) -> None:
        promised = Estimate(metric="f1_macro", value=0.9, n=4000, low=0.88, high=0.92)
        trigger = plain_drop(metric="f1_macro", by=0.03, window=WINDOW)
        reading = life(trigger, exact(700), promised)[0]
        assert reading.fired
        assert "e_value" not in reading.evidence
        assert "evidence" not in words(reading.evidence)


def test_a_restart_changes_nothing() -> None:
    cells = [*slots(0.9, 30, 6), *slots(0.75, 30, 7)]
    trigger = plain_drop(metric="accuracy", by=0.02, window=WINDOW)
    assert life(trigger, cells) == life(trigger, cells, restarting=True)
    assert life(trigger, cells, PROMISED) == life(trigger, cells, PROMISED, restarting=True)
