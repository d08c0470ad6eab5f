"""Which segments are merged, and which are forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.ports.manifest.housekeeping import SegmentOutline
from retrainer.service.control.merging import FAN_IN, TARGET_BYTES, TARGET_RECORDS, outdated, run_to_merge

MIB = 2**20


def rows(*sizes: int | None, records: int = 1, parts: int = 1, first: int = 1) -> list[SegmentOutline]:
    """Neighbours of these sizes, each of so many parts and records."""
    return [
        SegmentOutline(
            number=first + (index + 1) * parts - 1,
            first=first + index * parts,
            name="",
            size=size,
            records=records,
            newest=0,
        )
        for index, size in enumerate(sizes)
    ]


def numbers(run: Sequence[SegmentOutline]) -> list[int]:
    return [one.number for one in run]


def test_nothing_is_merged_before_it_is_worth_a_file() -> None:
    assert run_to_merge([]) == []
    assert run_to_merge(rows(*[1000] * (FAN_IN - 1))) == []


def test_many_small_ones_are_merged_the_oldest_first() -> None:
    assert numbers(run_to_merge(rows(*[1000] * 250))) == list(range(1, FAN_IN + 1))


def test_fewer_are_merged_where_they_make_a_large_file() -> None:
    assert len(run_to_merge(rows(*[20 * MIB] * 9))) == 4
    assert len(run_to_merge(rows(*[1000] * 9, records=TARGET_RECORDS // 3 + 1))) == 3


def test_large_ones_stay_as_they_are() -> None:
    assert run_to_merge(rows(*[TARGET_BYTES // 2] * 200)) == []
    assert run_to_merge(rows(*[1000] * 200, records=TARGET_RECORDS // 2)) == []
    assert run_to_merge(rows(*[1000] * 200, parts=FAN_IN**2)) == []
    assert run_to_merge(rows(*[None] * 200)) == []  # of an unknown size


def test_what_was_merged_waits_for_its_like() -> None:
    once = rows(*[1000] * 99, parts=FAN_IN)
    fresh = rows(*[1000] * FAN_IN, first=once[-1].number + 1)
    assert run_to_merge([*once, *fresh]) == fresh
    one_more = rows(1000, parts=FAN_IN, first=once[-1].number + 1)
    assert run_to_merge([*once, *one_more]) == [*once, *one_more]


@pytest.mark.parametrize("between", ["large", "unreadable"])
def test_only_neighbours_are_merged(between: str) -> None:
    many = rows(*[1000] * 150)
    if between == "large":
        many[60] = replace(many[60], size=TARGET_BYTES)
        assert run_to_merge(many) == []
    else:
        assert run_to_merge(many, {61}) == []
        assert numbers(run_to_merge(many, {50})) == list(range(51, 151))


@given(st.lists(st.tuples(st.integers(0, TARGET_BYTES), st.integers(0, 2 * TARGET_RECORDS)), max_size=300))
def test_a_merge_is_always_of_several_and_never_much_beyond_the_target(facts: list[tuple[int, int]]) -> None:
    many = [
        replace(one, size=size, records=records)
        for one, (size, records) in zip(rows(*[0] * len(facts)), facts, strict=True)
    ]
    run = run_to_merge(many)
    if run:
        assert numbers(run) == list(range(run[0].number, run[-1].number + 1))
        assert 2 <= len(run) <= FAN_IN
        assert sum(one.size or 0 for one in run) < 1.5 * TARGET_BYTES
        assert sum(one.records for one in run) < 1.5 * TARGET_RECORDS


def test_a_long_history_ends_in_few_large_files() -> None:
    """Merging goes on until nothing is left to do; each record was written again twice."""
    many, written = rows(*[100] * 20_000), 0
    while run := run_to_merge(many):
        at = many.index(run[0])
        many[at : at + len(run)] = [
            replace(run[-1], first=run[0].first, size=100 * len(run), records=sum(one.records for one in run))
        ]
        written += many[at].records
    assert len(many) == 2
    assert written == 2 * 20_000


# Forgetting


def aged(*newest: int | None) -> list[SegmentOutline]:
    return [replace(one, newest=time) for one, time in zip(rows(*[1] * len(newest)), newest, strict=True)]


def test_the_oldest_are_forgotten_up_to_the_first_that_is_needed() -> None:
    assert numbers(outdated(aged(1, 2, 5, 2), 5, up_to=99)) == [1, 2]
    assert numbers(outdated(aged(1, 2, 3), 5, up_to=2)) == [1, 2]
    assert numbers(outdated(aged(5, 1), 5, up_to=99)) == []
    assert numbers(outdated([], 5, up_to=99)) == []


def test_what_says_nothing_of_its_age_goes_with_those_after_it() -> None:
    assert numbers(outdated(aged(None, 1, None, None, 2, None, 7), 5, up_to=99)) == [1, 2, 3, 4, 5]
    assert numbers(outdated(aged(None, None), 5, up_to=99)) == []
