"""Metrics of a classifier's scores, from sums of losses and from histograms. See `measures` for both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi, sqrt
from typing import Final

from retrainer.domain.metrics.intervals import Interval, Moments, of_mean, of_proportion
from retrainer.domain.tally.measures import (
    ROUNDED,
    ROUNDING,
    SCORED,
    Bin,
    Cell,
    confidence_bins,
    score_bins,
    sums,
)

Cells = Mapping[Cell, int]

_ONE_SIDED: Final = 1.6448536269514722


# Means of losses


def log_losses(cells: Cells) -> Moments:
    """-ln of the probability that was given to what happened; 36.04 at most."""
    return _moments(cells, "log_loss")


def squared(cells: Cells) -> Moments:
    """The squared error of the probabilities: of the positive class; of more than two classes their sum."""
    return _moments(cells, "brier")


def _moments(cells: Cells, name: str) -> Moments:
    # A correction of an outcome that the window no longer holds can leave less than nothing.
    found = sums(cells)
    total, squares = max(0.0, found.get(name, 0.0)), max(0.0, found.get(f"{name}2", 0.0))
    return Moments(n=scored(cells), total=total, squares=squares)


def scored(cells: Cells) -> int:
    """How many outcomes had a score."""
    return max(0, round(sums(cells).get(SCORED, 0)))


def log_loss(cells: Cells, _: str | None) -> float | None:
    """The mean of -ln of the probability that was given to what happened."""
    return _mean(log_losses(cells))


def brier(cells: Cells, _: str | None) -> float | None:
    """The mean squared error of the probabilities; from 0 to 1 of two classes, from 0 to 2 of more."""
    return _mean(squared(cells))


def _mean(moments: Moments) -> float | None:
    return moments.mean if moments.n else None


def log_loss_interval(cells: Cells, _: str | None) -> Interval | None:
    """Of a mean of losses."""
    return of_mean(log_losses(cells))


def brier_interval(cells: Cells, _: str | None) -> Interval | None:
    """Of a mean of losses."""
    return of_mean(squared(cells))


# The area under the ROC curve


@dataclass(frozen=True, kw_only=True)
class _Ranking:
    """How the positives' scores lie above the negatives'.

    Attributes:
        fewer: how many there are of the rarer kind.
        area: the chance that a positive has a higher bin than a negative, a shared bin counting one half.
        shared: the chance that both share a bin.
        variance: DeLong's, of the area; None where one kind has but one outcome.
    """

    fewer: int
    area: float
    shared: float
    variance: float | None


def _ranking(bins: list[Bin]) -> _Ranking | None:
    positives, negatives = sum(one.positives for one in bins), sum(one.negatives for one in bins)
    if not positives or not negatives:
        return None
    above, below = [], []  # of the outcomes of each bin, the share of the other kind that they are ranked rightly to
    lower, higher = 0, positives
    for one in bins:
        higher -= one.positives
        above.append((one.positives, (lower + one.negatives / 2) / negatives))
        below.append((one.negatives, (higher + one.positives / 2) / positives))
        lower += one.negatives
    fewer = min(positives, negatives)
    return _Ranking(
        fewer=fewer,
        area=sum(n * share for n, share in above) / positives,
        shared=sum(one.positives * one.negatives for one in bins) / (positives * negatives),
        variance=_variance(above) / positives + _variance(below) / negatives if fewer > 1 else None,
    )


def _variance(shares: list[tuple[int, float]]) -> float:
    n = sum(count for count, _ in shares)
    mean = sum(count * share for count, share in shares) / n
    return sum(count * (share - mean) ** 2 for count, share in shares) / (n - 1)


def ranked(cells: Cells) -> int:
    """How many outcomes had a score of the positive class."""
    return sum(one.positives + one.negatives for one in score_bins(cells))


def auc(cells: Cells, _: str | None) -> float | None:
    """The area under the ROC curve: the chance that a positive's score is above a negative's.

    None where one of the two kinds is missing, or where no positive class is known.
    """
    found = _ranking(score_bins(cells))
    return None if found is None else found.area


def auc_bound(cells: Cells) -> float | None:
    """Half the share of pairs within one bin: so far may the area be from that of the scores themselves."""
    found = _ranking(score_bins(cells))
    return None if found is None else found.shared / 2


def auc_interval(cells: Cells, _: str | None) -> Interval | None:
    """Wilson's interval of a share that varies as the area does: of so many outcomes as give its variance.

    The variance is DeLong's (1988, doi 10.2307/2531595). As it is too small where few pairs are ranked wrongly, and
    0 where none is, the greatest that an area can have, A (1 - A) / m (Birnbaum and Klose 1957,
    doi 10.1214/aoms/1177706794), is mixed in with a weight of 1 / m; m is the size of the rarer kind.
    """
    found = _ranking(score_bins(cells))
    if found is None:
        return None
    greatest, spread = 1 / found.fewer, found.area * (1 - found.area)
    seen = found.variance / spread if found.variance and spread > 0 else greatest
    return of_proportion(found.area, 1 / (seen * (1 - greatest) + greatest * greatest))


# Calibration


@dataclass(frozen=True)
class _CalibrationBin:
    """One bin of confidence: its outcomes, the share that was right, and how far the mean confidence is above it."""

    n: int
    right: float
    gap: float


def _gaps(cells: Cells) -> list[_CalibrationBin]:
    found = sums(cells)
    gaps = []
    for counts, name in confidence_bins(cells):
        n = counts.positives + counts.negatives
        if n:
            right = counts.positives / n
            gaps.append(_CalibrationBin(n, right, min(1.0, max(0.0, found.get(name, 0.0) / n)) - right))
    return gaps


def calibrated(cells: Cells) -> int:
    """How many outcomes had a confidence."""
    return sum(gap.n for gap in _gaps(cells))


def calibration_error(cells: Cells, _: str | None) -> float | None:
    """The expected calibration error of the answers' confidence: over ten bins of equal width, how far confidence is
    from the share of right answers, on average over outcomes (Guo et al. 2017, arXiv 1706.04599, eq. 3)."""
    gaps = _gaps(cells)
    n = sum(gap.n for gap in gaps)
    return sum(gap.n * abs(gap.gap) for gap in gaps) / n if n else None


def calibration_bound(cells: Cells) -> float | None:
    """So far may it be from the error of unrounded confidences in the same bins; None where none was rounded."""
    found = sums(cells)
    rounded, exact = max(0.0, found.get(ROUNDED, 0)), max(0.0, found.get(SCORED, 0))
    return ROUNDING * rounded / (rounded + exact) if rounded else None


def calibration_interval(cells: Cells, _: str | None) -> Interval | None:
    """On the safe side: no formula is exact, as chance alone makes the gaps' sizes larger.

    Sizes differ from the true ones by at most the size of each gap's own error. Those errors are near normal, so that
    their sizes add up to sqrt(2 / pi) sum s on average, with a variance of (1 - 2 / pi) sum s². That mean, plus 1.64
    deviations, is exceeded once in twenty times. The lower limit of a calibrated model is therefore 0.
    """
    gaps = _gaps(cells)
    n = sum(gap.n for gap in gaps)
    if not n:
        return None
    value = sum(gap.n * abs(gap.gap) for gap in gaps) / n
    # One right and one wrong answer more, so that a bin of one kind alone is not certain.
    chances = [(gap.n * gap.right + 1) / (gap.n + 2) for gap in gaps]
    variances = [gap.n * chance * (1 - chance) / n**2 for gap, chance in zip(gaps, chances, strict=True)]
    margin = sqrt(2 / pi) * sum(map(sqrt, variances)) + _ONE_SIDED * sqrt((1 - 2 / pi) * sum(variances))
    return max(0.0, value - margin), min(1.0, value + margin)
