"""What each row says of an answer: the losses that paired tests and judging on are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from retrainer.domain.answers import answer_of
from retrainer.domain.judging.challenge import Differences, RowLoss
from retrainer.domain.judging.paired import Answers
from retrainer.domain.judging.verdicts import Bench
from retrainer.domain.metrics import registry as metrics

Losses = npt.NDArray[np.float64]
"""One for each row; NaN where the row says nothing (a relative error of a label that is 0, a missing score)."""

Kind = Literal["wrong", "brier", "log_loss", "absolute", "squared", "relative"]

_KINDS: Final[Mapping[str, Kind]] = {
    "brier": "brier",
    "log_loss": "log_loss",
    "auc": "brier",
    "calibration_error": "brier",
    "mae": "absolute",
    "mape": "relative",
    "rmse": "squared",
    "r2": "squared",
}
MEANS: Final = frozenset({"accuracy", "brier", "log_loss", "mae", "mape"})
"""The metrics that are the mean of a loss, or one less it."""

_WEIGHED: Final = frozenset({"balanced_accuracy", "f1_macro", "precision", "recall", "f1"})
"""Metrics that care about a class more than its share: as many points for all of each class together."""

_TAIL: Final = 0.99


def kind_of(metric: str) -> Kind:
    """The loss that a metric is the mean of, or the nearest thing to that."""
    return _KINDS.get(metric, "wrong")


def row_loss(bench: Bench, labels: Answers, ours: Answers, theirs: Answers) -> RowLoss:
    """By what single rows are to be compared from now on, for a judgement that was made on these.

    A metric that is no mean over rows gets the nearest loss that is: Brier's for the order and the calibration of
    scores, the squared error for its root, and right or wrong, with the classes weighed alike, for those of classes.
    An error without a bound is cut where one difference in a hundred lies beyond.
    """
    kind, exact = kind_of(bench.metric), bench.metric in MEANS
    if kind == "brier":
        return RowLoss(kind=kind, exact=exact)
    if kind == "wrong":
        weights = _weights(labels) if bench.metric in _WEIGHED else {}
        return RowLoss(kind=kind, weights=weights, scale=max(weights.values(), default=1.0), exact=exact)
    plain = RowLoss(kind=kind, exact=exact)
    sizes = np.abs(losses(bench, plain, labels, ours) - losses(bench, plain, labels, theirs))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    return RowLoss(kind=kind, scale=float(np.quantile(sizes, _TAIL)) if len(sizes) else 1.0, exact=exact)


def differences(bench: Bench, loss: RowLoss, labels: Answers, ours: Answers, theirs: Answers) -> Differences:
    """How much better the first did on each row, in units of the scale, cut to [-1, 1]."""
    found = (losses(bench, loss, labels, theirs) - losses(bench, loss, labels, ours)) / loss.scale
    return Differences(values=tuple(np.clip(found[np.isfinite(found)], -1.0, 1.0).tolist()))


def losses(bench: Bench, loss: RowLoss, labels: Answers, answers: Answers) -> Losses:
    """The loss of each row."""
    if loss.kind == "wrong":
        pairs = zip(labels, map(answer_of, answers), strict=True)
        wrong = [loss.weights.get(label, 1.0) if label != answer else 0.0 for label, answer in pairs]
        return np.array(wrong, dtype=np.float64)
    if loss.kind in ("brier", "log_loss"):
        return _of_scores(bench, loss.kind, labels, answers)
    return _errors(loss.kind, _numbers(labels), _numbers(answers))


def _of_scores(bench: Bench, metric: str, labels: Answers, answers: Answers) -> Losses:
    """The metric of each row alone, by the same code that computes it of many."""
    found: dict[tuple[str, str], float] = {}
    for pair in zip(labels, answers, strict=True):
        if pair not in found:
            alone = metrics.value(metric, bench.cells([pair[0]], [pair[1]]), bench.positive)
            found[pair] = float("nan") if alone is None else alone
    return np.array([found[pair] for pair in zip(labels, answers, strict=True)], dtype=np.float64)


def _errors(kind: Kind, labels: Losses, answers: Losses) -> Losses:
    errors: Losses = np.abs(labels - answers)
    if kind == "squared":
        return errors * errors
    if kind == "relative":
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(labels == 0, np.nan, errors / np.abs(labels))
    return errors


def _numbers(texts: Sequence[str]) -> Losses:
    return np.array([float(text) for text in texts], dtype=np.float64)


def _weights(labels: Answers) -> dict[str, float]:
    """So that every class together counts alike, and a row 1 on average."""
    counts = Counter(labels)
    return {name: len(labels) / (len(counts) * count) for name, count in counts.items()}
