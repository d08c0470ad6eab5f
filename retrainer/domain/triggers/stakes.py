"""The stakes of several tests at once, as arrays: `change` remembers them as lists, and looks at them in every slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import Any, Final

import numpy as np

from retrainer.domain.metrics.registry import Cells
from retrainer.domain.triggers.classmix import explained
from retrainer.domain.triggers.sequential import (
    EFFECTS,
    Floats,
    LossReference,
    Sums,
    advanced_by,
    begun,
    bets_on_one,
    log_bets,
    log_evidences,
)

NEAR: Final = 6
"""The candidate, one standard error worse than the estimate, that a fall within classes must refute."""

_ERRORS: Final = 2.0
"""Standard errors by which the miss rate of a class may have been another than it was in the reference."""

_DIGITS: Final = 5


class Stakes:
    """What a state's tests have won so far, and what they bet on. One more row is that of the fall within classes."""

    def __init__(
        self, tests: Mapping[str, dict[str, Any]], references: Sequence[LossReference], alphas: Sequence[float]
    ) -> None:
        self.names = tuple(tests)
        self._tests = tuple(tests.values())
        self._references = references
        self._alphas = alphas
        self._values = np.array([[*test["stakes"], *test["within"]] for test in self._tests])
        self._values = self._values.reshape(len(tests), -1, len(EFFECTS)) if tests else self._values
        self._is_binary = all(reference.binary for reference in references)
        pairs = [bets_on_one(reference) for reference in references if self._is_binary]
        self._hit = _with_near([hit for hit, _ in pairs]) if pairs else self._values
        self._miss = _with_near([miss for _, miss in pairs]) if pairs else self._values
        self._newest = max(range(len(tests)), key=lambda place: self._tests[place]["from"], default=0)
        self._explained: dict[object, Sequence[float]] = {}

    def bets(self, seen: Sums, cells: Cells) -> Floats:
        """The logarithm of each stake's factor for a slot, for outcomes that do not depend on each other."""
        if not self._is_binary:
            return _with_near([log_bets(reference, seen) for reference in self._references])
        totals = np.full((len(self.names), len(self._hit[0]), 1), float(seen.total))
        totals[:, -1, 0] -= self._mix(cells)
        found: Floats = (seen.n - totals) * self._hit + totals * self._miss
        return found

    def newest(self, bets: Floats) -> Sequence[float]:
        """Of the newest reference: the bets against the candidate nearest to its estimate, by effect."""
        found: Sequence[float] = bets[self._newest, -2].tolist()
        return found

    def advance(self, bets: Floats, before: float, n: float) -> dict[str, dict[str, Any]]:
        """The tests after a slot with so many outcomes `before` it."""
        weights = [log(begun(before - test["from"], n)) for test in self._tests]
        self._values = np.round(advanced_by(self._values, bets, np.array(weights)[:, None, None]), _DIGITS)
        lists = self._values.reshape(len(self.names), -1).tolist()
        self._tests = tuple(
            {
                **test,
                "stakes": one[: -len(EFFECTS)],
                "within": one[-len(EFFECTS) :] if test["classes"] else test["within"],
            }
            for test, one in zip(self._tests, lists, strict=True)
        )
        return dict(zip(self.names, self._tests, strict=True))

    def passed(self, inflation: float) -> dict[str, float]:
        """The logarithm of each test's evidence over what is needed; not below zero when it is through."""
        found = log_evidences(self._values[:, :-1], self._references, inflation, self._alphas)
        return {name: one - log(1 / alpha) for name, one, alpha in zip(self.names, found, self._alphas, strict=True)}

    def _mix(self, cells: Cells) -> Sequence[float]:
        """Of each test the misses that the mix of label classes explains. A slot often has one outcome, as another."""
        key = tuple(cells.items()) if len(cells) == 1 else None
        found = self._explained.get(key) if key else None
        if found is None:
            found = [
                explained(test["classes"], cells, errors=_ERRORS) if test["classes"] else 0.0 for test in self._tests
            ]
            if key and len(self._explained) < _REMEMBERED:
                self._explained[key] = found
        return found


_REMEMBERED: Final = 1000


def _with_near(bets: Sequence[Floats]) -> Floats:
    """Those of each test, and once more those of the near candidate."""
    found = np.array(bets)
    return np.concatenate([found, found[:, NEAR : NEAR + 1]], axis=1)
