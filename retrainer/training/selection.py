"""Which rows a candidate learns from: by the policy, and by a contest of windows where the policy leaves it open."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from retrainer.domain.judging.order import (
    RowsPolicy,
    TrainingSpec,
    holdout_rows,
    rows_needed_after_change,
    steps_of,
)
from retrainer.domain.values import iso, span_text
from retrainer.training.dataset import TrainingRows
from retrainer.training.order import CannotTrain

_log = logging.getLogger(__name__)

VALIDATION: Final = 0.25
"""The newest part of the rows to learn from, on which the windows of a contest are scored."""

SHARES: Final = (1.0, 0.5, 0.25, 0.125)
"""The contestants: the newest parts of what lies before the validation rows, most rows first."""

FEWEST: Final = 200
"""A window with fewer rows does not take part."""

FEWEST_AFTER_CHANGE: Final = 50
"""The window of the rows since a change has more reason to be right, and may be smaller."""

_LEAST_KNOWN: Final = 0.5


def select(rows: TrainingRows, policy: RowsPolicy) -> tuple[TrainingRows, str]:
    """The newest rows that the policy names, and how many in words.

    Raises:
        CannotTrain: there are none.
    """
    if not len(rows):
        raise CannotTrain("the dataset has no rows")
    if policy.kind != "last":
        return rows, f"all {len(rows)}"
    if policy.count is not None:
        chosen = rows.since(max(0, len(rows) - policy.count))
        return chosen, f"last {len(chosen)} rows"
    if policy.span is None:
        raise CannotTrain("rows: last needs a count or a span")
    times = rows.predicted_at
    chosen = rows.since(int(np.searchsorted(times, times[-1] - policy.span, side="right")))
    return chosen, f"last {span_text(policy.span)} ({len(chosen)} rows)"


@dataclass(frozen=True, kw_only=True)
class Split:
    """The rows that a candidate may learn from before it is judged, and those that are kept from it.

    Attributes:
        older, held: one after the other; the candidate learns from `older` from the row `first` on.
        change: the first row of `older` after the change; None where none is known, or too few rows came after it.
        words: what is learnt from, as far as the policy settles it; note: what else is to be said of the split.
    """

    older: TrainingRows
    held: TrainingRows
    first: int
    change: int | None
    words: str
    note: str = ""


def split(spec: TrainingSpec, rows: TrainingRows) -> tuple[TrainingRows, Split]:
    """The rows that the policy takes, and the same in two parts: the newest are held out.

    Where the beginning of a change is known, the holdout lies after it, and so does as much again to learn from
    (`holdout_rows`). Where too few rows came after it, the split is as without a change.

    Raises:
        CannotTrain: there are too few rows to hold any out.
    """
    chosen, words = select(rows, spec.recipe.rows)
    total, holdout, least = len(chosen), spec.recipe.holdout, spec.judge.min_rows
    after = None if spec.began is None else total - chosen.first_at(spec.began)
    known = after is not None and after >= rows_needed_after_change(least)
    steps = steps_of(spec.recipe, total, has_champion=spec.champion_version is not None)
    end = total - holdout_rows(total, after, holdout, least, unseen=unseen(spec, chosen), steps=steps)
    older, held = chosen.before(end), chosen.since(end)
    if not len(older) or not len(held):
        raise CannotTrain(f"{total} rows are too few to hold {holdout:g} of them out")
    change = total - after if after is not None and known else None
    first, note = 0, ""
    if spec.recipe.rows.kind == "since_change" and change is not None:
        first, words = change, f"since the change ({after})"
    if spec.began is not None and not known:
        needed = rows_needed_after_change(least)
        note = f"; the {after} rows since the change at {iso(spec.began)} are fewer than {needed}"
    elif spec.recipe.rows.kind == "since_change" and spec.began is None:
        note = "; no change is known"
    return chosen, Split(older=older, held=held, first=first, change=change, words=words, note=note)


def unseen(spec: TrainingSpec, rows: TrainingRows) -> int | None:
    """How many rows are newer than those that the champion learnt from; None if that is not known."""
    trained_to = spec.champion_trained_to
    return None if trained_to is None else len(rows) - rows.first_at(trained_to + 1)


def known_before(rows: TrainingRows, later: TrainingRows, change: int | None = None) -> TrainingRows:
    """The rows whose label was known when the first of the later rows was predicted.

    In use nothing else could have been learnt by then: a label that came later may tell of the very time on which
    the candidate is judged. Where that would leave fewer than half, as labels take longer than the rows reach back,
    all are taken; so are all after a change, where it would leave fewer than half of those.

    Args:
        change: the first of `rows` after a change; None where none is known.
    """
    known = rows.known_at <= int(later.predicted_at[0])
    for first in (0, max(0, change or 0)):
        if known[first:].sum() < _LEAST_KNOWN * len(known[first:]):
            known[first:] = True
    if left_out := len(rows) - int(known.sum()):
        _log.info("not learning from %d rows whose label was not known when the later ones began", left_out)
    return rows.where(known) if left_out else rows


# The contest


class ScoringRule(Protocol):
    """How the answers of a contest are scored."""

    def value(self, validation: TrainingRows, answers: Sequence[str]) -> float | None:
        """The metric of answers to the validation rows; None where it has no value."""
        ...

    def better_by(self, ours: float, theirs: float) -> float:
        """The difference between two values; positive where the first is better."""
        ...

    def error(self, validation: TrainingRows, ours: Sequence[str], theirs: Sequence[str]) -> float:
        """The standard error of the difference between two such values."""
        ...


Answer = Callable[[TrainingRows, TrainingRows], Sequence[str]]
"""(rows to learn from, rows to be asked about) to the answers to those, by a model that has learnt from the first."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Learn from the row at `first` on; `words` says why."""

    first: int
    words: str


