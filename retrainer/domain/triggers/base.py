"""What every trigger is: a policy that looks at a model when a slot closes, and says what it sees.

A trigger is frozen; what it must remember between slots is a small JSON-able state that the controller stores. To add
a kind, write one file beside this one and enter it where the configuration is wired; a user's own class with the same
protocol is named in the configuration as `module:Class`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from retrainer.domain.metrics.registry import Estimate
from retrainer.domain.metrics.windows import History, Window
from retrainer.domain.values import Micros


class Level(StrEnum):
    """What a trigger says."""

    QUIET = "quiet"
    WARNED = "warned"
    FIRED = "fired"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A trigger's answer at the end of a slot, with the evidence for it.

    Attributes:
        began: when what it found is estimated to have begun, in event time.
    """

    level: Level = Level.QUIET
    evidence: Mapping[str, Any] = field(default_factory=dict)
    began: Micros | None = None

    @property
    def fired(self) -> bool:
        return self.level is Level.FIRED


State = Mapping[str, Any]
"""What a trigger remembers between slots: JSON-able, made by the trigger itself, empty at each promotion."""


class TriedJob(NamedTuple):
    """What a job has come to.

    Attributes:
        after_change: whether a change had asked for it; taken: whether its candidate was.
        difference: by how much the candidate was better than the champion, in the metric that judges; of an error as a
            share of the champion's own. error: its standard error, 0 where there was no judgement.
        ahead: how many labels newer than the champion's rows the candidate had learnt from; 0 if that is not known.
    """

    after_change: bool
    taken: bool
    difference: float = 0.0
    error: float = 0.0
    ahead: float = 0.0

    @property
    def tells(self) -> bool:
        """Whether it says how fast the champion falls behind."""
        return self.error > 0 and self.ahead > 0


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a trigger may look at when a slot has closed.

    Attributes:
        history: the champion's outcomes, the slot that closed last; it may hold none of the champion's.
        baseline: the champion's own evaluation by its verdict, by metric; empty where there was none.
        labels: how many labels of each class became known in the slot, whichever version predicted.
        known_classes: the classes that the champion was trained on; None if that is not known.
        since_job: labels that became known since the last job was launched, or since the beginning.
        first_rows: how many rows the first champion learnt from, or a guess.
        tried: what became of the newest jobs, oldest first.
        drift: how the features of the newest predictions look beside the champion's training rows: a
            `DriftView` for each window of predictions, by its text; without those that are not full yet.
    """

    history: History
    baseline: Mapping[str, Estimate] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    known_classes: frozenset[str] | None = None
    since_job: int = 0
    first_rows: int = 0
    tried: tuple[TriedJob, ...] = ()
    drift: Mapping[str, Any] = field(default_factory=dict)


class Trigger(Protocol):
    """A policy that is asked at the end of every slot that holds outcomes of the champion (see `wants_every_slot`)."""

    @property
    def kind(self) -> str:
        """The word for it in configuration."""
        ...

    @property
    def window(self) -> Window:
        """The longest stretch of outcomes that it looks at."""
        ...

    def evaluate(self, state: State, scene: Scene) -> tuple[State, Reading]:
        """What it says now, and what it will remember."""
        ...


def fires_when_due(trigger: Trigger) -> bool:
    """Whether it fires because it is time, or because there is enough to learn from, and looks at no quality.

    Those that say `due = True` do. Such a firing ends with the job that it launches, waits neither for a fair sample of
    labels nor after candidates that were not taken, and what becomes of its job says nothing about a change.
    """
    return bool(getattr(trigger, "due", False))


def wants_every_slot(trigger: Trigger) -> bool:
    """Whether a trigger is asked too where a slot held outcomes, but none of the champion's.

    Those that say `every_slot = True` are; the others look at the champion's outcomes alone.
    """
    return bool(getattr(trigger, "every_slot", False))
