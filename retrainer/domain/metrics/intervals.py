"""Two-sided intervals at 95 %: of proportions, of means, and of sums of independent parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, sqrt
from statistics import NormalDist
from typing import Final

Interval = tuple[float, float]

CONFIDENCE: Final = 0.95
Z: Final = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_STEEPEST: Final = 50.0
"""Of a logarithm: beyond it nothing is known, and numbers would end."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Of one number an outcome, such as its loss: how many outcomes, their sum, and the sum of their squares."""

    n: int
    total: float
    squares: float

    @property
    def mean(self) -> float:
        return self.total / self.n

    @property
    def variance(self) -> float:
        """The unbiased one; 0 of a single outcome."""
        if self.n < 2:
            return 0.0
        return max(0.0, self.squares - self.total * self.mean) / (self.n - 1)


def wilson(hits: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Two-sided score interval of a proportion (Wilson 1927, doi 10.1080/01621459.1927.10502953)."""
    return of_proportion(hits / n, n, NormalDist().inv_cdf((1 + confidence) / 2))


def of_proportion(share: float, n: float, z: float = Z) -> Interval:
    """Wilson's interval of a share that varies as one of `n` outcomes, which need not be a whole number, would."""
    centre = share + z * z / (2 * n)
    margin = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At a share of 0 or 1 the limit equals it, which rounding must not hide.
    return max(0.0, min(share, (centre - margin) / scale)), min(1.0, max(share, (centre + margin) / scale))


def of_share(hits: int, n: int) -> Interval:
    """Wilson's interval; of nothing everything from 0 to 1 is possible."""
    return wilson(hits, n) if n else (0.0, 1.0)


def of_mean(moments: Moments) -> Interval | None:
    """Of the mean of losses, which are not below 0: the delta method for its logarithm (Casella and Berger,
    Statistical Inference (2002), section 5.5.4), as losses are skewed to the right and a mean of few of them is too.
    None where nothing varies."""
    return of_positive(moments.mean, moments.variance / moments.n) if moments.n > 1 else None


def of_positive(value: float, variance: float) -> Interval | None:
    """Of an estimate of something above 0, by the delta method for its logarithm; None where nothing varies."""
    if value <= 0 or variance <= 0:
        return None
    factor = exp(min(_STEEPEST, Z * sqrt(variance) / value))
    return value / factor, value * factor


def of_average(parts: Iterable[tuple[float, Interval]]) -> Interval:
    """Of the average of independent parts that have intervals of their own: MOVER, which recovers each part's
    variance near its limits (Zou and Donner 2008, doi 10.1002/sim.3095, eq. 6 and 7)."""
    known = list(parts)
    value = sum(part for part, _ in known) / len(known)
    below = sqrt(sum((part - low) ** 2 for part, (low, _) in known)) / len(known)
    above = sqrt(sum((high - part) ** 2 for part, (_, high) in known)) / len(known)
    return max(0.0, value - below), min(1.0, value + above)


def around(value: float, error: float) -> Interval:
    """Of a score from 0 to 1 with a standard error."""
    return max(0.0, value - Z * error), min(1.0, value + Z * error)
