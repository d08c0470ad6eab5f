"""`trial`: sooner after candidates that were taken, rarer and rarer where nothing can be gained."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.triggers.base import Scene
from retrainer.domain.triggers.trial import Trial, patience, words
from retrainer.domain.windows import CountWindow, History


def scene(since_job: int, waits: int = 0, first_rows: int = 1_000) -> Scene:
    history = History(CountWindow(outcomes=1))
    return Scene(history=history, since_job=since_job, first_rows=first_rows, patience=waits)


@pytest.mark.parametrize(("waits", "needed"), [(0, 2_000), (2, 8_000), (4, 32_000), (-1, 1_000), (-3, 250), (-6, 200)])
def test_it_fires_from_so_many_labels_on(waits: int, needed: int) -> None:
    trial = Trial(least=200)
    assert not trial.evaluate({}, scene(needed - 1, waits))[1].fired
    reading = trial.evaluate({}, scene(needed, waits))[1]
    assert reading.fired
    assert f"{needed:,} are worth a try" in words(reading.evidence)


@pytest.mark.parametrize(
    ("taken", "found"),
    [([], 0), ([False], 2), ([False, False], 4), ([True], -1), ([True, False, True], 0), ([True] * 9, -6)],
)
def test_patience_follows_what_became_of_the_candidates(taken: list[bool], found: int) -> None:
    assert patience(taken) == found


@given(st.lists(st.booleans(), max_size=40))
def test_it_never_gives_up_hurrying_so_far_that_two_rejections_do_not_slow_it_down(taken: list[bool]) -> None:
    assert patience([*taken, False]) - patience(taken) == 2
    assert -6 <= patience(taken) <= 2 * len(taken)


def test_where_nothing_can_be_gained_trainings_become_rare() -> None:
    trial, labels, jobs, since = Trial(), 0, 0, 0
    while labels < 1_000_000:
        labels, since = labels + 100, since + 100
        if trial.evaluate({}, scene(since, patience([False] * jobs), first_rows=4_500))[1].fired:
            jobs, since = jobs + 1, 0
    assert jobs == 4  # after 9,000 labels, then 36,000, 144,000 and 576,000 more
