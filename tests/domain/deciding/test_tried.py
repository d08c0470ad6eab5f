"""What triggers hear of a job: by how much its candidate was better, and how much newer its rows were."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

import pytest

from retrainer.domain.deciding.jobs import Challenge, Job, JobState
from retrainer.domain.deciding.tried import tried_by, what_jobs_came_to
from retrainer.domain.judging.challenge import Differences, PairedTest, RowLoss
from retrainer.domain.judging.order import TrainingResult
from retrainer.domain.judging.verdicts import Gate, verdict_of
from tests.domain.making import a_job

EVIDENCE = {"metric": "accuracy", "n": 400, "difference": 0.02, "standard_error": 0.01, "other": 0.7, "ahead": 500.0}


def job(state: JobState = JobState.PROMOTED, began: int | None = None, **changes: Any) -> Job:
    evidence = {**EVIDENCE, "unseen": 1_000, **changes}
    gate = Gate(name="better_than_champion", passed=True, reason="", evidence=evidence)
    result = TrainingResult(job_id="j", verdict=verdict_of([gate]), row_loss=RowLoss())
    return a_job(state=state, result=result, began=began)


def judged_on(one: Job, *values: float) -> Job:
    test = PairedTest(alpha=0.01).update(Differences(values=values))
    return replace(one, challenge=Challenge(test=test, begun=1, begun_wall=1, judged_to=1))


def test_it_says_what_the_judgement_said() -> None:
    assert tried_by(job()) == (False, True, 0.02, 0.01, 500.0)
    assert tried_by(job(JobState.REJECTED, began=7)) == (True, False, 0.02, 0.01, 500.0)


def test_an_error_counts_as_a_share_of_the_champions_own() -> None:
    found = tried_by(job(metric="mae", other=40.0, difference=2.0, standard_error=1.0))
    assert [found.difference, found.error] == pytest.approx([0.05, 0.025])


@pytest.mark.parametrize("missing", [{"ahead": None}, {"ahead": 0.0}, {"standard_error": 0.0}])
def test_where_nobody_knows_how_fresh_the_candidate_was_it_tells_nothing(missing: dict[str, Any]) -> None:
    assert not tried_by(job(**missing)).tells


def test_only_jobs_that_ended_and_challenged_somebody_are_told_of() -> None:
    jobs = [replace(job(), champion=None), job(), job(JobState.TRAINING), job(JobState.CHALLENGING)]
    assert [one.taken for one in what_jobs_came_to(jobs)] == [True, False]


def test_a_failed_one_tells_nothing() -> None:
    failed = replace(job(JobState.FAILED), result=None)
    assert (tried_by(failed).tells, tried_by(failed).taken) == (False, False)


def test_judging_on_says_more_once_it_has_seen_more_rows() -> None:
    """The final model, which was fitted on all rows, on rows that came later."""
    few, many = [1.0, -1.0] * 100, [1.0] * 60 + [-1.0] * 40 + [0.0] * 400
    assert tried_by(judged_on(job(JobState.CHALLENGING), *few)) == tried_by(job(JobState.CHALLENGING))
    found = tried_by(judged_on(job(JobState.CHALLENGING), *many))
    assert [*found] == pytest.approx([False, False, 20 / 500, sqrt(100) / 500, 1_000.0])
