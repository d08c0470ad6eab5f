"""A policy over what the service has stored: predictions as they were made, and champions as they were.

The service's own decider looks at the stored tallies, slot by slot. A job that the service has run as well goes as it
went; any other is trained here, on the stored rows. The alias is not moved by it: later predictions are not its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from retrainer.domain.deciding.decisions import Decision
from retrainer.domain.deciding.jobs import Job, JobState
from retrainer.domain.deciding.watch import TriggerChanged
from retrainer.domain.judging.order import DATASET_FILE, TrainingResult
from retrainer.domain.values import SLOT_WIDTH, Micros, Slot, slot_of
from retrainer.errors import RetrainerError
from retrainer.ports.manifest.decisions import DecisionState, Request, SlotRange
from retrainer.ports.manifest.lease import Lease
from retrainer.replay.recorded.recording import AliasMove, RecordedState, Recording
from retrainer.replay.table.engine import Decided, Promoted, Ran, state_after
from retrainer.replay.table.models import Costs
from retrainer.service.control.deciding import Decider, News
from retrainer.service.jobs.dataset import DatasetBuilder
from retrainer.service.jobs.order import order_to_train
from retrainer.service.policy import ModelPolicy
from retrainer.training.candidate import make_candidate
from retrainer.training.dataset import read_rows


@dataclass(kw_only=True)
class PlayedAgain:
    """What came of one policy over a recording. `promotions` are those that the policy would have made."""

    policy: ModelPolicy
    recording: Recording
    costs: Costs = field(default_factory=Costs)
    decisions: list[Decided] = field(default_factory=list)
    jobs: list[Ran] = field(default_factory=list)
    promotions: list[Promoted] = field(default_factory=list)
    changes: list[tuple[int, TriggerChanged]] = field(default_factory=list)

    @property
    def same(self) -> int:
        """So many of the first decisions are those that were recorded."""
        pairs = zip(self.decisions, self.recording.decisions, strict=False)
        return next((at for at, (ours, was) in enumerate(pairs) if _key(ours.decision) != _key(was)), self._shorter)

    @property
    def _shorter(self) -> int:
        return min(len(self.decisions), len(self.recording.decisions))


Build = Callable[[ModelPolicy, Micros, Path], str | None]
"""Writes the rows that a policy may learn from at a time to a path; their digest, or None without any."""


def builds(builder: DatasetBuilder) -> Build:
    """The service's own way to make a dataset."""

    def build(policy: ModelPolicy, known_by: Micros, path: Path) -> str | None:
        dataset = builder.build(policy, known_by, path)
        return None if dataset is None else dataset.digest

    return build


def play_again(policy: ModelPolicy, recording: Recording, build: Build, training_takes: Micros) -> PlayedAgain:
    """Replay a policy over a recording.

    Args:
        training_takes: how long a job lasts on the replay's clock that the service has not run.
    """
    player = _Player(policy, recording, build, training_takes)
    for first_open in _beats(policy, recording):
        player.close_slots(first_open)
    return player.played


Happening = Callable[[], None]


