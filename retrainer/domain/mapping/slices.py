"""Slices: parts of the traffic that are measured beside the whole.

A slice is named by a text: `carrier=AA` for a feature's value, `long_haul` where a condition holds. Values are
canonical, as classes are. A prediction without the feature is in none of the feature's slices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from retrainer.domain.mapping.predicates import Features, parse
from retrainer.domain.metrics.registry import size
from retrainer.domain.tally.measures import settled
from retrainer.domain.tally.tallies import ARRIVALS, WHOLE, TallyKey
from retrainer.domain.values import canonical

LONGEST_VALUE: Final = 100
"""Characters of a value; what is longer is cut there."""

MOST_TALLIED: Final = 1000
"""Values of one slice that are tallied on their own."""

MOST_KEPT: Final = 50
"""Values of one slice that are told apart when tallies are read."""

_IS: Final = "="
_OTHER: Final = "other"

Cells = Counter[tuple[str, str]]
"""How many outcomes had (label, prediction)."""


@dataclass(frozen=True, kw_only=True)
class SlicePolicy:
    """A part of the traffic: each value of the feature `name`, or, under that `name`, where `when` holds.

    A feature within another is named by its dotted path; a feature whose own name has dots comes first.

    Raises:
        ValueError: the name is empty, begins with a control character or has an equals sign, or the condition is not
            one (see `predicates`).
    """

    name: str
    when: str | None = None
    text_of: Callable[[Features], str | None] = field(init=False, repr=False, compare=False)
    """The slice that a prediction's features belong to; None where they belong to none."""
    features: frozenset[str] = field(init=False, repr=False, compare=False)
    """The features that it looks at."""

    def __post_init__(self) -> None:
        if not self.name or _IS in self.name:
            raise ValueError("expected a name without =")
        if self.name < " ":  # there the names of what is tallied beside slices begin
            raise ValueError("expected a name that does not begin with a control character")
        # Made once: every prediction is asked.
        predicate = None if self.when is None else parse(self.when)
        text_of = _by_value(self.name) if predicate is None else _by_condition(self.name, predicate.holds)
        object.__setattr__(self, "text_of", text_of)
        object.__setattr__(self, "features", predicate.names if predicate else frozenset([self.name]))


def slices_of(policies: Sequence[SlicePolicy], features: Features) -> tuple[str, ...]:
    """The slices that a prediction with these features belongs to, beside the whole."""
    return tuple([text for policy in policies if (text := policy.text_of(features)) is not None])


def features_needed(policies: Iterable[SlicePolicy]) -> frozenset[str]:
    """The names of every feature that some slice looks at."""
    return frozenset().union(*(policy.features for policy in policies))


class SliceValues:
    """Bounds what is tallied: so many values of each slice on their own, the rest as `NAME=other`.

    Below the bound the order in which values come does not matter; beyond it the first ones have their place.
    """

    def __init__(self, admitted: Iterable[str] = (), *, most: int = MOST_TALLIED) -> None:
        """Go on with the slices that were `admitted` before."""
        self._most = most
        self._admitted: set[str] = set()
        self._sizes: Counter[str] = Counter()
        for text in admitted:
            self._note(text)

    def admit(self, slices: tuple[str, ...]) -> tuple[str, ...]:
        """The slices that a prediction counts in."""
        if self._admitted.issuperset(slices):
            return slices
        return tuple([self._admit(text) for text in slices])

    def _admit(self, text: str) -> str:
        name, is_value, _ = text.partition(_IS)
        if text in self._admitted or not is_value or self._sizes[name] < self._most:
            self._note(text)
            return text
        return _other(name)

    def _note(self, text: str) -> None:
        name, is_value, value = text.partition(_IS)
        if text not in self._admitted and text != WHOLE:
            self._admitted.add(text)
            self._sizes[name] += bool(is_value) and value != _OTHER


def by_slice(tallies: Iterable[tuple[TallyKey, int]], most: int = MOST_KEPT) -> dict[str, Cells]:
    """The cells of each slice, versions and slots merged: of each feature the commonest values, the rest as `other`.

    Slices without outcomes are left out; neither the whole nor the arrivals are a slice.
    """
    cells: dict[str, Cells] = {}
    for key, n in tallies:
        if key.slice not in (WHOLE, ARRIVALS):
            cells.setdefault(key.slice, Counter())[key.truth, key.answer] += n
    return _folded({text: held for text, counted in cells.items() if size(held := settled(counted)) > 0}, most)


def _folded(cells: Mapping[str, Cells], most: int) -> dict[str, Cells]:
    values: dict[str, list[str]] = {}
    for text in sorted(cells, key=lambda text: (-size(cells[text]), text)):
        name, is_value, value = text.partition(_IS)
        if is_value and value != _OTHER:
            values.setdefault(name, []).append(text)
    rest = {text: _other(name) for name, texts in values.items() for text in texts[most:]}
    folded: dict[str, Cells] = {}
    for text, held in cells.items():
        folded.setdefault(rest.get(text, text), Counter()).update(held)
    return folded


def _other(name: str) -> str:
    return f"{name}{_IS}{_OTHER}"


def _by_value(name: str) -> Callable[[Features], str | None]:
    prefix = f"{name}{_IS}"
    path = name.split(".")

    def text_of(features: Features) -> str | None:
        found = features.get(name)
        if found is None and len(path) > 1:
            found = _within(features, path)
        if type(found) is str:
            return prefix + found[:LONGEST_VALUE]
        try:
            return None if found is None else prefix + canonical(found)[:LONGEST_VALUE]
        except ValueError:  # nested values, and numbers that are not finite, count as missing
            return None

    return text_of


def _within(features: Features, path: Sequence[str]) -> object:
    found: object = features
    for name in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def _by_condition(name: str, holds: Callable[[Features], bool]) -> Callable[[Features], str | None]:
    return lambda features: name if holds(features) else None
