"""Whether features look different from how they looked in the rows that a champion learnt from.

Two things are needed for a feature to count as drifted. An *effect*: a population stability index (PSI) of more than
0.2 beyond what chance alone gives two samples of these sizes, (bins - 1) (1/n + 1/m) (Yurdakul and Naranjo, Statistical
properties of the population stability index, Journal of Risk Model Validation 14 (2020)); or a share of missing values
that differs by more than a twentieth. And *significance*: predictions of one day resemble each other, so that a test
alone, which takes them for independent, would find something every day.

The tests are Kolmogorov and Smirnov's for numbers (on bins, which can only make it more careful), Pearson's chi-square
for categories, and the comparison of two shares for missing values. Their chances are adjusted by Holm's method (A
simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979), 65-70): it bounds
the chance that *any* feature is named falsely, however the features depend on each other, which Benjamini and
Hochberg's does not; an alert that names features wrongly is soon ignored. The bound is that of one evaluation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import erfc, exp, lgamma, log, sqrt
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from retrainer.domain.features.profiles import MISSING, MISTYPED, Counts, Kind, Profile
from retrainer.domain.values import Micros, iso

PSI_LINE: Final = 0.2
MISSING_LINE: Final = 0.05
FEWEST: Final = 50
"""Values on either side below which distributions are not compared."""

What = Literal["values", "missing"]
_Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FeatureDrift:
    """How one feature of the newest predictions compares with the reference.

    Attributes:
        n: predictions that were looked at; `reference_n` rows they are compared with.
        psi: population stability index, less what chance gives; None, as `distance`, `statistic` and `p`, where there
            are too few values to compare.
        distance: Jensen and Shannon's, between 0 and 1.
        statistic: the greatest difference of the distributions (numbers), or chi-square (categories).
        p: the chance of such a statistic without a change; not adjusted.
        missing: the share without a value, or with one of another kind, now; `missing_before` in the reference.
    """

    kind: Kind
    n: int
    reference_n: int
    psi: float | None
    distance: float | None
    statistic: float | None
    p: float | None
    missing: float
    missing_before: float
    missing_p: float

    @property
    def evidence(self) -> dict[str, Any]:
        """What is worth telling, rounded."""
        found = {name: value for name, value in (("psi", self.psi), ("distance", self.distance)) if value is not None}
        shares = {"missing": self.missing, "missing_before": self.missing_before}
        return {name: round(value, 4) for name, value in {**found, **shares}.items()}


@dataclass(frozen=True, kw_only=True)
class Drifted:
    """A feature that has drifted, in one respect or both; `p` is the smaller of its adjusted chances."""

    feature: str
    what: tuple[What, ...]
    p: float
    drift: FeatureDrift


@dataclass(frozen=True, kw_only=True)
class DriftView:
    """The newest predictions at the end of a slot, beside the reference; compared once somebody asks.

    Attributes:
        source: where the reference comes from, in words: `the rows that the champion learnt from`.
        tenth: the newest tenth of the window begins here.
    """

    reference: Profile
    source: str
    counts: Mapping[str, Counts]
    n: int
    first: Micros
    end: Micros
    tenth: Micros

    @cached_property
    def features(self) -> Mapping[str, FeatureDrift]:
        """Every feature of the reference."""
        return {name: compared(self.reference, name, counts) for name, counts in self.counts.items()}

    @property
    def evidence(self) -> dict[str, Any]:
        return {"n": self.n, "from": iso(self.first), "to": iso(self.end), "reference": self.source}


def compared(reference: Profile, feature: str, counts: Counts) -> FeatureDrift:
    """One feature's counts beside those of the reference, in the same bins."""
    held = reference.features[feature]
    before = np.array(held.counts, dtype=np.int64)
    values, values_before = counts[MISTYPED + 1 :], before[MISTYPED + 1 :]
    comparable = min(values.sum(), values_before.sum()) >= FEWEST
    test = kolmogorov_smirnov if held.kind == "number" else chi_square
    statistic, p = test(values_before, values) if comparable else (None, None)
    gone, gone_before = _gone(counts), _gone(before)
    n, reference_n = int(counts.sum()), int(before.sum())
    return FeatureDrift(
        kind=held.kind,
        n=n,
        reference_n=reference_n,
        psi=stability_index(values_before, values) if comparable else None,
        distance=jensen_shannon(values_before, values) if comparable else None,
        statistic=statistic,
        p=p,
        missing=gone / n if n else 0.0,
        missing_before=gone_before / reference_n if reference_n else 0.0,
        missing_p=shares_p(gone, n, gone_before, reference_n),
    )


def drifted(
    features: Mapping[str, FeatureDrift], confidence: float, only: Collection[str] | None = None
) -> Sequence[Drifted]:
    """Those that have drifted, the most different first; of `only` some features, which then alone are tested."""
    watched = {name: held for name, held in features.items() if only is None or name in only}
    chances: dict[tuple[str, What], float] = {}
    for name, held in watched.items():
        chances[name, "missing"] = held.missing_p
        if held.p is not None:
            chances[name, "values"] = held.p
    adjusted = holm(chances)
    found = []
    for name, held in watched.items():
        effects: dict[What, bool] = {"values": _values_differ(held), "missing": _shares_differ(held)}
        what = tuple(one for one, has in effects.items() if has and adjusted[name, one] <= 1 - confidence)
        if what:
            found.append(Drifted(feature=name, what=what, p=min(adjusted[name, one] for one in what), drift=held))
    return sorted(found, key=lambda one: (-(one.drift.psi or 0.0), one.feature))


