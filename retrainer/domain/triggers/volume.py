"""`volume`: enough labels have come since the last job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from retrainer.domain.metrics.windows import CountWindow, Window
from retrainer.domain.triggers.base import Level, Reading, Scene, State


@dataclass(frozen=True, kw_only=True)
class Volume:
    """Fires from so many labels on, until the next job starts."""

    kind: ClassVar[str] = "volume"
    every_slot: ClassVar[bool] = True
    due: ClassVar[bool] = True

    labels: int
    window: Window = field(default_factory=lambda: CountWindow(outcomes=1000))

    def evaluate(self, state: State, scene: Scene) -> tuple[State, Reading]:
        """It counts nothing itself: what counts since the last job is in the scene, whoever was champion."""
        evidence = {"labels": scene.since_job, "needed": self.labels}
        return state, Reading(level=Level.FIRED if scene.since_job >= self.labels else Level.QUIET, evidence=evidence)


def words(evidence: Mapping[str, Any]) -> str:
    """What the trigger saw, in a sentence."""
    return f"{evidence['labels']:,} labels since the last job, of the {evidence['needed']:,} that it takes"
