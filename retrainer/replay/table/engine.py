"""One policy over one table: the production code's deliberation, on a clock that follows the rows.

What is ahead of the clock influences nothing: a row is answered by the version that holds the alias at its time, a slot
is looked at once the watermark has passed it, and a job learns from what was known by the slot that decided it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from retrainer.domain.deciding.decisions import Decision
from retrainer.domain.deciding.deliberation import Deliberation
from retrainer.domain.deciding.jobs import Job, JobState, PromotionMode, after_verdict
from retrainer.domain.deciding.ledger import Reign
from retrainer.domain.deciding.memory import ModelMemory
from retrainer.domain.deciding.watch import TriggerChanged
from retrainer.domain.judging.order import TrainingResult
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.triggers.drift import Drift
from retrainer.domain.values import Micros, Slot, slot_of, slot_start
from retrainer.replay.table.counting import SlotCounter
from retrainer.replay.table.drifting import TableDrift
from retrainer.replay.table.flow import Flow, SlotsClosed, rounds
from retrainer.replay.table.judging import Moment, ReplayChallenger, challenged, dropped
from retrainer.replay.table.learning import Served, Trained, Trainer
from retrainer.replay.table.models import Costs, Version
from retrainer.replay.table.table import MISSING, Table
from retrainer.replay.table.values import LabelCodes, form_for
from retrainer.replay.table.warm import FIRST, champion_of, first_version
from retrainer.service.policy import ModelPolicy

Tell = Callable[[int, int], None]
"""Told how many rows have been played, and how many retrainings were started."""

_SMALLEST_BLOCK: Final = 4_096
_LARGEST_BLOCK: Final = 131_072
"""Rows are answered in blocks, each twice as large as the last: most champions stay for long."""

_BEFORE = "0"
"""The version of rows that were learned from and never predicted."""


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A decision, and how far the replay had come: the newest row, and the time."""

    decision: Decision
    row: int
    at: Micros


@dataclass(kw_only=True)
class Ran:
    """A job, when it began and ended on the replay's clock, and the version that it made."""

    job: Job
    row: int
    at: Micros
    result: TrainingResult
    ends_at: Micros
    version: Version | None
    has_ended: bool = False
    became: str = ""
    """Why a challenger was taken or given up."""


@dataclass(frozen=True, kw_only=True)
class Promoted:
    """A version took the alias; rows after `row` are its own."""

    version: str
    row: int
    at: Micros


@dataclass(kw_only=True)
class Played:
    """All that came of one policy."""

    policy: ModelPolicy
    table: Table
    values: LabelCodes
    served: Served
    first: Version
    costs: Costs
    decisions: list[Decided] = field(default_factory=list)
    jobs: list[Ran] = field(default_factory=list)
    promotions: list[Promoted] = field(default_factory=list)
    changes: list[tuple[int, TriggerChanged]] = field(default_factory=list)
    rollbacks: int = 0


def play(policy: ModelPolicy, table: Table, training_takes: Micros, tell: Tell | None = None) -> Played:
    """Replay a policy over a table.

    Args:
        training_takes: how long each job lasts on the replay's clock.

    Raises:
        Refused: version 1 cannot be trained.
    """
    join = policy.ingest.join
    stream = table.within(join.max_delay)
    if join.absent is not None:
        stream = stream.with_number(join.absent.value)
    engine = _Engine(policy, stream, training_takes)
    for number, now in enumerate(rounds(stream, policy.ingest.join.lateness)):
        engine.run_round(now)
        if tell is not None and number % 64 == 0:
            tell(engine.next_row - table.warm, len(engine.played.jobs))
    engine.finish()
    if tell is not None:
        tell(len(table) - table.warm, len(engine.played.jobs))
    return engine.played


