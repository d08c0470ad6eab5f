"""Metrics of scores against scikit-learn, on rows of all kinds and on real data."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from retrainer.domain.answers import with_score
from retrainer.domain.metrics.registry import Estimate, estimate, moments, value
from retrainer.domain.tally.measures import ROUNDING, settled
from tests.domain.making import quick
from tests.domain.metrics.measuring import Cells, Floats, binary, scored

chances = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0, 1e-9, 0.1, 0.2])
outcomes = st.lists(st.tuples(st.booleans(), chances), min_size=1, max_size=60)


def calibration_error(right: Floats, confidence: Floats) -> float:
    """As Guo et al. define it: bins ((m - 1) / 10, m / 10]; the lowest holds 0 too."""
    bins = np.clip(np.ceil(confidence * 10) - 1, 0, 9)
    gaps = [abs((confidence[bins == one] - right[bins == one]).sum()) for one in range(10)]
    return float(sum(gaps) / len(right))


def found(metric: str, cells: Cells, positive: str | None = "yes") -> Estimate:
    one = estimate(metric, cells, positive)
    assert one is not None
    return one


class TestAgainstScikitLearn:
    @quick
    @given(outcomes)
    def test_losses_are_equal(self, rows: list[tuple[bool, float]]) -> None:
        truth, scores = [list(column) for column in zip(*rows, strict=True)]
        cells = binary(truth, scores)
        assert value("brier", cells) == pytest.approx(
            reference.brier_score_loss(truth, scores, pos_label=True), abs=1e-9
        )
        expected = reference.log_loss(truth, scores, labels=[False, True])
        assert value("log_loss", cells) == pytest.approx(expected, rel=1e-9, abs=1e-9)

    @quick
    @given(outcomes)
    def test_the_area_is_equal_within_its_bound(self, rows: list[tuple[bool, float]]) -> None:
        truth, scores = zip(*rows, strict=True)
        one = estimate("auc", binary(truth, scores))
        if len(set(truth)) < 2:
            assert one is None
        else:
            assert one is not None
            assert one.bound is not None
            assert abs(one.value - reference.roc_auc_score(truth, scores)) <= one.bound + 1e-12

    @quick
    @given(outcomes)
    def test_the_calibration_error_is_equal(self, rows: list[tuple[bool, float]]) -> None:
        truth, scores = (np.array(column) for column in zip(*rows, strict=True))
        one = found("calibration_error", binary(truth.tolist(), scores.tolist()))
        expected = calibration_error((scores >= 0.5) == truth, np.where(scores >= 0.5, scores, 1 - scores))
        assert one.value == pytest.approx(expected, abs=1e-8)
        assert one.bound is None


@cache
def breast_cancer() -> tuple[Floats, Floats]:
    """Labels and the probability of 1, of rows that the model has not seen."""
    data = load_breast_cancer()
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data.data[:150], data.target[:150])
    return data.target[150:], model.predict_proba(data.data[150:])[:, 1]


class TestRealData:
    def test_two_classes(self) -> None:
        truth, scores = breast_cancer()
        cells = binary((truth == 1).tolist(), scores.tolist())
        area = found("auc", cells)
        assert area.bound is not None
        assert area.bound < 0.002
        assert abs(area.value - reference.roc_auc_score(truth, scores)) <= area.bound + 1e-12
        assert value("log_loss", cells) == pytest.approx(reference.log_loss(truth, scores), abs=1e-8)
        assert value("brier", cells) == pytest.approx(reference.brier_score_loss(truth, scores), abs=1e-8)
        assert area.n == found("log_loss", cells).n == found("calibration_error", cells).n == len(truth)

    def test_three_classes(self) -> None:
        data = load_wine()
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data.data[::3], data.target[::3])
        truth, scores = data.target, model.predict_proba(data.data)
        names = ["0", "1", "2"]
        texts = [with_score(names[int(row.argmax())], dict(zip(names, row, strict=True))) for row in scores]
        cells = scored([str(one) for one in truth], texts, "1")
        # Scores keep six digits in a text.
        assert value("log_loss", cells) == pytest.approx(reference.log_loss(truth, scores), rel=1e-5)
        assert value("brier", cells) == pytest.approx(reference.brier_score_loss(truth, scores), rel=1e-5)
        area = found("auc", cells, "1")
        assert area.bound is not None
        assert abs(area.value - reference.roc_auc_score(truth == 1, scores[:, 1])) <= area.bound + 1e-12
        assert value("auc", scored([str(one) for one in truth], texts, None)) is None

    def test_a_rounded_confidence_gives_the_calibration_error_within_its_bound(self) -> None:
        truth, scores = breast_cancer()
        answers, confidence = scores >= 0.5, np.round(np.where(scores >= 0.5, scores, 1 - scores) * 20) / 20
        texts = [with_score("yes" if one else "no", p) for one, p in zip(answers, confidence.tolist(), strict=True)]
        cells = scored(["yes" if one else "no" for one in truth], texts, "yes", "binned")
        one, exact = found("calibration_error", cells), np.where(answers, scores, 1 - scores)
        assert one.bound == pytest.approx(ROUNDING)
        bins = np.clip(np.ceil(confidence * 10 - 1e-9) - 1, 0, 9)
        gaps = [abs((exact[bins == k] - (answers == truth)[bins == k]).sum()) for k in range(10)]
        assert abs(one.value - sum(gaps) / len(truth)) <= one.bound
        assert one.n == len(truth)
        assert value("auc", cells) is value("log_loss", cells) is value("brier", cells) is None


class TestMoments:
    @quick
    @given(outcomes)
    def test_are_those_of_each_outcomes_loss(self, rows: list[tuple[bool, float]]) -> None:
        truth, scores = (np.array(column) for column in zip(*rows, strict=True))
        losses = (scores - truth) ** 2
        one = moments("brier", binary(truth.tolist(), scores.tolist()))
        assert one is not None
        assert (one.n, one.total, one.squares) == pytest.approx((len(rows), losses.sum(), (losses**2).sum()), abs=1e-7)


class TestCorrections:
    @quick
    @given(outcomes, outcomes)
    def test_whatever_is_taken_back_every_value_is_sane(
        self, rows: list[tuple[bool, float]], taken: list[tuple[bool, float]]
    ) -> None:
        cells = binary(*zip(*rows, strict=True))
        cells.subtract(binary(*zip(*taken, strict=True)))
        for metric in ("auc", "log_loss", "brier", "calibration_error"):
            one = estimate(metric, settled(cells), "yes")
            assert one is None or (one.n > 0 and one.value >= 0)
