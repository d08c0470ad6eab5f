"""Which rows a candidate learns from: by the policy, and by a contest of windows where the policy leaves it open."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from retrainer.domain.training import RowsPolicy
from retrainer.domain.values import span_text
from retrainer.training.dataset import Rows
from retrainer.training.order import CannotTrain

_log = logging.getLogger(__name__)

VALIDATION: Final = 0.25
"""The newest part of the rows to learn from, on which the windows of a contest are scored."""

SHARES: Final = (1.0, 0.5, 0.25, 0.125)
"""The contestants: the newest parts of what lies before the validation rows, most rows first."""

FEWEST: Final = 200
"""A window with fewer rows does not take part."""

Score = Callable[[Rows, Rows], float | None]
"""(rows to learn from, rows to be scored on) to a metric, higher is better; None where it has no value."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Learn from the row at `first` on; `words` says why."""

    first: int
    words: str


def select(rows: Rows, policy: RowsPolicy) -> tuple[Rows, str]:
    """The newest rows that the policy names, and how many in words.

    Raises:
        CannotTrain: there are none.
    """
    if not len(rows):
        raise CannotTrain("the dataset has no rows")
    if policy.kind != "last":
        return (
            rows,
            f"since the change ({len(rows)})" if policy.kind == "since_change" else f"all {len(rows)}",
        )
    if policy.count is not None:
        chosen = rows.since(max(0, len(rows) - policy.count))
        return chosen, f"last {len(chosen)} rows"
    if policy.span is None:
        raise CannotTrain("rows: last needs a count or a span")
    times = rows.predicted_at
    chosen = rows.since(int(np.searchsorted(times, times[-1] - policy.span, side="right")))
    return chosen, f"last {span_text(policy.span)} ({len(chosen)} rows)"


def contest(older: Rows, score: Score) -> Choice:
    """The window of `older` that predicts its newest quarter best; of equals, the one with more rows.

    Each window is scored without that quarter and then learns from it as well: it keeps its beginning.
    """
    earlier, validation = older.split(VALIDATION)
    scores = dict(_scored(earlier, validation, score))
    if len(scores) < 2:
        return Choice(first=0, words=f"all {len(older)}, too few for a contest of windows")
    first = max(scores, key=lambda start: (scores[start], -start))
    told = ", ".join(f"{_name(older, start)}: {found:.4f}" for start, found in scores.items())
    return Choice(first=first, words=f"{_name(older, first)}, the winner of auto ({told})")


def _scored(earlier: Rows, validation: Rows, score: Score) -> Iterator[tuple[int, float]]:
    for share in SHARES:
        rows = round(len(earlier) * share)
        window = earlier.since(len(earlier) - rows)
        if rows < FEWEST or len(set(window.labels)) < 2:
            continue
        found = score(window, validation)
        _log.info("window of the newest %d rows: %s on the %d after them", rows, found, len(validation))
        if found is not None:
            yield len(earlier) - rows, found


def _name(older: Rows, start: int) -> str:
    return f"last {len(older) - start}" if start else f"all {len(older)}"
