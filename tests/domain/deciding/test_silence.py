"""Silence: raised once when it lasts too long, cleared by the first event, and never for time that nobody watched."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.deciding.silence import LONGEST_LOOK, Silence, SilenceChange, looked
from retrainer.domain.values import SECOND, Micros
from tests.domain.making import quick, restored

EXPECTED: Micros = 60 * SECOND
RAISED, CLEARED = SilenceChange.RAISED, SilenceChange.CLEARED


def told(*counts: int, every: Micros = SECOND) -> list[tuple[int, SilenceChange]]:
    """What is told at which look, looking each second."""
    known, found = None, []
    for n, count in enumerate(counts):
        known, change = looked(known, count, n * every, EXPECTED)
        if change is not None:
            found.append((n, change))
    return found


def test_silence_that_lasts_too_long_is_raised_once() -> None:
    assert told(*[7] * 60) == []
    assert told(*[7] * 61) == []
    assert told(*[7] * 500) == [(61, RAISED)]


def test_the_next_event_clears_it_and_the_watch_begins_anew() -> None:
    assert told(*[7] * 100, *[8] * 100) == [(61, RAISED), (100, CLEARED), (161, RAISED)]


def test_whoever_never_came_is_missed_too() -> None:
    assert told(*[0] * 100) == [(61, RAISED)]


def test_a_trickle_is_no_silence() -> None:
    assert told(*(n // 60 for n in range(1000))) == []


def test_a_model_that_is_computed_anew_gives_no_sign_of_life() -> None:
    assert told(*[7] * 30, *[3] * 100) == [(61, RAISED)]
    assert told(*[7] * 30, *[3] * 20, 4, *[4] * 10) == []


def test_time_that_was_not_watched_is_no_silence() -> None:
    known, _ = looked(None, 7, 0, EXPECTED)
    known, change = looked(known, 7, 24 * 3600 * SECOND, EXPECTED)  # the service was down for a day
    assert change is None
    assert known.watched == min(LONGEST_LOOK, EXPECTED // 4)


def test_a_clock_that_was_set_back_is_no_silence() -> None:
    known, _ = looked(None, 7, 1000 * SECOND, EXPECTED)
    known, change = looked(known, 7, 0, EXPECTED)
    assert (known.watched, change) == (0, None)
    known, _ = looked(known, 7, 5 * SECOND, EXPECTED)
    assert known.watched == 5 * SECOND


@quick
@given(st.lists(st.tuples(st.integers(-5, 30), st.integers(0, 1)), max_size=200), st.data())
def test_alarms_alternate_and_a_restart_in_between_changes_nothing(
    steps: Sequence[tuple[int, int]], data: st.DataObject
) -> None:
    known: Silence | None = None
    kept: Silence | None = None
    now, count, told_so_far = 0, 0, []
    for passed, more in steps:
        now, count = now + passed * SECOND, count + more
        if kept is not None and data.draw(st.booleans()):
            kept = restored(kept)
        known, change = looked(known, count, now, EXPECTED)
        kept, other = looked(kept, count, now, EXPECTED)
        assert (known, change) == (kept, other)
        assert known.raised or known.watched <= EXPECTED
        if change is not None:
            told_so_far.append(change)
    assert told_so_far == [RAISED, CLEARED] * (len(told_so_far) // 2) + [RAISED] * (len(told_so_far) % 2)
