"""Triggers of a user's own, as the configuration of the crowd names them: `tests.e2e.own_triggers:CLASS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retrainer.domain.triggers.base import Level, Reading, Scene, State


class ManyComplaints:
    """The example of the documentation: fires once more than `most` labels said `complaint`."""

    def __init__(self, most: int) -> None:
        self.most = most

    def evaluate(self, state: State, scene: Scene) -> tuple[State, Reading]:
        total = state.get("total", 0) + scene.labels.get("complaint", 0)
        level = Level.FIRED if total > self.most else Level.QUIET
        return {"total": total}, Reading(level=level, evidence={"complaints": total, "most": self.most})

    def words(self, evidence: Mapping[str, Any]) -> str:
        return f"{evidence['complaints']} people complained, more than {evidence['most']}"


class Impatient:
    """Fires as soon as anything is labelled, whoever predicted it."""

    every_slot = True

    def evaluate(self, state: State, scene: Scene) -> tuple[State, Reading]:
        seen = state.get("seen", 0) + sum(scene.labels.values())
        return {"seen": seen}, Reading(level=Level.FIRED if seen else Level.QUIET, evidence={"seen": seen})


class Broken:
    """Raises whenever it is asked."""

    def evaluate(self, state: State, scene: Scene) -> tuple[State, Reading]:
        raise LookupError("no such column: price")
