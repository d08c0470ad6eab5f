"""What a decision about one model may depend on: its policy, and everything that is known at the end of a slot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

from retrainer.domain.deciding.conditions import Condition
from retrainer.domain.judging.order import RowsPolicy, rows_needed_after_change
from retrainer.domain.triggers.base import Reading
from retrainer.domain.values import Micros, Slot, slot_start


@dataclass(frozen=True, kw_only=True)
class Guards:
    """What must hold before a trigger may launch anything. `cooldown` in microseconds."""

    min_labels: int
    min_coverage: float
    """Share of the labels that are usual at their predictions' age."""
    cooldown: Micros
    per_day: int


@dataclass(frozen=True, kw_only=True)
class DecisionPolicy:
    """When a model is retrained. Without a condition any fired trigger will do."""

    model: str
    condition: Condition | None = None
    guards: Guards
    rows: RowsPolicy = field(default_factory=RowsPolicy)
    holdout: float
    min_holdout: int
    observe: bool = False

    @property
    def rows_needed(self) -> int:
        """The fewest rows whose newest part is large enough to judge on."""
        return ceil(self.min_holdout / Fraction(str(self.holdout)))

    @property
    def rows_needed_since_change(self) -> int:
        """The fewest rows after a change that make a holdout and leave as many to learn from."""
        return rows_needed_after_change(self.min_holdout)


@dataclass(frozen=True, kw_only=True)
class PastJob:
    """What guards look at of a job.

    Attributes:
        decided_at: in event time.
        ended_wall: when it ended, in wall time; None while it is under way. A challenger that is judged on has ended.
        triggers: what it was launched for.
        champion: the champion that it challenged.
        succeeded: whether its candidate was accepted; None while nobody knows, not yet of a challenger.
    """

    job_id: str
    decided_at: Micros
    ended_wall: Micros | None
    triggers: frozenset[str] = frozenset()
    champion: str | None = None
    succeeded: bool | None = None
    is_challenging: bool = False
    """Whether its candidate is judged on with new labels."""


@dataclass(frozen=True, kw_only=True)
class Unfair:
    """Why the outcomes known so far do not stand for all: slow labels are missing among them."""

    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Covered:
    """Labels beside those that are usual for predictions of that age; `relative` is 1 where all is as usual."""

    relative: float
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Everything that a decision about one model may depend on, at the end of one slot."""

    first_open: Slot
    now: Micros
    readings: Mapping[str, Reading]
    champion: str | None
    labels: int
    """Outcomes of the champion since its promotion; of every version where there is no champion."""
    rows: int
    """Outcomes that training could use under the policy for rows."""
    due: frozenset[str] = frozenset()
    """The triggers among those that fired that did so because something is due (see `due.due_names`)."""
    due_names: frozenset[str] = frozenset()
    """All of that kind, those of past jobs among them."""
    began: Micros | None = None
    """When the change that asks for a retraining is estimated to have begun."""
    rows_since: int = 0
    """Outcomes that became known since then."""
    new_labels: int = 0
    """Outcomes that became known since the last job was decided."""
    immature: Unfair | None = None
    """Why the labels at hand are no fair sample of all that will come; None where they are."""
    coverage: Covered | None = None
    """How many of the labels that are usual have come; None where nobody can say."""
    jobs: tuple[PastJob, ...] = ()
    paused: bool = False
    catching_up: bool = False
    """Whether what is known is far behind the end of the topics."""
    request: str | None = None
    """The id of a person's request to retrain."""
    request_reason: str = ""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """What kind each trigger is of."""

    @property
    def slot_end(self) -> Micros:
        return slot_start(self.first_open)
