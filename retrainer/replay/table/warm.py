"""Version 1: trained on the warm part, and known as well as a judge would know it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.pipeline import Pipeline

from retrainer.domain.deciding.jobs import Job
from retrainer.domain.deciding.watch import ChampionFacts
from retrainer.domain.judging.order import TrainingResult, TrainingSpec
from retrainer.domain.metrics.registry import Estimate
from retrainer.errors import Refused
from retrainer.replay.table.learning import Served, Trainer
from retrainer.replay.table.models import Version, in_a_line
from retrainer.replay.table.table import Table
from retrainer.service.jobs.order import order_to_train
from retrainer.service.policy import ModelPolicy
from retrainer.training.candidate import classes_in, fitter_of
from retrainer.training.checks import profile
from retrainer.training.dataset import TrainingRows
from retrainer.training.judge import bench_of, metrics_of
from retrainer.training.order import CannotTrain, TooFewRows
from retrainer.training.selection import known_before

FIRST = "1"
"""The version that is trained on the warm part."""

_LARGER = "a larger --warm may help"


def first_version(trainer: Trainer) -> Version:
    """The recipe on those rows of the warm part whose label had come when the first row was predicted.

    As in a retraining the newest part of them is held out at first, which gives the version's baseline; then it is
    fitted on all of them, unless the recipe says `refit: false`.

    Raises:
        Refused: there are too few of them, or they are of one class, or the estimator fails on them.
    """
    table = trainer.table
    rows = np.flatnonzero(table.arrivals[: table.warm] <= table.times[table.warm])
    learnt = trainer.rows(rows, table.labels[rows], table.arrivals[rows], Served.nothing(len(table)))
    spec = order_to_train(_job(trainer.policy, int(table.times[table.warm])), trainer.policy, "", None)
    try:
        with trainer.costs.of_training():
            fitted, result = _trained(spec, learnt)
    except TooFewRows as error:
        came = f"of the {table.warm} rows of the warm part {len(rows)} had their label by then"
        told = f"version 1 cannot be trained: {came}: {error}; {_advice(table)}"
        raise Refused(f"{table.name}: {told}") from error
    except CannotTrain as error:
        raise Refused(f"{table.name}: version 1 cannot be trained: {error}") from error
    except Exception as error:  # an estimator is other people's code
        told = f"version 1 cannot be trained on the warm part: {trainer.policy.recipe.estimator}: {in_a_line(error)}"
        raise Refused(f"{table.name}: {told}") from error
    return trainer.version(FIRST, fitted, result)


def _advice(table: Table) -> str:
    """What would help, told from when labels come."""
    first = int(table.arrivals.min())
    if first > int(table.times[-1]):
        return "no label comes before the last row"
    row = int(np.searchsorted(table.times, first))
    return f"the first label comes with row {row}, so --warm has to be more" if row > table.warm else _LARGER


def champion_of(version: Version) -> ChampionFacts:
    """What is known of it from its beginning."""
    learnt = version.result.refitted_on or version.result.trained_on
    return ChampionFacts(
        baseline=version.result.evaluation,
        classes=frozenset(version.result.classes) or None,
        rows=learnt.rows if learnt else None,
    )


def _trained(spec: TrainingSpec, rows: TrainingRows) -> tuple[Pipeline, TrainingResult]:
    judged, evaluation = _judged(spec, rows)
    fitted, learnt = judged if judged and not spec.recipe.refit else (fitter_of(spec).fit(rows), rows)
    result = TrainingResult(
        job_id=spec.job_id,
        verdict=None,
        trained_on=learnt.range,
        evaluation=evaluation,
        classes=classes_in(spec, learnt),
        profile=profile(learnt),
    )
    return fitted, result


def _judged(
    spec: TrainingSpec, rows: TrainingRows
) -> tuple[tuple[Pipeline, TrainingRows] | None, Mapping[str, Estimate]]:
    """A model that has not seen the newest rows, and how it does on them; nothing where the others are too few."""
    older, held = rows.split(spec.recipe.holdout)
    if not len(older) or not len(held):
        return None, {}
    learnt, fitter = known_before(older, held), fitter_of(spec)
    try:
        fitted = fitter.fit(learnt)
    except CannotTrain:
        return None, {}
    answers = fitter.answers(fitted, held)
    return (fitted, learnt), metrics_of(bench_of(spec), spec.metrics, held.labels.tolist(), answers)


def _job(policy: ModelPolicy, begins: int) -> Job:
    """It comes from no job; an order needs one."""
    return Job(
        job_id="warm",
        decision_id="",
        model=policy.name,
        triggers=(),
        reason="",
        decided_at=begins,
        known_by=begins,
        champion=None,
        judgement=1,
        created_at=begins,
    )
