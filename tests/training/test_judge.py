"""Judging with numpy: the paired bootstrap and the baselines. The gates have tests of their own in the domain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from retrainer.domain.verdicts import HeldOut, JudgePolicy, judge
from retrainer.training.dataset import Rows
from retrainer.training.judge import Bootstrap, bench_of, last_classes
from tests.training.orders import SPEC

BOOTSTRAP = Bootstrap(metric="f1_macro", positive=None, alpha=0.025, seed=0)


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
        """120 judgements with fixed seeds; their share of the error is 2.5 % each, and 5 % is the promise."""
        spec = replace(SPEC, metrics=("balanced_accuracy",), judge=JudgePolicy(min_rows=10))
        bootstrap = replace(BOOTSTRAP, metric="balanced_accuracy", fewest=400)
        bench = replace(bench_of(spec), compare=bootstrap.compare)
        accepted = 0
        for seed in range(120):
            random = np.random.default_rng(seed)
            labels = ["x", "y", "y", "y"] * 75
            rows = HeldOut(
                labels=labels,
                candidate=answers(random, labels, 0.8),
                champion=answers(random, labels, 0.8),
                majority=["y"] * len(labels),
                last_class=["y", *labels[:-1]],
            )
            accepted += judge(bench, rows)[1].passed
        assert accepted <= 6


def f1_macro(labels: np.ndarray, found: np.ndarray) -> float:
    scores = []
    for name in ("x", "y"):
        hits = ((labels == name) & (found == name)).sum()
        scores.append(2 * hits / ((labels == name).sum() + (found == name).sum()))
    return float(np.mean(scores))


class TestLastClass:
    """What repeating the last label would say: the last that was known when the prediction was made."""

    @staticmethod
    def rows(*rows: tuple[int, int, str]) -> Rows:
        return Rows(pd.DataFrame(rows, columns=["$predicted_at", "$known_at", "$label"]))

    def test_labels_count_from_when_they_were_known(self) -> None:
        learnt = self.rows((0, 5, "a"), (1, 30, "b"))
        held = self.rows((10, 12, "c"), (11, 100, "d"), (20, 40, "e"), (30, 50, "f"), (60, 70, "g"))
        assert last_classes(learnt, held, "z") == ["a", "a", "c", "b", "f"]

    def test_before_any_label_the_default_stands(self) -> None:
        assert last_classes(self.rows((0, 99, "a")), self.rows((1, 98, "b")), "z") == ["z"]
