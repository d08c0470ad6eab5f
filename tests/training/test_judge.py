"""Judging with numpy: the paired tests and the baselines. The gates have tests of their own in the domain."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel
from sklearn.metrics import roc_auc_score

from retrainer.domain.answers import with_score
from retrainer.domain.judging.challenge import RowLoss
from retrainer.domain.judging.verdicts import Bench, HeldOut, judge
from retrainer.domain.metrics.registry import METRICS
from retrainer.training.comparing import Bootstrap, MeanTest, standard_error
from retrainer.training.dataset import TrainingRows
from retrainer.training.judge import bench_of, last_labels
from retrainer.training.losses import differences, losses, row_loss
from tests.plain import plain_judge
from tests.training.orders import SPEC


def bench(metric: str, **changes: Any) -> Bench:
    """Of an order that judges by the metric."""
    return bench_of(replace(SPEC, metrics=(metric,), task=METRICS[metric].task, positive=None, **changes))


BOOTSTRAP = Bootstrap(bench=bench("f1_macro"), alpha=0.025, seed=0)


def answers(random: np.random.Generator, labels: list[str], accuracy: float) -> list[str]:
    right = random.random(len(labels)) < accuracy
    return [label if hit else ("y" if label == "x" else "x") for label, hit in zip(labels, right, strict=True)]


class TestBootstrap:
    def test_agrees_with_drawing_the_rows_themselves(self) -> None:
        random = np.random.default_rng(3)
        labels = ["x", "y", "y", "y"] * 100
        ours, theirs = answers(random, labels, 0.8), answers(random, labels, 0.75)
        found = BOOTSTRAP.compare(labels, ours, theirs, 0.0)
        assert found is not None
        arrays = [np.array(side) for side in (labels, ours, theirs)]
        differences = []
        for _ in range(1_000):
            drawn = random.integers(0, len(labels), len(labels))
            label, our, their = (side[drawn] for side in arrays)
            differences.append(f1_macro(label, our) - f1_macro(label, their))
        assert found.counts["lower"] == pytest.approx(np.quantile(differences, 0.025), abs=0.01)
        assert found.candidate - found.other == pytest.approx(f1_macro(*arrays[:2]) - f1_macro(arrays[0], arrays[2]))

    def test_the_chance_and_the_lower_limit_say_the_same(self) -> None:
        random = np.random.default_rng(4)
        labels = ["x", "y", "y"] * 100
        for accuracy in (0.7, 0.75, 0.8, 0.85):
            found = BOOTSTRAP.compare(labels, answers(random, labels, accuracy), answers(random, labels, 0.7), 0.02)
            assert found is not None
            if found.p <= 0.025:
                assert found.counts["lower"] > 0.02

    def test_the_same_answers_are_no_improvement(self) -> None:
        found = BOOTSTRAP.compare(["x", "y"] * 50, ["x"] * 100, ["x"] * 100, 0.0)
        assert found is not None
        assert (found.p, found.candidate - found.other) == (1.0, 0.0)

    def test_without_rows_there_is_no_value(self) -> None:
        assert BOOTSTRAP.compare([], [], [], 0.0) is None

    def test_a_smaller_error_share_asks_for_more_resamples(self) -> None:
        assert BOOTSTRAP.resamples == 2_000
        assert replace(BOOTSTRAP, alpha=0.001).resamples == 10_000
        assert replace(BOOTSTRAP, alpha=1e-9).resamples == 50_000

    def test_equal_models_are_accepted_as_rarely_as_promised(self) -> None:
        """120 judgements with fixed seeds; their share of the error is 2 % each, and 5 % is the promise."""
        judging = bench("balanced_accuracy", judge=plain_judge(min_rows=10))
        bootstrap = Bootstrap(bench=judging, alpha=judging.error_share, seed=0, fewest=400)
        judging = replace(judging, compare=bootstrap.compare)
        accepted = 0
        for seed in range(120):
            random = np.random.default_rng(seed)
            labels = ["x", "y", "y", "y"] * 75
            rows = HeldOut(
                labels=labels,
                candidate=answers(random, labels, 0.8),
                champion=answers(random, labels, 0.8),
                usual=["y"] * len(labels),
                last=["y", *labels[:-1]],
            )
            accepted += judge(judging, rows)[1].passed
        assert accepted <= 6


def scored(random: np.random.Generator, labels: list[str], noise: float) -> list[str]:
    """Answers with a score of y that is the better the less noise there is."""
    signal = np.array([1.0 if label == "y" else -1.0 for label in labels]) + random.normal(0, noise, len(labels))
    chances = 1 / (1 + np.exp(-signal))
    return [with_score("y" if chance > 0.5 else "x", chance) for chance in chances]


class TestScores:
    def test_the_order_of_scores_is_judged_by_the_same_bootstrap(self) -> None:
        random = np.random.default_rng(5)
        labels = ["x", "y", "y"] * 100
        judging = bench_of(replace(SPEC, metrics=("auc",), positive="y"))
        better, worse = scored(random, labels, 1.0), scored(random, labels, 3.0)
        found, swapped = (judging.compare(labels, *pair, 0.0) for pair in ((better, worse), (worse, better)))
        assert found is not None
        assert swapped is not None
        truth = [label == "y" for label in labels]
        expected = [roc_auc_score(truth, [float(one.split("\x1f")[1]) for one in side]) for side in (better, worse)]
        assert [found.candidate, found.other] == pytest.approx(expected, abs=0.005)
        assert (found.p < 0.01, swapped.p > 0.9) == (True, True)
        assert (found.p_worse > 0.9, swapped.p_worse < 0.01) == (True, True)

    def test_log_loss_is_judged_row_by_row(self) -> None:
        random = np.random.default_rng(6)
        labels = ["x", "y"] * 100
        judging = bench_of(replace(SPEC, metrics=("log_loss",), positive="y"))
        found = judging.compare(labels, scored(random, labels, 1.0), scored(random, labels, 3.0), 0.0)
        assert found is not None
        assert (found.test, found.candidate < found.other, found.p < 0.01) == ("paired_t", True, True)
        assert found.difference == pytest.approx(found.other - found.candidate)


class TestErrors:
    """Lower is better, and a difference is positive where the candidate is better."""

    @staticmethod
    def sides(gain: float, rows: int = 400, seed: int = 7) -> tuple[list[str], list[str], list[str]]:
        """Labels, and answers whose errors are spread by 1 - gain and by 1."""
        random = np.random.default_rng(seed)
        labels = random.normal(10, 3, rows)
        ours, theirs = (labels + random.normal(0, spread, rows) for spread in (1 - gain, 1.0))
        one, two, three = ([repr(float(value)) for value in side] for side in (labels, ours, theirs))
        return one, two, three

    def test_the_mean_error_is_compared_as_by_a_paired_t_test(self) -> None:
        labels, ours, theirs = self.sides(0.1)
        found = bench("mae").compare(labels, ours, theirs, 0.0)
        assert found is not None
        truth, one, two = (np.array(side, dtype=float) for side in (labels, ours, theirs))
        expected = ttest_rel(np.abs(two - truth), np.abs(one - truth), alternative="greater")
        assert found.p == pytest.approx(expected.pvalue)
        assert found.p_worse == pytest.approx(1 - expected.pvalue)
        assert found.difference == pytest.approx(found.other - found.candidate, rel=1e-6)
        assert found.difference > 0

    def test_an_improvement_is_asked_for_in_the_metrics_unit(self) -> None:
        labels, ours, theirs = self.sides(0.4)
        judging = bench("mae")
        near, far = (judging.compare(labels, ours, theirs, margin) for margin in (0.1, 1.0))
        assert near is not None
        assert far is not None
        assert (near.p < 0.01, far.p > 0.99) == (True, True)

    @pytest.mark.parametrize("metric", ["rmse", "r2"])
    def test_other_errors_are_judged_by_the_bootstrap(self, metric: str) -> None:
        labels, ours, theirs = self.sides(0.4)
        judging = bench(metric)
        found, swapped = judging.compare(labels, ours, theirs, 0.0), judging.compare(labels, theirs, ours, 0.0)
        assert found is not None
        assert swapped is not None
        assert (found.test, found.p < 0.01, swapped.p > 0.99) == ("paired_bootstrap", True, True)
        assert found.difference > 0 > swapped.difference

    @pytest.mark.parametrize("metric", ["mae", "mape", "rmse"])
    def test_the_same_answers_are_no_improvement(self, metric: str) -> None:
        labels, ours, _ = self.sides(0.1)
        found = bench(metric).compare(labels, ours, ours, 0.0)
        assert found is not None
        assert (found.p, found.p_worse, found.difference) == (1.0, 1.0, 0.0)

    def test_equal_models_are_accepted_as_rarely_as_promised(self) -> None:
        judging = bench("mae")
        chances = []
        for seed in range(200):
            found = judging.compare(*self.sides(0.0, rows=200, seed=seed), 0.0)
            assert found is not None
            chances.append(found.p)
        assert np.mean(np.array(chances) <= 0.05) < 0.09

    def test_a_metric_without_a_value_is_no_comparison(self) -> None:
        assert bench("mape").compare(["0", "0"], ["1", "2"], ["3", "4"], 0.0) is None
        assert MeanTest(bench=bench("mae")).compare([], [], [], 0.0) is None


class TestStandardError:
    def test_of_a_mean_and_by_resampling_agree(self) -> None:
        random = np.random.default_rng(9)
        labels = ["x", "y"] * 200
        ours, theirs = answers(random, labels, 0.8), answers(random, labels, 0.7)
        exact = standard_error(bench("accuracy"), 0, labels, ours, theirs)
        gains = [(a == label) - (b == label) for label, a, b in zip(labels, ours, theirs, strict=True)]
        assert exact == pytest.approx(np.std(gains, ddof=1) / sqrt(400))
        # With two classes of one size the balanced accuracy varies as the accuracy does.
        assert standard_error(bench("balanced_accuracy"), 0, labels, ours, theirs) == pytest.approx(exact, rel=0.2)

    def test_of_the_same_answers_is_none(self) -> None:
        assert standard_error(bench("accuracy"), 0, ["x", "y"], ["x", "x"], ["x", "x"]) == 0
        assert standard_error(bench("f1_macro"), 0, ["x", "y"] * 9, ["x"] * 18, ["x"] * 18) == 0


class TestSingleRows:
    """By what judging on compares them."""

    def test_right_and_wrong(self) -> None:
        judging = bench("accuracy")
        loss = row_loss(judging, ["x"], ["x"], ["y"])
        assert loss == RowLoss(kind="wrong")
        found = differences(judging, loss, list("xxxx"), list("xyxy"), list("yxxy"))
        assert (found.values, found.wins, found.losses, found.ties) == ((1, -1, 0, 0), 1, 1, 2)

    def test_classes_count_alike_where_the_metric_has_them_so(self) -> None:
        judging = bench("f1_macro")
        loss = row_loss(judging, list("xxxy"), list("xxxx"), list("xxxx"))
        assert (loss.weights, loss.scale, loss.exact) == ({"x": 4 / 6, "y": 2.0}, 2.0, False)
        assert differences(judging, loss, list("xy"), list("xy"), list("yx")).values == pytest.approx((1 / 3, 1.0))

    def test_errors_are_cut_where_few_lie_beyond(self) -> None:
        judging = bench("mae")
        labels = ["0"] * 1_000
        ours, theirs = ["0"] * 1_000, [str(number / 1_000) for number in range(999)] + ["1000000"]
        loss = row_loss(judging, labels, ours, theirs)
        assert loss.scale == pytest.approx(0.99, abs=0.01)
        found = differences(judging, loss, labels, ours, theirs)
        assert max(found.values) == 1.0
        assert found.values[500] == pytest.approx(0.5 / loss.scale)

    def test_scores(self) -> None:
        judging = bench_of(replace(SPEC, metrics=("auc",), positive="y"))
        loss = row_loss(judging, [], [], [])
        assert (loss.kind, loss.exact) == ("brier", False)
        found = losses(judging, loss, ["y", "x", "x"], [with_score("y", 0.8), with_score("y", 0.6), "x"])
        assert found[:2] == pytest.approx([0.04, 0.36])
        assert np.isnan(found[2])


def f1_macro(labels: np.ndarray, found: np.ndarray) -> float:
    scores = []
    for name in ("x", "y"):
        hits = ((labels == name) & (found == name)).sum()
        scores.append(2 * hits / ((labels == name).sum() + (found == name).sum()))
    return float(np.mean(scores))


class TestLastClass:
    """What repeating the last label would say: the last that was known when the prediction was made."""

    @staticmethod
    def rows(*rows: tuple[int, int, str]) -> TrainingRows:
        return TrainingRows(pd.DataFrame(rows, columns=["$predicted_at", "$known_at", "$label"]))

    def test_labels_count_from_when_they_were_known(self) -> None:
        learnt = self.rows((0, 5, "a"), (1, 30, "b"))
        held = self.rows((10, 12, "c"), (11, 100, "d"), (20, 40, "e"), (30, 50, "f"), (60, 70, "g"))
        assert last_labels(learnt, held, "z") == ["a", "a", "c", "b", "f"]

    def test_before_any_label_the_default_stands(self) -> None:
        assert last_labels(self.rows((0, 99, "a")), self.rows((1, 98, "b")), "z") == ["z"]