class _Engine:
    """What stands at one moment of the replay."""

    def __init__(self, policy: ModelPolicy, table: Table, training_takes: Micros) -> None:
        self._table = table
        self._takes = training_takes
        self._trainer = Trainer(policy=policy, table=table, values=LabelCodes(form_for(policy), table), costs=Costs())
        self._champion = first_version(self._trainer)
        self._newest = int(FIRST)
        self._job: Ran | None = None
        self._challenger: Ran | None = None
        self._closed = slot_of(int(table.times[table.warm]))
        self.next_row = self._answered = table.warm
        self._block = _SMALLEST_BLOCK
        served = _learned_from(table)
        flow = Flow.of(table, policy.ingest.join)
        width = policy.coverage.width if policy.coverage else None
        values = self._trainer.values
        self._counting = SlotCounter(table=table, flow=flow, served=served, values=values, width=width)
        self._totals = list(flow.before(slot_start(self._closed)))
        triggers = policy.watch.triggers.values()
        self._drift = TableDrift(table, {one.newest for one in triggers if isinstance(one, Drift)})
        self._deliberation = Deliberation(
            policy.deliberation,
            ModelMemory(total=sum(n for _, n in self._totals)),
            champions={FIRST: champion_of(self._champion)},
            drift=self._drift.at,
        )
        self.played = Played(
            policy=policy, table=table, values=values, served=served, first=self._champion, costs=self._trainer.costs
        )
        self._follow(Reign(version=FIRST, effective_from=int(table.times[table.warm])), self._totals)

    def run_round(self, read: SlotsClosed) -> None:
        """Something was read at a time: rows are answered, jobs end, and the slots that have closed are looked at."""
        self._end_job(read.now)
        self._answer(read.rows)
        about = self._deliberation
        for slot, closed in self._counting.slots(self._closed, read.first_open, self._answered):
            known = sum(n for _, n in closed.outcomes)
            if known:
                self._totals.append((slot, known))
            about.look_at(slot, closed, read.now)
            self._take(read.now)
        self._closed = max(self._closed, read.first_open)
        about.pass_by(read.first_open, read.now)
        about.look_at_present(read.now)
        self._take(read.now)
        self._judge_on(read.now)

    def finish(self) -> None:
        """Answer the rows that are left; a job that is still under way does not end any more."""
        end = int(self._table.times[-1])
        self._end_job(end)
        self._serve(end)

    def _follow(self, reign: Reign, totals: Sequence[tuple[Slot, int]]) -> None:
        """A champion's own outcomes are all ahead of it; of the others it matters how many there were."""
        self._drift.follow(self._champion.result.profile, reign.effective_from or 0)
        self._deliberation.follow(reign, [(slot, [(TallyKey(_BEFORE, WHOLE, slot, "", ""), n)]) for slot, n in totals])

    def _take(self, now: Micros) -> None:
        """What the deliberation came to; a job is carried out at once, and its end waits for its time."""
        if not self._deliberation.has_something:
            return
        taken = self._deliberation.take_conclusions()
        row = self.next_row - 1
        self.played.changes += [(row, fact) for fact in taken.facts if isinstance(fact, TriggerChanged)]
        self.played.decisions += [Decided(decision=decision, row=row, at=now) for decision in taken.decisions]
        for job in taken.jobs:
            if self._challenger is not None:
                why = f"job {job.job_id} has been launched, with newer rows"
                self._step(self._challenger, dropped(self._challenger.job, now), why)
            trained = self._trainer.train(job, self._champion, self.played.served)
            self._launch(job, trained, now)

    def _launch(self, job: Job, trained: Trained, now: Micros) -> None:
        self._job = Ran(
            job=job,
            row=self.next_row - 1,
            at=now,
            result=trained.result,
            ends_at=now + self._takes,
            version=trained.version,
        )
        self.played.jobs.append(self._job)
        self._end_job(now)

    def _end_job(self, now: Micros) -> None:
        """The job under way, if its time has come: rows up to then were the old champion's."""
        ran = self._job
        if ran is None or ran.ends_at > now:
            return
        self._serve(ran.ends_at)
        self._job = None
        ran.has_ended = True
        mode = self._trainer.policy.promotion.mode
        state = state_after(ran.result, mode)
        job = replace(ran.job, result=ran.result)
        if ran.version is None or state not in (JobState.PROMOTED, JobState.ACCEPTED, JobState.CHALLENGING):
            error = "" if ran.result.verdict else ran.result.error or "the training gave no verdict"
            self._step(ran, job.end(state, ran.ends_at, error=error))
            return
        self._newest += 1
        ran.version.name = str(self._newest)
        if state is JobState.CHALLENGING:
            self._challenger = ran
            self._step(ran, challenged(self._trainer, job, ran.version, self._moment(ran.ends_at)))
        else:
            self._step(ran, job.with_state(state, version=ran.version.name).end(state, ran.ends_at))

    def _judge_on(self, now: Micros) -> None:
        """Look at the challenger again, if enough is new."""
        ran = self._challenger
        if ran is None or ran.version is None:
            return
        judging = ReplayChallenger(trainer=self._trainer, challenger=ran.version, champion=self._champion)
        job, why = judging.look(ran.job, self._moment(now), self.played.served)
        if job != ran.job:
            self._step(ran, job, why)

    def _step(self, ran: Ran, job: Job, why: str = "") -> None:
        """A job has taken a step, of which the guards are told; the last one may be a promotion."""
        ran.job, ran.became = job, why
        if job.ended and self._challenger is ran:
            self._challenger = None
        self._deliberation.job_changed(job)
        if job.state is JobState.PROMOTED and ran.version is not None and job.ended_at is not None:
            self._promote(ran.version, job.ended_at)

    def _moment(self, now: Micros) -> Moment:
        watermark = now - self._trainer.policy.ingest.join.lateness
        return Moment(now=now, watermark=watermark, outcomes=self._deliberation.memory.total)

    def _promote(self, version: Version, now: Micros) -> None:
        self._champion = version
        self._answered, self._block = self.next_row, _SMALLEST_BLOCK
        self._counting.forget()
        self.played.promotions.append(Promoted(version=version.name, row=self.next_row - 1, at=now))
        policy = self._trainer.policy
        promoted = now - policy.ingest.join.lateness
        effective = promoted + policy.promotion.takes_effect
        oldest = slot_of(promoted - (policy.deciding.rows.span or 0))
        begin = bisect_left(self._totals, (oldest, 0))
        self._follow(Reign(version=version.name, effective_from=effective, written_at=now), self._totals[begin:])

    def _serve(self, until: Micros) -> None:
        """Every row up to a time is answered."""
        self._answer(int(np.searchsorted(self._table.times, until, side="right")))

    def _answer(self, before: int) -> None:
        """Every row before this one is answered by the champion; those that follow are too, as long as it stays."""
        self.next_row = max(self.next_row, before)
        while self.next_row > self._answered:
            rows = slice(self._answered, min(self._answered + self._block, len(self._table)))
            self.played.served.answers[rows] = self._champion.codes(rows.start, rows.stop)
            self.played.served.versions[rows] = int(self._champion.name)
            self._answered = rows.stop
            self._block = min(2 * self._block, _LARGEST_BLOCK)


def _learned_from(table: Table) -> Served:
    """Nothing has been answered; the warm rows are there to be learned from."""
    served = Served.nothing(len(table))
    warm = slice(0, table.warm)
    served.answers[warm] = np.where(table.labels[warm] == MISSING, 0, table.labels[warm])
    served.versions[warm] = int(_BEFORE)
    return served


def state_after(result: TrainingResult, mode: PromotionMode) -> JobState:
    """As jobs of the service go on."""
    return JobState.FAILED if result.verdict is None else after_verdict(result.verdict.answer, mode)
