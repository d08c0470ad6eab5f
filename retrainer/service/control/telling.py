"""What a round of deciding came to, in the log."""

from __future__ import annotations

from typing import assert_never

from retrainer.domain.deciding.decisions import Decision, DecisionAnswer
from retrainer.domain.deciding.jobs import Job
from retrainer.domain.deciding.watch import Fact, MetricUpdated, TriggerChanged, TriggerFailed
from retrainer.domain.triggers.base import Level
from retrainer.domain.values import iso
from retrainer.logs import Logger
from retrainer.ports.manifest.decisions import Request, RequestKind
from retrainer.service.control.deciding import DecisionRound, kind_of

_LEVELS = {Level.FIRED: "trigger.fired", Level.WARNED: "trigger.warned", Level.QUIET: "trigger.cleared"}


def tell(logger: Logger, done: DecisionRound) -> None:
    """One line each: what metrics and triggers said, what people asked for, decisions, and the jobs they launched."""
    for fact in done.facts:
        _tell_fact(logger, fact)
    for request in done.answered:
        _tell_request(logger, request)
    for decision in done.decisions:
        job = next((job for job in done.jobs if job.decision_id == decision.decision_id), None)
        _tell_decision(logger, decision, job)
    for job in done.jobs:
        logger.info("job.queued", job_id=job.job_id, decision_id=job.decision_id)


def _tell_decision(logger: Logger, decision: Decision, job: Job | None) -> None:
    facts = {
        "decision_id": decision.decision_id,
        "slot_end": iso(decision.slot_end),
        "triggers": list(decision.triggers),
        "reason": decision.reason,
        "message": decision.message,
        "champion": decision.champion,
        "evidence": dict(decision.evidence),
    }
    if decision.outcome is DecisionAnswer.RETRAIN:
        logger.info("retrain.decided", **facts, job_id=job.job_id if job else None)
    else:
        logger.info("retrain.held", **facts)


def _tell_request(logger: Logger, request: Request) -> None:
    match kind_of(request):
        case RequestKind.PAUSE:
            logger.info("model.paused", reason=request.reason)
        case RequestKind.RESUME:
            logger.info("model.resumed", reason=request.reason)
        case RequestKind.RETRAIN:
            pass  # its decision is told
        case None:
            logger.warning("request.unknown", kind=request.kind)
        case kind:
            assert_never(kind)


def _tell_fact(logger: Logger, fact: Fact) -> None:
    match fact:
        case MetricUpdated(estimate=found):
            logger.info(
                "metric.updated",
                version=fact.version,
                metric=found.metric,
                value=found.value,
                low=found.low,
                high=found.high,
                n=found.n,
                window=fact.window,
                slot_end=iso(fact.slot_end),
            )
        case TriggerFailed():
            logger.error("trigger.failed", trigger=fact.name, kind=fact.kind, error=fact.error)
        case TriggerChanged():
            event = _LEVELS[fact.reading.level]
            logger.info(event, trigger=fact.name, kind=fact.kind, **fact.reading.evidence)
        case _:
            assert_never(fact)
