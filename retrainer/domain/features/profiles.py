"""What the features of some rows look like, small enough to be stored with a job and compared with later.

A profile fixes bins for each feature: those of numbers end at quantiles of its rows, so that each holds about as many;
those of text are its commonest categories. Counts of other rows in the same bins are exact and can be added up.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from retrainer.domain.mapping.slices import LONGEST_VALUE
from retrainer.domain.values import canonical

Kind = Literal["number", "text", "boolean"]
Counts = npt.NDArray[np.int64]
"""How many values fell into each bin: (bins,), of which the first two are `MISSING` and `MISTYPED`."""

FORMAT: Final = 1
MISSING: Final = 0
MISTYPED: Final = 1
_FIRST: Final = 2

QUANTILES: Final = 20
"""Bins of a number, beside one below and one above all that was seen."""
MOST_CATEGORIES: Final = 50
FEWEST_OF_CATEGORY: Final = 5
"""A category is told apart from this many rows on: of ids, of which each is new, none is."""
MOST_FEATURES: Final = 300
"""Features of a profile; the rest are passed over, so that a job's record stays small."""

_STEPS: Final = np.linspace(0.0, 1.0, QUANTILES + 1)


@dataclass(frozen=True, kw_only=True)
class FeatureValues:
    """One feature of some rows, in whatever order.

    Attributes:
        numbers: of numbers alone: those that are there, (n - missing,).
        texts: of text and booleans alone: how many rows had each, canonical.
    """

    kind: Kind
    missing: int
    numbers: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    texts: Mapping[str, int] = field(default_factory=dict)

    @property
    def present(self) -> int:
        return len(self.numbers) if self.kind == "number" else sum(self.texts.values())


@dataclass(frozen=True, kw_only=True)
class FeatureColumn:
    """One feature of rows in their order.

    Attributes:
        numbers: of numbers alone: (rows,), NaN where missing.
        texts: of text and booleans alone: (rows,), canonical texts, None where missing.
    """

    kind: Kind
    numbers: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    texts: npt.NDArray[np.object_] = field(default_factory=lambda: np.empty(0, dtype=np.object_))

    def values(self, first: int = 0, end: int | None = None) -> FeatureValues:
        """The values of the rows from a position on and before another."""
        if self.kind == "number":
            numbers = self.numbers[first:end]
            present = numbers[np.isfinite(numbers)]
            return FeatureValues(kind="number", missing=len(numbers) - len(present), numbers=present)
        counted = Counter(self.texts[first:end].tolist())
        missing = counted.pop(None, 0)
        return FeatureValues(kind=self.kind, missing=missing, texts=counted)

    def thinned(self, step: int) -> FeatureColumn:
        """Every so-manieth row."""
        return FeatureColumn(kind=self.kind, numbers=self.numbers[::step], texts=self.texts[::step])


def values_of(found: Iterable[object]) -> FeatureValues:
    """A feature's values as records have them. Of mixed kinds they are text, as in a dataset."""
    held = list(found)
    present = [value for value in held if not _is_missing(value)]
    kinds = set(map(type, present))
    if kinds <= {int, float}:
        numbers = np.array([one for value in present if (one := number_of(value)) is not None], dtype=np.float64)
        return FeatureValues(kind="number", missing=len(held) - len(numbers), numbers=numbers)
    texts = Counter(canonical(value)[:LONGEST_VALUE] for value in present)
    kind: Kind = "boolean" if kinds == {bool} else "text"
    return FeatureValues(kind=kind, missing=len(held) - len(present), texts=texts)


def _is_missing(value: object) -> bool:
    """As mapping and datasets have it; a whole number that no float holds is none either."""
    return value is None or (type(value) in (int, float) and number_of(value) is None)


