"""Judging on: a challenger and the champion compared on rows that both have never seen. No file is read or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from retrainer.domain.answers import answer_of
from retrainer.domain.judging.challenge import Differences
from retrainer.domain.judging.order import TrainingResult, TrainingSpec
from retrainer.training.champion import Ask, champion_side
from retrainer.training.dataset import TrainingRows
from retrainer.training.judge import bench_of, metrics_of
from retrainer.training.losses import differences
from retrainer.training.order import CannotTrain


def compare(spec: TrainingSpec, rows: TrainingRows, challenger: Ask, champion: Ask | None) -> TrainingResult:
    """How much better the challenger did on each row, in `compared`; there is no verdict in it.

    The evidence of earlier rows is kept by whoever ordered this (`PairedTest`), who must hand over
    each row once.

    Args:
        rows: new ones, whose predictions came after both models were made.
        champion: its model; where it cannot be asked, only the rows that it answered live are compared.

    Raises:
        CannotTrain: the order does not say what rows are compared by, or names no champion.
        Exception: anything, from the challenger.
    """
    if spec.row_loss is None or spec.champion_version is None:
        raise CannotTrain("an order to judge on needs row_loss, of the first judgement, and champion_version")
    bench = bench_of(spec)
    answers = list(challenger(rows.features)) if len(rows) else []
    classes = {*rows.labels.tolist(), *map(answer_of, answers)}
    # Rows that the champion knows by heart are none of these, so none is left out for that.
    side = champion_side(champion, replace(spec, champion_trained_to=None), rows, sorted(classes))
    labels = rows.labels[side.kept].tolist()
    ours: Sequence[str] = [answer for answer, kept in zip(answers, side.kept.tolist(), strict=True) if kept]
    theirs = side.answers or []
    evaluation = metrics_of(bench, spec.metrics, labels, ours)
    return TrainingResult(
        job_id=spec.job_id,
        verdict=None,
        candidate={name: found.value for name, found in evaluation.items()},
        champion={name: found.value for name, found in metrics_of(bench, spec.metrics, labels, theirs).items()},
        champion_by=side.by,
        held_out=rows.where(side.kept).range,
        evaluation=evaluation,
        row_loss=spec.row_loss,
        compared=differences(bench, spec.row_loss, labels, ours, theirs) if labels else Differences(),
    )
