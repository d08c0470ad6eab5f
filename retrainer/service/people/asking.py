"""A person's requests: left in the manifest, answered by the controller."""

from __future__ import annotations

import secrets
from enum import Enum

from retrainer.domain.deciding.jobs import Job, JobState
from retrainer.errors import ExitCode
from retrainer.ports.clock import Clock, Stopped
from retrainer.ports.manifest.decisions import DecisionState, Request, RequestKind

_TAKEN_UP_WITHIN_SECONDS = 20.0
_LOOK_SECONDS = 0.2


class Answer(Enum):
    """How a request to retrain has ended, with the exit code that says so."""

    PROMOTED = ExitCode.DONE
    NO = ExitCode.NO
    FAILED = ExitCode.FAILED
    NOBODY = ExitCode.OUTSIDE


def ask(state: DecisionState, model: str, kind: RequestKind, reason: str, clock: Clock) -> Request:
    """Leave a request for the controller."""
    request = Request(
        request_id=f"{kind}-{secrets.token_hex(4)}", model=model, kind=kind, reason=reason, asked_at=clock.now()
    )
    state.ask(request)
    return request


def wait_for(state: DecisionState, request: Request, clock: Clock, stop: Stopped) -> tuple[Answer, str]:
    """Wait for a request to retrain to be decided and its job to end; how it ended, and a sentence about it.

    A challenger is not waited for: that it is judged on may take as long as new labels do.
    """
    deadline = clock.monotonic() + _TAKEN_UP_WITHIN_SECONDS
    while clock.monotonic() < deadline:
        if _is_answered(state, request):
            return _follow(state, request, stop)
        stop.wait(_LOOK_SECONDS)
    return Answer.NOBODY, "no controller took the request up; it stays and is taken up when one starts"


def _is_answered(state: DecisionState, request: Request) -> bool:
    everything = state.requests(request.model, unanswered=False)
    return any(one.request_id == request.request_id and one.answer for one in everything)


def _follow(state: DecisionState, request: Request, stop: Stopped) -> tuple[Answer, str]:
    decision = next((one for one in state.decisions(request.model, 1000) if one.request == request.request_id), None)
    job = _job_of(state, request.model, decision.decision_id) if decision else None
    if job is None:
        return Answer.NO, f"held: {decision.message if decision else 'nothing was decided'}"
    while not (job.ended or job.is_challenging) and not stop.wait(_LOOK_SECONDS):
        job = _job_of(state, request.model, job.decision_id) or job
    return _ended(job)


def _job_of(state: DecisionState, model: str, decision_id: str) -> Job | None:
    return next((job for job in state.jobs(model) if job.decision_id == decision_id), None)


def _ended(job: Job) -> tuple[Answer, str]:
    if job.state in (JobState.PROMOTED, JobState.ACCEPTED):
        return Answer.PROMOTED, f"{job.state}: version {job.version}"
    if job.is_challenging:
        return Answer.NO, f"undecided: version {job.version} is the challenger now, and is judged on with new labels"
    if job.state is JobState.REJECTED and job.result and job.result.verdict:
        return Answer.NO, f"rejected: {job.result.verdict.reason}"
    return Answer.FAILED, f"{job.state}: {job.error}"
