"""Guards: what must hold before a trigger may launch a retraining. Each says in words what it waits for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from retrainer.domain.deciding.situation import DecisionPolicy, PastJob, Situation
from retrainer.domain.values import SECOND, Micros, iso

WALL_FLOOR: Final[Micros] = 3 * SECOND
"""Cooldown runs in event time, which a backlog compresses; this much wall time passes between two jobs at least."""

DAY: Final[Micros] = 86_400 * SECOND

_MOST_DOUBLINGS: Final = 6


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Why a guard holds."""

    reason: str
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    until: Micros | None = None
    """The event time at which it may give way, without another event."""


_Guard = Callable[[DecisionPolicy, Situation], Hold | None]


def first_hold(policy: DecisionPolicy, situation: Situation) -> Hold | None:
    """The first guard that objects. A person's request passes all but single flight, the rows and observing."""
    guards: list[_Guard] = [_single_flight, _enough_rows, _observing]
    if situation.request is None:
        guards = [
            _paused, _catching_up, _single_flight, _maturity, _min_labels, _coverage, _enough_rows,
            _enough_since_change, _cooldown, _per_day, _back_off, _observing,
        ]  # fmt: skip
    return next((hold for guard in guards if (hold := guard(policy, situation))), None)


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
    """The jobs against this champion that came to nothing, the newest in a row. Of those that something about quality
    had asked for: that a trial was in vain says nothing about a change."""
    mine = [job for job in situation.jobs if job.champion == situation.champion and _was_for_quality(situation, job)]
    mine.sort(key=lambda job: job.decided_at)
    failed: list[PastJob] = []
    for job in reversed(mine):
        if job.succeeded is not False:
            break
        failed.insert(0, job)
    return failed


def _was_for_quality(situation: Situation, job: PastJob) -> bool:
    return not job.triggers or not job.triggers <= situation.due_names


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
