"""`change`: a sequential test that the outcomes have become worse, with a bounded chance of ever firing falsely.

Each closed slot multiplies, for several suspected error rates, the likelihood ratio of its hits and misses against the
reference. Under outcomes whose conditional mean never falls below the reference, each product is a supermartingale that
starts at one; so is their mixture over possible change points with weights that sum to one. By Ville's inequality
(1939) it ever reaches 1/alpha with a chance of at most alpha. (An e-detector in the sense of Shin, Ramdas and Rinaldo,
"E-detectors", 2024, doi 10.51387/23-NEJSDS51, with the weights spent over a horizon of a million outcomes.)

The reference is the lower confidence limit of the champion's first outcomes. Its error is paid for: half of alpha goes
to that limit, half to the test. Outcomes that depend on each other (bursts, repeated subjects) void the bound; the
remedy is a higher `confidence`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, log
from typing import Any, ClassVar, Final

from retrainer.domain.metrics import correct, size, wilson
from retrainer.domain.triggers.base import Level, Reading, Scene, State
from retrainer.domain.values import iso, slot_start
from retrainer.domain.windows import CountWindow, Window

HORIZON: Final = 1_000_000
"""Outcomes since the promotion over which the chance of a false alarm is spent."""

_SUSPECTED: Final = (1.15, 1.3, 1.6, 2.0, 3.0)
"""The suspected error rates, as multiples of the reference's."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Fires when the accuracy of the champion has fallen below what its first outcomes promised.

    Attributes:
        confidence: one minus the chance that it ever fires without a change, within the horizon.
        reference: how many of the champion's first outcomes set what is expected.
    """

    kind: ClassVar[str] = "change"

    metric: str = "accuracy"
    confidence: float = 0.95
    reference: int = 1000
    window: Window = field(default_factory=lambda: CountWindow(outcomes=1000))

    def evaluate(self, state: State, scene: Scene) -> tuple[State, Reading]:
        """Take the newest slot into the test; once it has fired it stays fired until the next champion."""
        slot, cells = scene.history.newest
        hits, n = correct(cells), size(cells)
        if "expected" not in state:
            return self._learn(state, hits, n)
        after = self._tested(state, slot, hits, n)
        fired = state.get("fired", False) or _mixture(after["sums"]) >= 2 / self._alpha
        evidence = self._evidence(after)
        remembered = {**after, "fired": bool(fired)}
        return remembered, Reading(level=Level.FIRED if fired else Level.QUIET, evidence=evidence)

    @property
    def _alpha(self) -> float:
        return 1 - self.confidence

    def _reference(self, hits: int, n: int) -> float:
        """The lower limit, one-sided at half of alpha. Corrections of earlier outcomes can lead beyond 0 and n."""
        return wilson(min(max(hits, 0), n), n, confidence=1 - self._alpha)[0]

    def _learn(self, state: State, hits: int, n: int) -> tuple[State, Reading]:
        """The reference: the lower limit (Wilson's, one-sided at half of alpha) of the first outcomes."""
        hits, n = state.get("hits", 0) + hits, state.get("n", 0) + n
        learned: dict[str, Any] = {"hits": hits, "n": n}
        if n >= self.reference:
            learned |= {
                "expected": min(max(self._reference(hits, n), 0.01), 0.999),
                "sums": [_LOG_ZERO] * len(_SUSPECTED),
                "since": [None] * len(_SUSPECTED),
                "rises": [0.0] * len(_SUSPECTED),
                "tested": 0,
            }
        return learned, Reading(evidence={"reference": f"{n} of {self.reference} outcomes"})

    def _tested(self, state: State, slot: int, hits: int, n: int) -> dict[str, Any]:
        expected = state["expected"]
        weight = max(0, min(n, HORIZON - state["tested"])) / HORIZON
        sums, since, rises = [], [], []
        for k, factor in enumerate(_SUSPECTED):
            ratio = _log_ratio(expected, min(0.99, (1 - expected) * factor), hits, n - hits)
            sums.append(_log_add(state["sums"][k], log(weight) if weight else _LOG_ZERO) + ratio)
            rise = state["rises"][k]
            since.append(slot if rise <= 0 else state["since"][k])
            rises.append(max(0.0, rise) + ratio)
        return {**state, "sums": sums, "since": since, "rises": rises, "tested": state["tested"] + n}

    def _evidence(self, state: State) -> dict[str, Any]:
        strongest = max(range(len(_SUSPECTED)), key=lambda k: state["sums"][k])
        since = state["since"][strongest]
        return {
            "metric": self.metric,
            "expected": round(state["expected"], 4),
            "reference_n": state["n"],
            "tested": state["tested"],
            "e_value": round(_mixture(state["sums"]), 4),
            "needed": round(2 / self._alpha, 4),
            "began": iso(slot_start(since)) if since is not None else None,
        }


_LOG_ZERO: Final = -1e9


def _log_ratio(expected: float, suspected_error: float, hits: int, misses: int) -> float:
    return hits * log((1 - suspected_error) / expected) + misses * log(suspected_error / (1 - expected))


def _mixture(sums: list[float]) -> float:
    """The mean of the products over the suspected rates, kept finite."""
    return sum(exp(min(one, 600.0)) for one in sums) / len(sums)


def _log_add(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high + log(1 + exp(low - high)) if low > _LOG_ZERO / 2 else high
