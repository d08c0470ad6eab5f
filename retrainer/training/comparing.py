"""Paired tests for metrics other than accuracy: of a mean loss by its rows, of anything else by a bootstrap."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil, isnan, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.special import stdtr

from retrainer.domain.answers import answer_of
from retrainer.domain.judging.challenge import RowLoss
from retrainer.domain.judging.paired import Answers, Compare, Comparison, better_by, compare_accuracy
from retrainer.domain.judging.verdicts import Bench
from retrainer.domain.metrics import registry as metrics
from retrainer.training.losses import MEANS, kind_of, losses

FEWEST_RESAMPLES: Final = 2_000
MOST_RESAMPLES: Final = 50_000
ERROR_RESAMPLES: Final = 200
"""Enough for a standard error (Efron and Tibshirani 1993, section 6.4)."""
_AT_ONCE: Final = 5_000_000
"""Numbers drawn at once: 40 MB."""

_FEW: Final = 100
"""Distinct rows up to which their numbers are drawn at once; of more, single rows are drawn faster."""

_Triple = tuple[str, str, str]
"""(label, candidate's answer, the other's answer)."""


def comparison_for(bench: Bench, seed: int) -> Compare:
    """The paired test for the bench's metric."""
    if bench.metric == "accuracy":
        return compare_accuracy
    if bench.metric in MEANS:
        return MeanTest(bench=bench).compare
    return Bootstrap(bench=bench, alpha=bench.error_share, seed=seed).compare


def standard_error(bench: Bench, seed: int, labels: Answers, ours: Answers, theirs: Answers) -> float:
    """Of the difference between two values of the bench's metric on the same rows; 0 without a difference."""
    if bench.metric in MEANS:
        return _Paired.of(bench, labels, ours, theirs).error
    bootstrap = Bootstrap(bench=bench, alpha=1.0, seed=seed, fewest=ERROR_RESAMPLES)
    found = bootstrap.differences(labels, ours, theirs)
    return float(np.std(found, ddof=1)) if len(found) > 1 else 0.0


def chance_worse(bench: Bench, labels: Answers, ours: Answers, theirs: Answers) -> float:
    """The chance of doing as badly beside the other, row by row, if the first were as good.

    Rows are compared by the loss that the metric is the mean of, or by the nearest thing to that.
    """
    if kind_of(bench.metric) == "wrong":
        found = compare_accuracy(labels, ours, theirs, 0.0)
        return 1.0 if found is None else found.p_worse
    paired = _Paired.of(bench, labels, ours, theirs)
    return paired.chance(-paired.mean)


@dataclass(frozen=True, kw_only=True)
class _Paired:
    """By how much the first was better on the rows: the mean and its standard error."""

    n: int
    mean: float
    error: float

    @classmethod
    def of(cls, bench: Bench, labels: Answers, ours: Answers, theirs: Answers) -> _Paired:
        loss = RowLoss(kind=kind_of(bench.metric))
        found = losses(bench, loss, labels, theirs) - losses(bench, loss, labels, ours)
        found = found[np.isfinite(found)]
        n = len(found)
        error = float(np.std(found, ddof=1)) / sqrt(n) if n > 1 else 0.0
        return cls(n=n, mean=float(np.mean(found)) if n else 0.0, error=error)

    def chance(self, excess: float) -> float:
        """Of so large an excess over the hypothesis, by Student's distribution."""
        if self.n < 2 or not self.error:
            return 0.0 if excess > 0 and self.n > 1 else 1.0
        return float(stdtr(self.n - 1, -excess / self.error))


