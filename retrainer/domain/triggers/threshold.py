"""`threshold`: the metric over a window is beyond a line in N of the last M evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from retrainer.domain.metrics.registry import Estimate, estimate
from retrainer.domain.metrics.windows import View, Window
from retrainer.domain.triggers.base import Level, Reading, Scene, State


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Fires when the value stands below (or above) a line in `breaches[0]` of `breaches[1]` consecutive evaluations.

    Attributes:
        confident: a breach needs the whole interval beyond the line, not just the value.
    """

    kind: ClassVar[str] = "threshold"

    metric: str
    window: Window
    below: float | None = None
    above: float | None = None
    warn_below: float | None = None
    warn_above: float | None = None
    breaches: tuple[int, int]
    confident: bool
    positive: str | None = None

    def evaluate(self, state: State, scene: Scene) -> tuple[State, Reading]:
        """Between evaluations the last answer stands."""
        history = scene.history
        beat = history.beat(self.window)
        if beat == state.get("beat"):
            return state, _kept(state)
        view = history.view(self.window)
        found = estimate(self.metric, view.cells, self.positive) if view else None
        if view is None or found is None:
            return {**state, "beat": beat}, _kept(state)
        return self._evaluated(state, beat, view, found)

    def _evaluated(self, state: State, beat: int, view: View, found: Estimate) -> tuple[State, Reading]:
        needed, of = self.breaches
        recent = [*state.get("recent", ()), self._is_breach(found)][-of:]
        fired = sum(recent) >= needed
        level = Level.FIRED if fired else Level.WARNED if self._is_warning(found) else Level.QUIET
        evidence = {**self._describe(found), **view.evidence, "breaches": f"{sum(recent)} of {len(recent)}"}
        remembered = {"beat": beat, "recent": recent, "level": level.value, "evidence": evidence}
        return remembered, Reading(level=level, evidence=evidence)

    def _is_breach(self, found: Estimate) -> bool:
        if self.below is not None:
            return _upper(found, confident=self.confident) < self.below
        return self.above is not None and _lower(found, confident=self.confident) > self.above

    def _is_warning(self, found: Estimate) -> bool:
        under = self.warn_below is not None and found.value < self.warn_below
        return self._is_breach(found) or under or (self.warn_above is not None and found.value > self.warn_above)

    def _describe(self, found: Estimate) -> dict[str, Any]:
        line = {"below": self.below, "above": self.above, "warn_below": self.warn_below, "warn_above": self.warn_above}
        return {
            "metric": self.metric,
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "window": str(self.window),
            "needed": "{} of {}".format(*self.breaches),
            **{name: limit for name, limit in line.items() if limit is not None},
        }


def words(evidence: Mapping[str, Any]) -> str:
    """What it saw, as one sentence."""
    if "value" not in evidence:
        return "there is nothing to measure yet"
    seen = "{metric} is {value:.4g} over {n} outcomes".format(**evidence)
    between = "" if evidence["low"] is None else " ({low:.4g} to {high:.4g})".format(**evidence)
    side = "below" if "below" in evidence else "above"
    needed = "{breaches} evaluations {side} {line:g}, {needed} needed".format(
        **{**evidence, "side": side, "line": evidence[side]}
    )
    return f"{seen}{between}: {needed} (from {evidence['from'][:16]} to {evidence['to'][:16]})"


def _kept(state: State) -> Reading:
    return Reading(level=Level(state.get("level", Level.QUIET)), evidence=state.get("evidence", {}))


def _upper(found: Estimate, *, confident: bool) -> float:
    return found.high if confident and found.high is not None else found.value


def _lower(found: Estimate, *, confident: bool) -> float:
    return found.low if confident and found.low is not None else found.value
