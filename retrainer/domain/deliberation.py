"""Deliberating about one model: closed slots in order, what the triggers say at the end of each, what is decided then.

Pure: the controller drives it from the manifest, a replay from history. What it decides depends on what was known at
the end of each slot and on people's requests, never on how many slots were given to it at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from retrainer.domain.decisions import Decision, DecisionPolicy, Outcome, Situation, decide
from retrainer.domain.evaluation import Champion, Fact, Memory, TriggerChanged, Watch, WatchPolicy
from retrainer.domain.jobs import Job, job_for
from retrainer.domain.ledger import Reign
from retrainer.domain.metrics import size
from retrainer.domain.tallies import TallyKey, by_slot
from retrainer.domain.totals import Totals
from retrainer.domain.triggers.base import Level, Reading
from retrainer.domain.values import Micros, Slot, iso, micros, moment, slot_of, slot_start

JOBS_REMEMBERED: Final = 50
"""A model's newest jobs that guards look at; the budget counts among them."""


_DUE_KINDS: Final = frozenset({"volume"})


class Timetable(Protocol):
    """When a schedule fires; pure, so that a replay's clock serves as well."""

    def next_after(self, moment: datetime) -> datetime | None:
        """The first fire time strictly after a moment."""
        ...


@dataclass(frozen=True, kw_only=True)
class DeliberationPolicy:
    """What is watched of a model, and when it is retrained."""

    watch: WatchPolicy
    deciding: DecisionPolicy
    schedules: Mapping[str, Timetable] = field(default_factory=dict)


Tallied = Sequence[tuple[TallyKey, int]]
"""The tallies of one slot, of every version, without slices."""


@dataclass(kw_only=True)
class Taken:
    """What a deliberation came to since it was last asked."""

    facts: list[Fact] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)


