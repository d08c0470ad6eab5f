"""Measures: what an outcome adds, and that adding and taking back are exact in any order."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.answers import with_score
from retrainer.domain.metrics.registry import METRICS, correct, estimate, size
from retrainer.domain.tally.measures import (
    LARGEST_LOSS,
    NEGATIVES,
    POSITIVES,
    SCORED,
    SUM,
    N,
    cells_from,
    expansion,
    is_measure,
    score_bin,
    settled,
    sums,
)
from tests.domain.making import quick
from tests.domain.metrics.measuring import binary, erring, scored

finite = st.floats(allow_nan=False, allow_infinity=False)
chances = st.floats(0, 1)
outcomes = st.lists(st.tuples(st.booleans(), chances), min_size=1, max_size=30)
errors = st.lists(st.tuples(finite, finite), min_size=1, max_size=30)


class TestExactness:
    @quick
    @given(outcomes, st.data())
    def test_scores_in_any_order_and_any_parts_are_the_same_cells(
        self, found: list[tuple[bool, float]], data: st.DataObject
    ) -> None:
        mixed, cut = data.draw(st.permutations(found)), data.draw(st.integers(0, len(found)))
        parts = [binary(*zip(*part, strict=True)) for part in (mixed[:cut], mixed[cut:]) if part]
        assert sum(parts, Counter()) == binary(*zip(*found, strict=True))

    @quick
    @given(errors, errors)
    def test_errors_taken_back_leave_nothing(
        self, kept: list[tuple[float, float]], taken: list[tuple[float, float]]
    ) -> None:
        cells = erring(*zip(*taken, *kept, strict=True))
        cells.subtract(erring(*zip(*taken, strict=True)))
        assert {cell: n for cell, n in cells.items() if n} == erring(*zip(*kept, strict=True))

    @quick
    @given(errors)
    def test_no_outcome_adds_more_than_a_long_minute_of_them_can_hold(self, found: list[tuple[float, float]]) -> None:
        for label, answer in found:
            assert all(abs(n) <= 2**41 for n in erring([label], [answer]).values())

    @quick
    @given(outcomes)
    def test_no_score_adds_more_than_a_long_minute_of_them_can_hold(self, found: list[tuple[bool, float]]) -> None:
        for truth, chance in found:
            assert all(0 <= n <= 2**41 for n in binary([truth], [chance]).values())

    @quick
    @given(st.floats(1e-60, 1e60), st.floats(1e-60, 1e60))
    def test_a_sum_is_read_as_it_was_written(self, label: float, answer: float) -> None:
        found = sums(erring([label], [answer]))
        assert found["y"] == pytest.approx(label, rel=2**-36)
        assert found["y2"] == pytest.approx(label * label, rel=2**-36)
        assert found.get("e", 0) == pytest.approx(abs(label - answer), rel=2**-36)

    def test_errors_of_one_magnitude_share_their_cells(self) -> None:
        random = np.random.default_rng(7)
        labels = random.uniform(300, 3000, 2000)
        assert len(erring(labels, labels + random.normal(0, 200, 2000))) < 80

    def test_errors_that_are_too_large_for_any_metric_harm_none(self) -> None:
        found = erring([1e308, -1e308, 1.0], [-1e308, 1e308, 1.0])
        for name, metric in METRICS.items():
            one = estimate(name, found) if metric.task == "regression" else None
            assert one is None or (one.n > 0 and math.isfinite(one.value))


class TestExpansion:
    def test_answers_without_scores_need_none(self) -> None:
        assert expansion("classification", scores="none", positive="yes") is None
        assert cells_from("classification", ["a", "a"], ["a", "b"], None) == {("a", "a"): 1, ("a", "b"): 1}

    @pytest.mark.parametrize("value", ["yes", "yes\x1f1.5", "yes\x1fnan", 'yes\x1f{"yes":7,"no":0.1}', "yes\x1f{}"])
    @pytest.mark.parametrize("kept", ["exact", "binned"])
    def test_an_outcome_without_a_probability_counts_as_one_without_a_score(self, value: str, kept: str) -> None:
        assert scored(["no"], [value], "yes", "exact" if kept == "exact" else "binned") == {("no", "yes"): 1}

    def test_sizes_are_those_of_outcomes_alone(self) -> None:
        found = scored(["yes", "no", "no"], ["yes\x1f0.9", "yes\x1f0.6", "no"], "yes")
        assert (size(found), correct(found), found[SUM, SCORED]) == (3, 2, 2)
        assert size(erring([1.0, 2.0], [1.0, 3.0])) == 2

    def test_a_label_of_zero_has_no_relative_error(self) -> None:
        found = erring([0.0, 2.0], [1.0, 3.0])
        assert (found[SUM, N], found[SUM, "nonzero"]) == (2, 1)

    def test_what_is_no_number_adds_nothing_to_a_regression(self) -> None:
        expand = expansion("regression", scores="none", positive=None)
        assert cells_from("regression", ["1", "nan", "x"], ["y", "2", "inf"], expand) == {}

    def test_the_impossible_that_happened_costs_a_finite_loss(self) -> None:
        found = sums(scored(["yes"], ["no\x1f0"], "yes"))
        assert found["log_loss"] == pytest.approx(LARGEST_LOSS)
        assert found["brier"] == 1

    def test_a_score_without_a_positive_class_is_the_answers_own(self) -> None:
        found = sums(scored(["b"], ["b\x1f0.8"], None))
        assert found["brier"] == pytest.approx(0.04)
        assert found["log_loss"] == pytest.approx(-math.log(0.8))
        assert not any(
            cell[0] in (POSITIVES, NEGATIVES) and cell[1][0] != "c" for cell in scored(["b"], ["b\x1f0.8"], None)
        )

    @quick
    @given(st.booleans(), st.sampled_from([0.25, 0.5, 0.75, 1.0]))
    def test_both_probabilities_say_the_same_as_one(self, truth: bool, chance: float) -> None:
        label, answer = "yes" if truth else "no", "yes" if chance >= 0.5 else "no"
        one = scored([label], [with_score(answer, chance)], "yes")
        both = with_score(answer, {"yes": chance, "no": 1 - chance})
        assert scored([label], [both], "yes") == scored([label], [both], None) == one


class TestScoreBins:
    @quick
    @given(chances, chances)
    def test_keep_the_order_of_scores(self, one: float, other: float) -> None:
        assert (score_bin(one) - score_bin(other)) * (one - other) >= 0

    @quick
    @given(chances)
    def test_are_narrow_and_narrower_toward_both_ends(self, score: float) -> None:
        for near in (score + 1 / 128, score - 1 / 128):
            assert score_bin(min(1.0, max(0.0, near))) != score_bin(score) or not 0.008 < near < 0.992
        if 1e-5 < score < 0.4:
            assert score_bin(score) < score_bin(score * 1.04)
            assert score_bin(1 - score) > score_bin(1 - score * 1.04)


class TestSettled:
    def test_drops_counts_that_are_not_above_zero_and_keeps_sums(self) -> None:
        kept = {("a", "b"): 2, (SUM, "y@-36"): -5, (POSITIVES, "c3"): 1}
        dropped = {("a", "a"): -1, ("b", "b"): 0, (NEGATIVES, "c3"): -2, (SUM, "e@-36"): 0}
        assert settled({**kept, **dropped}) == kept

    def test_knows_measures(self) -> None:
        assert is_measure((SUM, N))
        assert not is_measure(("a", "b"))
