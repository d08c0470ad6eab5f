"""One round of deciding about one model: look at every newly closed slot in order, then at the present."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from retrainer.domain.decisions import Decision, Outcome, Situation, decide
from retrainer.domain.evaluation import Fact, Memory, TriggerChanged, Watch
from retrainer.domain.jobs import Job, job_for
from retrainer.domain.ledger import Reign
from retrainer.domain.tallies import TallyKey, by_slot
from retrainer.domain.triggers.base import Level, Reading
from retrainer.domain.values import Micros, Slot, iso, micros, moment, slot_of, slot_start
from retrainer.service.policy import ModelPolicy
from retrainer.stores import DecisionState, Lease, Request, Step


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one round found and made true."""

    facts: Sequence[Fact]
    decisions: Sequence[Decision]
    jobs: Sequence[Job]
    answered: Sequence[Request]
    memory: Memory


class Decider:
    """Decides about one model. Everything it remembers is stored with what it decided, in one transaction."""

    def __init__(self, policy: ModelPolicy, state: DecisionState, lease: Lease) -> None:
        self.policy = policy
        self._state = state
        self._lease = lease
        self._jobs = list(state.jobs(policy.name))
        self._watch: Watch | None = None
        self._recent: deque[tuple[Slot, int]] = deque()
        self._stored = state.memory(policy.name)
        memory = msgspec.json.decode(self._stored, type=Memory) if self._stored else Memory()
        self.memory = _without_removed(memory, policy)

    def job_changed(self, job: Job) -> None:
        """A job has taken a step; cooldown, budget and single flight look at it."""
        self._jobs = [job if one.job_id == job.job_id else one for one in self._jobs]

    def run_round(
        self,
        reign: Reign,
        first_open: Slot | None,
        requests: Sequence[Request],
        now: Micros,
        *,
        catching_up: bool = False,
    ) -> Round:
        """Look at what has closed since the last round, decide, and store it all.

        While the worker is `catching_up` triggers only hold. What closed up to its end is still part of the backlog;
        the decision that is open then is taken at the last slot.
        """
        self._follow(reign)
        taken = _Taken()
        self._remember(catching_up=catching_up or self.memory.catching_up)
        for slot, cells, total in self._closed(first_open):
            self._look_at(slot, cells, total, now, taken)
        self._remember(catching_up=catching_up)
        if first_open is not None:
            self._remember(evaluated_until=first_open)
        self._fire_schedules(now, taken)
        for request in requests:
            self._answer(request, now, taken)
        if self.memory.evaluated_until is not None:
            self._decide(self.memory.evaluated_until, now, taken)
        return self._store(taken)

    def _follow(self, reign: Reign) -> None:
        """Watch the champion that the ledger names, anew if it is another than before."""
        if not self.memory.known or reign.version != self.memory.champion:
            self._begin_watch(self.memory.for_champion(reign.version, reign.effective_from), counted=False)
        elif self._watch is None:
            self._begin_watch(self.memory, counted=True)

    def _begin_watch(self, memory: Memory, *, counted: bool) -> None:
        self._watch = Watch(self.policy.watch, memory)
        self._recent.clear()
        if memory.evaluated_until is not None:
            for slot, tallies in self._tallies(None, memory.evaluated_until).items():
                self._note_rows(slot, _total(tallies))
                own = self._own(tallies)
                if own:
                    self._watch.remember(slot, own, counted=counted)
        self.memory = self._watch.memory

    def _closed(self, first_open: Slot | None) -> Sequence[tuple[Slot, Counter[tuple[str, str]], int]]:
        """The slots that have closed since the last round and hold outcomes, in order."""
        if first_open is None or first_open == self.memory.evaluated_until:
            return []
        tallies = self._tallies(self.memory.evaluated_until, first_open)
        return [(slot, self._own(held), _total(held)) for slot, held in tallies.items()]

    def _tallies(self, first: Slot | None, before: Slot) -> dict[Slot, list[tuple[TallyKey, int]]]:
        slots: dict[Slot, list[tuple[TallyKey, int]]] = {}
        for key, n in self._state.tallies(self.policy.name, first, before, whole=True):
            slots.setdefault(key.slot, []).append((key, n))
        return slots

    def _own(self, tallies: Sequence[tuple[TallyKey, int]]) -> Counter[tuple[str, str]]:
        assert self._watch is not None
        own = [(key, n) for key, n in tallies if self._watch.is_champions(key)]
        return next(iter(by_slot(own).values()), Counter())

    def _look_at(self, slot: Slot, cells: Counter[tuple[str, str]], total: int, now: Micros, taken: _Taken) -> None:
        assert self._watch is not None
        self._note_rows(slot, total)
        self._remember(total=self.memory.total + total)
        if cells:
            self._watch.memory = self.memory
            taken.facts += self._watch.close(slot, cells)
            self.memory = self._watch.memory
        self._decide(slot + 1, now, taken)  # others' outcomes are rows to learn from

    def _decide(self, first_open: Slot, now: Micros, taken: _Taken, request: Request | None = None) -> Decision | None:
        decision = decide(self.policy.deciding, self._situation(first_open, now, request))
        if decision is None:
            self._remember(last_decision="")
            return None
        if decision.fingerprint != self.memory.last_decision:
            taken.decisions.append(decision)
        self._remember(last_decision=decision.fingerprint)
        if decision.outcome is Outcome.RETRAIN:
            self._launch(decision, taken)
        return decision

    def _launch(self, decision: Decision, taken: _Taken) -> None:
        judged = [job for job in self._jobs if job.champion == decision.champion and job.result is not None]
        job = job_for(decision, judgement=len(judged) + 1, manifest=self._lease.manifest)
        self._jobs.append(job)
        taken.jobs.append(job)
        self._remember(latched={})

    def _situation(self, first_open: Slot, now: Micros, request: Request | None) -> Situation:
        return Situation(
            first_open=first_open,
            now=now,
            readings={**self.memory.readings, **self.memory.latched},
            champion=self.memory.champion,
            labels=self.memory.seen if self.memory.champion is not None else self.memory.total,
            rows=self._rows(first_open),
            jobs=tuple(job.past for job in self._jobs),
            paused=self.memory.paused is not None,
            catching_up=self.memory.catching_up,
            request=request.request_id if request else None,
            request_reason=request.reason if request else "",
        )

    def _rows(self, first_open: Slot) -> int:
        """Outcomes that the policy for rows could use; what has not matured is not known here and left to training."""
        rows = self.policy.recipe.rows
        if rows.span is not None:
            oldest = first_open - rows.span // slot_start(1)
            return sum(n for slot, n in self._recent if slot >= oldest)
        return min(self.memory.total, rows.count) if rows.count is not None else self.memory.total

    def _note_rows(self, slot: Slot, total: int) -> None:
        span = self.policy.recipe.rows.span
        if span is None:
            return
        self._recent.append((slot, total))
        while self._recent and self._recent[0][0] < slot - slot_of(span):
            self._recent.popleft()

    def _fire_schedules(self, now: Micros, taken: _Taken) -> None:
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
                taken.facts.append(TriggerChanged(name=name, kind="schedule", reading=reading))

    def _answer(self, request: Request, now: Micros, taken: _Taken) -> None:
        if request.kind == "retrain":
            decision = self._decide(self.memory.evaluated_until or 0, now, taken, request)
            taken.answers[request.request_id] = decision.decision_id if decision else "nothing to decide"
        else:
            self._remember(paused=request.reason if request.kind == "pause" else None)
            taken.answers[request.request_id] = "done"
        taken.answered.append(request)

    def _store(self, taken: _Taken) -> Round:
        memory = msgspec.json.encode(self.memory)
        if memory != self._stored or taken.decisions or taken.answers:
            self._state.take(
                Step(
                    lease=self._lease,
                    model=self.policy.name,
                    memory=memory,
                    decisions=taken.decisions,
                    jobs=taken.jobs,
                    answers=taken.answers,
                )
            )
            self._stored = memory
        return Round(
            facts=taken.facts,
            decisions=taken.decisions,
            jobs=taken.jobs,
            answered=taken.answered,
            memory=self.memory,
        )

    def _remember(self, **changes: object) -> None:
        self.memory = replace(self.memory, **changes)  # type: ignore[arg-type]  # the names are Memory's own


class _Taken:
    """What a round has gathered so far."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.decisions: list[Decision] = []
        self.jobs: list[Job] = []
        self.answers: dict[str, str] = {}
        self.answered: list[Request] = []


def _without_removed(memory: Memory, policy: ModelPolicy) -> Memory:
    """What is remembered of triggers that the owner has removed since is forgotten: they must not fire any more."""
    return replace(
        memory,
        triggers={name: state for name, state in memory.triggers.items() if name in policy.watch.triggers},
        readings={name: reading for name, reading in memory.readings.items() if name in policy.watch.triggers},
        latched={name: reading for name, reading in memory.latched.items() if name in policy.schedules},
        fired_at={name: at for name, at in memory.fired_at.items() if name in policy.schedules},
    )


def _total(tallies: Sequence[tuple[TallyKey, int]]) -> int:
    return sum(n for _, n in tallies)
