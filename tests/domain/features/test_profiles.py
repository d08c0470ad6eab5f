"""Profiles of features: bins that are fixed once, and counts in them that are exact and add up."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.features.profiles import (
    MISSING,
    MISTYPED,
    MOST_CATEGORIES,
    MOST_FEATURES,
    FeatureColumn,
    FeatureProfile,
    feature_profile,
    profile_of,
    values_of,
)
from tests.domain.making import quick, restored

NUMBERS = st.one_of(
    st.none(), st.integers(-5, 5), st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, 10**400, 0])
)
TEXTS = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "", "late"]))
FEATURE = st.one_of(st.lists(NUMBERS, max_size=60), st.lists(TEXTS, max_size=60), st.lists(st.booleans(), max_size=20))


def number(*values: float) -> FeatureProfile:
    return feature_profile(values_of(values))


class TestKinds:
    @pytest.mark.parametrize(
        ("values", "kind"),
        [([1, 2.5, None], "number"), ([True, False], "boolean"), (["a", 1], "text"), ([True, 2], "text")],
    )
    def test_mixed_values_are_text_as_in_a_dataset(self, values: list[object], kind: str) -> None:
        assert values_of(values).kind == kind

    def test_what_is_not_finite_is_missing(self) -> None:
        found = number(1, math.nan, math.inf, 10**400, 2)
        assert found.counts[MISSING] == 3
        assert (found.quantiles[0], found.quantiles[-1]) == (1, 2)


class TestNumbers:
    def test_bins_hold_about_as_many_each(self) -> None:
        found = number(*range(1000))
        assert len(found.counts) == 2 + 22
        assert found.counts[2] == found.counts[-1] == 0, "nothing lies below or above what was seen"
        assert set(found.counts[3:-1]) <= {49, 50, 51, 52}

    def test_the_least_and_the_greatest_are_inside(self) -> None:
        found = number(*range(1000))
        assert found.bin_of(0) == 3
        assert found.bin_of(999) == len(found.counts) - 2
        assert found.bin_of(-0.1) == 2
        assert found.bin_of(999.1) == len(found.counts) - 1

    def test_a_constant_has_one_bin_of_its_own(self) -> None:
        found = number(7, 7, 7)
        assert found.is_constant
        assert [found.bin_of(value) for value in (6, 7, 8)] == [2, 3, 4]

    def test_spread_is_that_of_a_normal_distribution_and_heeds_no_outlier(self) -> None:
        values = np.random.default_rng(1).normal(5, 2, 20_000)
        values[:100] = 1e9
        assert number(*values.tolist()).spread == pytest.approx(2, rel=0.05)


class TestTexts:
    def test_the_commonest_are_told_apart(self) -> None:
        rows = [f"c{place}" for place in range(80) for _ in range(100 - place)]
        found = feature_profile(values_of(rows))
        assert found.categories == tuple(f"c{place}" for place in range(MOST_CATEGORIES))
        assert found.other == sum(100 - place for place in range(MOST_CATEGORIES, 80))

    def test_ids_are_not(self) -> None:
        found = feature_profile(values_of([f"id{n}" for n in range(500)]))
        assert (found.categories, found.other) == ((), 500)

    def test_another_type_counts_as_mistyped(self) -> None:
        assert number(1, 2).bin_of("1") == number(1, 2).bin_of(True) == MISTYPED
        assert feature_profile(values_of([True])).bin_of(1) == MISTYPED
        assert list(number(1, 2).binned(values_of(["a", None]))) == [1, 1, 0, 0, 0]


@quick
@given(FEATURE, FEATURE)
def test_counts_are_the_same_value_by_value_and_all_at_once_and_add_up(
    first: list[object], second: list[object]
) -> None:
    held = feature_profile(values_of(first))
    assert list(held.counts) == list(held.binned(values_of(first)))
    same_kind = values_of(second).kind == values_of(first + second).kind == held.kind
    if same_kind and values_of(first).present and values_of(second).present:
        one_by_one = Counter(held.bin_of(value) for value in second)
        assert list(held.binned(values_of(second))) == [one_by_one[place] for place in range(len(held.counts))]
        both = held.binned(values_of(first)) + held.binned(values_of(second))
        assert list(both) == list(held.binned(values_of(first + second)))


def test_places_of_a_column_are_the_bins_of_its_rows() -> None:
    numbers = FeatureColumn(kind="number", numbers=np.array([3.0, math.nan, 1.0, 9.0]))
    texts = FeatureColumn(kind="text", texts=np.array(["a", None, "z", "a"], dtype=np.object_))
    held = number(1, 2, 3, 4, 5)
    assert held.places(numbers).tolist() == [held.bin_of(value) for value in (3.0, None, 1.0, 9.0)]
    words = feature_profile(values_of(["a"] * 6))
    assert words.places(texts).tolist() == [words.bin_of(value) for value in ("a", None, "z", "a")]
    assert texts.values(1).texts == {"z": 1, "a": 1}
    assert (texts.values(1).missing, numbers.values(1, 3).missing) == (1, 1)


def test_it_survives_what_is_persisted_used_or_not() -> None:
    found = profile_of({"n": values_of([1, 2, None]), "t": values_of(["x"] * 9), "b": values_of([True])}, 9)
    found.features["n"].bin_of(1)
    found.features["t"].bin_of("x")
    assert restored(found) == found


def test_a_feature_that_no_row_has_is_missing_in_all() -> None:
    found = profile_of({"n": values_of(range(10))}, 10)
    assert found.binned({}, 4)["n"][MISSING] == 4


def test_there_is_a_bound_on_features() -> None:
    assert len(profile_of({f"f{n}": values_of([n]) for n in range(1000)}, 1).features) == MOST_FEATURES
