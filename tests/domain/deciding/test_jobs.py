"""Jobs: what they inherit from the decision, their names, and their states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.deciding.decisions import Decision, DecisionAnswer
from retrainer.domain.deciding.jobs import (
    ENDED,
    JobState,
    PromotionMode,
    after_look,
    after_verdict,
    job_for,
    job_id_of,
    once_accepted,
)
from retrainer.domain.deciding.situation import PastJob
from retrainer.domain.judging.challenge import RowLoss, judging_on
from retrainer.domain.judging.verdicts import Answer
from tests.domain.making import NOON, quick
from tests.plain import plain_judge

DECISION = Decision(
    decision_id="flights@2013-04-15T12:00",
    model="flights",
    slot_end=NOON,
    outcome=DecisionAnswer.RETRAIN,
    triggers=("low", "shift"),
    reason="fired",
    message="low, shift asked for it and no guard objects",
    champion="3",
    decided_at=7,
)


def test_a_job_inherits_what_was_decided() -> None:
    job = job_for(DECISION, judgement=2)
    assert (job.decision_id, job.model, job.champion) == (DECISION.decision_id, "flights", "3")
    assert (job.triggers, job.reason) == (("low", "shift"), DECISION.message)
    assert (job.decided_at, job.known_by, job.created_at) == (NOON, NOON, 7)
    assert (job.judgement, job.state, job.attempts) == (2, JobState.QUEUED, 0)


def test_a_requested_job_keeps_the_persons_words() -> None:
    asked = replace(DECISION, request="r1", evidence={"request": "new data"})
    assert job_for(asked, judgement=1).reason == "new data"


class TestNames:
    def test_a_name_can_be_read_back(self) -> None:
        assert job_id_of(DECISION) == "flights-2013-04-15T12-00"

    @quick
    @given(st.text(min_size=1, max_size=40))
    def test_a_name_is_safe_for_folders_whatever_was_decided(self, decision_id: str) -> None:
        name = job_id_of(replace(DECISION, decision_id=decision_id))
        assert len(name) == len(decision_id)
        assert all(c.isalnum() or c in "-_" for c in name)

    def test_the_same_decision_has_one_job_and_another_has_another(self) -> None:
        others = [
            DECISION,
            replace(DECISION, decision_id="flights@2013-04-15T12:01"),
            replace(DECISION, decision_id="trains@2013-04-15T12:00"),
            replace(DECISION, decision_id="flights@2013-04-15T12:00/r1"),
        ]
        assert len({job_id_of(one) for one in others}) == len(others)
        assert job_id_of(DECISION, "m1") != job_id_of(DECISION, "m2")
        assert job_for(DECISION, judgement=1).job_id == job_for(DECISION, judgement=2).job_id


class TestStates:
    @pytest.mark.parametrize("state", JobState)
    def test_a_job_has_ended_in_four_of_them(self, state: JobState) -> None:
        job = job_for(DECISION, judgement=1).with_state(state)
        assert job.ended is (state in ENDED) is (state.value in {"promoted", "accepted", "rejected", "failed"})

    def test_a_step_changes_what_it_names_and_nothing_else(self) -> None:
        job = job_for(DECISION, judgement=1)
        later = job.with_state(JobState.REGISTERED, version="4", attempts=1)
        assert later == replace(job, state=JobState.REGISTERED, version="4", attempts=1)

    def test_the_end_has_a_time_and_a_reason(self) -> None:
        job = job_for(DECISION, judgement=1)
        failed = job.end(JobState.FAILED, 99, "no memory")
        assert (failed.state, failed.ended_at, failed.error) == (JobState.FAILED, 99, "no memory")
        assert failed.with_state(JobState.FAILED).end(JobState.FAILED, 100).error == "no memory"

    def test_guards_see_what_for_and_when_it_was_decided_and_when_it_ended(self) -> None:
        job = job_for(DECISION, judgement=1)
        launched_for = frozenset({"low", "shift"})
        expected = PastJob(
            job_id=job.job_id, decided_at=NOON, ended_wall=None, triggers=launched_for, champion=job.champion
        )
        assert job.past == expected
        assert job.end(JobState.REJECTED, 99).past == replace(expected, ended_wall=99, succeeded=False)
        assert job.end(JobState.PROMOTED, 99).past.succeeded is True


@pytest.mark.parametrize(
    ("answer", "automatic", "register"),
    [
        ("accept", JobState.PROMOTED, JobState.ACCEPTED),
        ("inconclusive", JobState.CHALLENGING, JobState.REJECTED),
        ("reject", JobState.REJECTED, JobState.REJECTED),
    ],
)
def test_where_a_verdict_takes_a_job(answer: Answer, automatic: JobState, register: JobState) -> None:
    assert after_verdict(answer, PromotionMode.AUTOMATIC) is automatic
    assert after_verdict(answer, PromotionMode.REGISTER) is register


def test_a_mode_that_nobody_knows_promotes_nothing() -> None:
    unknown: Any = "shadow"
    with pytest.raises(AssertionError):
        once_accepted(unknown)


@pytest.mark.parametrize(
    ("answer", "state"), [("better", JobState.PROMOTED), ("worse", JobState.REJECTED), (None, JobState.CHALLENGING)]
)
def test_where_a_look_at_a_challenger_takes_a_job(answer: Literal["better", "worse"] | None, state: JobState) -> None:
    test = replace(judging_on(plain_judge(), 1, RowLoss()), answer=answer)
    assert after_look(test, PromotionMode.AUTOMATIC) is state
