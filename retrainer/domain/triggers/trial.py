"""`trial`: so much has come that nobody has learnt from that a candidate is worth a try.

Tests on the champion's outcomes see that it has become worse than it was. They do not see what a new model could do: a
champion that was never good, or one that fades among outcomes that depend on each other so much that nobody can tell.
Training and judging a candidate tells, and costs a training. So candidates are tried on no fixed beat: first when there
are `times` as many new labels as the champion learnt from; after one that was taken twice as soon, after one that was
not four times as late (additive on the scale of doublings, as congestion is found out about: Chiu and Jain 1989). Where
nothing can be gained, trainings thus become rare: of L labels about the logarithm of L to the base of four.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, ClassVar, Final

from retrainer.domain.triggers.base import Level, Reading, Scene, State
from retrainer.domain.windows import CountWindow, Window

UNKNOWN_ROWS: Final = 5_000
"""What a champion is taken to have learnt from where nobody knows."""

_TAKEN: Final = -1
_IN_VAIN: Final = 2
_LEAST: Final = -6


def patience(taken: Iterable[bool]) -> int:
    """How many doublings later than at first the next trial comes, after these candidates in order."""
    found = 0
    for was_taken in taken:
        found = max(_LEAST, found + (_TAKEN if was_taken else _IN_VAIN))
    return found


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Fires when it is time for a trial, until the next job starts.

    Attributes:
        times: so many times the rows that the first champion learnt from have to come before the first trial.
        least: labels between two jobs at least: fewer could not be judged on.
    """

    kind: ClassVar[str] = "trial"
    every_slot: ClassVar[bool] = True

    times: float = 2.0
    least: int = 1200
    window: Window = field(default_factory=lambda: CountWindow(outcomes=1000))

    def evaluate(self, state: State, scene: Scene) -> tuple[State, Reading]:
        """It counts nothing itself: labels since the last job, and what became of the jobs, are in the scene."""
        needed = max(self.least, ceil(self.times * scene.first_rows * 2.0**scene.patience))
        fired = scene.since_job >= needed
        evidence = {"labels": scene.since_job, "needed": needed, "patience": scene.patience}
        return state, Reading(level=Level.FIRED if fired else Level.QUIET, evidence=evidence)


def words(evidence: Mapping[str, Any]) -> str:
    """What the trigger saw, in a sentence."""
    if evidence["patience"] > 0:
        told = ", more than at first, as candidates were not taken"
    else:
        told = ", fewer than at first, as candidates were taken" if evidence["patience"] else ""
    return f"{evidence['labels']:,} labels have come since the last job; {evidence['needed']:,} are worth a try{told}"
