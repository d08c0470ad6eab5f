"""Metrics of regression, from the sums of its errors. See `measures` for their precision."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, sqrt
from typing import Final

from retrainer.domain.metrics.intervals import Interval, Moments, of_mean, of_positive
from retrainer.domain.tally.measures import NONZERO, Cell, N, sums

Cells = Mapping[Cell, int]

_ROUNDING: Final = 2.0**-35
"""How far a sum of sizes may be off, as a share of it."""
_TELLING: Final = 0.01
"""Labels that differ by so little that rounding makes up this share of their variance have no R2."""
_WIDEST: Final = 1e6
"""Fourth powers tell nothing about labels whose mean square is so many times their variance."""


def absolute(cells: Cells) -> Moments:
    """|error|."""
    found = sums(cells)
    return _moments(found, N, "e", "e2")


def squared(cells: Cells) -> Moments:
    """error²."""
    found = sums(cells)
    return _moments(found, N, "e2", "e4")


def relative(cells: Cells) -> Moments:
    """|error / label|, over the outcomes whose label is not 0: for others it has no value."""
    found = sums(cells)
    return _moments(found, NONZERO, "rel", "rel2")


def _moments(found: Mapping[str, float], n: str, total: str, squares: str) -> Moments:
    # A correction of an outcome that the window no longer holds can leave less than nothing.
    return Moments(
        n=max(0, round(found.get(n, 0))),
        total=max(0.0, found.get(total, 0.0)),
        squares=max(0.0, found.get(squares, 0.0)),
    )


def mae(cells: Cells, _: str | None) -> float | None:
    """The mean of |error|."""
    return _mean(absolute(cells))


def rmse(cells: Cells, _: str | None) -> float | None:
    """The root of the mean of error²."""
    found = _mean(squared(cells))
    return None if found is None else sqrt(found)


def mape(cells: Cells, _: str | None) -> float | None:
    """The mean of |error / label|, a share and no percentage; outcomes whose label is 0 are left out."""
    return _mean(relative(cells))


def _mean(moments: Moments) -> float | None:
    return moments.mean if moments.n else None


def mae_interval(cells: Cells, _: str | None) -> Interval | None:
    """Of a mean of losses."""
    return of_mean(absolute(cells))


def rmse_interval(cells: Cells, _: str | None) -> Interval | None:
    """The roots of the limits of the mean of error², a mean of losses."""
    limits = of_mean(squared(cells))
    return None if limits is None else (sqrt(limits[0]), sqrt(limits[1]))


def mape_interval(cells: Cells, _: str | None) -> Interval | None:
    """Of a mean of losses. Where labels come close to 0 the mean hangs on a few outcomes, which no interval shows."""
    return of_mean(relative(cells))


def r2(cells: Cells, _: str | None) -> float | None:
    """The share of the labels' variance that the answers explain: 1 - (mean of error²) / (variance of the labels).

    None where the labels do not differ, or by less than rounding lets us see.
    """
    spread = _spread(cells)
    return None if spread is None else 1 - spread.unexplained


def r2_interval(cells: Cells, _: str | None) -> Interval | None:
    """The delta method for the logarithm of what is unexplained, a ratio of means: error² over squared distance from
    the mean label (Casella and Berger, Statistical Inference (2002), section 5.5.4). It assumes nothing of how errors
    are distributed. None where the labels' mean is a thousand times their deviation, as fourth powers then hold
    nothing of the variance, and where nothing varies."""
    spread = _spread(cells)
    if spread is None or spread.variance is None:
        return None
    limits = of_positive(spread.unexplained, spread.variance)
    return None if limits is None else (1 - limits[1], 1 - limits[0])


class _Spread:
    """The labels' variance against the errors'."""

    def __init__(self, found: Mapping[str, float], n: int) -> None:
        self._mean = {name: total / n for name, total in found.items()}
        self._n = n
        self._centre = self._of("y")
        self.labels = self._of("y2") - self._centre**2
        self.unexplained = 0.0

    def _of(self, name: str) -> float:
        return self._mean.get(name, 0.0)

    def is_telling(self) -> bool:
        if self.labels <= 0 or self._of("y2") * _ROUNDING > _TELLING * self.labels:
            return False
        self.unexplained = max(0.0, self._of("e2")) / self.labels
        return isfinite(self.unexplained)

    @property
    def variance(self) -> float | None:
        """Of the share that is unexplained; None where it cannot be told."""
        centre, share = self._centre, self.unexplained
        if centre**2 > _WIDEST * self.labels:
            return None
        both = self._of("e2y2") - 2 * centre * self._of("e2y") + centre**2 * self._of("e2")
        fourth = self._of("y4") - 4 * centre * self._of("y3") + 6 * centre**2 * self._of("y2") - 3 * centre**4
        # Products and no powers: those that are too large become infinite, where a power would raise.
        found = (self._of("e4") - 2 * share * both + share * share * fourth) / self.labels / self.labels / self._n
        return max(0.0, found) if isfinite(found) else None


def _spread(cells: Cells) -> _Spread | None:
    found = sums(cells)
    n = round(found.get(N, 0))
    if n < 2:
        return None
    spread = _Spread(found, n)
    return spread if spread.is_telling() else None
