"""Every metric against scikit-learn, and the interval against published values."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from retrainer.domain.metrics.registry import (
    CLASSIFICATION,
    METRICS,
    Estimate,
    Moments,
    correct,
    estimate,
    moments,
    per_class,
    size,
    value,
    wilson,
    worse,
)
from retrainer.domain.tally.measures import SUM, N
from tests.domain.making import quick
from tests.effort import much

Row = tuple[str, str]
OF_POSITIVE = ("precision", "recall", "f1")
rows = st.lists(st.tuples(*[st.sampled_from(["a", "b", "c", "d"])] * 2), min_size=1, max_size=60)
_Score = Callable[..., float]


def cells(found: Sequence[Row]) -> Counter[Row]:
    return Counter(found)


def of_positive(score: _Score) -> Callable[[list[str], list[str], str], float]:
    def scored(truth: list[str], answers: list[str], positive: str) -> float:
        return float(score(truth, answers, labels=[positive], average="macro", zero_division=0))

    return scored


REFERENCE: dict[str, Callable[[list[str], list[str], str], float]] = {
    "accuracy": lambda truth, answers, _: reference.accuracy_score(truth, answers),
    "balanced_accuracy": lambda truth, answers, _: reference.balanced_accuracy_score(truth, answers),
    "f1_macro": lambda truth, answers, _: reference.f1_score(truth, answers, average="macro", zero_division=0),
    "f1_weighted": lambda truth, answers, _: reference.f1_score(truth, answers, average="weighted", zero_division=0),
    "precision": of_positive(reference.precision_score),
    "recall": of_positive(reference.recall_score),
    "f1": of_positive(reference.f1_score),
}


def referred(metric: str, found: Sequence[Row], positive: str) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true|A single label was found")
        return REFERENCE[metric]([truth for truth, _ in found], [answer for _, answer in found], positive)


class TestValues:
    def test_every_metric_has_a_reference(self) -> None:
        assert set(CLASSIFICATION) == set(REFERENCE)

    @settings(quick, max_examples=much(30))
    @given(found=rows, positive=st.sampled_from(["a", "b", "c", "d"]))
    def test_agree_with_scikit_learn(self, found: list[Row], positive: str) -> None:
        present = any(positive in row for row in found)
        for metric in CLASSIFICATION:
            if metric in OF_POSITIVE and not present:
                assert value(metric, cells(found), positive) is None
            else:
                assert value(metric, cells(found), positive) == pytest.approx(referred(metric, found, positive))

    @quick
    @given(found=rows)
    def test_without_a_positive_class_the_greatest_name_is_meant(self, found: list[Row]) -> None:
        greatest = max(name for row in found for name in row)
        for metric in OF_POSITIVE:
            assert value(metric, cells(found)) == value(metric, cells(found), greatest)

    @pytest.mark.parametrize("metric", OF_POSITIVE)
    def test_of_a_class_that_nobody_named_there_is_none(self, metric: str) -> None:
        # Not 0: a quiet hour without any fraud is no breach of a line on recall.
        assert value(metric, {("no", "no"): 90}, "fraud") is None
        assert value(metric, {("no", "no"): 90, ("fraud", "fraud"): 0}, "fraud") is None

    @pytest.mark.parametrize("metric", CLASSIFICATION)
    def test_of_no_outcomes_there_is_none(self, metric: str) -> None:
        assert value(metric, {}) is None
        assert value(metric, {("a", "b"): 0}, "a") is None
        assert estimate(metric, {}) is None

    @quick
    @given(found=rows)
    def test_a_cell_that_has_come_down_to_zero_does_not_count(self, found: list[Row]) -> None:
        emptied = cells(found)
        emptied["z", "z"] = emptied["a", "z"] = 0
        for metric in CLASSIFICATION:
            assert value(metric, emptied) == value(metric, cells(found))

    def test_a_metric_that_is_not_there_is_refused(self) -> None:
        with pytest.raises(KeyError):
            value("acuracy", {("a", "a"): 1})

    def test_sizes_are_exact(self) -> None:
        found = {("a", "a"): 2**60, ("a", "b"): 1}
        assert size(found) == 2**60 + 1
        assert correct(found) == 2**60


class TestWilson:
    @pytest.mark.parametrize(
        ("hits", "n", "low", "high"),
        [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
    )
    def test_agrees_with_the_published_table(self, hits: int, n: int, low: float, high: float) -> None:
        """Newcombe, Two-sided confidence intervals for the single proportion, Stat. Med. 17 (1998), table I."""
        assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)
        assert wilson(n - hits, n) == pytest.approx((1 - high, 1 - low), abs=5e-5)

    @quick
    @given(st.data(), st.integers(1, 10**6), st.sampled_from([(0.9, 1.644854), (0.95, 1.959964), (0.99, 2.575829)]))
    def test_its_limits_are_the_shares_that_the_score_test_just_allows(
        self, data: st.DataObject, n: int, level: tuple[float, float]
    ) -> None:
        hits, (confidence, z) = data.draw(st.integers(0, n)), level
        for limit in wilson(hits, n, confidence):
            assert (hits / n - limit) ** 2 == pytest.approx(z * z * limit * (1 - limit) / n, rel=1e-4, abs=1e-9)

    @quick
    @given(st.integers(1, 10**9))
    def test_none_and_all_have_a_limit_at_the_edge(self, n: int) -> None:
        nothing, everything = wilson(0, n), wilson(n, n)
        assert nothing[0] == 0
        assert everything[1] == 1
        assert 0 < nothing[1] <= 1
        assert 0 <= everything[0] < 1

    @quick
    @given(st.data(), st.integers(1, 10**6))
    def test_it_holds_the_share_itself(self, data: st.DataObject, n: int) -> None:
        hits = data.draw(st.integers(0, n))
        low, high = wilson(hits, n)
        assert 0 <= low <= hits / n <= high <= 1


class TestEstimate:
    def test_of_accuracy_has_an_interval(self) -> None:
        low, high = wilson(81, 263)
        assert estimate("accuracy", {("a", "a"): 80, ("b", "b"): 1, ("a", "b"): 182}) == Estimate(
            metric="accuracy", value=81 / 263, n=263, low=low, high=high
        )

    @pytest.mark.parametrize(("metric", "hits", "n"), [("precision", 30, 40), ("recall", 30, 36)])
    def test_of_precision_and_recall_is_over_their_own_outcomes(self, metric: str, hits: int, n: int) -> None:
        found = estimate(metric, {("a", "a"): 30, ("b", "a"): 10, ("a", "b"): 6, ("b", "b"): 50}, "a")
        assert found is not None
        assert (found.value, found.n, (found.low, found.high)) == (hits / n, n, wilson(hits, n))

    @settings(quick, max_examples=much(30))
    @given(found=rows, positive=st.sampled_from(["a", "b"]))
    def test_every_value_lies_in_its_interval(self, found: list[Row], positive: str) -> None:
        for metric in CLASSIFICATION:
            one = estimate(metric, cells(found), positive)
            if one is not None:
                assert one.low is not None
                assert one.high is not None
                assert 0 <= one.low <= one.value + 1e-12
                assert one.value - 1e-12 <= one.high <= 1

    @pytest.mark.parametrize("metric", CLASSIFICATION)
    def test_of_answers_without_a_flaw_is_not_certain(self, metric: str) -> None:
        found = estimate(metric, {("a", "a"): 40, ("b", "b"): 60}, "a")
        assert found is not None
        assert found.value == found.high == 1
        assert found.low is not None
        assert 0.7 < found.low < 0.99

    def test_of_an_answer_that_was_never_given_tells_nothing(self) -> None:
        found = estimate("precision", {("fraud", "fair"): 3, ("fair", "fair"): 90}, "fraud")
        assert found == Estimate(metric="precision", value=0.0, n=0, low=0.0, high=1.0)

    def test_of_every_class_each_has_its_own(self) -> None:
        table = {("a", "a"): 30, ("b", "a"): 10, ("a", "b"): 6, ("b", "b"): 50}
        found = per_class(table)
        assert set(found) == {"a", "b"}
        for name, estimates in found.items():
            assert list(estimates.values()) == [estimate(metric, table, name) for metric in OF_POSITIVE]


class TestRegistry:
    def test_knows_which_of_two_values_is_worse(self) -> None:
        assert worse("accuracy", 0.8, than=0.9)
        assert not worse("accuracy", 0.9, than=0.9)
        assert worse("rmse", 3.0, than=2.0)
        assert not worse("rmse", 2.0, than=2.0)

    def test_moments_are_those_of_what_the_metric_is_the_mean_of(self) -> None:
        assert moments("accuracy", {("a", "a"): 30, ("b", "a"): 10}) == Moments(n=40, total=30, squares=30)
        assert moments("accuracy", {}) is None
        assert moments("f1", {("a", "a"): 30}) is None
        assert {name for name, metric in METRICS.items() if metric.moments} == {
            *("accuracy", "log_loss", "brier"),
            *("mae", "rmse", "mape"),
        }

    @pytest.mark.parametrize("metric", METRICS)
    def test_what_was_taken_back_beyond_the_window_breaks_nothing(self, metric: str) -> None:
        for found in (
            {("a", "a"): -1},
            {("a", "a"): 5, ("a", "b"): -2, (SUM, "log_loss@-30"): -(2**33), (SUM, "scored"): -3},
            {(SUM, N): -2, (SUM, "e@-30"): -(2**40), (SUM, "e2@-30"): -(2**40), (SUM, "nonzero"): -1},
            {(SUM, N): 3, (SUM, "e@-30"): -(2**40), (SUM, "e2@-30"): -(2**40), (SUM, "y2@-30"): -(2**40)},
        ):
            one = estimate(metric, found, "a")
            assert one is None or one.value >= 0