class Deliberation:
    """One model's. All that it must remember beyond its life is in `memory` and `jobs`."""

    def __init__(
        self, policy: DeliberationPolicy, memory: Memory, jobs: Sequence[Job] = (), *, manifest: str = ""
    ) -> None:
        self.policy = policy
        self.memory = memory
        self._jobs = list(jobs)
        self._manifest = manifest
        self._watch: Watch | None = None
        self._totals = Totals()
        self._taken = Taken()
        self._recalls_anew = False
        self._news = True
        """Whether something else than a slot may have changed the answer since; after a start, anything may."""

    def take(self) -> Taken:
        """What it came to since the last call."""
        taken, self._taken = self._taken, Taken()
        return taken

    def job_changed(self, job: Job) -> None:
        """A job has taken a step; cooldown, budget, back-off and single flight look at it."""
        known = next((one for one in self._jobs if one.job_id == job.job_id), None)
        if known != job:
            self._jobs = [job if one.job_id == job.job_id else one for one in self._jobs]
            self._news = True

    # Whose outcomes are watched

    def follow(self, reign: Reign) -> bool:
        """Watch the champion that the ledger names; True where that begins anew, so that what is known of it already
        has to be recalled."""
        if self.memory.known and reign.version == self.memory.champion and self._watch is not None:
            return False
        is_new = not self.memory.known or reign.version != self.memory.champion
        memory = self.memory.for_champion(reign.version, reign.effective_from) if is_new else self.memory
        self._watch = Watch(self.policy.watch, memory, self._champion(reign.version))
        self._totals = Totals()
        self.memory = memory
        self._recalls_anew = is_new
        self._news = True
        return True

    def recall(self, slot: Slot, tallies: Tallied) -> None:
        """Put a slot that was deliberated about before back into the history; slots come in order."""
        watch = self._begun()
        self._totals.add(slot, _total(tallies))
        own = self._own(tallies)
        if own:
            watch.memory = self.memory
            watch.remember(slot, own, counted=not self._recalls_anew)
            self.memory = watch.memory

    def _champion(self, version: str | None) -> Champion:
        """What its own job found out about the champion; nothing of one that came from elsewhere."""
        job = next((job for job in reversed(self._jobs) if version is not None and job.version == version), None)
        result = job.result if job else None
        if result is None:
            return Champion()
        return Champion(baseline=result.evaluation, classes=frozenset(result.classes) or None)

    # Slots

    def close(self, slot: Slot, tallies: Tallied, now: Micros) -> None:
        """Look at the next closed slot that holds something; `now` is wall time. Slots come in order."""
        self.pass_by(slot, now)
        total = _total(tallies)
        self._totals.add(slot, total)
        self._remember(
            total=self.memory.total + total, since_job=self.memory.since_job + total, evaluated_until=slot + 1
        )
        watch = self._begun()
        watch.memory = self.memory
        self._taken.facts += watch.close(slot, self._own(tallies), labels=_labels(tallies))
        self.memory = watch.memory
        self._decide(slot + 1, now)

    def pass_by(self, first_open: Slot, now: Micros) -> None:
        """Nothing more became known before this slot: only time has passed, which can end what a guard waits for."""
        while (until := self.memory.holds_until) is not None:
            slot = -(-until // slot_start(1))
            if not (self.memory.evaluated_until or 0) < slot <= first_open:
                break
            self._remember(evaluated_until=slot)
            self._decide(slot, now)
        if self.memory.evaluated_until is None or first_open > self.memory.evaluated_until:
            self._remember(evaluated_until=first_open)

    def look_at_present(self, now: Micros) -> None:
        """Decide once more where the slots stand, if jobs have ended, schedules are due or people have spoken.

        Else the answer stands: looked at again, it would depend on when that was.
        """
        self._fire_schedules(now)
        if self.memory.evaluated_until is not None and self._news:
            self._decide(self.memory.evaluated_until, now)

    def answer(self, request_id: str, reason: str, now: Micros) -> Decision | None:
        """Decide about a person's request to retrain."""
        decision = self._decide(self.memory.evaluated_until or 0, now, request=(request_id, reason))
        self._news = True
        return decision

    def pause(self, reason: str | None) -> None:
        """Stop deciding, for a reason; None: go on."""
        self._remember(paused=reason)
        self._news = True

    def catch_up(self, *, is_behind: bool) -> None:
        """Say whether what is known is far behind the end of the topics."""
        if is_behind is not self.memory.catching_up:
            self._remember(catching_up=is_behind)
            self._news = True

    # Deciding

    def _decide(self, first_open: Slot, now: Micros, request: tuple[str, str] | None = None) -> Decision | None:
        decision = decide(self.policy.deciding, self._situation(first_open, now, request))
        self._news = decision is not None and decision.waits_for_wall_clock
        if decision is None:
            self._remember(last_decision="", holds_until=None)
            return None
        if decision.fingerprint != self.memory.last_decision:
            self._taken.decisions.append(decision)
        self._remember(last_decision=decision.fingerprint, holds_until=decision.until)
        if decision.outcome is Outcome.RETRAIN:
            self._launch(decision)
        return decision

    def _launch(self, decision: Decision) -> None:
        judged = [job for job in self._jobs if job.champion == decision.champion and job.result is not None]
        job = job_for(decision, judgement=len(judged) + 1, manifest=self._manifest)
        self._jobs.append(job)
        self._taken.jobs.append(job)
        self._remember(latched={}, since_job=0)
        self._news = True

    def _situation(self, first_open: Slot, now: Micros, request: tuple[str, str] | None) -> Situation:
        began = self._began() if request is None else None
        return Situation(
            first_open=first_open,
            now=now,
            readings={**self.memory.readings, **self.memory.latched},
            champion=self.memory.champion,
            labels=self.memory.seen if self.memory.champion is not None else self.memory.total,
            rows=self._rows(first_open),
            due=self._due(),
            began=began,
            rows_since=0 if began is None else self._totals.since(slot_of(began)),
            new_labels=self.memory.since_job,
            jobs=tuple(job.past for job in self._jobs[-JOBS_REMEMBERED:]),
            paused=self.memory.paused is not None,
            catching_up=self.memory.catching_up,
            request=request[0] if request else None,
            request_reason=request[1] if request else "",
        )

    def _began(self) -> Micros | None:
        """When what the triggers that fired have found began; the latest, so that nothing from before is learnt."""
        found = [reading.began for reading in self.memory.readings.values() if reading.fired and reading.began]
        return max(found, default=None)

    def _due(self) -> frozenset[str]:
        triggers = self.policy.watch.triggers
        fired = {name for name, reading in self.memory.readings.items() if reading.fired}
        return frozenset(self.memory.latched) | {name for name in fired if triggers[name].kind in _DUE_KINDS}

    def _rows(self, first_open: Slot) -> int:
        """Outcomes that the policy for rows could use; what has not matured is not known here and left to training."""
        rows = self.policy.deciding.rows
        if rows.span is not None:
            return self._totals.since(first_open - slot_of(rows.span))
        return min(self.memory.total, rows.count) if rows.count is not None else self.memory.total

    def _fire_schedules(self, now: Micros) -> None:
        """Each schedule that came due since its last fire latches once, however many runs were missed."""
        for name, timetable in self.policy.schedules.items():
            last = self.memory.fired_at.get(name)
            if last is None:
                self._remember(fired_at={**self.memory.fired_at, name: now})
                continue
            due = timetable.next_after(moment(last))
            if due is not None and micros(due) <= now:
                reading = Reading(level=Level.FIRED, evidence={"due": due.isoformat(), "fired_at": iso(now)})
                self._remember(
                    fired_at={**self.memory.fired_at, name: now}, latched={**self.memory.latched, name: reading}
                )
                self._taken.facts.append(TriggerChanged(name=name, kind="schedule", reading=reading))
                self._news = True

    def _own(self, tallies: Tallied) -> Counter[tuple[str, str]]:
        watch = self._begun()
        own = [(key, n) for key, n in tallies if watch.is_champions(key)]
        return next(iter(by_slot(own).values()), Counter())

    def _begun(self) -> Watch:
        if self._watch is None:
            raise RuntimeError("nobody has said who the champion is")
        return self._watch

    def _remember(self, **changes: object) -> None:
        self.memory = replace(self.memory, **changes)  # type: ignore[arg-type]  # the names are Memory's own


def _total(tallies: Tallied) -> int:
    return size({(key.truth, key.answer): n for key, n in _merged(tallies).items()})


def _merged(tallies: Tallied) -> Counter[TallyKey]:
    merged: Counter[TallyKey] = Counter()
    for key, n in tallies:
        merged[key._replace(version="")] += n
    return merged


def _labels(tallies: Tallied) -> Mapping[str, int]:
    """How many labels of each class became known."""
    labels: Counter[str] = Counter()
    for key, n in tallies:
        if not key.truth.startswith("\x1f"):
            labels[key.truth] += n
    return labels
