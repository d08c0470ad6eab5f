"""Deliberating about one model: closed slots in order, what the triggers say at the end of each, what is decided then.

Pure: the controller drives it from the manifest, a replay from history. What it decides depends on what was known at
the end of each slot and on people's requests, never on how many slots were given to it at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from retrainer.domain.deciding.decisions import SCHEDULE, Decision, DecisionAnswer, decide
from retrainer.domain.deciding.due import due_names
from retrainer.domain.deciding.jobs import Job, job_for
from retrainer.domain.deciding.ledger import Reign
from retrainer.domain.deciding.memory import ModelMemory
from retrainer.domain.deciding.schedules import Timetable, fire
from retrainer.domain.deciding.situation import Covered, DecisionPolicy, Situation, Unfair
from retrainer.domain.deciding.tried import what_jobs_came_to
from retrainer.domain.deciding.watch import ChampionFacts, Fact, Watch, WatchPolicy
from retrainer.domain.features.drift_windows import DriftReference
from retrainer.domain.frozen import changed
from retrainer.domain.judging.order import TrainingResult
from retrainer.domain.lateness.completeness import Completeness
from retrainer.domain.lateness.coverage import CoveragePolicy, coverage_facts, maturity_facts
from retrainer.domain.lateness.estimated import estimated_facts
from retrainer.domain.lateness.fairness import FAIR
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.tally.totals import Closed, Totals, labels_in, outcomes_in
from retrainer.domain.triggers.base import Level, Reading, TriedJob
from retrainer.domain.values import Micros, Slot, slot_of, slot_start

JOBS_REMEMBERED: Final = 50
"""A model's newest jobs that guards look at; the budget counts among them."""

JOBS_THAT_TELL: Final = 10
"""The newest, of which triggers hear what they came to; older ones weigh a thousandth."""


@dataclass(frozen=True, kw_only=True)
class DeliberationPolicy:
    """What is watched of a model, and when it is retrained."""

    watch: WatchPolicy
    deciding: DecisionPolicy
    schedules: Mapping[str, Timetable] = field(default_factory=dict)
    coverage: CoveragePolicy | None = None
    """How late labels may be; None: nobody asks what is missing."""


Tallied = Sequence[tuple[TallyKey, int]]
"""The tallies of one slot, of every version: outcomes and arrivals, without slices."""

Past = Sequence[tuple[Slot, Tallied]]
"""Slots that were deliberated about before, in order."""


@dataclass(kw_only=True)
class Conclusions:
    """What a deliberation came to since it was last asked."""

    facts: list[Fact] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)


