"""One retraining, from queued to promoted, rejected or failed: each step is stored before the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, assert_never

from retrainer.domain.deciding.decisions import Decision
from retrainer.domain.deciding.situation import PastJob
from retrainer.domain.judging.challenge import Differences, PairedTest, RowLoss, judging_on
from retrainer.domain.judging.order import TrainingResult
from retrainer.domain.judging.verdicts import Answer, JudgePolicy
from retrainer.domain.values import Micros


class JobState(StrEnum):
    """Where a job stands; a restart goes on from there."""

    QUEUED = "queued"
    TRAINING = "training"
    TRAINED = "trained"
    RECORDED = "recorded"
    REGISTERED = "registered"
    CHALLENGING = "challenging"
    """The verdict was inconclusive: registered as the challenger, and judged on with new labels."""
    PROMOTED = "promoted"
    ACCEPTED = "accepted"
    """Registered without moving the alias (`promotion.mode: register`)."""
    REJECTED = "rejected"
    FAILED = "failed"


ENDED: Final = frozenset({JobState.PROMOTED, JobState.ACCEPTED, JobState.REJECTED, JobState.FAILED})
_SUCCEEDED: Final = {
    JobState.PROMOTED: True,
    JobState.ACCEPTED: True,
    JobState.REJECTED: False,
    JobState.CHALLENGING: False,
    JobState.FAILED: False,
}


class PromotionMode(StrEnum):
    """What becomes of a candidate that has shown what it must."""

    AUTOMATIC = "automatic"
    """It is registered and takes the champion's alias; one about which too little is known is judged on."""
    REGISTER = "register"
    """It is registered, and a person moves the alias."""


def once_accepted(mode: PromotionMode) -> JobState:
    """Where the job of an accepted candidate ends."""
    match mode:
        case PromotionMode.AUTOMATIC:
            return JobState.PROMOTED
        case PromotionMode.REGISTER:
            return JobState.ACCEPTED
        case _:
            assert_never(mode)


def once_undecided(mode: PromotionMode) -> JobState:
    """Where the job of a candidate goes that may turn out to be better with more rows."""
    match mode:
        case PromotionMode.AUTOMATIC:
            return JobState.CHALLENGING
        case PromotionMode.REGISTER:  # there is no alias of ours to judge it under
            return JobState.REJECTED
        case _:
            assert_never(mode)


def after_verdict(answer: Answer, mode: PromotionMode) -> JobState:
    """Where the verdict about a candidate takes its job: to its end, or to `CHALLENGING`."""
    match answer:
        case "accept":
            return once_accepted(mode)
        case "inconclusive":
            return once_undecided(mode)
        case "reject":
            return JobState.REJECTED
        case _:
            assert_never(answer)


def after_look(test: PairedTest, mode: PromotionMode) -> JobState:
    """Where a look at a challenger takes its job: to its end, or on with `CHALLENGING`."""
    match test.answer:
        case "better":
            return once_accepted(mode)
        case "worse":
            return JobState.REJECTED
        case None:
            return JobState.CHALLENGING
        case _:
            assert_never(test.answer)


MAX_ATTEMPTS: Final = 3
"""How often a training may be started that ends without a result (a crash, not a stop) before its job has failed."""


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """How far the judging of a challenger has come.

    Attributes:
        test: what the looks so far have found.
        begun: when it became the challenger, in event time; `begun_wall` in wall time.
        judged_to: rows predicted before this time have been looked at, or were learnt from.
        outcomes: how many outcomes of the model were known at the last look.
    """

    test: PairedTest
    begun: Micros
    begun_wall: Micros
    judged_to: Micros
    outcomes: int = 0

    def after(self, compared: Differences | None, judged_to: Micros, outcomes: int) -> Challenge:
        """After another look. One that failed (None) has judged nothing; its rows are looked at again with newer ones.

        Args:
            judged_to: rows predicted before this time were compared.
            outcomes: how many of the model were known at the look.
        """
        if compared is None:
            return replace(self, outcomes=outcomes)
        return replace(self, test=self.test.update(compared), judged_to=judged_to, outcomes=outcomes)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One retraining. `result` is what the training process answered, once it has."""

    job_id: str
    decision_id: str
    model: str
    triggers: tuple[str, ...]
    reason: str
    decided_at: Micros
    """Event time: the end of the slot that decided it."""
    known_by: Micros
    """Only outcomes known by this event time are trained on."""
    champion: str | None
    judgement: int
    created_at: Micros
    """Wall time."""
    state: JobState = JobState.QUEUED
    attempts: int = 0
    dataset_digest: str = ""
    result: TrainingResult | None = None
    run_id: str = ""
    version: str = ""
    error: str = ""
    ended_at: Micros | None = None
    began: Micros | None = None
    """When the change that asked for it is estimated to have begun, in event time."""
    challenge: Challenge | None = None
    """While its candidate is judged on, and from then on."""

    @property
    def is_challenging(self) -> bool:
        return self.state is JobState.CHALLENGING

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def past(self) -> PastJob:
        return PastJob(
            job_id=self.job_id,
            decided_at=self.decided_at,
            ended_wall=self.challenge.begun_wall if self.challenge and self.ended_at is None else self.ended_at,
            triggers=frozenset(self.triggers),
            champion=self.champion,
            succeeded=_SUCCEEDED.get(self.state),
            is_challenging=self.is_challenging,
        )

    def with_state(self, state: JobState, **changes: object) -> Job:
        """The same job one step on."""
        return replace(self, state=state, **changes)  # type: ignore[arg-type]  # the names are this class's own

    def challenging(
        self, judge: JudgePolicy, version: str, row_loss: RowLoss | None, *, at: Micros, now: Micros, outcomes: int
    ) -> Job:
        """The job from the moment on at which its candidate becomes the challenger.

        Args:
            at: in event time; now: in wall time.
            outcomes: how many of the model are known.
        """
        challenge = Challenge(
            test=judging_on(judge, self.judgement, row_loss or RowLoss()),
            begun=at,
            begun_wall=now,
            judged_to=self.known_by,
            outcomes=outcomes,
        )
        return self.with_state(JobState.CHALLENGING, version=version, challenge=challenge)

    def end(self, state: JobState, now: Micros, error: str = "") -> Job:
        """The job at its end."""
        return replace(self, state=state, ended_at=now, error=error or self.error)


def job_for(decision: Decision, judgement: int, manifest: str = "") -> Job:
    """The job that a decision to retrain launches; its id follows from the decision's, so it is launched once."""
    return Job(
        job_id=job_id_of(decision, manifest),
        decision_id=decision.decision_id,
        model=decision.model,
        triggers=decision.triggers,
        reason=decision.message if decision.request is None else str(decision.evidence.get("request", "")),
        decided_at=decision.slot_end,
        known_by=decision.slot_end,
        champion=decision.champion,
        judgement=judgement,
        created_at=decision.decided_at,
        began=decision.began,
    )


def job_id_of(decision: Decision, manifest: str = "") -> str:
    """A name that fits folders, tags and log lines, and that no job of another manifest has."""
    whole = f"{decision.decision_id}-{manifest}" if manifest else decision.decision_id
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in whole)
