"""Sequential tests of a mean: evidence that a stream of outcomes has become worse, good at every moment.

A test bets against the hypothesis "the conditional mean of a loss never rises above m". Each slot multiplies the
stake by a factor whose conditional mean is at most one, so the stake is a supermartingale that starts at one, and by
Ville's inequality (1939) it ever reaches 1/alpha with a chance of at most alpha. Two kinds of bet:

- on hits and misses, the likelihood ratio of a suspected error rate, which is the bet 1 + c (loss - m);
- on losses that are never negative, the bet 1 + c (loss / m - 1). A slot keeps only the sums of its losses and of their
  squares, so it counts at the least that losses with these sums can have won: some are nothing and the others are
  alike (the lower principal representation of their moments, as log has a positive third derivative; Karlin and
  Studden 1966, "Tchebycheff systems"). It needs no variance and no upper bound, and however much the losses have
  grown, it grows with them.

A change may begin at any outcome: the stakes are mixed over beginnings with weights that sum to one over a horizon
(the e-detectors of Shin, Ramdas and Rinaldo 2024, doi 10.51387/23-NEJSDS51, with weights for a bound on ever firing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HORIZON: Final = 1_000_000
"""Outcomes over which the chance of a false alarm is spent."""

_EARLY: Final = 10_000
"""From here on a beginning is as likely in each doubling of the outcomes: most champions do not live a million."""

EFFECTS: Final[Floats] = np.array([0.06, 0.10, 0.16, 0.26, 0.45])
"""The suspected shifts, in standard deviations of one outcome."""

_GRID: Final[Floats] = np.array([4.5, 3.4, 2.6, 2.2, 1.8, 1.4, 1.0, 0.6, 0.2, -0.4])
"""Candidates for the true mean of the reference, in standard errors on the worse side of its estimate."""

NOTHING: Final = -1000.0
"""The logarithm of no stake at all, as JSON can hold it."""

_NORMAL: Final = NormalDist()


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Losses of some outcomes: how many, their sum, the sum of their squares. Misses are losses of one."""

    n: float = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Sums) -> Sums:
        return Sums(n=self.n + other.n, total=self.total + other.total, squares=self.squares + other.squares)

    @property
    def mean(self) -> float:
        return self.total / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        """Of one outcome; never nothing, so that a flawless reference does not make every miss a miracle."""
        floor = self.mean * self.mean / max(self.n, 1)
        return max(self.squares / self.n - self.mean**2, floor, 1e-12) if self.n else 1e-12


@dataclass(frozen=True, kw_only=True)
class LossReference:
    """What is expected: the losses of some first outcomes.

    Attributes:
        binary: whether a loss is either 0 or 1.
        inflation: by how much the variance of its mean exceeds that of independent outcomes.
    """

    sums: Sums
    binary: bool
    inflation: float = 1.0

    @property
    def candidates(self) -> Floats:
        """Means that may be the true one, the worst first: score limits of a share, normal ones of other losses."""
        n, mean = self.sums.n / self.inflation, self.sums.mean
        if not self.binary:
            return np.maximum(mean + _GRID * sqrt(self.sums.variance / n), 0.05 * mean + 1e-9)
        share, squared = min(max(mean, 0.0), 1.0), _GRID**2
        centre = share + squared / (2 * n)
        margin = np.sign(_GRID) * np.sqrt(squared * (share * (1 - share) / n + squared / (4 * n * n)))
        limits: Floats = np.clip((centre + margin) / (1 + squared / n), 1e-4, 0.98)
        return limits


def log_bets(reference: LossReference, seen: Sums) -> Floats:
    """The logarithm of each stake's factor for one slot: candidates of the mean by suspected effects."""
    if reference.binary:
        hit, miss = bets_on_one(reference)
        ratio: Floats = (seen.n - seen.total) * hit + seen.total * miss
        return ratio
    return _bets_on_losses(reference.candidates[:, None], reference.sums.variance, seen)


def log_bets_against(mean: float, variance: float, seen: Sums, *, binary: bool) -> Floats:
    """The same against one mean that is given: one row."""
    if binary:
        hit, miss = _ratios(np.array([[min(max(mean, 1e-4), 0.98)]]))
        ratio: Floats = (seen.n - seen.total) * hit + seen.total * miss
        return ratio
    return _bets_on_losses(np.array([[mean]]), variance, seen)


@lru_cache(maxsize=64)
def bets_on_one(reference: LossReference) -> tuple[Floats, Floats]:
    """Of a single hit and of a single miss."""
    return _ratios(reference.candidates[:, None])


