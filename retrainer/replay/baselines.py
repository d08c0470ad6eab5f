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
from retrainer.replay.values import Values
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
    first = never(played)
    return Baselines(
        never=value(played, first),
        no_change=value(played, no_change(played.table, played.values)),
        periodic=_periodic(played, first, training_takes),
    )


def value(played: Played, answers: Codes) -> float | None:
    """The metric that judges, of these answers (one for each row of the table) to the rows that have a label."""
    table, policy = played.table, played.policy
    rows = slice(table.warm, len(table))
    cells = played.values.cells(table.labels[rows], answers[rows])
    return metrics.value(policy.watch.metrics[0], cells, policy.watch.positive)


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


def no_change(table: Table, values: Values) -> Codes:
    """For each row the label that was the last to arrive before it; before any has, what was usual in the warm part."""
    warm = table.labels[: table.warm]
    usual = values.usual(warm[warm != MISSING])[0]
    rows = np.arange(len(table))
    labelled = rows[table.arrivals != NEVER]
    # At the same time a label of an earlier row comes first, then the row itself, then its own label.
    times = np.concatenate([table.arrivals[labelled], table.times])
    owners = np.concatenate([labelled, rows])
    is_row = np.concatenate([np.zeros(len(labelled), np.bool_), np.ones(len(rows), np.bool_)])
    order = np.lexsort((~is_row, owners, times))
    last = np.maximum.accumulate(np.where(is_row[order], -1, np.arange(len(order))))
    found = np.where(last >= 0, table.labels[owners[order][last]], usual)
    answers = np.empty(len(table), np.int32)
    answers[owners[order][is_row[order]]] = found[is_row[order]]
    return values.certain(answers)


def _periodic(played: Played, first: Codes, training_takes: Micros) -> Periodic:
    """The rows that the policy takes of those known by then, without a contest, and without a judgement."""
    table, retrains = played.table, len(played.jobs)
    predicted = len(table) - table.warm
    if not retrains:
        return Periodic(every=None, retrains=0, value=value(played, first))
    trainer = Trainer(policy=played.policy, table=table, values=played.values, costs=Costs())
    times = [int(table.times[table.warm + number * predicted // (retrains + 1)]) for number in range(1, retrains + 1)]
    begins = np.searchsorted(table.times, np.array(times) + training_takes, side="right").tolist()
    answers, version = first.copy(), None
    for time, begin, end in zip(times, begins, [*begins[1:], len(table)], strict=True):
        version = trainer.refit(time, Served.nothing(len(table))) or version
        if version is not None:
            answers[begin:end] = version.codes(begin, end)
    return Periodic(every=predicted // (retrains + 1), retrains=retrains, value=value(played, answers))
