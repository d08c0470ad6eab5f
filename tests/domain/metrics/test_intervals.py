"""Intervals hold the true value in about 95 of 100 samples, as each claims; drawn by a fixed seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import erf

import numpy as np
import pytest

from retrainer.domain.metrics.registry import CLASSIFICATION, Cells, estimate, value
from tests.domain.metrics.measuring import binary, erring

Draw = Callable[[np.random.Generator, int], Cells]

TABLES = {
    "two": [[0.60, 0.10], [0.08, 0.22]],
    "good": [[0.70, 0.01], [0.01, 0.28]],
    "rare": [[0.90, 0.04], [0.02, 0.04]],
    "three": [[0.40, 0.05, 0.05], [0.03, 0.20, 0.02], [0.05, 0.05, 0.15]],
}


def covered(metrics: Iterable[str], draw: Draw, truth: Mapping[str, float], n: int, samples: int) -> dict[str, float]:
    """The share of samples whose interval holds the truth, of each metric."""
    random, hits = np.random.default_rng(20130415), Counter[str]()
    for _ in range(samples):
        cells = draw(random, n)
        for metric in metrics:
            found = estimate(metric, cells, "b")
            assert found is not None
            assert found.low is not None
            assert found.high is not None
            hits[metric] += found.low <= truth[metric] <= found.high
    return {metric: hits[metric] / samples for metric in metrics}


def truth_of(metrics: Iterable[str], cells: Cells) -> dict[str, float]:
    found = {metric: value(metric, cells, "b") for metric in metrics}
    return {metric: one for metric, one in found.items() if one is not None}


@pytest.mark.parametrize("table", TABLES)
def test_of_answers(table: str) -> None:
    shares = np.array(TABLES[table])
    names = [(truth, answer) for truth in "abc"[: len(shares)] for answer in "abc"[: len(shares)]]

    def draw(random: np.random.Generator, n: int) -> Cells:
        return dict(zip(names, random.multinomial(n, shares.ravel()).tolist(), strict=True))

    truth = truth_of(CLASSIFICATION, dict(zip(names, (shares.ravel() * 100).round().astype(int).tolist(), strict=True)))
    for metric, share in covered(CLASSIFICATION, draw, truth, n=300, samples=500).items():
        assert 0.91 <= share <= 0.99, metric


@pytest.mark.parametrize(("positives", "negatives"), [(60, 60), (15, 200), (200, 15)])
@pytest.mark.parametrize("distance", [0.5, 1.5, 3.0])
def test_of_the_area(positives: int, negatives: int, distance: float) -> None:
    """Scores of two normal distributions, whose area is known: Phi(distance / sqrt 2)."""

    def draw(random: np.random.Generator, n: int) -> Cells:
        high, low = random.normal(distance, 1, positives), random.normal(0, 1, negatives)
        chances = 1 / (1 + np.exp(-np.concatenate([high, low])))
        return binary([True] * positives + [False] * negatives, chances.tolist())

    area = 0.5 * (1 + erf(distance / 2))
    assert covered(["auc"], draw, {"auc": area}, n=positives + negatives, samples=250)["auc"] >= 0.9


def scores(random: np.random.Generator, n: int) -> Cells:
    """Overconfident ones: what has the chance p happens as often as p drawn toward one half."""
    chances = random.beta(1, 2, n)
    happened = random.random(n) < 0.1 + 0.8 * chances
    return binary(happened.tolist(), chances.tolist())


def errors(random: np.random.Generator, n: int) -> Cells:
    """Laplace's, around answers that are drawn toward their middle."""
    labels = random.uniform(10, 30, n)
    return erring(labels, 20 + 0.8 * (labels - 20) + random.laplace(0, 2, n))


@pytest.mark.parametrize(
    ("metrics", "draw"),
    [(("log_loss", "brier", "calibration_error"), scores), (("mae", "rmse", "mape", "r2"), errors)],
)
def test_of_losses_and_errors(metrics: Sequence[str], draw: Draw) -> None:
    truth = truth_of(metrics, draw(np.random.default_rng(1), 50_000))
    for metric, share in covered(metrics, draw, truth, n=200, samples=250).items():
        assert 0.91 <= share <= (1 if metric == "calibration_error" else 0.99), metric


def test_of_many_answers_reach_two_deviations_to_both_sides() -> None:
    shares = np.array([0.60, 0.05, 0.25, 0.10])
    names = [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]
    random = np.random.default_rng(20130415)
    tables: list[Cells] = [
        dict(zip(names, counts, strict=True)) for counts in random.multinomial(40_000, shares, 2000).tolist()
    ]
    for metric in CLASSIFICATION:
        found = estimate(metric, dict(zip(names, (shares * 40_000).astype(int).tolist(), strict=True)), "b")
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        reach = 1.96 * np.std([value(metric, table, "b") or 0.0 for table in tables])
        assert found.value - found.low == pytest.approx(reach, rel=0.08), metric
        assert found.high - found.value == pytest.approx(reach, rel=0.08), metric