def _ratios(means: Floats) -> tuple[Floats, Floats]:
    angles = np.minimum(np.arcsin(np.sqrt(means)) + EFFECTS / 2, _WIDEST_ANGLE)
    suspected = np.maximum(np.sin(angles) ** 2, means)
    return np.log((1 - suspected) / (1 - means)), np.log(suspected / means)


def _bets_on_losses(means: Floats, variance: float, seen: Sums) -> Floats:
    shift = EFFECTS * sqrt(variance)
    odds = shift * means / (variance + shift**2)
    stake = odds / (1 + odds)
    if seen.total <= 0:
        return seen.n * np.log1p(-stake)
    size = max(seen.squares / seen.total, seen.total / seen.n)
    alike = seen.total / size
    won = np.log1p(stake * (np.minimum(size / means, _LARGEST) - 1))
    grown: Floats = (seen.n - alike) * np.log1p(-stake) + alike * won
    return grown


_LARGEST: Final = 30.0
"""No loss counts for more than so many times what is expected, lest one label that is a slip of the pen is a change."""

_WIDEST_ANGLE: Final = 1.45


def starting(candidates: int = len(_GRID)) -> Floats:
    """The logarithms of the stakes before any outcome."""
    return np.full((candidates, len(EFFECTS)), NOTHING)


def begun(before: float, n: float) -> float:
    """The weight of all beginnings within `n` outcomes after `before`; they sum to one over the horizon.

    Beyond it the weights go on falling, so a champion that lives ten million outcomes spends half as much again.
    """
    return log((before + n + _EARLY) / (before + _EARLY)) / log((HORIZON + _EARLY) / _EARLY)


def advanced(stakes: Floats, bets: Floats, weight: float) -> Floats:
    """Logarithms of the stakes after a slot: those of older beginnings and of one at the slot's start."""
    return advanced_by(stakes, bets, log(weight))


def advanced_by(stakes: Floats, bets: Floats, log_weight: float | Floats) -> Floats:
    """The same of several tests, each with the logarithm of its own weight."""
    grown: Floats = np.logaddexp(stakes, log_weight) + bets
    return np.maximum(grown, NOTHING)


def log_mixed(stakes: Floats) -> Floats:
    """The logarithm of the mean stake over the suspected effects, by candidate, and by what is before that."""
    highest = stakes.max(axis=-1)
    mixed: Floats = highest + np.log(np.exp(stakes - highest[..., None]).sum(axis=-1) / len(EFFECTS))
    return mixed


def log_evidence(stakes: Floats, reference: LossReference, inflation: float, alpha: float) -> float:
    """The least evidence against any candidate for the reference's mean, its own error paid for.

    A candidate on the worse side of the estimate needs the more stake, the less the estimate speaks against it. So
    "the mean of the reference is m, and it has never been exceeded" is tested for every m; all must be refuted. At
    least log(1/alpha) with a chance of at most alpha. (Of both bets: the one made against m is also a fair one, or a
    worse, where the mean is below m.)
    """
    return log_evidences(stakes[None], [reference], inflation, [alpha])[0]


def log_evidences(
    stakes: Floats, references: Sequence[LossReference], inflation: float, alphas: Sequence[float]
) -> Sequence[float]:
    """The same of several tests: their stakes by test, candidate and effect."""
    mixed = np.maximum(log_mixed(stakes), 0.0)
    scales = [sqrt(one.inflation / max(inflation, one.inflation)) for one in references]
    needs = _needs(np.array(scales)[:, None], tuple(alphas))
    found: Sequence[float] = np.minimum(needs[:, 0], (mixed + needs[:, 1:]).min(axis=-1)).tolist()
    return found


def _needs(scales: Floats, alphas: tuple[float, ...]) -> Floats:
    """What the reference itself says against the candidates, as logarithms: beyond the farthest, and each other.

    A candidate between two of the grid bets no worse than the farther one, and surprises no less than the nearer.
    Beyond the farthest the surprise alone must do. Infinite where it refutes them without a bet.
    """
    factors, most, log_most = _limits(alphas)
    nearer = np.log(_surprise(_GRID_AND_BEYOND * scales, factors, most))
    needs: Floats = np.where(nearer >= log_most, np.inf, nearer)
    return needs


_SLOPE: Final = 1.9
"""How fast a candidate's need of stake falls with its distance; the best for a fall of five points of ten thousand."""

