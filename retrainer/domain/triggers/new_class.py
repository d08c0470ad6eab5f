"""`new_class`: labels name a class that the champion has never seen, and so can never answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from retrainer.domain.metrics.windows import CountWindow, Window
from retrainer.domain.triggers.base import Level, Reading, Scene, State

REFERENCE: Final = 1000
"""If the champion's classes are not known, those among this many first labels count as known."""

_MOST_CLASSES: Final = 100
"""New classes that are told apart: more of them are no classes but a broken field."""


@dataclass(frozen=True, kw_only=True)
class NewClass:
    """Fires from the `labels`-th label of one new class on, until the next champion."""

    kind: ClassVar[str] = "new_class"
    every_slot: ClassVar[bool] = True

    labels: int
    window: Window = field(default_factory=lambda: CountWindow(outcomes=1000))

    def evaluate(self, state: State, scene: Scene) -> tuple[State, Reading]:
        """Count the slot's labels of classes that are not known; corrections take theirs back."""
        if scene.known_classes is None and state.get("seen", 0) < REFERENCE:
            return self._learn(state, scene.labels)
        known = scene.known_classes if scene.known_classes is not None else frozenset(state.get("known", ()))
        counts = dict(state.get("counts", {}))
        for name, n in sorted(scene.labels.items()):
            if name not in known and (name in counts or len(counts) < _MOST_CLASSES):
                counts[name] = counts.get(name, 0) + n
        found = {name: n for name, n in counts.items() if n >= self.labels}
        evidence = {"known": len(known), "needed": self.labels, "new": found}
        remembered = {**state, "counts": {name: n for name, n in counts.items() if n}}
        return remembered, Reading(level=Level.FIRED if found else Level.QUIET, evidence=evidence)

    def _learn(self, state: State, labels: Mapping[str, int]) -> tuple[State, Reading]:
        seen = state.get("seen", 0) + sum(labels.values())
        known = sorted({*state.get("known", ()), *(name for name, n in labels.items() if n > 0)})
        evidence = {"learning": f"{seen} of {REFERENCE} labels", "known": len(known)}
        return {"seen": seen, "known": known}, Reading(evidence=evidence)


def words(evidence: Mapping[str, Any]) -> str:
    """What the trigger saw, in a sentence."""
    if "learning" in evidence:
        return f"learning which classes there are: {evidence['known']} in {evidence['learning']}"
    new = evidence.get("new", {})
    if not new:
        return f"no new class has {evidence.get('needed', 1)} labels or more"
    told = ", ".join(f'"{name}" ({n} {"label" if n == 1 else "labels"})' for name, n in list(new.items())[:5])
    rest = f" and {len(new) - 5} more" if len(new) > 5 else ""
    return f"labels name {'a class' if len(new) == 1 else 'classes'} that the champion has never seen: {told}{rest}"
