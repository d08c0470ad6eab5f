"""`trial`: the sooner the faster the champion falls behind, ever more rarely where nothing can be gained."""

from __future__ import annotations

import json
from collections import Counter
from math import sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.metrics.registry import Estimate
from retrainer.domain.metrics.windows import CountWindow, History
from retrainer.domain.triggers.base import Reading, Scene, TriedJob
from retrainer.domain.triggers.trial import Rate, clearly_worse, rate_of, words
from tests.plain import plain_trial

IN_VAIN = TriedJob(after_change=False, taken=False, difference=0.0, error=0.01, ahead=1_000.0)
MET_A_CHANGE = TriedJob(after_change=True, taken=True, difference=0.3, error=0.01, ahead=5_000.0)


def scene(since_job: int, *tried: TriedJob, first_rows: int = 1_000) -> Scene:
    history = History(CountWindow(outcomes=1))
    return Scene(history=history, since_job=since_job, first_rows=first_rows, tried=tried)


def found(difference: float, ahead: float, error: float = 1e-6, *, taken: bool = True) -> TriedJob:
    return TriedJob(after_change=False, taken=taken, difference=difference, error=error, ahead=ahead)


@pytest.mark.parametrize(
    ("tried", "needed"),
    [
        ((), 1_000),
        ((IN_VAIN,), 8_000),
        ((IN_VAIN, IN_VAIN), 64_000),
        ((found(0.1, 1_000),), round(sqrt(2 * 4 * 5 / 1e-4)) + 1),
        ((TriedJob(after_change=False, taken=False),), 8_000),
        ((TriedJob(after_change=False, taken=True),), 500),
        ((IN_VAIN, MET_A_CHANGE), 400),
        ((TriedJob(after_change=True, taken=False),), 1_000),
    ],
    ids=["at first", "in vain", "twice", "the law", "failed", "taken unjudged", "after a change", "change in vain"],
)
def test_it_fires_from_so_many_labels_on(tried: tuple[TriedJob, ...], needed: int) -> None:
    trial = plain_trial(least=200)
    assert not trial.evaluate({}, scene(needed - 1, *tried))[1].fired
    reading = trial.evaluate({}, scene(needed, *tried))[1]
    assert reading.fired
    assert f"{needed:,} are worth a try" in words(reading.evidence)


def test_the_distance_costs_as_much_as_a_retraining() -> None:
    """Of all distances that at which falling behind and retraining cost least together for each label."""
    trial, rate = plain_trial(price=40.0, least=1), 2e-5
    best = trial.needed(2_000, (found(rate * 3_000, 3_000),), looks_worse=True)
    assert trial.needed(2_000, (found(rate * 3_000, 3_000),)) == pytest.approx(2 * best, rel=0.01)

    def cost(distance: float) -> float:
        return rate * distance / 2 + 40.0 / distance

    assert all(cost(best) <= cost(best * factor) + 1e-9 for factor in (0.5, 0.8, 0.95, 1.05, 1.25, 2.0))


def test_what_a_retraining_is_worth_grows_with_the_model_where_nobody_says() -> None:
    """A model with a hundred times the traffic is retrained as often in a week, not ten times as often."""
    small = plain_trial(least=1).needed(1_000, (found(0.05, 2_000),))
    large = plain_trial(least=1).needed(100_000, (found(0.05, 200_000),))
    assert large == pytest.approx(100 * small, rel=0.01)


class Life:
    """A trial that is asked slot by slot about a champion, whose outcomes come in slots of a hundred."""

    def __init__(self, metric: str = "accuracy") -> None:
        self.trial = plain_trial(metric=metric, least=200)
        self.history, self.state, self.slot = History(self.trial.window), dict[str, Any](), 0

    def live(self, slots: int, right: int, *tried: TriedJob) -> Reading:
        """So many slots with so many right answers each; what it says at the end of the last."""
        reading = Reading()
        for _ in range(slots):
            self.slot += 1
            self.history.add(self.slot, Counter({("a", "a"): right, ("a", "b"): 100 - right}))
            asked = Scene(history=self.history, since_job=3_000, first_rows=1_000, tried=tried)
            state, reading = self.trial.evaluate(self.state, asked)
            self.state = json.loads(json.dumps(state))
        return reading


def test_where_the_champion_looks_clearly_worse_than_at_first_one_in_vain_weighs_less() -> None:
    life = Life()
    assert life.live(10, 80, IN_VAIN).evidence["needed"] == 8_000
    assert life.live(10, 75, IN_VAIN).evidence["needed"] == 8_000  # the intervals touch
    reading = life.live(10, 70, IN_VAIN)
    assert (reading.fired, reading.evidence["needed"]) == (True, 1_000)
    assert "sooner as its accuracy is 0.7 over the newest outcomes and was 0.8 over its first" in words(
        reading.evidence
    )
    assert life.live(10, 79, IN_VAIN).evidence["needed"] == 8_000


