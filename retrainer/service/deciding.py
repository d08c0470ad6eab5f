"""One round of deciding about one model: every newly closed slot in order, then the present. It is stored whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from retrainer.domain.decisions import Decision
from retrainer.domain.deliberation import Deliberation, DeliberationPolicy, Tallied
from retrainer.domain.evaluation import Fact, Memory
from retrainer.domain.jobs import Job
from retrainer.domain.ledger import Reign
from retrainer.domain.tallies import TallyKey
from retrainer.domain.values import Micros, Slot, slot_of
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
        self._stored = state.memory(policy.name)
        memory = msgspec.json.decode(self._stored, type=Memory) if self._stored else Memory()
        self._deliberation = Deliberation(
            DeliberationPolicy(watch=policy.watch, deciding=policy.deciding, schedules=policy.schedules),
            _without_removed(memory, policy),
            state.jobs(policy.name),
            manifest=lease.manifest,
        )

    @property
    def memory(self) -> Memory:
        return self._deliberation.memory

    def job_changed(self, job: Job) -> None:
        """A job has taken a step; the guards look at it."""
        self._deliberation.job_changed(job)

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
        about = self._deliberation
        about.catch_up(is_behind=catching_up or self.memory.catching_up)
        if first_open is not None and first_open != self.memory.evaluated_until:
            for slot, tallies in self._tallies(self.memory.evaluated_until, first_open):
                about.close(slot, tallies, now)
            about.pass_by(first_open, now)
        about.catch_up(is_behind=catching_up)
        answers = {request.request_id: self._answer(request, now) for request in requests}
        about.look_at_present(now)
        return self._store(requests, answers)

    def _follow(self, reign: Reign) -> None:
        """Watch the champion that the ledger names; what is stored of its outcomes is recalled at a new beginning."""
        if not self._deliberation.follow(reign) or self.memory.evaluated_until is None:
            return
        for slot, tallies in self._tallies(self._oldest_needed(reign), self.memory.evaluated_until):
            self._deliberation.recall(slot, tallies)

    def _oldest_needed(self, reign: Reign) -> Slot | None:
        """Outcomes from before the promotion say nothing about the champion, even if its version had reigned before."""
        if reign.version is None or reign.effective_from is None:
            return None
        promoted = reign.effective_from - self.policy.promotion.takes_effect
        span = self.policy.deciding.rows.span
        return slot_of(promoted if span is None else min(promoted, promoted - span))

    def _tallies(self, first: Slot | None, before: Slot) -> Sequence[tuple[Slot, Tallied]]:
        slots: dict[Slot, list[tuple[TallyKey, int]]] = {}
        for key, n in self._state.tallies(self.policy.name, first, before, whole=True):
            slots.setdefault(key.slot, []).append((key, n))
        return sorted(slots.items())

    def _answer(self, request: Request, now: Micros) -> str:
        if request.kind == "retrain":
            decision = self._deliberation.answer(request.request_id, request.reason, now)
            return decision.decision_id if decision else "nothing to decide"
        self._deliberation.pause(request.reason if request.kind == "pause" else None)
        return "done"

    def _store(self, answered: Sequence[Request], answers: dict[str, str]) -> Round:
        taken = self._deliberation.take()
        memory = msgspec.json.encode(self.memory)
        if memory != self._stored or taken.decisions or answers:
            self._state.take(
                Step(
                    lease=self._lease,
                    model=self.policy.name,
                    memory=memory,
                    decisions=taken.decisions,
                    jobs=taken.jobs,
                    answers=answers,
                )
            )
            self._stored = memory
        return Round(
            facts=taken.facts, decisions=taken.decisions, jobs=taken.jobs, answered=answered, memory=self.memory
        )


def _without_removed(memory: Memory, policy: ModelPolicy) -> Memory:
    """What is remembered of triggers that the owner has removed since is forgotten: they must not fire any more."""
    return replace(
        memory,
        triggers={name: state for name, state in memory.triggers.items() if name in policy.watch.triggers},
        readings={name: reading for name, reading in memory.readings.items() if name in policy.watch.triggers},
        latched={name: reading for name, reading in memory.latched.items() if name in policy.schedules},
        fired_at={name: at for name, at in memory.fired_at.items() if name in policy.schedules},
    )
