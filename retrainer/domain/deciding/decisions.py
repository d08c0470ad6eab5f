"""To retrain or to hold: the answer, with its reasons and evidence, from what the triggers say and the guards allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from retrainer.domain.deciding.guards import Hold, first_hold
from retrainer.domain.deciding.situation import DecisionPolicy, Situation
from retrainer.domain.values import Micros, iso

BOOTSTRAP: Final = "bootstrap"
"""The trigger of a model that has no champion yet."""

MANUAL: Final = "manual"
"""The trigger of a person's request."""

SCHEDULE: Final = "schedule"
"""The kind of the triggers that fire by the clock."""


class DecisionAnswer(StrEnum):
    """The two answers."""

    RETRAIN = "retrain"
    HOLD = "hold"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The recorded answer for one model at the end of one slot."""

    decision_id: str
    model: str
    slot_end: Micros
    outcome: DecisionAnswer
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
        return self.outcome is DecisionAnswer.HOLD and self.reason == "cooldown" and self.until is None

    @property
    def fingerprint(self) -> str:
        """What makes two holds in a row the same: recorded once, not at every slot."""
        return f"{self.outcome}:{self.reason}:{','.join(self.triggers)}:{self.request or ''}:{self.champion or ''}"


def decide(policy: DecisionPolicy, situation: Situation) -> Decision | None:
    """The decision for a model now; None when nothing asks for one."""
    triggers = _asking(policy, situation)
    if not triggers or _is_answered(situation, triggers):
        return None
    hold = first_hold(policy, situation)
    outcome = DecisionAnswer.HOLD if hold else DecisionAnswer.RETRAIN
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


def _decision_id(model: str, situation: Situation, triggers: tuple[str, ...], hold: Hold | None) -> str:
    """Keyed by model and slot end (and a request's id), so that nothing is ever decided twice."""
    parts = [f"{model}@{iso(situation.slot_end)[:16]}"]
    if situation.request is not None:
        parts.append(situation.request)
    if hold is not None:
        parts += [hold.reason, *triggers]
    return "/".join(parts)
