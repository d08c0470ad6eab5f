"""Watching one champion: its outcomes, slot by slot, seen by metrics and triggers. Pure; live and replay share it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from retrainer.domain.deciding.memory import ModelMemory
from retrainer.domain.frozen import changed
from retrainer.domain.metrics.registry import Estimate, estimate
from retrainer.domain.metrics.windows import CountWindow, History, Window
from retrainer.domain.triggers.base import Reading, Scene, TriedJob, Trigger, wants_every_slot
from retrainer.domain.triggers.guarded import failure_of
from retrainer.domain.triggers.trial import UNKNOWN_ROWS
from retrainer.domain.values import Micros, Slot

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
    """One champion's history, and what metrics and triggers say about it. What must last is in the memory that each
    call takes and gives back changed."""

    def __init__(self, policy: WatchPolicy, seen: int = 0, champion: ChampionFacts = ChampionFacts()) -> None:
        """`seen` outcomes of the champion had been seen before the first slot that the history will hold."""
        self._policy = policy
        self._champion = champion
        self._history = History(*policy.windows, seen=seen)
        self._report_window = policy.report_window
        self._scene = Scene(history=self._history, baseline=champion.baseline, known_classes=champion.classes)

    def remember(
        self, memory: ModelMemory, slot: Slot, cells: Counter[tuple[str, str]], *, counted: bool
    ) -> ModelMemory:
        """Put a slot that was evaluated before back into the history; `counted` if its outcomes count as seen."""
        if not cells:
            return memory
        self._history.add(slot, cells, remembered=counted)
        return changed(memory, seen=self._history.seen)

    def close_slot(
        self,
        memory: ModelMemory,
        slot: Slot,
        cells: Counter[tuple[str, str]],
        *,
        labels: Mapping[str, int] | None = None,
        drift: Mapping[str, Any] | None = None,
        tried: tuple[TriedJob, ...] = (),
    ) -> tuple[ModelMemory, Sequence[Fact]]:
        """Look at a newly closed slot: outcomes of the champion, if any, and labels of whichever version."""
        scene = changed(
            self._scene,
            labels=labels or {},
            since_job=memory.since_job,
            first_rows=memory.first_rows or UNKNOWN_ROWS,
            tried=tried,
            drift=drift or {},
        )
        if not cells:
            return self._ask_triggers(memory, scene, is_own=False)
        self._history.add(slot, cells)
        memory, updated = self._update_metrics(memory)
        memory, told = self._ask_triggers(memory, scene, is_own=True)
        return memory, [*updated, *told]

    def _update_metrics(self, memory: ModelMemory) -> tuple[ModelMemory, Sequence[MetricUpdated]]:
        window, history = self._report_window, self._history
        beat = history.beat(window)
        view = history.view(window) if beat != memory.beat else None
        memory = changed(memory, seen=history.seen, beat=beat)
        if view is None:
            return memory, []
        found = {name: estimate(name, view.cells, self._policy.positive) for name in self._policy.metrics}
        known = {name: one for name, one in found.items() if one is not None}
        told = [
            MetricUpdated(estimate=one, version=memory.champion, slot_end=view.end, window=str(window))
            for one in known.values()
        ]
        return changed(memory, metrics=known, metric_window=str(window)), told

    def _ask_triggers(
        self, memory: ModelMemory, scene: Scene, *, is_own: bool
    ) -> tuple[ModelMemory, Sequence[TriggerChanged | TriggerFailed]]:
        """What the triggers say; without outcomes of the champion's own only those that look at other things."""
        states, readings = dict(memory.triggers), dict(memory.readings)
        told: list[TriggerChanged | TriggerFailed] = []
        for name, trigger in self._policy.triggers.items():
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
        return changed(memory, triggers=states, readings=readings), told
