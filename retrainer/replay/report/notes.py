"""What a reader has to know beside a report: labels that never counted, and why nothing, or little, was retrained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from retrainer.domain.values import SECOND, Micros, iso
from retrainer.replay.table.engine import Played
from retrainer.replay.table.table import MISSING, Table
from retrainer.replay.table.times import NEVER

_UNITS: Final = ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))
_MOST_WARNINGS: Final = 10
_MOST_CLASSES: Final = 10
_STEPS: Final = 60
"""How long labels take is learnt in so many steps of the longest delay."""


def notes_of(table: Table, played: Played, warned: Counter[str]) -> tuple[str, ...]:
    """In sentences.

    Args:
        table: as it was read, with the labels that come too late to count.
        warned: what estimators warned of, and how often.
    """
    told = [f"{text} ({n} times)" if n > 1 else text for text, n in warned.most_common(_MOST_WARNINGS)]
    return (*table.notes, *_about_classes(played), *_about_labels(table, played), *_about_jobs(played), *told)


def _about_classes(played: Played) -> Iterator[str]:
    policy, found = played.policy, played.table.classes.texts
    positive, classes = policy.watch.positive, policy.ingest.labels.classes
    if positive is not None and positive not in found:
        yield f"positive is {positive}, which no label of the table is: they are {_listed(found)}"
    others = [] if classes is None else sorted(set(found) - classes)
    if others:
        told = f"labels of the table are {_listed(others)}, which classes does not name"
        yield f"{told}: they are taken here, and the service would put them aside"


def _about_labels(table: Table, played: Played) -> Iterator[str]:
    longest, rows = played.policy.ingest.join.max_delay, slice(table.warm, len(table))
    come = table.arrivals != NEVER
    late = int((come & (table.arrivals - table.times > longest)).sum())
    if late:
        told = (
            f"{late} of {int(come.sum())} labels come later than labels.max_delay ({_about(longest)}) after their row"
        )
        yield f"{told}, and are no outcomes of the policy: raise it if they should be"
    missing = int((table.labels[rows] == MISSING).sum())
    if missing:
        yield f"{missing} of {len(table) - table.warm} rows have no label: they are answered, and count in no metric"
    after = int((played.table.arrivals[rows] > table.times[-1]).sum()) - missing
    if after > 0 and not late:
        yield f"{after} labels had not come by the last row: the metric counts them, the policy never saw them"


def _about_jobs(played: Played) -> Iterator[str]:
    policy, table = played.policy, played.table
    deciding, span = policy.deciding, int(table.times[-1] - table.times[table.warm])
    cooldown = deciding.guards.cooldown
    if span < cooldown:
        told = f"the rows cover {_about(span)}, and guards.cooldown is {_about(cooldown)}: one retraining at the most"
        yield f"{told}; where rows are further apart in truth, say so with --time or --every"
    if played.jobs:
        return
    holds = played.decisions
    if holds:
        last = holds[-1]
        told = "the decision was to hold" if len(holds) == 1 else f"{len(holds)} decisions were to hold, the last one"
        yield f"nothing was retrained: {told}, at {iso(last.at)}: {last.decision.message}"
    else:
        yield f"nothing was retrained: no trigger asked for it in the {_about(span)} that the rows cover"
    known = int((table.arrivals <= table.times[-1]).sum())
    if known < deciding.rows_needed:
        told = f"a retraining needs {deciding.rows_needed} rows with their label (judge.min_rows in training.holdout)"
        yield f"{told}; by the end {known} had theirs"
    yield from _withheld(played, span)


def _withheld(played: Played, span: Micros) -> Iterator[str]:
    table, longest = played.table, played.policy.ingest.join.max_delay
    slow = float((table.arrivals - table.times > longest // _STEPS).mean())
    if slow and span < 2 * longest:
        told = (
            f"where labels are slow or missing the triggers wait for them, up to labels.max_delay ({_about(longest)})"
        )
        yield f"{told}, and the rows cover {_about(span)}: if labels never take as long, say so there"


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - _MOST_CLASSES
    return ", ".join(texts[:_MOST_CLASSES]) + (f" and {more} more" if more > 0 else "")


def _about(span: Micros) -> str:
    seconds = span / SECOND
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= 2 * size), _UNITS[-1])
    return f"{np.round(seconds / size, 1):g} {unit}"
