"""What a job came to, as triggers hear of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import sqrt
from typing import Any

from retrainer.domain.deciding.jobs import Job
from retrainer.domain.judging.challenge import RowLoss
from retrainer.domain.judging.verdicts import BETTER_THAN_CHAMPION
from retrainer.domain.metrics.registry import METRICS
from retrainer.domain.triggers.base import TriedJob


def what_jobs_came_to(jobs: Iterable[Job]) -> tuple[TriedJob, ...]:
    """Of those whose candidates have been judged against a champion; the first champion of all says nothing."""
    return tuple(tried_by(job) for job in jobs if job.champion is not None and job.past.succeeded is not None)


def tried_by(job: Job) -> TriedJob:
    """What its candidate's judgement said, or, once it has seen more rows, judging on.

    Only a judgement against a champion tells something, and only where it says how fresh the candidate was.
    """
    plain = TriedJob(after_change=job.began is not None, taken=job.past.succeeded is True)
    evidence = _evidence(job)
    if not (evidence.get("ahead") and evidence.get("standard_error")):
        return plain
    test = job.challenge.test if job.challenge is not None else None
    if test is not None and test.rows > evidence["n"] and _counts_right_answers(job):
        return plain._replace(
            difference=test.total / test.rows,
            error=sqrt(max(1, test.wins + test.losses)) / test.rows,
            ahead=float(evidence["unseen"]),
        )
    unit = 1.0 if METRICS[evidence["metric"]].higher_is_better else abs(evidence["other"]) or 1.0
    return plain._replace(
        difference=evidence["difference"] / unit,
        error=evidence["standard_error"] / unit,
        ahead=evidence["ahead"],
    )


def _evidence(job: Job) -> Mapping[str, Any]:
    gates = job.result.verdict.gates if job.result and job.result.verdict else ()
    return next((gate.evidence for gate in gates if gate.name == BETTER_THAN_CHAMPION), {})


def _counts_right_answers(job: Job) -> bool:
    return job.result is not None and job.result.row_loss == RowLoss()
