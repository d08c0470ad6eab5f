"""Which partitions wait for the slowest, by the newest event of each."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.events import Partition
from retrainer.domain.join.alignment import ahead
from retrainer.domain.values import Micros

A, B, C, D = PARTITIONS = [Partition("t", number) for number in range(4)]
WIDTH = 100

NEWEST = st.dictionaries(st.sampled_from(PARTITIONS), st.none() | st.integers(0, 400))
SOME = st.sets(st.sampled_from(PARTITIONS))


def unread(newest: Mapping[Partition, Micros | None], at_end: set[Partition]) -> dict[Partition, Micros | None]:
    return {partition: time for partition, time in newest.items() if partition not in at_end}


def test_one_far_ahead_waits_for_the_slowest() -> None:
    assert ahead({A: 0, B: 101, C: 100}, [], WIDTH) == {B}


def test_one_that_waits_goes_on_only_at_half_the_distance() -> None:
    for distance, waits in ((99, True), (51, True), (50, False), (0, False)):
        assert (B in ahead({A: 0, B: distance}, [], WIDTH, [B])) == waits
        assert B not in ahead({A: 0, B: distance}, [], WIDTH)


def test_one_that_was_read_to_its_end_is_waited_for_by_nobody() -> None:
    assert ahead({A: 0, B: 500, C: 1000}, [A], WIDTH) == {C}
    assert ahead({A: 0, B: 500, C: 1000}, [A, B, C], WIDTH) == set()
    assert ahead({A: None, B: 0, C: 500}, [A], WIDTH) == {C}


def test_one_at_its_end_waits_like_the_others() -> None:
    """There will be more of it, and that would be further ahead still."""
    assert ahead({A: 0, B: 500}, [B], WIDTH) == {B}


def test_nobody_waits_while_one_with_more_to_read_has_shown_nothing() -> None:
    assert ahead({A: 0, B: 500, C: None}, [], WIDTH, [B]) == set()
    assert ahead({A: 0, B: 500, C: None}, [C], WIDTH) == {B}


def test_without_partitions_nobody_waits() -> None:
    assert ahead({}, [], WIDTH) == set()


def test_without_any_width_only_the_slowest_is_read() -> None:
    assert ahead({A: 7, B: 8, C: 7}, [], 0, [C]) == {B}


@given(NEWEST, SOME, st.integers(0, 300), SOME)
def test_one_of_the_slowest_with_more_to_read_always_goes_on(
    newest: dict[Partition, Micros | None], at_end: set[Partition], width: Micros, waiting: set[Partition]
) -> None:
    behind = unread(newest, at_end)
    held = ahead(newest, at_end, width, waiting)
    if None in behind.values():
        assert held == set()
    slowest = min((time for time in behind.values() if time is not None), default=None)
    assert not {partition for partition, time in behind.items() if time == slowest} & held
    assert held <= {partition for partition, time in newest.items() if time is not None}


@given(NEWEST, SOME, st.integers(1, 300), SOME)
def test_to_have_waited_can_only_prolong_waiting(
    newest: dict[Partition, Micros | None], at_end: set[Partition], width: Micros, waiting: set[Partition]
) -> None:
    begun = ahead(newest, at_end, width)
    held = ahead(newest, at_end, width, waiting)
    assert begun <= held
    assert held - begun <= waiting
    assert ahead(newest, at_end, width, held) == held  # nothing flutters while nothing is read


@given(NEWEST, SOME, st.integers(1, 200))
def test_the_distance_stays_below_the_width_and_what_one_reads_at_once(
    newest: dict[Partition, Micros | None], at_end: set[Partition], width: Micros
) -> None:
    """Reading on, a step each, whoever may: all come to the end, and nobody gets further ahead than that."""
    step, last = 30, 2000
    times = {partition: time or 0 for partition, time in newest.items()}
    begun = max(times.values(), default=0)
    held: set[Partition] = set()
    while unread(times, ended := {partition for partition, time in times.items() if time >= last} | at_end):
        held = ahead(times, ended, width, held)
        moving = times.keys() - held - ended
        assert moving
        times |= {partition: times[partition] + step for partition in moving}
        behind = [time for partition, time in times.items() if partition not in ended]
        assert all(times[partition] <= max(min(behind) + width + step, begun) for partition in moving)
