"""Metrics of regression against scikit-learn, on rows of all kinds and on real data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as reference
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

from retrainer.domain.metrics.registry import estimate, moments, value
from tests.domain.making import quick
from tests.domain.metrics.measuring import erring

# The numbers of one model are of one order: that of `scale`.
ordinary = st.floats(-1000, 1000).map(lambda one: round(one, 6))
errors = st.lists(st.tuples(ordinary, ordinary), min_size=1, max_size=60)
scales = st.sampled_from([1e-12, 1e-3, 1.0, 3600.0, 1e15])
REGRESSION = ("mae", "rmse", "mape", "r2")


@quick
@given(errors, scales)
def test_means_are_equal_at_every_scale(rows: list[tuple[float, float]], scale: float) -> None:
    labels, answers = np.array(rows).T * scale
    cells = erring(labels, answers)
    assert value("mae", cells) == pytest.approx(reference.mean_absolute_error(labels, answers), rel=1e-9)
    assert value("rmse", cells) == pytest.approx(reference.root_mean_squared_error(labels, answers), rel=1e-9)


@quick
@given(errors)
def test_relative_errors_are_over_labels_that_are_not_zero(rows: list[tuple[float, float]]) -> None:
    labels, answers = np.array([*rows, (0.0, 5.0)]).T
    one, kept = estimate("mape", erring(labels, answers)), labels != 0
    if not kept.any():
        assert one is None
        return
    assert one is not None
    assert one.n == kept.sum()
    expected = reference.mean_absolute_percentage_error(labels[kept], answers[kept])
    assert one.value == pytest.approx(expected, rel=1e-9)


@quick
@given(errors, scales)
def test_the_share_that_is_explained_is_equal(rows: list[tuple[float, float]], scale: float) -> None:
    labels, answers = np.array(rows).T * scale
    assume(len(rows) > 1 and labels.std() > 0.01 * abs(labels).max())
    expected = reference.r2_score(labels, answers)
    assert value("r2", erring(labels, answers)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_labels_that_do_not_differ_explain_nothing() -> None:
    assert value("r2", erring([5.0, 5.0, 5.0], [4.0, 5.0, 6.0])) is None
    # A time in seconds since 1970 that varies by microseconds: rounding is larger.
    assert value("r2", erring([1.7e9, 1.7e9 + 1e-6], [1.7e9, 1.7e9])) is None
    assert value("r2", erring([1.0], [1.0])) is None


def test_labels_far_from_zero_have_a_value_without_an_interval() -> None:
    labels = [1e5 + one for one in range(50)]
    found = estimate("r2", erring(labels, [one + 1 for one in labels]))
    assert found is not None
    assert found.value == pytest.approx(reference.r2_score(labels, [one + 1 for one in labels]), abs=0.01)
    assert (found.low, found.high) == (None, None)


def test_real_data() -> None:
    data = load_diabetes()
    model = LinearRegression().fit(data.data[:200], data.target[:200])
    labels, answers = data.target[200:], model.predict(data.data[200:])
    cells = erring(labels, answers)
    assert value("mae", cells) == pytest.approx(reference.mean_absolute_error(labels, answers), rel=1e-10)
    assert value("rmse", cells) == pytest.approx(reference.root_mean_squared_error(labels, answers), rel=1e-10)
    assert value("mape", cells) == pytest.approx(reference.mean_absolute_percentage_error(labels, answers), rel=1e-10)
    assert value("r2", cells) == pytest.approx(reference.r2_score(labels, answers), rel=1e-8)
    for metric in REGRESSION:
        one = estimate(metric, cells)
        assert one is not None
        assert one.low is not None
        assert one.high is not None
        assert one.low < one.value < one.high
        assert one.n == len(labels)


def test_moments_are_those_of_each_outcomes_error() -> None:
    cells = erring([1.0, 2.0, 4.0], [2.0, 4.0, 1.0])
    absolute, squared, relative = (moments(metric, cells) for metric in ("mae", "rmse", "mape"))
    assert absolute is not None
    assert squared is not None
    assert relative is not None
    assert (absolute.n, absolute.total, absolute.squares) == (3, 6, 14)
    assert (squared.n, squared.total, squared.squares) == (3, 14, 98)
    assert (relative.n, relative.total, relative.squares) == (3, 2.75, 2.5625)
    assert moments("r2", cells) is None


@pytest.mark.parametrize("metric", REGRESSION)
def test_of_no_outcomes_there_is_none(metric: str) -> None:
    assert value(metric, {}) is None
    assert estimate(metric, {}) is None
    assert moments(metric, {}) is None
