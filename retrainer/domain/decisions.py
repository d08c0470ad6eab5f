"""To retrain or to hold: the answer, with its reasons and evidence, from what the triggers say and the guards allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from math import ceil
from typing import Any, Final

from retrainer.domain.conditions import Condition
from retrainer.domain.training import RowsPolicy
from retrainer.domain.triggers.base import Reading
from retrainer.domain.values import SECOND, Micros, Slot, iso, slot_start

BOOTSTRAP: Final = "bootstrap"
"""The trigger of a model that has no champion yet."""

MANUAL: Final = "manual"
"""The trigger of a person's request."""

WALL_FLOOR: Final[Micros] = 3 * SECOND
"""Cooldown runs in event time, which a backlog compresses; this much wall time passes between two jobs at least."""

DAY: Final[Micros] = 86_400 * SECOND


class Outcome(StrEnum):
    """The two answers."""

    RETRAIN = "retrain"
    HOLD = "hold"


@dataclass(frozen=True, kw_only=True)
class Guards:
    """What must hold before a trigger may launch anything. `cooldown` in microseconds."""

    min_labels: int = 500
    cooldown: Micros = 6 * 3600 * SECOND
    per_day: int = 4


@dataclass(frozen=True, kw_only=True)
class DecisionPolicy:
    """When a model is retrained. Without a condition any fired trigger will do."""

    model: str
    condition: Condition | None = None
    guards: Guards = Guards()
    rows: RowsPolicy = field(default_factory=RowsPolicy)
    holdout: float = 0.25
    min_holdout: int = 300
    observe: bool = False

    @property
    def rows_needed(self) -> int:
        """The fewest rows whose newest part is large enough to judge on."""
        return ceil(self.min_holdout / Fraction(str(self.holdout)))


@dataclass(frozen=True, kw_only=True)
class PastJob:
    """When a job was decided and when it ended, in event time and wall time. `ended` is None while it runs."""

    job_id: str
    decided_at: Micros
    ended_wall: Micros | None
    triggers: frozenset[str] = frozenset()
    """What it was launched for."""
    counts: bool = True
    """Whether it counts against cooldown and budget; one ended by a stop does not."""


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
    jobs: tuple[PastJob, ...] = ()
    paused: bool = False
    catching_up: bool = False
    """Whether what is known is far behind the end of the topics."""
    request: str | None = None
    """The id of a person's request to retrain."""
    request_reason: str = ""

    @property
    def slot_end(self) -> Micros:
        return slot_start(self.first_open)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The recorded answer for one model at the end of one slot."""

    decision_id: str
    model: str
    slot_end: Micros
    outcome: Outcome
    triggers: tuple[str, ...]
    reason: str
    """One word for machines: `fired`, or the guard that held."""
    message: str
    """A sentence for people."""
    champion: str | None = None
    request: str | None = None
    decided_at: Micros = 0
    """Wall time."""
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """What makes two holds in a row the same: recorded once, not at every slot."""
        return f"{self.outcome}:{self.reason}:{','.join(self.triggers)}:{self.request or ''}:{self.champion or ''}"


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Why a guard holds."""

    reason: str
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def decide(policy: DecisionPolicy, situation: Situation) -> Decision | None:
    """The decision for a model now; None when nothing asks for one."""
    triggers = _asking(policy, situation)
    if not triggers or _is_answered(situation, triggers):
        return None
    hold = first_hold(policy, situation)
    outcome = Outcome.HOLD if hold else Outcome.RETRAIN
    reason = hold.reason if hold else "fired"
    message = hold.message if hold else f"{', '.join(triggers)} asked for it and no guard objects"
    readings = {name: dict(situation.readings[name].evidence) for name in triggers if name in situation.readings}
    evidence: dict[str, Any] = {"triggers": readings, "labels": situation.labels, "rows": situation.rows}
    if hold:
        evidence["guard"] = {"name": hold.reason, **hold.evidence}
    if situation.request:
        evidence["request"] = situation.request_reason
    return Decision(
        decision_id=_decision_id(policy.model, situation, triggers, hold),
        model=policy.model,
        slot_end=situation.slot_end,
        outcome=outcome,
        triggers=triggers,
        reason=reason,
        message=message,
        champion=situation.champion,
        request=situation.request,
        decided_at=situation.now,
        evidence=evidence,
    )


def _asking(policy: DecisionPolicy, situation: Situation) -> tuple[str, ...]:
    """The triggers that ask for a retraining now, a person's request first."""
    if situation.request is not None:
        return (MANUAL,)
    if situation.champion is None:
        return (BOOTSTRAP,) if situation.labels >= policy.guards.min_labels else ()
    fired = frozenset(name for name, reading in situation.readings.items() if reading.fired)
    if policy.condition is not None and not policy.condition.holds(fired):
        return ()
    named = fired if policy.condition is None else fired & frozenset(policy.condition.names)
    return tuple(sorted(named))