_LEAST: Final = 0.05


def _surprise(distance: Floats, factor: Floats, most: Floats) -> Floats:
    """An e-value of the reference itself against means that many standard errors worse; at most 1/alpha."""
    return np.minimum(_LEAST + factor * np.exp(_SLOPE * np.maximum(distance, -50.0)), most)


_GRID_AND_BEYOND: Final = np.append(_GRID, -np.inf)


@lru_cache(maxsize=64)
def _limits(alphas: tuple[float, ...]) -> tuple[Floats, Floats, Floats]:
    """By alpha: the factor of the surprise, its most, and the logarithm from which on it is that."""
    columns = np.array([[_scale(alpha), 1 / alpha, log(1 / alpha) - 1e-9] for alpha in alphas])
    return columns[:, 0:1], columns[:, 1:2], columns[:, 2:3]


@lru_cache(maxsize=64)
def _scale(alpha: float) -> float:
    """The greatest factor with which the surprise of a normal distance has a mean of at most one."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        cap = log((1 / alpha - _LEAST) / middle) / _SLOPE
        inside = _LEAST * _NORMAL.cdf(cap) + middle * exp(_SLOPE**2 / 2) * _NORMAL.cdf(cap - _SLOPE)
        low, high = (middle, high) if inside + _NORMAL.cdf(-cap) / alpha <= 1 else (low, middle)
    return low


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """How much outcomes depend on each other: variances of the means of ever longer blocks, beside one outcome's.

    Neighbouring blocks are compared, and no comparison counts for many, so that a slow drift or one step hardly shows.

    Attributes:
        levels: for each length (doubled from level to level): outcomes and losses of the open block, of the block
            before it, the number of comparisons, and their sum in units of one outcome's variance.
    """

    levels: Sequence[Sequence[float]] = ((0.0,) * 6,) * 7

    def add(self, seen: Sums) -> Blocks:
        """Take in a slot."""
        levels: list[Sequence[float]] = []
        n, total, least = seen.n, seen.total, _SHORTEST
        for number, level in enumerate(self.levels):
            if n == 0:
                return Blocks(levels=[*levels, *self.levels[number:]])
            held, losses = level[0] + n, level[1] + total
            if held < least:
                levels.append([held, losses, *level[2:]])
                n = 0
            else:
                levels.append(_closed(level, held, losses))
                n, total = held, losses
            least *= 2
        return Blocks(levels=levels)

    @property
    def known(self) -> bool:
        """Whether there is something to measure dependence by."""
        return self.levels[0][4] >= _FIRST

    def inflation(self, variance: float) -> float:
        """The variance of a mean relative to that of independent outcomes.

        While no length says so with certainty, each counts at its lower limit, lest independent outcomes pay for
        chance.
        """
        known = [
            (log(max(squares / compared / variance, 1e-9)), sqrt(3 / compared))
            for number, (_, _, _, _, compared, squares) in enumerate(self.levels)
            if compared >= (_FEWEST if number else _FIRST)
        ]
        certain = any(ratio > _CERTAIN * error for ratio, error in known)
        return exp(max([0.0, *(ratio - (0.0 if certain else _DOUBT * error) for ratio, error in known)]))

    @property
    def caution(self) -> float:
        """What to multiply the inflation by while there are few blocks: nothing is known of longer ones then."""
        return sqrt(max(1.0, _ENOUGH / max(self.levels[0][4], 1.0)))

    @property
    def plain(self) -> list[list[float]]:
        """As a trigger remembers it."""
        return [list(level) for level in self.levels]

    @staticmethod
    def of(levels: Any) -> Blocks:
        """From what a trigger remembers."""
        return Blocks(levels=levels) if levels else Blocks()


_SHORTEST: Final = 64
_FIRST: Final = 6
_FEWEST: Final = 12
"""Comparisons that make a variance: of the shortest blocks, and of longer ones."""
_ENOUGH: Final = 100
_DOUBT: Final = 1.25
_CERTAIN: Final = 3.0
_MOST: Final = 6.0
_SOME: Final = 8


def _closed(level: Sequence[float], n: float, losses: float) -> list[float]:
    _, _, before, before_losses, compared, squares = level
    if before:
        gap = losses / n - before_losses / before
        square = gap * gap / (1 / n + 1 / before)
        # One step, or the burst after a stall, is no dependence.
        squares += min(square, _MOST * squares / compared) if compared >= _SOME else square
        compared += 1
    return [0.0, 0.0, n, losses, compared, squares]
