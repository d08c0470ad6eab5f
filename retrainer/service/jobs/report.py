"""A job as the experiment tracker and the registry are to show it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from retrainer.domain.deciding.jobs import Job
from retrainer.domain.judging.order import DATASET_FILE, REPORT_FOLDER, TrainingResult
from retrainer.domain.values import iso
from retrainer.ports.registry import RunReport
from retrainer.service.policy import ModelPolicy

_LONGEST_TAG = 4900


def run_report(
    job: Job, policy: ModelPolicy, folder: Path, result: TrainingResult | None, tags: Mapping[str, str]
) -> RunReport:
    """One run; without a result, that of a job that failed."""
    recipe = policy.recipe
    parameters = {
        "estimator": recipe.estimator,
        **{f"params.{name}": str(value) for name, value in recipe.params.items()},
        "holdout": str(recipe.holdout),
        "refit": str(recipe.refit),
        "seed": str(recipe.seed),
        "champion": str(job.champion),
        "triggers": ", ".join(job.triggers),
        "known_by": iso(job.known_by),
        **({"rows": result.rows_chosen} if result else {}),
        **({"began": iso(job.began)} if job.began is not None else {}),
    }
    return RunReport(
        job_id=job.job_id,
        model=job.model,
        parameters=parameters,
        metrics=_flat_metrics(result) if result else {},
        tags={**job_tags(job), **tags},
        dataset=folder / DATASET_FILE,
        dataset_digest=job.dataset_digest,
        files=folder / REPORT_FOLDER if (folder / REPORT_FOLDER).is_dir() else None,
        succeeded=result is not None,
    )


def job_tags(job: Job) -> Mapping[str, str]:
    """Where a run and a version come from."""
    return {
        "retrainer.job_id": job.job_id,
        "retrainer.decision_id": job.decision_id,
        "retrainer.trigger": ", ".join(job.triggers),
        "retrainer.dataset": job.dataset_digest,
    }


def verdict_tags(result: TrainingResult) -> Mapping[str, str]:
    """The verdict in one tag."""
    assert result.verdict is not None
    verdict = {
        "accepted": result.verdict.accepted,
        "answer": result.verdict.answer,
        "reason": result.verdict.reason,
    }
    return {"retrainer.verdict": json.dumps(verdict)[:_LONGEST_TAG]}


def error_tags(why: str) -> Mapping[str, str]:
    """What went wrong."""
    return {"retrainer.error": why[:_LONGEST_TAG]}


def _flat_metrics(result: TrainingResult) -> dict[str, float]:
    sides = {"candidate": result.candidate, "champion": result.champion}
    metrics = {f"{side}.{name}": value for side, found in sides.items() for name, value in found.items()}
    return {**metrics, "training_seconds": result.seconds}