def _is_answered(situation: Situation, triggers: tuple[str, ...]) -> bool:
    """Whether the job under way is the answer to what asks: triggers go on firing until it has ended."""
    running = next((job for job in situation.jobs if job.ended_wall is None), None)
    return situation.request is None and running is not None and running.triggers.issuperset(triggers)


def first_hold(policy: DecisionPolicy, situation: Situation) -> Hold | None:
    """The first guard that objects. A person's request passes all but single flight, the rows and observing."""
    guards: list[_Guard] = [_single_flight, _enough_rows, _observing]
    if situation.request is None:
        guards = [
            _paused, _catching_up, _single_flight, _once_per_slot, _min_labels, _enough_rows, _cooldown, _per_day,
            _observing,
        ]  # fmt: skip
    return next((hold for guard in guards if (hold := guard(policy, situation))), None)


_Guard = Callable[[DecisionPolicy, Situation], Hold | None]


def _once_per_slot(_: DecisionPolicy, situation: Situation) -> Hold | None:
    """A decision is keyed by model and slot end: one that was carried out already is not taken again."""
    done = next((job for job in situation.jobs if job.decided_at == situation.slot_end), None)
    if done is None:
        return None
    return Hold(reason="decided", message=f"job {done.job_id} was launched for this slot already")


def _paused(_: DecisionPolicy, situation: Situation) -> Hold | None:
    return Hold(reason="paused", message="deciding is paused for this model") if situation.paused else None


def _catching_up(_: DecisionPolicy, situation: Situation) -> Hold | None:
    """What fires in the middle of a backlog may be over by its end, and newer rows are waiting to be learned from."""
    if not situation.catching_up:
        return None
    return Hold(reason="catching_up", message="reading is far behind the end of the topics; decides once it is there")


def _observing(policy: DecisionPolicy, _: Situation) -> Hold | None:
    return Hold(reason="observing", message="observe: true decides but never trains") if policy.observe else None


def _single_flight(_: DecisionPolicy, situation: Situation) -> Hold | None:
    running = next((job for job in situation.jobs if job.ended_wall is None), None)
    if running is None:
        return None
    return Hold(
        reason="single_flight",
        message=f"job {running.job_id} is still under way",
        evidence={"job_id": running.job_id},
    )


def _min_labels(policy: DecisionPolicy, situation: Situation) -> Hold | None:
    if situation.labels >= policy.guards.min_labels:
        return None
    return Hold(
        reason="min_labels",
        message=f"waits for {policy.guards.min_labels} labels of this champion, has {situation.labels}",
        evidence={"have": situation.labels, "need": policy.guards.min_labels},
    )


def _enough_rows(policy: DecisionPolicy, situation: Situation) -> Hold | None:
    if situation.rows >= policy.rows_needed:
        return None
    return Hold(
        reason="rows",
        message=f"waits for {policy.rows_needed} rows, so that the holdout has {policy.min_holdout}; "
        f"has {situation.rows}",
        evidence={"have": situation.rows, "need": policy.rows_needed},
    )


def _cooldown(policy: DecisionPolicy, situation: Situation) -> Hold | None:
    last = max((job for job in situation.jobs if job.counts), key=lambda job: job.decided_at, default=None)
    if last is None:
        return None
    until = last.decided_at + policy.guards.cooldown
    if situation.slot_end < until:
        return Hold(
            reason="cooldown",
            message=f"cools down until {iso(until)} after job {last.job_id}",
            evidence={"job_id": last.job_id, "until": iso(until)},
        )
    floor = min(WALL_FLOOR, policy.guards.cooldown)
    if last.ended_wall is not None and situation.now - last.ended_wall < floor:
        return Hold(
            reason="cooldown",
            message=f"pauses for {floor // SECOND} s after job {last.job_id}, however fast events come",
            evidence={"job_id": last.job_id, "until": iso(last.ended_wall + floor)},
        )
    return None


def _per_day(policy: DecisionPolicy, situation: Situation) -> Hold | None:
    recent = [job for job in situation.jobs if job.counts and situation.slot_end - job.decided_at < DAY]
    if len(recent) < policy.guards.per_day:
        return None
    return Hold(
        reason="per_day",
        message=f"{len(recent)} jobs within a day; the budget is {policy.guards.per_day}",
        evidence={"have": len(recent), "budget": policy.guards.per_day},
    )


def _decision_id(model: str, situation: Situation, triggers: tuple[str, ...], hold: Hold | None) -> str:
    """Keyed by model and slot end (and a request's id), so that nothing is ever decided twice."""
    parts = [f"{model}@{iso(situation.slot_end)[:16]}"]
    if situation.request is not None:
        parts.append(situation.request)
    if hold is not None:
        parts += [hold.reason, *triggers]
    return "/".join(parts)