@dataclass(frozen=True, kw_only=True)
class MeanTest:
    """The paired t-test of mean losses, row by row.

    Diebold and Mariano, Comparing predictive accuracy, Journal of Business & Economic Statistics 13 (1995), 253-263,
    doi 10.1080/07350015.1995.10524599, for forecasts of single rows: the mean of the loss differences over its
    standard error. With hundreds of rows it needs no assumption about how the differences are distributed.
    """

    bench: Bench

    def compare(self, labels: Answers, candidate: Answers, other: Answers, margin: float) -> Comparison | None:
        """The candidate against the other; None where the metric has no value on these rows."""
        metric = self.bench.metric
        ours, theirs = self.bench.value(metric, labels, candidate), self.bench.value(metric, labels, other)
        if ours is None or theirs is None:
            return None
        found = _Paired.of(self.bench, labels, candidate, other)
        return Comparison(
            test="paired_t",
            candidate=ours,
            other=theirs,
            difference=found.mean,
            margin=margin,
            p=found.chance(found.mean - margin),
            p_worse=found.chance(margin - found.mean),
            words=f"{metric} {ours:.4g} against {theirs:.4g} of {{other}}, better by {found.mean:.4g} on average"
            f" with a standard error of {found.error:.2g}",
            counts={"n": found.n},
            error=found.error,
        )


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """The paired bootstrap on a metric's difference, for metrics without a test of their own.

    Held-out rows are drawn anew with replacement, each with both answers, and the difference is computed again:
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 (percentile intervals) and 16. The
    chance is (1 + resamples at or below the margin) / (1 + resamples) (Davison and Hinkley, Bootstrap Methods and
    Their Application (1997), section 4.2), which is at most alpha only where the percentile interval's lower limit
    at 1 - alpha lies above the margin. Every metric is computed from tallies, so a draw of the rows is a draw of how
    often each (label, candidate, other) occurs, and its tally is their sum.
    """

    bench: Bench
    alpha: float
    seed: int
    fewest: int = FEWEST_RESAMPLES

    @property
    def resamples(self) -> int:
        """So many that the tail beyond alpha holds about ten of them."""
        return min(MOST_RESAMPLES, max(self.fewest, ceil(10 / self.alpha)))

    def compare(self, labels: Answers, candidate: Answers, other: Answers, margin: float) -> Comparison | None:
        """The candidate against the other; None where the metric has no value on these rows."""
        metric = self.bench.metric
        ours, theirs = self.bench.value(metric, labels, candidate), self.bench.value(metric, labels, other)
        if ours is None or theirs is None:
            return None
        found = self.differences(labels, candidate, other)
        lower = float(np.quantile(found, self.alpha, method="lower"))
        return Comparison(
            test="paired_bootstrap",
            candidate=ours,
            other=theirs,
            difference=better_by(metric, ours, theirs),
            margin=margin,
            p=(1 + int((found <= margin).sum())) / (1 + len(found)),
            p_worse=(1 + int((found >= margin).sum())) / (1 + len(found)),
            words=f"{metric} {ours:.4g} against {theirs:.4g} of {{other}}, in {len(found)} resamples"
            f" better by at least {lower:+.4g}",
            counts={"n": len(labels), "lower": lower, "resamples": len(found)},
            error=float(np.std(found, ddof=1)) if len(found) > 1 else 0.0,
        )

    def differences(self, labels: Answers, candidate: Answers, other: Answers) -> npt.NDArray[np.float64]:
        """By how much the candidate is better in each resample that gives both a value."""
        if self.bench.task == "classification" and not metrics.METRICS[self.bench.metric].needs_score:
            candidate, other = [answer_of(one) for one in candidate], [answer_of(one) for one in other]
        triples = Counter(zip(labels, candidate, other, strict=True))
        names = sorted(triples)
        counts = np.array([triples[name] for name in names])
        ours = _Contestant.of(self.bench, [(label, answer) for label, answer, _ in names])
        theirs = _Contestant.of(self.bench, [(label, answer) for label, _, answer in names])
        random, at_once = np.random.default_rng(self.seed), max(1, _AT_ONCE // len(names))
        found: list[float] = []
        for begin in range(0, self.resamples, at_once):
            drawn = _drawn(random, counts, min(at_once, self.resamples - begin))
            pairs = zip(ours.values(drawn), theirs.values(drawn), strict=True)
            found += [better_by(self.bench.metric, one, other) for one, other in pairs]
        return np.array([one for one in found if not isnan(one)])


def _drawn(random: np.random.Generator, counts: npt.NDArray[np.int64], times: int) -> npt.NDArray[np.int64]:
    """How often each distinct row is drawn: (times, distinct rows)."""
    n = int(counts.sum())
    if len(counts) <= _FEW:
        return random.multinomial(n, counts / n, size=times)
    rows = np.repeat(np.arange(len(counts)), counts)
    draws = (np.bincount(rows[random.integers(0, n, n)], minlength=len(counts)) for _ in range(times))
    return np.stack(list(draws))


@dataclass(frozen=True)
class _Contestant:
    """One contestant's answers as a table: what each distinct row adds to each cell of a tally."""

    bench: Bench
    cells: list[tuple[str, str]]
    adds: csr_array

    @classmethod
    def of(cls, bench: Bench, pairs: list[tuple[str, str]]) -> _Contestant:
        places: dict[tuple[str, str], int] = {}
        rows, columns, sizes = [], [], []
        for row, (label, answer) in enumerate(pairs):
            for cell, n in bench.cells([label], [answer]).items():
                rows.append(row)
                columns.append(places.setdefault(cell, len(places)))
                sizes.append(n)
        table = (np.array(sizes, dtype=np.int64), (rows, columns))
        return cls(bench, list(places), csr_array(table, shape=(len(pairs), len(places))))

    def values(self, drawn: npt.NDArray[np.int64]) -> list[float]:
        """The metric of each draw: (draws, distinct rows) of how often each occurs; NaN where it has no value."""
        return [self._value(tally) for tally in (drawn @ self.adds).tolist()]

    def _value(self, tally: list[int]) -> float:
        cells = {cell: n for cell, n in zip(self.cells, tally, strict=True) if n}
        found = metrics.value(self.bench.metric, cells, self.bench.positive)
        return float("nan") if found is None else found