class Deliberation:
    """One model's. All that it must remember beyond its life is in `memory` and `jobs`."""

    def __init__(
        self,
        policy: DeliberationPolicy,
        memory: ModelMemory,
        jobs: Sequence[Job] = (),
        *,
        manifest: str = "",
        champions: Mapping[str, ChampionFacts] | None = None,
        drift: Callable[[Slot], Mapping[str, Any]] = lambda _: {},
    ) -> None:
        """Begin with what is remembered.

        Args:
            champions: what is known of versions that no job has made.
            drift: what the features look like at the end of a slot, for `Scene.drift`.
        """
        self.policy = policy
        self.memory = memory
        self._jobs = list(jobs)
        self._manifest = manifest
        self._kinds = {name: trigger.kind for name, trigger in policy.watch.triggers.items()}
        self._kinds |= dict.fromkeys(policy.schedules, SCHEDULE)
        self._due_names = due_names(policy.watch.triggers, policy.schedules)
        self._champions = champions or {}
        self._drift = drift
        self._watch: Watch | None = None
        self._completeness = None
        if policy.coverage is not None:
            self._completeness = Completeness(policy.coverage, self._is_own, memory.completeness)
        self._totals = Totals()
        self._concluded = Conclusions()
        self._tried: tuple[TriedJob, ...] | None = None
        self._news = True
        """Whether something else than a slot may have changed the answer since; after a start, anything may."""

    @property
    def has_something(self) -> bool:
        """Whether it came to anything since `take_conclusions` was called."""
        return bool(self._concluded.facts or self._concluded.decisions or self._concluded.jobs)

    def take_conclusions(self) -> Conclusions:
        """What it came to since the last call."""
        taken, self._concluded = self._concluded, Conclusions()
        return taken

    def note_missing(self) -> None:
        """Put what is known of missing labels into the memory: to go on from, and for people."""
        if self._completeness is not None:
            found = self._completeness
            self.memory = changed(
                self.memory,
                completeness=found.state,
                missing={
                    "coverage": coverage_facts(found.coverage),
                    "maturity": maturity_facts(found.maturity),
                    "fairness": found.fairness.facts,
                    "estimated": estimated_facts(found.estimated),
                },
            )

    def job_changed(self, job: Job) -> None:
        """A job has taken a step; cooldown, budget, back-off and single flight look at it."""
        known = next((one for one in self._jobs if one.job_id == job.job_id), None)
        if known != job:
            self._jobs = [job if one.job_id == job.job_id else one for one in self._jobs]
            self._tried, self._news = None, True

    # Whose outcomes are watched

    def begins_anew(self, reign: Reign) -> bool:
        """Whether the champion that the ledger names has not been watched yet: `follow` then needs its past."""
        return not (self.memory.known and reign.version == self.memory.champion and self._watch is not None)

    def needs_from(self) -> Slot | None:
        """The first slot whose arrivals a beginning needs, beside the champion's outcomes; None: it needs none."""
        return self._completeness.needs_from() if self._completeness is not None and self._watch is None else None

    def follow(self, reign: Reign, past: Past = ()) -> None:
        """Watch the champion that the ledger names."""
        if not self.begins_anew(reign):
            return
        is_start, is_new = self._watch is None, not self.memory.known or reign.version != self.memory.champion
        if is_new:
            self.memory = self.memory.for_champion(reign.version, reign.effective_from)
        champion = self._champion(reign.version)
        if not self.memory.first_rows and champion.rows:
            self.memory = changed(self.memory, first_rows=champion.rows)
        self._watch = Watch(self.policy.watch, self.memory.seen, champion)
        self._totals = Totals()
        for slot, tallies in past:
            self._totals.add(slot, outcomes_in(tallies))
        for slot, cells in self._recalled(reign, past, is_start=is_start, is_new=is_new):
            self.memory = self._watch.remember(self.memory, slot, cells, counted=not is_new)
        self._news = True

    def _recalled(
        self, reign: Reign, past: Past, *, is_start: bool, is_new: bool
    ) -> Sequence[tuple[Slot, Counter[tuple[str, str]]]]:
        """The champion's outcomes that triggers have seen, or would have."""
        own = [(slot, cells) for slot, tallies in past if (cells := self._own(slot, tallies))]
        if self._completeness is None:
            return own
        if is_start:
            self._completeness.recall([(slot, Closed.of(tallies).arrived) for slot, tallies in past])
        if is_new:
            since = None if reign.effective_from is None else slot_of(reign.effective_from)
            self._completeness.follow(reign.version, since, self.memory.evaluated_until)
        return self._completeness.shown(own)

    def result_of(self, version: str | None) -> TrainingResult | None:
        """What the job that made a version found; None of one that came from elsewhere."""
        job = next((job for job in reversed(self._jobs) if version is not None and job.version == version), None)
        return job.result if job else None

    def note_reference(self, reference: DriftReference | None) -> None:
        """Keep what features are compared with, where it was learnt."""
        if reference != self.memory.reference:
            self.memory = changed(self.memory, reference=reference)

    def _champion(self, version: str | None) -> ChampionFacts:
        """What its own job found out about the champion; nothing of one that came from elsewhere."""
        result = self.result_of(version)
        if result is None:
            return self._champions.get(version or "", ChampionFacts())
        learnt = result.refitted_on or result.trained_on
        return ChampionFacts(
            baseline=result.evaluation,
            classes=frozenset(result.classes) or None,
            rows=learnt.rows if learnt else None,
        )

    # Slots

    def close_slot(self, slot: Slot, tallies: Tallied, now: Micros) -> None:
        """Look at the next closed slot that holds something; `now` is wall time. Slots come in order."""
        self.look_at(slot, Closed.of(tallies), now)

    def look_at(self, slot: Slot, closed: Closed, now: Micros) -> None:
        """The same, of what has been sorted already."""
        if slot != self.memory.evaluated_until:
            self._let_go(slot, now)
        total = outcomes_in(closed.outcomes)
        self._totals.add(slot, total)
        self.memory = changed(
            self.memory,
            total=self.memory.total + total,
            since_job=self.memory.since_job + total,
            evaluated_until=slot + 1,
        )
        watch, own = self._begun(), self._own(slot, closed.outcomes)
        if self._completeness is not None:
            own = self._completeness.close_slot(slot, closed.arrived, own)
        if self._tried is None:
            self._tried = what_jobs_came_to(self._jobs[-JOBS_THAT_TELL:])
        self.memory, facts = watch.close_slot(
            self.memory,
            slot,
            own,
            labels=labels_in(closed.outcomes),
            drift=self._drift(slot),
            tried=self._tried,
        )
        self._concluded.facts += facts
        self._decide(slot + 1, now)

    def pass_by(self, first_open: Slot, now: Micros) -> None:
        """Nothing more became known before this slot: only time has passed, which can end what a guard waits for."""
        self._let_go(first_open, now)
        if self.memory.evaluated_until is None or first_open > self.memory.evaluated_until:
            self.memory = changed(self.memory, evaluated_until=first_open)

    def _let_go(self, first_open: Slot, now: Micros) -> None:
        while (until := self.memory.holds_until) is not None:
            slot = -(-until // slot_start(1))
            if not (self.memory.evaluated_until or 0) < slot <= first_open:
                break
            self.memory = changed(self.memory, evaluated_until=slot)
            self._decide(slot, now)

    def look_at_present(self, now: Micros) -> None:
        """Decide once more where the slots stand, if jobs have ended, schedules are due or people have spoken.

        Else the answer stands: looked at again, it would depend on when that was.
        """
        latched = self.memory.latched
        self.memory, fired = fire(self.policy.schedules, self.memory, now)
        self._concluded.facts += fired
        self._news = self._news or self.memory.latched != latched
        if self.memory.evaluated_until is not None and self._news:
            self._decide(self.memory.evaluated_until, now)

    def answer(self, request_id: str, reason: str, now: Micros) -> Decision | None:
        """Decide about a person's request to retrain."""
        decision = self._decide(self.memory.evaluated_until or 0, now, request=(request_id, reason))
        self._news = True
        return decision

    def pause(self, reason: str | None) -> None:
        """Stop deciding, for a reason; None: go on."""
        self.memory = changed(self.memory, paused=reason)
        self._news = True

    def catch_up(self, *, is_behind: bool) -> None:
        """Say whether what is known is far behind the end of the topics."""
        if is_behind is not self.memory.catching_up:
            self.memory = changed(self.memory, catching_up=is_behind)
            self._news = True

    # Deciding

    def _decide(self, first_open: Slot, now: Micros, request: tuple[str, str] | None = None) -> Decision | None:
        asks = request is not None or self._asks
        decision = decide(self.policy.deciding, self._situation(first_open, now, request)) if asks else None
        self._news = decision is not None and decision.waits_for_wall_clock
        if decision is None:
            if self.memory.last_decision:
                self.memory = changed(self.memory, last_decision="", holds_until=None)
            return None
        if decision.fingerprint != self.memory.last_decision:
            self._concluded.decisions.append(decision)
        self.memory = changed(self.memory, last_decision=decision.fingerprint, holds_until=decision.until)
        if decision.outcome is DecisionAnswer.RETRAIN:
            self._launch(decision)
        return decision

    @property
    def _asks(self) -> bool:
        """Whether anything may ask for a retraining; in most slots nothing does."""
        memory = self.memory
        fired = any(reading.level is Level.FIRED for reading in memory.readings.values())
        return fired or bool(memory.latched) or memory.champion is None

    def _launch(self, decision: Decision) -> None:
        judged = [job for job in self._jobs if job.champion == decision.champion and job.result is not None]
        job = job_for(decision, judgement=len(judged) + 1, manifest=self._manifest)
        self._jobs.append(job)
        self._tried = None
        self._concluded.jobs.append(job)
        readings = {
            name: Reading() if name in self._due_names else reading for name, reading in self.memory.readings.items()
        }
        self.memory = changed(self.memory, latched={}, since_job=0, readings=readings)
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
            due_names=self._due_names,
            began=began,
            rows_since=0 if began is None else self._totals.since(slot_of(began)),
            new_labels=self.memory.since_job,
            immature=self._immature(),
            coverage=self._covered(),
            jobs=tuple(job.past for job in self._jobs[-JOBS_REMEMBERED:]),
            paused=self.memory.paused is not None,
            catching_up=self.memory.catching_up,
            request=request[0] if request else None,
            request_reason=request[1] if request else "",
            kinds=self._kinds,
        )

    def _began(self) -> Micros | None:
        """When what the triggers that fired have found began; the latest, so that nothing from before is learnt."""
        found = [reading.began for reading in self.memory.readings.values() if reading.fired and reading.began]
        return max(found, default=None)

    def _immature(self) -> Unfair | None:
        reading = self._completeness.fairness if self._completeness else FAIR
        return None if reading.fair else Unfair(message=reading.message, evidence=reading.facts)

    def _covered(self) -> Covered | None:
        reading = self._completeness.coverage if self._completeness else None
        return None if reading is None else Covered(relative=reading.relative, evidence=coverage_facts(reading) or {})

    def _due(self) -> frozenset[str]:
        fired = {name for name, reading in self.memory.readings.items() if reading.fired}
        return frozenset(self.memory.latched) | (fired & self._due_names)

    def _rows(self, first_open: Slot) -> int:
        """Outcomes that the policy for rows could use; what has not matured is not known here and left to training."""
        rows = self.policy.deciding.rows
        if rows.span is not None:
            return self._totals.since(first_open - slot_of(rows.span))
        return min(self.memory.total, rows.count) if rows.count is not None else self.memory.total

    def _own(self, slot: Slot, tallies: Tallied) -> Counter[tuple[str, str]]:
        memory, own = self.memory, Counter[tuple[str, str]]()
        for key, n in tallies:
            if key.slice == WHOLE and memory.owns(key.version, slot):
                own[key.truth, key.answer] += n
        return own

    def _is_own(self, version: str, slot: Slot) -> bool:
        return self.memory.owns(version, slot)

    def _begun(self) -> Watch:
        if self._watch is None:
            raise RuntimeError("nobody has said who the champion is")
        return self._watch