@dataclass(frozen=True, kw_only=True)
class _ContestEntry:
    first: int
    value: float
    answers: Sequence[str]


def contest(older: TrainingRows, change: int | None, answer: Answer, rule: ScoringRule) -> Choice:
    """The window of `older` that predicts its newest rows well: the largest of those as good as the best.

    They are its newest quarter; where a change is known, at most half of what came after it, so that they lie after
    it as well. As good is what falls short of the best by no more than one standard error of the difference on these
    rows (Breiman, Friedman, Olshen and Stone, Classification and Regression Trees (1984), section 3.4.3): a small
    window that wins by luck is not taken. The window since a change need not show that again: where it is ahead of
    those that reach back beyond the change, they are out. Each window is scored without these rows and then learns
    from them too: it keeps its beginning. They are no part of the holdout, so that choosing the best of several costs
    the judge nothing of its chance of an error.

    Args:
        change: the first row of `older` after the change, whose rows are a window too; None where none is known.
    """
    rows = round(len(older) * VALIDATION)
    if change is not None:
        rows = max(1, min(rows, (len(older) - change) // 2))
    earlier, validation = older.before(len(older) - rows), older.since(len(older) - rows)
    entries = list(_entries(earlier, validation, change, answer, rule))
    if len(entries) < 2:
        return Choice(first=0, words=f"all {len(older)}, too few for a contest of windows")
    left = _after_change(entries, change, rule)
    best = _best(left, rule)
    chosen = next(
        entry
        for entry in left
        if rule.better_by(best.value, entry.value) <= rule.error(validation, best.answers, entry.answers)
    )
    told = ", ".join(f"{_name(older, entry.first, change)}: {entry.value:.4g}" for entry in entries)
    won = "the winner" if chosen is best else "as good as the winner"
    return Choice(first=chosen.first, words=f"{_name(older, chosen.first, change)}, {won} of auto ({told})")


def _best(entries: Sequence[_ContestEntry], rule: ScoringRule) -> _ContestEntry:
    """Of equals the one with more rows."""
    return max(entries, key=lambda entry: (rule.better_by(entry.value, 0.0), -entry.first))


def _after_change(entries: Sequence[_ContestEntry], change: int | None, rule: ScoringRule) -> Sequence[_ContestEntry]:
    """Without the windows that reach back beyond the change, if the one since the change is ahead of them all."""
    reaching = [entry for entry in entries if change is None or entry.first <= change]
    if change is None or not reaching or _best(reaching, rule).first != change:
        return entries
    return [entry for entry in entries if entry.first >= change]


def _entries(
    earlier: TrainingRows, validation: TrainingRows, change: int | None, answer: Answer, rule: ScoringRule
) -> Iterator[_ContestEntry]:
    for first in _starts(len(earlier), change):
        window = known_before(earlier.since(first), validation, None if change is None else change - first)
        if len(set(window.labels)) < 2:
            continue
        answers = answer(window, validation)
        found = rule.value(validation, answers)
        _log.info("window of %d rows: %s on the %d after them", len(window), found, len(validation))
        if found is not None:
            yield _ContestEntry(first=first, value=found, answers=answers)


def _starts(rows: int, change: int | None) -> list[int]:
    """Where the windows begin, most rows first."""
    shares = [round(rows * share) for share in SHARES]
    starts = {rows - share for share in shares if share >= FEWEST}
    if change is not None and rows - change >= FEWEST_AFTER_CHANGE:
        starts.add(change)
    return sorted(starts)


def _name(older: TrainingRows, first: int, change: int | None) -> str:
    if not first:
        return f"all {len(older)}"
    return f"{'since the change' if first == change else 'last'} {len(older) - first}"
