"""The sizes of a split: the guard that waits for rows and the training that splits them use the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.judging.order import Recipe, holdout_rows, rows_needed_after_change, steps_of
from tests.domain.making import quick

counts = st.integers(0, 5_000)
shares = st.sampled_from([0.05, 0.1, 0.25, 0.4, 0.8])


class TestHoldout:
    @quick
    @given(counts, shares, counts)
    def test_without_a_change_it_is_the_share(self, total: int, share: float, least: int) -> None:
        assert holdout_rows(total, None, share, least) == round(total * share)

    @quick
    @given(counts, counts, shares, st.integers(1, 600))
    def test_after_a_change_it_leaves_as_much_to_learn_from(
        self, total: int, after: int, share: float, least: int
    ) -> None:
        found = holdout_rows(total, after, share, least)
        after = min(after, total)
        if after < rows_needed_after_change(least):
            assert found == round(total * share)
        else:
            assert least <= found <= after - found

    @quick
    @given(counts, st.none() | counts, shares, st.integers(1, 600), counts, st.integers(1, 3))
    def test_of_rows_new_to_the_champion_as_many_as_a_step_are_left_to_learn_from(
        self, total: int, after: int | None, share: float, least: int, unseen: int, steps: int
    ) -> None:
        unseen = min(unseen, total)
        found = holdout_rows(total, after, share, least, unseen=unseen, steps=steps)
        assert found <= holdout_rows(total, after, share, least)
        if found > least:
            assert unseen - found >= unseen // (steps + 1)

    @pytest.mark.parametrize(
        ("after", "rows"), [(599, 2_500), (600, 300), (1_000, 300), (2_000, 500), (10_000, 2_500), (99_999, 2_500)]
    )
    def test_of_ten_thousand_rows(self, after: int, rows: int) -> None:
        """A quarter of those after the change, from 600 of them on; `judge.min_rows` is 300."""
        assert holdout_rows(10_000, after, 0.25, 300) == rows


@pytest.mark.parametrize(("held", "steps"), [(99, 1), (199, 1), (200, 2), (300, 3), (9_000, 3)])
def test_a_candidate_is_judged_in_steps_of_a_hundred_rows_at_least(held: int, steps: int) -> None:
    assert steps_of(Recipe(estimator="any"), held, has_champion=True) == steps
    assert steps_of(Recipe(estimator="any"), held, has_champion=False) == 1
    assert steps_of(Recipe(estimator="any", refit=False), held, has_champion=True) == 1
