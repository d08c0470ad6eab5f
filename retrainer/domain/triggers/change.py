"""`change`: a sequential test that the outcomes have become worse, with a bounded chance of ever firing falsely.

The promise: while the conditional mean of the outcomes never falls below that of the reference, the chance of any
firing within a million outcomes since the promotion is at most 1 - confidence. `domain.triggers.sequential` says how.

What is expected are the champion's own first outcomes. There are several references: a small one, so that the test can
begin early, with a wide limit; larger ones that sharpen it; and none is ever replaced, so that a slow change that a
later reference has swallowed still stands out against an earlier one. The champion's baseline is one more, at a
quarter of its size. Each has its share of 1 - confidence, and within its share the error of the reference is paid for:
the test must refute every mean that the reference may have had.

The bound is exact for hits and misses. For losses the bets are exact and the limits of the reference are asymptotic.
Outcomes that depend on each other void it: so the variance of block means is measured all along, and the bets are
tempered by its excess. What that cannot see still voids it: dependence over longer stretches than a tenth of the
outcomes so far (a season, a slow cycle) looks like a change, and is one to this test. The remedies: a longer
`reference` that spans the cycle, or a higher `confidence`.

Labels of one class may come before those of another. Outcomes known soon after a promotion or a stall are then no fair
sample: a second test, of the misses less those that the mix of label classes explains, must be through too. A fall that
the mix explains alone is a warning. It fires once it has lasted for as many outcomes as the reference has, and as long
as those took; near the promotion the reference is learned anew instead. Losses are not known by class: nothing of this
helps them, and the guards must.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import exp, log, sqrt
from types import MappingProxyType
from typing import Any, ClassVar, Final

import numpy as np

from retrainer.domain.metrics.registry import METRICS, Cells, Estimate, correct, moments, size
from retrainer.domain.metrics.windows import CountWindow, Window
from retrainer.domain.triggers.base import Level, Reading, Scene, State
from retrainer.domain.triggers.classmix import ByClass, added, explained
from retrainer.domain.triggers.sequential import EFFECTS, Blocks, LossReference, Sums, log_mixed, starting
from retrainer.domain.triggers.stakes import Stakes
from retrainer.domain.values import Micros, Slot, iso, slot_start

REFERENCE: Final = 10_000
_FIRST: Final = 500
_MAIN_SHARE: Final = 0.8
_BASELINE: Final = "baseline"
_SLACK: Final = 1.0
"""A fall within classes needs so much less (as a logarithm): the two tests differ a little by chance."""
_RELEARNED_WITHIN: Final = 2
"""In references: another mix of classes that began so soon means that the reference was no fair sample."""


_NO_TEST: Final[Mapping[str, Any]] = MappingProxyType({"from": 0, "classes": {}})


@dataclass(frozen=True, kw_only=True)
class Change:
    """Fires when the outcomes of the champion have become worse than its first ones; and stays fired.

    Attributes:
        metric: one that is a mean over outcomes.
        confidence: one minus the chance that it ever fires without a change, within the horizon.
        reference: how many of the champion's first outcomes set what is expected in the end.
    """

    kind: ClassVar[str] = "change"

    metric: str
    confidence: float
    reference: int = REFERENCE
    window: Window = field(default_factory=lambda: CountWindow(outcomes=1000))
    _last: list[tuple[State, Stakes]] = field(default_factory=list, init=False, repr=False, compare=False)
    """The state that was made last, with its stakes: it is mostly the one that is asked about next."""

    def evaluate(self, state: State, scene: Scene) -> tuple[State, Reading]:
        """Take the newest slot into the test; once it has fired it stays fired until the next champion."""
        slot, cells = scene.history.newest
        seen = losses(self.metric, cells)
        if "reading" in state or seen is None:
            return state, _kept(state)
        known = state if "tests" in state else self._beginning(scene.baseline)  # an older version remembered otherwise
        stakes, inflation = self._stakes(known), self._inflation(known)
        after = self._tested(known, stakes, (slot, cells), seen, inflation)
        after, reading = self._judged(after, stakes, inflation)
        after = self._learned(after, seen, cells) if after else self._beginning({})
        self._last[:] = [(after, stakes)] if stakes.names == tuple(after["tests"]) else []
        return after, reading

    def _stakes(self, state: State) -> Stakes:
        """Of a state that was not made here just now they are made from what it remembers."""
        if self._last and self._last[0][0] is state:
            return self._last[0][1]
        tests = state["tests"]
        references = [
            LossReference(sums=_sums(test["sums"]), binary=self._binary, inflation=test["inflation"])
            for test in tests.values()
        ]
        return Stakes(tests, references, [self._alpha(name) for name in tests])

    @cached_property
    def _references(self) -> tuple[int, ...]:
        """How many outcomes each reference has: the last is the one that is asked for."""
        smaller = {max(_FIRST, self.reference // part) for part in (20, 5)}
        return (*sorted(one for one in smaller if one < self.reference), self.reference)

    def _alpha(self, name: str) -> float:
        main = str(self.reference)
        others = len(self._references)  # the smaller ones, and the baseline
        return (1 - self.confidence) * (_MAIN_SHARE if name == main else (1 - _MAIN_SHARE) / others)

    @property
    def _binary(self) -> bool:
        return self.metric == "accuracy"

    def _beginning(self, baseline: Mapping[str, Estimate]) -> dict[str, Any]:
        tests = {}
        expected = _from_baseline(baseline.get(self.metric)) if self._binary else None
        if expected is not None:
            tests[_BASELINE] = _new_test(expected, 1.0, 0, {}, 0)
        return {
            "sums": [0, 0.0, 0.0],
            "tests": tests,
            "classes": {},
            "rises": [0.0] * len(EFFECTS),
            "since": [None] * len(EFFECTS),
            "blocks": Blocks().plain,
            "mixed": None,
            "slots": None,
        }

    def _inflation(self, state: State) -> float:
        return _inflation(Blocks.of(state["blocks"]), _sums(state["sums"]))

    def _tested(
        self, state: State, stakes: Stakes, newest: tuple[Slot, Cells], seen: Sums, inflation: float
    ) -> dict[str, Any]:
        """Every test after the slot, and where the fall would have begun."""
        (slot, cells), tests, risen = newest, state["tests"], {}
        if tests:
            bets = stakes.bets(seen, cells)
            risen = _risen(state, slot, stakes.newest(bets))
            # No bets while nobody knows how much outcomes depend on each other.
            if Blocks.of(state["blocks"]).known:
                tests = stakes.advance(bets / inflation, state["sums"][0], max(seen.n, 1))
        slots = [state["slots"][0] if state["slots"] else slot, slot]
        sums = _sums(state["sums"]) + seen
        classes = added(state["classes"], cells) if self._binary else {}
        known = {"tests": tests, "slots": slots, "sums": [sums.n, sums.total, sums.squares], "classes": classes}
        return {**state, **known, **risen}

    def _judged(self, state: dict[str, Any], stakes: Stakes, inflation: float) -> tuple[dict[str, Any], Reading]:
        """Whether a test is through and the fall is no mere mix of classes. An empty state means: learn anew."""
        if not state["tests"]:
            return state, Reading(evidence={"reference": f"{state['sums'][0]} of {self._references[0]} outcomes"})
        measured = inflation / Blocks.of(state["blocks"]).caution
        found = stakes.passed(measured)
        name = max(found, key=lambda one: (found[one], one))
        evidence, began = self._evidence(state, name, found[name], inflation)
        if found[name] < 0:
            # Evidence that hovers about the line does not set the clock of a mix of classes back.
            again = found[name] < log(1 - self.confidence)
            return {**state, "mixed": None if again else state["mixed"]}, Reading(evidence=evidence, began=began)
        within = self._within(name, state["tests"][name])
        if within is not None and within < -_SLACK:
            return self._mixed(state, name, evidence, began, within)
        return _fired(state, evidence, began)

    def _within(self, name: str, test: Mapping[str, Any]) -> float | None:
        """The same of the near candidate, for outcomes less what their mix of label classes explains."""
        if not test["classes"]:
            return None
        return float(log_mixed(np.array([test["within"]]))[0]) - log(1 / self._alpha(name))

    def _mixed(
        self, state: dict[str, Any], name: str, evidence: dict[str, Any], began: Micros | None, within: float
    ) -> tuple[dict[str, Any], Reading]:
        """A fall that the mix of label classes explains: a warning at first."""
        n = state["sums"][0]
        since, slot = state["mixed"] or (n, state["slots"][1])
        evidence |= {
            "within_classes": float(f"{exp(min(within, 600.0)) / (1 - self.confidence):.4g}"),
            "mixed_for": n - since,
        }
        # A backlog brings as many outcomes as the reference has in far less time.
        took = state["tests"][name]["slots"]
        if n - since < self.reference or state["slots"][1] - slot < took:
            return {**state, "mixed": [since, slot]}, Reading(level=Level.WARNED, evidence=evidence, began=began)
        if state["since"][_strongest(state)][1] <= _RELEARNED_WITHIN * self.reference:
            return {}, Reading(level=Level.WARNED, evidence={**evidence, "learned_anew": True})
        return _fired(state, evidence, began)

    def _learned(self, state: dict[str, Any], seen: Sums, cells: Cells) -> dict[str, Any]:
        """The sums with the slot's; a new test where they have reached a reference's size."""
        sums = _sums(state["sums"])
        newest = max(state["tests"].values(), key=lambda test: test["from"], default=_NO_TEST)
        # Another mix of classes, as in the burst after a stall, is no dependence.
        usual = Sums(n=seen.n, total=seen.total - explained(newest["classes"], cells))
        blocks = Blocks.of(state["blocks"]).add(usual)
        after = {**state, "blocks": blocks.plain}
        reached = [one for one in self._references if newest["from"] < one <= sums.n]
        if not reached or not blocks.known:
            return after
        inflation = _inflation(blocks, sums)
        known = _possible(sums) if self._binary else sums
        test = _new_test(known, inflation, sums.n, state["classes"], state["slots"][1] - state["slots"][0])
        return {**after, "tests": {**state["tests"], str(reached[-1]): test}}

    def _evidence(
        self, state: State, name: str, passed: float, inflation: float
    ) -> tuple[dict[str, Any], Micros | None]:
        test, start = state["tests"][name], state["since"][_strongest(state)]
        expected = _sums(test["sums"])
        found: dict[str, Any] = {
            "metric": self.metric,
            "expected": self._value(expected.mean),
            "reference": name if name == _BASELINE else f"{round(expected.n)} first outcomes",
            "e_value": float(f"{exp(min(passed, 600.0)) / (1 - self.confidence):.4g}"),
            "needed": round(1 / (1 - self.confidence), 4),
            "inflation": round(inflation, 3),
        }
        if start is None or state["rises"][_strongest(state)] <= 0:
            return found, None
        sums, began = _sums(state["sums"]), slot_start(start[0])
        n = sums.n - start[1]
        if n > 0:
            found |= {"found": self._value((sums.total - start[2]) / n), "found_n": n}
        return {**found, "began": iso(began)}, began

    def _value(self, loss: float) -> float:
        if self.metric == "rmse":
            return round(sqrt(max(loss, 0.0)), 6)
        return round(1 - loss if METRICS[self.metric].higher_is_better else loss, 6)


def words(evidence: Mapping[str, Any]) -> str:
    """What it saw, as one sentence."""
    if "expected" not in evidence:
        return f"it is still learning what to expect ({evidence.get('reference', 'no outcomes yet')})"
    metric, expected = evidence["metric"], evidence["expected"]
    source = "its baseline" if evidence["reference"] == _BASELINE else f"its {evidence['reference']}"
    strength = f"evidence {evidence['e_value']:g}, {evidence['needed']:g} needed"
    if "found" not in evidence:
        return f"{metric} is no worse than the {expected:.4g} of {source} ({strength})"
    seen = f"{metric} has been {evidence['found']:.4g} over {evidence['found_n']} outcomes since {evidence['began']}"
    mixed = "; the mix of label classes explains it" if "within_classes" in evidence else ""
    return f"{seen}, where {source} had {expected:.4g} ({strength}){mixed}"


def losses(metric: str, cells: Cells) -> Sums | None:
    """The slot's losses; of accuracy the misses, corrections of earlier outcomes taken back. None of no outcomes."""
    if metric == "accuracy":
        n, misses = size(cells), size(cells) - correct(cells)
        return Sums(n=n, total=misses, squares=misses) if n > 0 or misses else None
    found = moments(metric, cells)
    return Sums(n=found.n, total=found.total, squares=found.squares) if found else None


