"""A challenger: kept where the verdict is open, judged on with new labels, and in the end taken or dropped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from retrainer.domain.deciding.jobs import Job, JobState, PromotionMode
from retrainer.domain.deciding.ledger import Act
from retrainer.domain.judging.order import CHALLENGER_FOLDER, CHAMPION_FOLDER, DATASET_FILE, SPEC_FILE
from retrainer.service.jobs.challenger import FEWEST_ROWS, is_due
from tests.plain import plain_promotion
from tests.service.controlling import REGISTERED, Control, Plan
from tests.service.world import MINUTE, Crash, at


@pytest.fixture
def control(control: Control) -> Control:
    """The candidate of its only job is undecided; forty rows have come since it was launched."""
    control.promotions().reconcile(at(0))
    worker = control.world.worker()
    for number in range(40):
        control.world.predict(f"new{number}", 60 + number, hour=number)
        control.world.label(f"new{number}", 60 + number)
    control.world.settle(worker)
    control.policy = replace(control.policy, mature_after=0)
    control.queue()
    control.entries.clear()
    return control


def kept(control: Control) -> Job:
    control.trainings.plans[0] = "inconclusive"
    return control.run_job()


def looked(control: Control, plan: Plan) -> Job:
    """One look, at the end of the new rows."""
    control.trainings.plans[0] = plan
    control.watermark, control.outcomes = at(120), control.outcomes + 40
    return control.run_job()


def test_an_open_verdict_makes_a_challenger(control: Control) -> None:
    job = kept(control)
    assert (job.state, job.version, job.ended) == (JobState.CHALLENGING, "2", False)
    assert control.registry.aliases == {(REGISTERED, "champion"): "1", (REGISTERED, "challenger"): "2"}
    assert control.entries.one("challenger.kept")["version"] == "2"
    assert job.challenge is not None
    assert (job.challenge.judged_to, job.challenge.begun) == (at(60), at(60))
    assert list(control.folder.iterdir()) == []


def test_it_is_no_job_under_way_to_the_guards_but_one_in_vain_so_far(control: Control) -> None:
    past = kept(control).past
    assert (past.ended_wall, past.succeeded, past.is_challenging) == (control.clock.now(), False, True)


def test_without_an_alias_of_ours_there_is_no_challenger(control: Control) -> None:
    control.policy = replace(
        control.policy, promotion=plain_promotion(registered_model=REGISTERED, mode=PromotionMode.REGISTER)
    )
    assert kept(control).state is JobState.REJECTED
    assert len(control.registry.versions[REGISTERED]) == 1


def test_both_models_are_compared_on_the_rows_since_it_was_made(control: Control) -> None:
    kept(control)
    looked(control, "alike")
    spec = control.trainings.specs[-1]
    assert (spec.purpose, spec.champion_version, spec.judgement) == ("judge", "1", 2)
    expected = {SPEC_FILE, DATASET_FILE, f"{CHAMPION_FOLDER}/MLmodel", f"{CHALLENGER_FOLDER}/MLmodel"}
    assert control.trainings.files[-1] == expected
    rows = control.rows.written[-1]
    assert {row.id for row in rows} == {f"new{number}" for number in range(40)}


def test_what_stays_undecided_is_looked_at_again_with_later_rows_only(control: Control) -> None:
    kept(control)
    job = looked(control, "alike")
    assert (job.state, job == control.stored()) == (JobState.CHALLENGING, True)
    assert job.challenge is not None
    assert (job.challenge.test.rows, job.challenge.test.answer, job.challenge.outcomes) == (60, None, 40)
    looks = len(control.trainings.specs)
    assert looked(control, "better").state is JobState.CHALLENGING
    assert len(control.trainings.specs) == looks  # nothing has come since


def test_one_that_is_better_is_promoted(control: Control) -> None:
    kept(control)
    job = looked(control, "better")
    assert job.state is JobState.PROMOTED
    assert control.registry.aliases == {(REGISTERED, "champion"): "2"}
    assert control.entries.one("challenger.judged")["answer"] == "better"
    assert "on 60 new rows the challenger did better on 60" in control.entries.one("model.promoted")["reason"]


def test_one_that_is_worse_is_dropped(control: Control) -> None:
    kept(control)
    job = looked(control, "worse")
    assert job.state is JobState.REJECTED
    assert control.registry.aliases == {(REGISTERED, "champion"): "1"}
    assert "it is not better" in control.entries.one("challenger.dropped")["reason"]


def expires_soon(control: Control, min_rows: int) -> None:
    promotion = replace(control.policy.promotion, expires=59 * MINUTE)
    judge = replace(control.policy.judge, min_rows=min_rows)
    control.policy = replace(control.policy, promotion=promotion, judge=judge)


def test_one_that_nothing_decides_about_expires(control: Control) -> None:
    expires_soon(control, min_rows=6)
    kept(control)
    looked(control, "alike")
    looks = len(control.trainings.specs)
    job = looked(control, "better")
    assert (job.state, len(control.trainings.specs)) == (JobState.REJECTED, looks)
    assert control.entries.one("challenger.dropped")["reason"].startswith("undecided after 1h: on 60 new rows")


def test_one_that_was_compared_on_few_rows_does_not_expire(control: Control) -> None:
    expires_soon(control, min_rows=7)
    kept(control)
    looked(control, "alike")
    assert looked(control, "better").state is JobState.CHALLENGING


def test_a_newer_job_takes_its_place(control: Control) -> None:
    first = kept(control)
    newer = control.queue("newer")
    control.state.put_job(control.lease, replace(newer, created_at=first.created_at + 1))
    control.trainings.plans[0] = "better"
    job = control.run_job(first)
    assert job.state is JobState.REJECTED
    assert "job newer has been launched" in control.entries.one("challenger.dropped")["reason"]


def test_it_ends_with_the_champion_that_it_challenged(control: Control) -> None:
    kept(control)
    control.registry.move_by_hand(None)
    control.promotions().reconcile(at(100))
    job = looked(control, "better")
    assert job.state is JobState.REJECTED
    assert control.state.ledger("flights")[-1].act is Act.EXTERNAL


def test_a_look_that_fails_is_made_again_with_the_next_labels(control: Control) -> None:
    before = kept(control)
    job = looked(control, "error")
    assert job.state is JobState.CHALLENGING
    assert job.challenge is not None
    assert before.challenge is not None
    assert (job.challenge.judged_to, job.challenge.test) == (before.challenge.judged_to, before.challenge.test)
    assert "does not fit" in control.entries.one("challenger.unjudged")["error"]
    assert looked(control, "better").state is JobState.PROMOTED


@pytest.mark.parametrize("place", ["train.begin", "train.end", "put_job.begin", "put_job.end", "point.begin"])
def test_a_crash_in_a_look_counts_no_row_twice(control: Control, place: str) -> None:
    kept(control)
    control.crasher.arm(place)
    with pytest.raises(Crash):
        looked(control, "better")
    control.claim()
    control.entries.clear()
    job = looked(control, "better") if not control.stored().ended else control.stored()
    assert job.state is JobState.PROMOTED
    assert job.challenge is not None
    assert job.challenge.test.rows == 60
    assert control.registry.champion == "2"


def test_it_is_looked_at_with_a_tenth_more_rows_and_not_for_a_few(control: Control) -> None:
    job = kept(control)
    assert job.challenge is not None
    policy = replace(control.policy, judge=replace(control.policy.judge, min_rows=300))
    assert [is_due(job, policy, n) for n in (0, 99, 100)] == [False, False, True]
    assert [is_due(job, control.policy, n) for n in (FEWEST_ROWS - 1, FEWEST_ROWS)] == [False, True]
    later = replace(job.challenge, test=replace(job.challenge.test, rows=5_000), outcomes=5_000)
    assert [is_due(replace(job, challenge=later), policy, n) for n in (5_499, 5_500)] == [False, True]