class _Player:
    """Slots close in order; between them happens what the recording says: other champions, jobs' steps, requests."""

    def __init__(self, policy: ModelPolicy, recording: Recording, build: Build, training_takes: Micros) -> None:
        lease = Lease(name="controller", epoch=0, manifest=recording.manifest)
        self._decider = Decider(policy, cast("DecisionState", RecordedState(recording)), lease)
        self._policy, self._recording, self._build, self._takes = policy, recording, build, training_takes
        self._ran = {job.decision_id: job for job in recording.jobs}
        self._reign = recording.changes[0].reign
        self._ahead: list[tuple[Slot, bool, int, Happening]] = []
        self._numbers = count()
        self._until_alias: dict[str, Happening] = {}
        self._moved: set[str | None] = set()
        self._asked: list[Request] = []
        self._until: Slot | None = None
        self.played = PlayedAgain(policy=policy, recording=recording)
        for change in recording.changes[1:]:
            self._expect(change.at, partial(self._change, change))
        for request in recording.requests:
            # What a person asked for is seen before what came of it.
            self._expect(recording.taken_up(request), partial(self._asked.append, request), first=True)

    def close_slots(self, first_open: Slot) -> None:
        """The slots before one have closed."""
        while self._ahead and self._ahead[0][0] <= first_open:
            moment = self._ahead[0][:2]
            self._round(moment[0])
            while self._ahead and self._ahead[0][:2] <= moment:
                heappop(self._ahead)[3]()
            self._deliberate(max(moment[0], self._until or 0), None)
        self._round(first_open)

    def _expect(self, at: Slot | None, happening: Happening, *, first: bool = False) -> None:
        """Something happens once the slots before one have closed."""
        heappush(self._ahead, (-1 if at is None else at, not first, next(self._numbers), happening))

    def _round(self, first_open: Slot) -> None:
        if self._until is None or first_open > self._until:
            slots, self._until = SlotRange(self._until, first_open), first_open
            self._deliberate(first_open, slots)

    def _deliberate(self, first_open: Slot, slots: SlotRange | None) -> None:
        now = self._recording.wall(first_open)
        requests, self._asked[:] = tuple(self._asked), []
        news = News(
            reign=self._reign,
            now=now,
            slots=slots,
            tallies=() if slots is None else self._recording.tallies(*slots),
            requests=requests,
            catching_up=self._recording.was_catching_up(first_open),
        )
        done, _ = self._decider.deliberate(news)
        row = self._recording.row_at(first_open)
        self.played.changes += [(row, fact) for fact in done.facts if isinstance(fact, TriggerChanged)]
        for decision in done.decisions:
            known = self._recording.row_at(slot_of(decision.slot_end))
            self.played.decisions.append(Decided(decision=decision, row=known, at=decision.slot_end))
        for job in done.jobs:
            self._launch(job, now)

    def _change(self, change: AliasMove) -> None:
        """Another champion; a job that made it the champion has ended with that."""
        step = self._until_alias.pop(change.reign.job_id or "", None)
        if step is not None:
            step()
        self._reign = change.reign
        self._moved.add(change.reign.job_id)

    # Jobs

    def _launch(self, job: Job, now: Micros) -> None:
        was, launched = self._ran.get(job.decision_id), slot_of(job.known_by)
        empty = TrainingResult(job_id=job.job_id, verdict=None)
        row = self._recording.row_at(launched)
        ran = Ran(job=job, row=row, at=job.known_by, result=empty, ends_at=job.known_by + self._takes, version=None)
        self.played.jobs.append(ran)
        if was is not None:
            ran.result = was.result or replace(empty, error=was.error)
            self._repeat(ran, was, launched)
            return
        with self.played.costs.of_training():
            ran.result = self._trained(job)
        state = state_after(ran.result, self._policy.promotion.mode)
        # A challenger would be judged on by what a model says that is not kept: it is given up.
        state = JobState.REJECTED if state is JobState.CHALLENGING else state
        ended = replace(job, result=ran.result).end(state, now + self._takes, error=ran.result.error or "")
        self._expect(slot_of(ran.ends_at), partial(self._take, ran, ended))

    def _repeat(self, ran: Ran, was: Job, launched: Slot) -> None:
        """A job that the service has run takes its steps where it took them."""
        was = replace(was, job_id=ran.job.job_id)
        if was.challenge is not None:
            step = replace(was, state=JobState.CHALLENGING, ended_at=None)
            self._expect(max(launched, slot_of(was.challenge.begun)), partial(self._take, ran, step))
        end = partial(self._take, ran, was)
        recorded_id = self._ran[was.decision_id].job_id
        moves = any(change.reign.job_id == recorded_id for change in self._recording.changes)
        if moves and recorded_id not in self._moved:
            self._until_alias[recorded_id] = end
        elif was.ended_at is not None:
            self._expect(max(launched, self._recording.slot_at(was.ended_at)), end)

    def _take(self, ran: Ran, job: Job) -> None:
        at = (self._until or 0) * SLOT_WIDTH
        ran.job, ran.ends_at, ran.has_ended = job, at, job.ended
        self._decider.job_changed(job)
        if job.state is JobState.PROMOTED:
            row = self._recording.row_at(self._until or 0)
            self.played.promotions.append(Promoted(version=job.version, row=row, at=at))

    def _trained(self, job: Job) -> TrainingResult:
        """By the code of a training process, on the rows that the service would have given it. The champion's side is
        what it answered live."""
        try:
            with TemporaryDirectory() as folder:
                path = Path(folder) / DATASET_FILE
                digest = self._build(self._policy, job.known_by, path)
                if digest is None:
                    raise RetrainerError("there is no mature outcome to learn from")
                spec = order_to_train(job, self._policy, digest, None)
                return make_candidate(spec, read_rows(path, digest), None).result
        except Exception as error:  # noqa: BLE001 - an estimator is other people's code
            told = str(error) if isinstance(error, RetrainerError) else f"{type(error).__name__}: {error}"
            return TrainingResult(job_id=job.job_id, verdict=None, error=told)


def _beats(policy: ModelPolicy, recording: Recording) -> list[Slot]:
    """When to look: at the end of each slot that held anything, and of every slot where a schedule may be due."""
    ends = {slot + 1 for slot, _ in recording.slots} | {recording.first_open}
    if policy.schedules:
        ends |= set(range(min(ends), max(ends)))
    return sorted(ends)


def _key(decision: Decision) -> tuple[object, ...]:
    """What makes two decisions the same."""
    one = decision
    return one.decision_id, one.outcome, one.reason, one.triggers, one.champion, one.slot_end, one.began
