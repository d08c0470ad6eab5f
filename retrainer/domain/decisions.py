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

_MOST_DOUBLINGS: Final = 6


class Outcome(StrEnum):
    """The two answers."""

    RETRAIN = "retrain"
    HOLD = "hold"


@dataclass(frozen=True, kw_only=True)
class Guards:
    """What must hold before a trigger may launch anything. `cooldown` in microseconds."""

    min_labels: int = 500
    min_coverage: float = 0.5
    """Share of the labels that are usual at their predictions' age."""
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

    @property
    def rows_needed_since_change(self) -> int:
        """The fewest rows after a change that make a holdout and leave as many to learn from."""
        return 2 * self.min_holdout


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
    """The triggers among those that fired that look at no quality: it is time, or there is enough to learn from."""
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
    began: Micros | None = None
    """When the change that asked for it is estimated to have begun."""
    until: Micros | None = None
    """The event time at which the guard that holds may give way by itself."""
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def waits_for_wall_clock(self) -> bool:
        """Whether it holds for a time that no event brings."""
        return self.outcome is Outcome.HOLD and self.reason == "cooldown" and self.until is None

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
    until: Micros | None = None
    """The event time at which it may give way, without another event."""


def decide(policy: DecisionPolicy, situation: Situation) -> Decision | None:
    """The decision for a model now; None when nothing asks for one."""
    triggers = _asking(policy, situation)
    if not triggers or _is_answered(situation, triggers):
        return None
    hold = first_hold(policy, situation)
    outcome = Outcome.HOLD if hold else Outcome.RETRAIN
    reason = hold.reason if hold else "fired"
    message = hold.message if hold else f"{', '.join(triggers)} asked for it and no guard objects"
    readings = {name: _told(situation, name) for name in triggers if name in situation.readings}
    evidence: dict[str, Any] = {"triggers": readings, "labels": situation.labels, "rows": situation.rows}
    if hold:
        evidence["guard"] = {"name": hold.reason, **hold.evidence}
    if situation.began is not None:
        evidence["change"] = {"began": iso(situation.began), "rows_since": situation.rows_since}
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
        began=situation.began,
        until=hold.until if hold else None,
        evidence=evidence,
    )


def _told(situation: Situation, name: str) -> dict[str, Any]:
    kind = {"kind": situation.kinds[name]} if name in situation.kinds else {}
    return {**kind, **situation.readings[name].evidence}


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
    """Whether a job is the answer to what asks: triggers go on firing until it has ended, and a decision is keyed by
    model and slot end, so that one that was carried out is not taken again."""
    if situation.request is None and any(job.decided_at == situation.slot_end for job in situation.jobs):
        return True
    running = next((job for job in situation.jobs if job.ended_wall is None), None)
    return situation.request is None and running is not None and running.triggers.issuperset(triggers)


def first_hold(policy: DecisionPolicy, situation: Situation) -> Hold | None:
    """The first guard that objects. A person's request passes all but single flight, the rows and observing."""
    guards: list[_Guard] = [_single_flight, _enough_rows, _observing]
    if situation.request is None:
        guards = [
            _paused, _catching_up, _single_flight, _min_labels, _maturity, _coverage, _enough_rows,
            _enough_since_change, _cooldown, _per_day, _back_off, _observing,
        ]  # fmt: skip
    return next((hold for guard in guards if (hold := guard(policy, situation))), None)


_Guard = Callable[[DecisionPolicy, Situation], Hold | None]


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


def _maturity(_: DecisionPolicy, situation: Situation) -> Hold | None:
    if situation.immature is None or situation.due:
        return None
    return Hold(reason="maturity", message=situation.immature.message, evidence=situation.immature.evidence)


def _coverage(policy: DecisionPolicy, situation: Situation) -> Hold | None:
    found = situation.coverage
    if found is None or found.relative >= policy.guards.min_coverage:
        return None
    return Hold(
        reason="coverage",
        message=f"waits for labels: {found.relative:.0%} of those that are usual have come, "
        f"{policy.guards.min_coverage:.0%} are needed",
        evidence={"have": found.relative, "need": policy.guards.min_coverage, **found.evidence},
    )


def _enough_since_change(policy: DecisionPolicy, situation: Situation) -> Hold | None:
    """A candidate must learn from the time after the change, and be judged on it."""
    if situation.began is None:
        return None
    need = policy.rows_needed_since_change
    if situation.rows_since >= need:
        return None
    return Hold(
        reason="since_change",
        message=f"waits for {need - situation.rows_since} more labels: {situation.rows_since} of {need} have come "
        f"since the change began at about {iso(situation.began)[:16]}",
        evidence={"have": situation.rows_since, "need": need, "began": iso(situation.began)},
    )


def _back_off(policy: DecisionPolicy, situation: Situation) -> Hold | None:
    """After a candidate that was not better the next attempt waits for news: twice as long, and twice as many labels,
    with each one in a row. What is due anyway does not wait."""
    failed = _in_vain(situation)
    if not failed or situation.due:
        return None
    last, times = failed[-1], min(len(failed), _MOST_DOUBLINGS)
    need = policy.min_holdout * 2**times
    until = last.decided_at + policy.guards.cooldown * 2**times
    if situation.new_labels >= need and situation.slot_end >= until:
        return None
    told = "the last candidate was not taken" if len(failed) == 1 else f"{len(failed)} candidates were not taken"
    if last.is_challenging:
        told = f"the candidate of job {last.job_id} is judged on as the challenger"
    return Hold(
        reason="back_off",
        message=f"{told}: another one waits for {need} labels since then, has {situation.new_labels}, "
        f"and until {iso(until)[:16]}",
        evidence={"job_id": last.job_id, "rejected": len(failed), "have": situation.new_labels, "need": need,
                  "until": iso(until)},
        until=until,
    )  # fmt: skip


def _in_vain(situation: Situation) -> list[PastJob]:
    """The jobs against this champion that came to nothing, the newest in a row."""
    mine = sorted((job for job in situation.jobs if job.champion == situation.champion), key=lambda job: job.decided_at)
    failed: list[PastJob] = []
    for job in reversed(mine):
        if job.succeeded is not False:
            break
        failed.insert(0, job)
    return failed


def _cooldown(policy: DecisionPolicy, situation: Situation) -> Hold | None:
    last = max(situation.jobs, key=lambda job: job.decided_at, default=None)
    if last is None:
        return None
    until = last.decided_at + policy.guards.cooldown
    if situation.slot_end < until:
        return Hold(
            reason="cooldown",
            message=f"cools down until {iso(until)} after job {last.job_id}",
            evidence={"job_id": last.job_id, "until": iso(until)},
            until=until,
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
    recent = [job for job in situation.jobs if situation.slot_end - job.decided_at < DAY]
    if len(recent) < policy.guards.per_day:
        return None
    return Hold(
        reason="per_day",
        message=f"{len(recent)} jobs within a day; the budget is {policy.guards.per_day}",
        evidence={"have": len(recent), "budget": policy.guards.per_day},
        until=min(job.decided_at for job in recent) + DAY if recent else None,
    )


def _decision_id(model: str, situation: Situation, triggers: tuple[str, ...], hold: Hold | None) -> str:
    """Keyed by model and slot end (and a request's id), so that nothing is ever decided twice."""
    parts = [f"{model}@{iso(situation.slot_end)[:16]}"]
    if situation.request is not None:
        parts.append(situation.request)
    if hold is not None:
        parts += [hold.reason, *triggers]
    return "/".join(parts)