def number_of(value: object) -> float | None:
    """A finite number as a float; None for anything else, booleans too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


@dataclass(frozen=True, kw_only=True)
class FeatureProfile:
    """One feature.

    Attributes:
        quantiles: of numbers, each twentieth of the values: the least first, the greatest last; empty without any.
        categories: of text and booleans, the commonest first.
        counts: as `Counts` has them; of numbers the bins below, between and above the quantiles, of text one for each
            category and one for every other.
    """

    kind: Kind
    counts: tuple[int, ...]
    quantiles: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        return sum(self.counts)

    @property
    def missing(self) -> float:
        """The share of rows without a value."""
        return self.counts[MISSING] / self.n if self.n else 0.0

    @property
    def other(self) -> int:
        """Of text: how many rows had a category that is not told apart."""
        return self.counts[-1] if self.kind != "number" else 0

    @property
    def is_constant(self) -> bool:
        """Whether all its values are the same one."""
        if self.kind == "number":
            return bool(self.quantiles) and self.quantiles[0] == self.quantiles[-1]
        return len(self.categories) == 1 and not self.other

    @property
    def spread(self) -> float:
        """A robust standard deviation: of the middle half, or, where those are all one number, of the middle 90 %."""
        return spread_of(self.quantiles)

    @property
    def median(self) -> float:
        return self.quantiles[QUANTILES // 2]

    def bin_of(self, value: object) -> int:
        """Which of the `counts` a value of a record adds to. Every prediction comes by here."""
        if self.kind == "number" and type(value) is float and self.edges and abs(value) < math.inf:
            return _FIRST + _bin(self.edges, value)
        if self.kind == "text" and type(value) is str:
            return _FIRST + self._places.get(value[:LONGEST_VALUE], len(self.categories))
        return self._bin_of_any(value)

    def _bin_of_any(self, value: object) -> int:
        if _is_missing(value):
            return MISSING
        if self.kind == "number":
            number = number_of(value)
            return MISTYPED if number is None else _FIRST + _bin(self.edges, number)
        if self.kind == "boolean" and not isinstance(value, bool):
            return MISTYPED
        try:
            return _FIRST + self._places.get(canonical(value)[:LONGEST_VALUE], len(self.categories))
        except ValueError:
            return MISTYPED

    def binned(self, values: FeatureValues) -> Counts:
        """The counts of some rows in the bins of this profile; values of another kind are mistyped."""
        counts = np.zeros(len(self.counts), dtype=np.int64)
        counts[MISSING] = values.missing
        if values.kind != self.kind:
            counts[MISTYPED] = values.present
        elif self.kind == "number":
            counts[_FIRST:] = _counted(self.edges, values.numbers)
        else:
            for text, n in values.texts.items():
                counts[_FIRST + self._places.get(text, len(self.categories))] += n
        return counts

    def places(self, column: FeatureColumn) -> npt.NDArray[np.int64]:
        """Which of the `counts` each row of a column adds to, as `bin_of` has it: (rows,)."""
        if column.kind != self.kind:
            there = np.isfinite(column.numbers) if column.kind == "number" else column.texts != np.array(None)
            return np.where(there, MISTYPED, MISSING)
        if self.kind == "number":
            missing = ~np.isfinite(column.numbers)
            return np.where(missing, MISSING, _FIRST + _places(self.edges, np.where(missing, 0.0, column.numbers)))
        known: dict[str | None, int] = {text: _FIRST + place for text, place in self._places.items()}
        known[None] = MISSING
        other = _FIRST + len(self.categories)
        return np.array([known.get(text, other) for text in column.texts.tolist()], dtype=np.int64)

    @cached_property
    def edges(self) -> tuple[float, ...]:
        """The quantiles that differ."""
        return tuple(sorted(set(self.quantiles)))

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {text: place for place, text in enumerate(self.categories)}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The features of some rows, by name."""

    rows: int
    features: Mapping[str, FeatureProfile]
    format: int = FORMAT

    def binned(self, columns: Mapping[str, FeatureValues], rows: int) -> Mapping[str, Counts]:
        """The counts of other rows; a feature that none of them has is missing in all."""
        nothing = FeatureValues(kind="number", missing=rows)
        return {name: held.binned(columns.get(name, nothing)) for name, held in self.features.items()}


def profile_of(columns: Mapping[str, FeatureValues], rows: int) -> Profile:
    """The profile of some rows; of more than `MOST_FEATURES` features the first by name."""
    names = sorted(columns)[:MOST_FEATURES]
    return Profile(rows=rows, features={name: feature_profile(columns[name]) for name in names})


def feature_profile(values: FeatureValues) -> FeatureProfile:
    """The profile of one feature."""
    if values.kind != "number":
        order = sorted(values.texts.items(), key=lambda item: (-item[1], item[0]))[:MOST_CATEGORIES]
        kept = [(text, n) for text, n in order if n >= FEWEST_OF_CATEGORY]
        counts = [n for _, n in kept]
        other = values.present - sum(counts)
        categories = tuple(text for text, _ in kept)
        return FeatureProfile(kind=values.kind, counts=(values.missing, 0, *counts, other), categories=categories)
    quantiles = quantiles_of(values.numbers)
    counted = _counted(tuple(sorted(set(quantiles))), values.numbers)
    return FeatureProfile(kind="number", counts=(values.missing, 0, *counted.tolist()), quantiles=quantiles)


def quantiles_of(numbers: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Each twentieth of some numbers, all of them numbers that are there; empty without any."""
    if not len(numbers):
        return ()
    return tuple(np.quantile(numbers, _STEPS, method="inverted_cdf").tolist())


def spread_of(quantiles: tuple[float, ...]) -> float:
    """A robust standard deviation, as of a normal distribution with such a middle half (else middle 90 %)."""
    if not quantiles:
        return 0.0
    half = (quantiles[QUANTILES * 3 // 4] - quantiles[QUANTILES // 4]) / 1.349
    return half or (quantiles[-2] - quantiles[1]) / 3.29


def _bin(edges: tuple[float, ...], number: float) -> int:
    if not edges:
        return 0
    inner = max(1, len(edges) - 1)
    return inner + 1 if number > edges[-1] else min(bisect_right(edges, number), inner)


def _counted(edges: tuple[float, ...], numbers: npt.NDArray[np.float64]) -> Counts:
    """How many numbers are below the first edge, between each two, and above the last, which has the last one's."""
    bins = max(1, len(edges) - 1) + 2 if edges else 1
    return np.bincount(_places(edges, numbers), minlength=bins).astype(np.int64)


def _places(edges: tuple[float, ...], numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    if not edges:
        return np.zeros(len(numbers), dtype=np.int64)
    inner = max(1, len(edges) - 1)
    places = np.minimum(np.searchsorted(edges, numbers, side="right"), inner)
    places[numbers > edges[-1]] = inner + 1
    return places.astype(np.int64)
