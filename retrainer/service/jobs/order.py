"""What a training process is told: one order from a job and its model's policies. Live jobs and replays share it."""

from __future__ import annotations

from dataclasses import replace

from retrainer.domain.deciding.jobs import Job
from retrainer.domain.judging.challenge import RowLoss
from retrainer.domain.judging.order import TrainingResult, TrainingSpec
from retrainer.domain.values import Micros
from retrainer.service.policy import ModelPolicy


def order_to_train(job: Job, policy: ModelPolicy, dataset: str, champion: TrainingResult | None) -> TrainingSpec:
    """The order to make a candidate and to judge it.

    Args:
        dataset: the digest of its rows.
        champion: what the champion's own job found; None of one that came from elsewhere, or where there is none.
    """
    return replace(
        _order(job, policy, dataset),
        began=_began(job, champion),
        slices={found.name: found.when for found in policy.ingest.predictions.slices},
        champion_trained_to=_newest_row(champion),
        reference=champion.profile if champion else None,
        checks_on=policy.checks_on,
    )


def order_to_judge(job: Job, policy: ModelPolicy, dataset: str, loss: RowLoss | None) -> TrainingSpec:
    """The order to compare a challenger with the champion on new rows, by what its first judgement has settled."""
    return replace(_order(job, policy, dataset), purpose="judge", row_loss=loss)


def _order(job: Job, policy: ModelPolicy, dataset: str) -> TrainingSpec:
    return TrainingSpec(
        job_id=job.job_id,
        model=job.model,
        task=policy.task,
        metrics=policy.watch.metrics,
        positive=policy.watch.positive,
        recipe=policy.recipe,
        judge=policy.judge,
        judgement=job.judgement,
        champion_version=job.champion,
        dataset_digest=dataset,
        cpus=policy.limits.cpus,
    )


def _began(job: Job, champion: TrainingResult | None) -> Micros | None:
    """When the change began that asked for the job; else the last one known, after which the champion was made: what is
    older than that is still out of date."""
    return job.began if job.began is not None or champion is None else champion.began


def _newest_row(result: TrainingResult | None) -> Micros | None:
    """The newest row that a model was fitted on."""
    rows = (result.refitted_on or result.trained_on) if result else None
    return rows.last if rows else None
