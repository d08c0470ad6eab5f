"""One round of deciding about one model: every newly closed slot in order, then the present."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import assert_never

import msgspec

from retrainer.domain.deciding.decisions import Decision
from retrainer.domain.deciding.deliberation import Deliberation, Past, Tallied
from retrainer.domain.deciding.jobs import Job
from retrainer.domain.deciding.ledger import Reign
from retrainer.domain.deciding.memory import ModelMemory
from retrainer.domain.deciding.watch import Fact
from retrainer.domain.values import Micros, Slot, slot_of
from retrainer.ports.manifest.decisions import DecisionState, Request, RequestKind, SlotRange, Step
from retrainer.ports.manifest.lease import Lease
from retrainer.service.control.drift_watch import DriftWatch
from retrainer.service.policy import ModelPolicy


@dataclass(frozen=True, kw_only=True)
class DecisionRound:
    """What one round found."""

    facts: Sequence[Fact]
    decisions: Sequence[Decision]
    jobs: Sequence[Job]
    answered: Sequence[Request]


@dataclass(frozen=True, kw_only=True)
class News:
    """What a round is about: `now` is wall time, `slots` those that the decider wants, with their tallies."""

    reign: Reign
    now: Micros
    slots: SlotRange | None = None
    tallies: Tallied = ()
    requests: Sequence[Request] = ()
    catching_up: bool = False


class Decider:
    """Decides about one model. Everything it remembers is stored with what it decided, in one transaction.

    After a round whose step could not be stored it knows too much: another one has to be made from what is stored.
    """

    def __init__(
        self, policy: ModelPolicy, state: DecisionState, lease: Lease, drift: DriftWatch | None = None
    ) -> None:
        self.policy = policy
        self._state = state
        self._lease = lease
        self._stored = state.memory(policy.name)
        memory = msgspec.json.decode(self._stored, type=ModelMemory) if self._stored else ModelMemory()
        self._deliberation = Deliberation(
            policy.deliberation,
            _without_removed(memory, policy),
            state.jobs(policy.name),
            manifest=lease.manifest,
            drift=lambda slot: drift.at(policy.name, slot) if drift else {},
        )
        self._drift = drift if drift and policy.name in drift else None
        self._unstored: bytes | None = None

    @property
    def memory(self) -> ModelMemory:
        return self._deliberation.memory

    def job_changed(self, job: Job) -> None:
        """A job has taken a step; the guards look at it."""
        self._deliberation.job_changed(job)

    def wants(self, reign: Reign, first_open: Slot | None, *, catching_up: bool = False) -> SlotRange | None:
        """The slots that have closed since the last round, as far as they can be decided about."""
        until = self.memory.evaluated_until
        if self._drift is not None and not catching_up:
            result, learnt = self._deliberation.result_of(reign.version), self.memory.reference
            self._deliberation.note_reference(self._drift.follow(self.policy.name, reign, result, learnt, until))
            first_open = self._drift.ready(self.policy.name, first_open)
        if first_open is None or (until is not None and first_open <= until):
            return None
        return SlotRange(until, first_open)

    def deliberate(self, round_of: News) -> tuple[DecisionRound, Step | None]:
        """Look at what has closed since the last round, and decide; what it came to is to be stored before the next.

        While the worker is `catching_up` triggers only hold. What closed up to its end is still part of the backlog;
        the decision that is open then is taken at the last slot.
        """
        self._follow(round_of.reign)
        about, now, wanted = self._deliberation, round_of.now, round_of.slots
        about.catch_up(is_behind=round_of.catching_up or self.memory.catching_up)
        if wanted is not None:
            for slot, tallies in _by_slot(round_of.tallies):
                about.close_slot(slot, tallies, now)
            about.pass_by(wanted.before, now)
            about.note_missing()
        about.catch_up(is_behind=round_of.catching_up)
        answers = {request.request_id: self._answer(request, now) for request in round_of.requests}
        about.look_at_present(now)
        return self._concluded(round_of.requests, answers)

    def stored(self) -> None:
        """The step of the last round was taken."""
        self._stored, self._unstored = self._unstored or self._stored, None

    def _follow(self, reign: Reign) -> None:
        """Watch the champion that the ledger names; what is stored of its outcomes is recalled at a new beginning."""
        if not self._deliberation.begins_anew(reign):
            return
        past: Past = ()
        if self.memory.evaluated_until is not None:
            slots = SlotRange(self._oldest_needed(reign), self.memory.evaluated_until)
            past = _by_slot(self._state.news({self.policy.name: slots}).get(self.policy.name, ()))
        self._deliberation.follow(reign, past)

    def _oldest_needed(self, reign: Reign) -> Slot | None:
        """Outcomes from before the promotion say nothing about the champion, even if its version had reigned before."""
        if reign.version is None or reign.effective_from is None:
            return None
        promoted = reign.effective_from - self.policy.promotion.takes_effect
        oldest = slot_of(promoted - (self.policy.deciding.rows.span or 0))
        arrivals = self._deliberation.needs_from()
        return oldest if arrivals is None else min(oldest, arrivals)

    def _answer(self, request: Request, now: Micros) -> str:
        match kind_of(request):
            case RequestKind.RETRAIN:
                decision = self._deliberation.answer(request.request_id, request.reason, now)
                return decision.decision_id if decision else "nothing to decide"
            case RequestKind.PAUSE:
                self._deliberation.pause(request.reason)
                return "done"
            case RequestKind.RESUME:
                self._deliberation.pause(None)
                return "done"
            case None:
                return f"this version does not know the request {request.kind}"
            case kind:
                assert_never(kind)

    def _concluded(self, answered: Sequence[Request], answers: dict[str, str]) -> tuple[DecisionRound, Step | None]:
        taken = self._deliberation.take_conclusions()
        done = DecisionRound(facts=taken.facts, decisions=taken.decisions, jobs=taken.jobs, answered=answered)
        memory = msgspec.json.encode(self.memory)
        if memory == self._stored and not (taken.decisions or answers):
            return done, None
        self._unstored = memory
        return done, Step(
            lease=self._lease,
            model=self.policy.name,
            memory=memory,
            decisions=taken.decisions,
            jobs=taken.jobs,
            answers=answers,
        )


def kind_of(request: Request) -> RequestKind | None:
    """What a person asked for; None where this version does not know it."""
    return RequestKind(request.kind) if request.kind in tuple(RequestKind) else None


def _by_slot(tallies: Tallied) -> list[tuple[Slot, Tallied]]:
    """They come in the order of their slots."""
    return [(slot, list(held)) for slot, held in groupby(tallies, key=lambda tally: tally[0].slot)]


def _without_removed(memory: ModelMemory, policy: ModelPolicy) -> ModelMemory:
    """What is remembered of triggers that the owner has removed since is forgotten: they must not fire any more."""
    return replace(
        memory,
        triggers={name: state for name, state in memory.triggers.items() if name in policy.watch.triggers},
        readings={name: reading for name, reading in memory.readings.items() if name in policy.watch.triggers},
        latched={name: reading for name, reading in memory.latched.items() if name in policy.schedules},
        fired_at={name: at for name, at in memory.fired_at.items() if name in policy.schedules},
    )