def _values_differ(drift: FeatureDrift) -> bool:
    return drift.psi is not None and drift.psi > PSI_LINE


def _shares_differ(drift: FeatureDrift) -> bool:
    return abs(drift.missing - drift.missing_before) > MISSING_LINE


def _gone(counts: Counts) -> int:
    return int(counts[MISSING] + counts[MISTYPED])


# Effects


def stability_index(before: Counts, now: Counts) -> float:
    """The population stability index of two samples in the same bins, less its expectation without a change.

    Bins that neither has do not count; half an item more in each bin keeps the logarithms finite.
    """
    kept = (before + now) > 0
    p, q = _shares(before[kept] + 0.5), _shares(now[kept] + 0.5)
    chance = (int(kept.sum()) - 1) * (1 / before.sum() + 1 / now.sum())
    return max(0.0, float(((q - p) * np.log(q / p)).sum()) - float(chance))


def jensen_shannon(before: Counts, now: Counts) -> float:
    """The distance of two distributions: the root of their divergence from their mean, in bits (Lin 1991)."""
    p, q = _shares(before), _shares(now)
    mean = (p + q) / 2
    return sqrt(max(0.0, (_divergence(p, mean) + _divergence(q, mean)) / 2))


def _divergence(p: _Shares, q: _Shares) -> float:
    held = p > 0
    return float((p[held] * np.log2(p[held] / q[held])).sum())


def _shares(counts: npt.NDArray[Any]) -> _Shares:
    return np.asarray(counts / counts.sum(), dtype=np.float64)


# Tests


def kolmogorov_smirnov(before: Counts, now: Counts) -> tuple[float, float]:
    """The greatest difference of two distributions over ordered bins, and the chance of one at least as great.

    The chance is the limit's with Stephens' correction (Use of the Kolmogorov-Smirnov, Cramer-von Mises and related
    statistics without extensive tables, Journal of the Royal Statistical Society B 32 (1970)).
    """
    difference = float(np.abs(np.cumsum(_shares(before)) - np.cumsum(_shares(now))).max())
    size = sqrt(before.sum() * now.sum() / (before.sum() + now.sum()))
    x = (size + 0.12 + 0.11 / size) * difference
    if x < 0.3:  # the series converges slowly there, and the chance is 1 but for 1e-5
        return difference, 1.0
    chance = 2 * sum((-1) ** (k - 1) * exp(-2 * k * k * x * x) for k in range(1, 30))
    return difference, min(1.0, max(0.0, chance))


def chi_square(before: Counts, now: Counts) -> tuple[float, float]:
    """Pearson's statistic that two samples have the same distribution, and the chance of one at least as great.

    Categories that would be expected less than five times on either side are counted together.
    """
    n, m = int(before.sum()), int(now.sum())
    both = before + now
    small = both * min(n, m) / (n + m) < 5
    table = np.array([[*one[~small], one[small].sum()] for one in (before, now)], dtype=np.float64)
    table = table[:, table.sum(axis=0) > 0]
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / (n + m)
    statistic = float(((table - expected) ** 2 / expected).sum())
    return statistic, chi_square_p(statistic, table.shape[1] - 1)


def chi_square_p(statistic: float, freedom: int) -> float:
    """The chance that a chi-square variable is at least so great: the upper incomplete gamma function, regularised.

    By its series below the mean, and by Lentz's continued fraction above.
    """
    if freedom < 1 or statistic <= 0:
        return 1.0
    a, x = freedom / 2, statistic / 2
    scale = exp(a * log(x) - x - lgamma(a))
    return min(1.0, max(0.0, 1.0 - scale * _gamma_series(a, x) if x < a + 1 else scale * _gamma_fraction(a, x)))


def _gamma_series(a: float, x: float) -> float:
    term = total = 1 / a
    k = a
    while term > total * 1e-12:
        k += 1
        term *= x / k
        total += term
    return total


def _gamma_fraction(a: float, x: float) -> float:
    b = x + 1 - a
    c, d = 1e300, 1 / b
    found = d
    for k in range(1, 500):
        part = k * (a - k)
        b += 2
        d = 1 / (part * d + b)
        c = b + part / c
        found *= c * d
        if abs(c * d - 1) < 1e-12:
            break
    return found


def shares_p(count: int, n: int, count_before: int, n_before: int) -> float:
    """The chance of shares at least as different (two-sided, normal) where both samples have the same one."""
    if not n or not n_before:
        return 1.0
    share = (count + count_before) / (n + n_before)
    error = sqrt(share * (1 - share) * (1 / n + 1 / n_before))
    return erfc(abs(count / n - count_before / n_before) / error / sqrt(2)) if error else 1.0


def holm(chances: Mapping[tuple[str, What], float]) -> dict[tuple[str, What], float]:
    """Chances adjusted so that all of them together err no more often than each alone."""
    adjusted: dict[tuple[str, What], float] = {}
    worst = 0.0
    for place, key in enumerate(sorted(chances, key=lambda key: chances[key])):
        worst = max(worst, min(1.0, chances[key] * (len(chances) - place)))
        adjusted[key] = worst
    return adjusted
