"""When a topic is given up: only after so many unusable records in a row, and never because of another topic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.join.poison import PoisonLimit


def test_a_topic_of_nothing_but_poison_is_halted_once() -> None:
    limit = PoisonLimit(10)
    assert [limit.count("labels", good=0, bad=4) for _ in range(4)] == [None, None, 12, None]
    assert limit.halted == {"labels"}


def test_the_limit_itself_is_too_many() -> None:
    assert PoisonLimit(3).count("labels", good=0, bad=2) is None
    assert PoisonLimit(3).count("labels", good=0, bad=3) == 3


def test_one_good_record_ends_the_row() -> None:
    limit = PoisonLimit(10)
    for _ in range(100):
        assert limit.count("labels", good=0, bad=9) is None
        assert limit.count("labels", good=1, bad=5000) is None
    assert limit.halted == set()


def test_topics_are_counted_apart() -> None:
    limit = PoisonLimit(10)
    for _ in range(9):
        assert limit.count("labels", good=0, bad=1) is None
        assert limit.count("predictions", good=0, bad=1) is None
    assert limit.count("labels", good=0, bad=1) == 10
    assert limit.halted == {"labels"}


def test_batches_without_records_change_nothing() -> None:
    limit = PoisonLimit(2)
    limit.count("labels", good=0, bad=1)
    assert limit.count("labels", good=0, bad=0) is None
    assert limit.count("labels", good=0, bad=1) == 2


def test_a_new_start_tries_the_topic_again() -> None:
    limit = PoisonLimit(1)
    limit.count("labels", good=0, bad=1)
    assert PoisonLimit(1).halted == set()


@given(st.integers(1, 20), st.lists(st.tuples(st.booleans(), st.integers(1, 5)), max_size=50))
def test_a_topic_is_halted_exactly_when_a_row_of_bad_batches_reaches_the_limit(
    limit: int, batches: list[tuple[bool, int]]
) -> None:
    poison = PoisonLimit(limit)
    rows = [0]
    for is_good, records in batches:
        poison.count("t", good=records if is_good else 0, bad=0 if is_good else records)
        rows.append(0 if is_good else rows[-1] + records)
    assert (poison.halted == {"t"}) == (max(rows) >= limit)
