"""What would have come of doing something simpler: never retraining, no model at all, retraining on a fixed beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrainer.domain import metrics
from retrainer.domain.values import Micros
from retrainer.replay.engine import Played
from retrainer.replay.learning import Served, Trainer
from retrainer.replay.models import Costs
from retrainer.replay.table import MISSING, Codes, Table
from retrainer.replay.times import NEVER
from retrainer.replay.warm import FIRST


@dataclass(frozen=True, kw_only=True)
class Periodic:
    """Retraining every so many rows, as often as the policy did."""

    every: int | None
    retrains: int
    value: float | None


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """The metric of each over the rows after the warm part; None where it has no value."""

    never: float | None
    no_change: float | None
    periodic: Periodic


def baselines(played: Played, training_takes: Micros) -> Baselines:
    """The baselines beside what a policy came to."""
    table = played.table
    first = never(played)
    return Baselines(
        never=value(played, first),
        no_change=value(played, no_change(table)),
        periodic=_periodic(played, first, training_takes),
    )


def value(played: Played, answers: Codes) -> float | None:
    """The metric that judges, of these answers (one for each row of the table) to the rows that have a label."""
    table, policy = played.table, played.policy
    rows = slice(table.warm, len(table))
    cells = cells_of(table.labels[rows], answers[rows], table.classes.texts)
    return metrics.value(policy.watch.metrics[0], cells, policy.watch.positive)


def cells_of(labels: Codes, answers: Codes, texts: tuple[str, ...]) -> dict[tuple[str, str], int]:
    """How many rows had (label, answer), of those that have both."""
    known = (labels != MISSING) & (answers != MISSING)
    codes, counts = np.unique(labels[known].astype(np.int64) * len(texts) + answers[known], return_counts=True)
    pairs = zip(codes.tolist(), counts.tolist(), strict=True)
    return {(texts[code // len(texts)], texts[code % len(texts)]): n for code, n in pairs}


def never(played: Played) -> Codes:
    """Version 1 throughout."""
    table = played.table
    answers = played.served.answers.copy()
    others = np.flatnonzero(played.served.versions != int(FIRST))
    others = others[others >= table.warm]
    if len(others):
        begin = int(others[0])
        fresh = played.first.aside()
        answers[begin:] = fresh.codes(begin, len(table))
    return answers


def no_change(table: Table) -> Codes:
    """For each row the label that was the last to arrive before it; before any has, the commonest of the warm part."""
    warm = table.labels[: table.warm]
    commonest = np.bincount(warm[warm != MISSING]).argmax()
    rows = np.arange(len(table))
    labelled = rows[table.arrivals != NEVER]
    # At the same time a label of an earlier row comes first, then the row itself, then its own label.
    times = np.concatenate([table.arrivals[labelled], table.times])
    owners = np.concatenate([labelled, rows])
    is_row = np.concatenate([np.zeros(len(labelled), np.bool_), np.ones(len(rows), np.bool_)])
    order = np.lexsort((~is_row, owners, times))
    last = np.maximum.accumulate(np.where(is_row[order], -1, np.arange(len(order))))
    found = np.where(last >= 0, table.labels[owners[order][last]], commonest)
    answers = np.empty(len(table), np.int32)
    answers[owners[order][is_row[order]]] = found[is_row[order]]
    return answers


def _periodic(played: Played, first: Codes, training_takes: Micros) -> Periodic:
    """The rows that the policy takes of those known by then, without a contest, and without a judgement."""
    table, retrains = played.table, len(played.jobs)
    predicted = len(table) - table.warm
    if not retrains:
        return Periodic(every=None, retrains=0, value=value(played, first))
    trainer = Trainer(policy=played.policy, table=table, costs=Costs())
    times = [int(table.times[table.warm + number * predicted // (retrains + 1)]) for number in range(1, retrains + 1)]
    begins = np.searchsorted(table.times, np.array(times) + training_takes, side="right").tolist()
    answers, version = first.copy(), None
    for time, begin, end in zip(times, begins, [*begins[1:], len(table)], strict=True):
        version = trainer.refit(time, Served.nothing(len(table))) or version
        if version is not None:
            answers[begin:end] = version.codes(begin, end)
    return Periodic(every=predicted // (retrains + 1), retrains=retrains, value=value(played, answers))