def _kept(state: State) -> Reading:
    reading = state.get("reading")
    if not reading:
        return Reading()
    return Reading(level=Level.FIRED, evidence=reading["evidence"], began=reading["began"])


def _fired(state: dict[str, Any], evidence: dict[str, Any], began: Micros | None) -> tuple[dict[str, Any], Reading]:
    reading = Reading(level=Level.FIRED, evidence=evidence, began=began)
    return {**state, "fired": True, "reading": {"evidence": evidence, "began": began}}, reading


def _risen(state: State, slot: Slot, bets: Sequence[float]) -> dict[str, Any]:
    """CUSUMs against the newest reference: the last slot before which nothing spoke for a fall, by effect."""
    rises, since = [], []
    sums = state["sums"]
    for rise, start, bet in zip(state["rises"], state["since"], bets, strict=True):
        since.append([slot, sums[0], sums[1]] if rise <= 0 or start is None else start)
        rises.append(round(max(0.0, rise) + bet, 5))
    return {"rises": rises, "since": since}


def _strongest(state: State) -> int:
    """The effect that explains the newest outcomes best."""
    rises: list[float] = state["rises"]
    return max(range(len(rises)), key=lambda effect: rises[effect])


def _inflation(blocks: Blocks, sums: Sums) -> float:
    return blocks.inflation(sums.variance) * blocks.caution


def _sums(values: Any) -> Sums:
    n, total, squares = values
    return Sums(n=n, total=total, squares=squares)


def _possible(sums: Sums) -> Sums:
    """Corrections of what came before the promotion can lead to fewer misses than none, or to more than all."""
    misses = min(max(sums.total, 0), sums.n)
    return Sums(n=sums.n, total=misses, squares=misses)


def _new_test(sums: Sums, inflation: float, start: float, classes: ByClass, slots: int) -> dict[str, Any]:
    return {
        "sums": [sums.n, sums.total, sums.squares],
        "inflation": inflation,
        "from": start,
        "classes": classes,
        "slots": slots,
        "stakes": starting().ravel().tolist(),
        "within": starting(1)[0].tolist(),
    }


_TRUST: Final = 0.25
"""What an outcome of the baseline counts beside a live one: the candidate that wins is often a lucky one."""


def _from_baseline(found: Estimate | None) -> Sums | None:
    """The baseline of accuracy as hits and misses."""
    if found is None or found.n * _TRUST < 1:
        return None
    n = found.n * _TRUST
    misses = (1 - found.value) * n
    return Sums(n=n, total=misses, squares=misses)
