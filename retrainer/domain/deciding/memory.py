"""What is remembered of a model between two rounds of deciding. `Deliberation` owns it; nobody else changes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from retrainer.domain.features.drift_windows import DriftReference
from retrainer.domain.frozen import changed
from retrainer.domain.lateness.completeness import CompletenessState
from retrainer.domain.metrics.registry import Estimate
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.triggers.base import Level, Reading
from retrainer.domain.values import Micros, Slot, slot_of

FORMAT: Final = 1


@dataclass(frozen=True, kw_only=True)
class ModelMemory:
    """What the controller remembers of a model between rounds; stored with each round's decisions.

    Attributes:
        champion: the version whose outcomes are watched; `since` when in event time.
        evaluated_until: slots before this one have been looked at.
        seen: the champion's outcomes so far.
        total: outcomes of every version so far.
        since_job: outcomes of every version since the last job was decided.
        first_rows: how many rows the first champion learnt from that anything is known of.
        holds_until: the event time at which the guard that holds now may give way by itself.
        triggers: each quality trigger's own state.
        readings: what each trigger said last.
        latched: schedules that have fired and wait for a job.
        fired_at: each schedule's last fire, in wall time.
    """

    champion: str | None = None
    known: bool = False
    since: Micros | None = None
    evaluated_until: Slot | None = None
    seen: int = 0
    total: int = 0
    since_job: int = 0
    first_rows: int = 0
    holds_until: Micros | None = None
    triggers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    readings: Mapping[str, Reading] = field(default_factory=dict)
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    metric_window: str = ""
    beat: int = 0
    latched: Mapping[str, Reading] = field(default_factory=dict)
    fired_at: Mapping[str, Micros] = field(default_factory=dict)
    paused: str | None = None
    """Why a person paused deciding; None while it goes on."""
    reference: DriftReference | None = None
    """What features are compared with, where it was learnt from the champion's first predictions."""
    catching_up: bool = False
    """Whether the worker was far behind the end of its topics."""
    completeness: CompletenessState | None = None
    """What is known of missing labels."""
    missing: Mapping[str, Any] = field(default_factory=dict)
    """The same for people: coverage, maturity, whether the sample is fair, and what the scores estimate."""
    last_decision: str = ""
    format: int = FORMAT

    def for_champion(self, champion: str | None, since: Micros | None) -> ModelMemory:
        """The memory of a newly known champion: the watch starts anew."""
        return changed(
            self, champion=champion, known=True, since=since, seen=0, beat=0, triggers={}, readings={}, metrics={},
            reference=None,
        )  # fmt: skip

    def owns(self, version: str, slot: Slot) -> bool:
        """Whether what is counted of a version in a slot is the champion's; unversioned outcomes are from its
        promotion on."""
        if self.champion is None or version == self.champion:
            return True
        return not version and (self.since is None or slot >= slot_of(self.since))

    def is_champions(self, key: TallyKey) -> bool:
        """Whether a tally belongs to the champion."""
        return key.slice == WHOLE and self.owns(key.version, key.slot)

    def level_of(self, name: str) -> Level:
        """What a trigger said last, schedules included."""
        return Level.FIRED if name in self.latched else self.readings.get(name, Reading()).level
