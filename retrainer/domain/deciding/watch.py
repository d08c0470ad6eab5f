"""Watching one champion: its outcomes, slot by slot, seen by metrics and triggers. Pure; live and replay share it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from retrainer.domain.features.drift_windows import DriftReference
from retrainer.domain.frozen import changed
from retrainer.domain.lateness.completeness import CompletenessState
from retrainer.domain.metrics.registry import Estimate, estimate
from retrainer.domain.metrics.windows import CountWindow, History, Window
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.triggers.base import Level, Reading, Scene, TriedJob, Trigger, wants_every_slot
from retrainer.domain.triggers.guarded import failure_of
from retrainer.domain.triggers.trial import UNKNOWN_ROWS
from retrainer.domain.values import Micros, Slot, slot_of

FORMAT: Final = 1
DEFAULT_WINDOW: Final = CountWindow(outcomes=1000)


@dataclass(frozen=True, kw_only=True)
class WatchPolicy:
    """What is watched of a model: metrics to report, and triggers by name."""

    metrics: tuple[str, ...] = ("accuracy",)
    triggers: Mapping[str, Trigger] = field(default_factory=dict)
    positive: str | None = None

    @property
    def report_window(self) -> Window:
        """The window of the metrics that are reported: the first trigger's."""
        return next((trigger.window for trigger in self.triggers.values()), DEFAULT_WINDOW)

    @property
    def windows(self) -> tuple[Window, ...]:
        """Every window in use, each once."""
        used = [self.report_window, *(trigger.window for trigger in self.triggers.values())]
        return tuple(dict.fromkeys(used))


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


@dataclass(frozen=True, kw_only=True)
class ChampionFacts:
    """What is known of the champion beside its outcomes: its evaluation, its classes, how many rows it learnt from."""

    baseline: Mapping[str, Estimate] = field(default_factory=dict)
    classes: frozenset[str] | None = None
    rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class MetricUpdated:
    """A metric was computed over its window."""

    estimate: Estimate
    version: str | None
    slot_end: Micros
    window: str


@dataclass(frozen=True, kw_only=True)
class TriggerChanged:
    """A trigger says something else than before."""

    name: str
    kind: str
    reading: Reading


@dataclass(frozen=True, kw_only=True)
class TriggerFailed:
    """A trigger of the user's own could not be asked; it is quiet as long as that lasts."""

    name: str
    kind: str
    error: str


Fact = MetricUpdated | TriggerChanged | TriggerFailed


class Watch:
    """One champion's history and what the triggers say about it."""

    def __init__(self, policy: WatchPolicy, memory: ModelMemory, champion: ChampionFacts = ChampionFacts()) -> None:
        self.policy = policy
        self.memory = memory
        self.champion = champion
        self.tried: tuple[TriedJob, ...] = ()
        self.history = History(*policy.windows, seen=memory.seen)
        self._report_window = policy.report_window
        self._scene = Scene(history=self.history, baseline=champion.baseline, known_classes=champion.classes)

    def is_champions(self, key: TallyKey) -> bool:
        """Whether a tally belongs to the champion."""
        return key.slice == WHOLE and self.owns(key.version, key.slot)

    def owns(self, version: str, slot: Slot) -> bool:
        """Whether what is counted of a version in a slot is the champion's; unversioned outcomes are from its
        promotion on."""
        if self.memory.champion is None or version == self.memory.champion:
            return True
        return not version and (self.memory.since is None or slot >= slot_of(self.memory.since))

    def remember(self, slot: Slot, cells: Counter[tuple[str, str]], *, counted: bool) -> None:
        """Put a slot that was evaluated before back into the history."""
        if cells.total() or cells:
            self.history.add(slot, cells, remembered=counted)
            self.memory = changed(self.memory, seen=self.history.seen)

    def close(
        self,
        slot: Slot,
        cells: Counter[tuple[str, str]],
        labels: Mapping[str, int] | None = None,
        drift: Mapping[str, Any] | None = None,
    ) -> Sequence[Fact]:
        """Look at a newly closed slot: outcomes of the champion, if any, and labels of whichever version."""
        scene = changed(
            self._scene,
            labels=labels or {},
            since_job=self.memory.since_job,
            first_rows=self.memory.first_rows or UNKNOWN_ROWS,
            tried=self.tried,
            drift=drift or {},
        )
        if not cells:
            return self._ask_triggers(scene, is_own=False)
        self.history.add(slot, cells)
        updated = self._update_metrics()
        return [*updated, *self._ask_triggers(scene, is_own=True)]

    def _update_metrics(self) -> Sequence[MetricUpdated]:
        window = self._report_window
        beat = self.history.beat(window)
        view = self.history.view(window) if beat != self.memory.beat else None
        self.memory = changed(self.memory, seen=self.history.seen, beat=beat)
        if view is None:
            return []
        found = {name: estimate(name, view.cells, self.policy.positive) for name in self.policy.metrics}
        known = {name: one for name, one in found.items() if one is not None}
        self.memory = changed(self.memory, metrics=known, metric_window=str(window))
        return [
            MetricUpdated(estimate=one, version=self.memory.champion, slot_end=view.end, window=str(window))
            for one in known.values()
        ]

    def _ask_triggers(self, scene: Scene, *, is_own: bool) -> Sequence[TriggerChanged | TriggerFailed]:
        """What the triggers say; without outcomes of the champion's own only those that look at other things."""
        states, readings = dict(self.memory.triggers), dict(self.memory.readings)
        told: list[TriggerChanged | TriggerFailed] = []
        for name, trigger in self.policy.triggers.items():
            if not (is_own or wants_every_slot(trigger)):
                continue
            before = readings.get(name, Reading())
            states[name], reading = trigger.evaluate(states.get(name, {}), scene)
            readings[name] = reading
            failure = failure_of(reading)
            if failure is not None and failure_of(before) is None:
                told.append(TriggerFailed(name=name, kind=trigger.kind, error=failure))
            if reading.level is not before.level:
                told.append(TriggerChanged(name=name, kind=trigger.kind, reading=reading))
        self.memory = changed(self.memory, triggers=states, readings=readings)
        return told


def level_of(memory: ModelMemory, name: str) -> Level:
    """What a trigger said last, schedules included."""
    if name in memory.latched:
        return Level.FIRED
    return memory.readings.get(name, Reading()).level
