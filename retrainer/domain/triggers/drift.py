"""`drift`: features look different from those that the champion learnt from.

It warns, and fires only if it is told to: a feature may well look different while the model is as good as before, and
a model that is retrained on a feature that broke upstream learns the break.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from retrainer.domain.features.drift import Drifted, DriftView, drifted
from retrainer.domain.metrics.windows import CountWindow, Window
from retrainer.domain.triggers.base import Level, Reading, Scene, State

_MOST_TOLD: Final = 20


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Warns (or fires) while features of the newest predictions differ from the reference.

    Attributes:
        newest: which predictions are looked at; `scene.drift` holds them by this window's text.
        features: those to watch; None for all.
        confidence: one minus the chance that an evaluation names any feature falsely.
        launches: whether it may fire.
    """

    kind: ClassVar[str] = "drift"
    every_slot: ClassVar[bool] = True

    newest: Window
    features: tuple[str, ...] | None = None
    confidence: float
    launches: bool
    window: Window = field(default_factory=lambda: CountWindow(outcomes=1000))
    """The protocol asks for a window of outcomes; this trigger looks at none."""

    def evaluate(self, state: State, scene: Scene) -> tuple[State, Reading]:
        """Every tenth of the window; between evaluations the last answer stands."""
        view = scene.drift.get(str(self.newest))
        if not isinstance(view, DriftView) or view.tenth < state.get("end", view.tenth):
            return state, _kept(state)
        found = drifted(view.features, self.confidence, self.features)
        level = (Level.FIRED if self.launches else Level.WARNED) if found else Level.QUIET
        evidence = self._evidence(view, found)
        remembered = {"end": view.end, "level": level.value, "evidence": evidence}
        return remembered, Reading(level=level, evidence=evidence)

    def _evidence(self, view: DriftView, found: Sequence[Drifted]) -> dict[str, Any]:
        watched = len(view.features if self.features is None else view.features.keys() & set(self.features))
        return {
            "window": str(self.newest).replace("outcomes", "predictions"),
            **view.evidence,
            "features": watched,
            "drifted": {
                one.feature: {"what": list(one.what), "p": float(f"{one.p:.3g}"), **one.drift.evidence}
                for one in found[:_MOST_TOLD]
            },
            "drifted_features": len(found),
        }


def words(evidence: Mapping[str, Any]) -> str:
    """What the trigger saw, in a sentence."""
    if "drifted" not in evidence:
        return "too few predictions so far to compare their features"
    of = f"of {evidence['features']} features over the newest {evidence['n']} predictions"
    if not evidence["drifted"]:
        return f"none {of} looks different from {evidence['reference']}"
    told = ", ".join(_told(name, one) for name, one in list(evidence["drifted"].items())[:5])
    more = evidence["drifted_features"] - min(5, len(evidence["drifted"]))
    verb = "looks" if evidence["drifted_features"] == 1 else "look"
    rest = f" and {more} more" if more else ""
    return f"{evidence['drifted_features']} {of} {verb} different from {evidence['reference']}: {told}{rest}"


def _told(name: str, one: Mapping[str, Any]) -> str:
    parts = []
    if "values" in one["what"]:
        parts.append(f"PSI {one['psi']:.2f}")
    if "missing" in one["what"]:
        parts.append(f"missing in {one['missing']:.1%}, before in {one['missing_before']:.1%}")
    return f"{name} ({'; '.join(parts)})"


def _kept(state: State) -> Reading:
    return Reading(level=Level(state.get("level", Level.QUIET)), evidence=state.get("evidence", {}))