def test_five_points_may_be_half_of_a_low_accuracy() -> None:
    life = Life()
    life.live(10, 9)
    assert "metric" not in life.live(10, 5).evidence
    assert life.live(10, 3).evidence["newest"] == pytest.approx(0.03)


def test_looking_worse_does_not_put_it_off_nor_below_the_first_distance() -> None:
    trial, fast = plain_trial(least=200), found(0.2, 1_000)
    assert trial.needed(1_000, (fast,), looks_worse=True) == 250 < trial.needed(1_000, (fast,)) < 1_000
    assert trial.needed(1_000, (IN_VAIN, IN_VAIN), looks_worse=True) == 8_000
    assert trial.needed(1_000, (), looks_worse=True) == 1_000


def test_an_error_looks_worse_when_it_has_grown_by_a_fifth() -> None:
    def estimated(value: float) -> Estimate:
        return Estimate(metric="mae", value=value, n=1_000, low=value - 1, high=value + 1)

    assert not clearly_worse("mae", estimated(23.9), estimated(20.0))
    assert clearly_worse("mae", estimated(24.0), estimated(20.0))
    assert not clearly_worse("mae", estimated(10.0), estimated(20.0))


def test_a_doubtful_rate_counts_less_than_a_sure_one() -> None:
    trial = plain_trial(least=1)
    sure, doubtful, hopeless = (trial.needed(1_000, (found(0.02, 1_000, error),)) for error in (1e-4, 0.01, 0.02))
    assert sure < doubtful < hopeless == 8_000


def test_the_rate_is_the_weighted_least_squares_through_nothing() -> None:
    rate = rate_of([found(0.04, 1_000, 0.01), found(0.01, 500, 0.005)])
    assert rate is not None
    old, new = 0.5 / 0.01**2, 1 / 0.005**2
    weight = old * 1_000**2 + new * 500**2
    assert rate.value == pytest.approx((old * 0.04 * 1_000 + new * 0.01 * 500) / weight)
    assert rate.error == pytest.approx(1 / sqrt(weight))
    assert rate_of([]) is None


def test_it_says_how_fast_the_champion_fell_behind() -> None:
    reading = plain_trial().evaluate({}, scene(10_000, found(0.05, 2_000, 0.01)))[1]
    assert "the champion fell behind by 0.025 (± 0.005) in 1,000 labels" in words(reading.evidence)


def test_what_was_found_before_a_change_is_over() -> None:
    trial, falls = plain_trial(least=200), found(0.1, 1_000)
    assert trial.needed(1_000, (IN_VAIN, MET_A_CHANGE, falls)) == trial.needed(1_000, (MET_A_CHANGE, falls))
    reading = trial.evaluate({}, scene(50_000, falls, MET_A_CHANGE))[1]
    assert "falls_behind" not in reading.evidence


@given(
    st.lists(
        st.builds(
            TriedJob,
            after_change=st.booleans(),
            taken=st.booleans(),
            difference=st.floats(-0.5, 0.5),
            error=st.sampled_from([0.0, 1e-6, 0.01, 0.1]),
            ahead=st.sampled_from([0.0, 1.0, 500.0, 1e6]),
        ),
        max_size=10,
    )
)
def test_from_one_job_to_the_next_it_changes_so_much_at_most(tried: list[TriedJob]) -> None:
    trial = plain_trial(least=300)
    distances = [trial.needed(1_000, tuple(tried[:n])) for n in range(len(tried) + 1)]
    assert min(distances) >= 300
    for one, before, after in zip(tried, distances, distances[1:], strict=False):
        if one.after_change:
            assert after == (600 if one.taken else before)
        else:
            assert before / 4 - 1 <= after <= 8 * before + 8


def test_a_rate_is_sure_only_beyond_its_errors() -> None:
    assert Rate(value=0.3, error=0.1).sure == pytest.approx(0.15)
    assert Rate(value=0.1, error=0.1).sure < 0


def test_where_nothing_can_be_gained_trainings_become_rare() -> None:
    trial, labels, since = plain_trial(), 0, 0
    jobs: list[TriedJob] = []
    while labels < 1_000_000:
        labels, since = labels + 100, since + 100
        if trial.evaluate({}, scene(since, *jobs[-10:], first_rows=4_500))[1].fired:
            jobs, since = [*jobs, IN_VAIN], 0
    assert len(jobs) == 3  # after 4,500 labels, then 36,000 and 288,000 more
