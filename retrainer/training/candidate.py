"""One candidate, from rows in memory: choose the rows, fit, judge, fit again. No file is read or written.

The training process does this between reading its order and saving a model; a replay does this alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from retrainer.domain.judging.order import TrainingResult, TrainingSpec, steps_of
from retrainer.domain.judging.paired import better_by
from retrainer.domain.judging.verdicts import Bench, verdict_of
from retrainer.training.champion import Ask, ChampionSide, champion_side
from retrainer.training.checks import checked, profile
from retrainer.training.comparing import standard_error
from retrainer.training.dataset import TrainingRows
from retrainer.training.fit import Fitter
from retrainer.training.form import form_of
from retrainer.training.judge import Judgement, bench_of, judge
from retrainer.training.selection import Choice, Split, contest, split, unseen
from retrainer.training.walking import walk

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A candidate that has been judged.

    Attributes:
        rows: all that the policy took; what is learnt begins at their row `first`, and `held` was kept from it.
        fitted: the pipeline that was judged; of a judgement in steps the last one.
        learnt: what the first was fitted on: rows from `first` on whose label was known when the holdout began.
        answers: what it says to each held-out row.
        result: what a training process would answer, but for the model's saving and the time it took.
    """

    spec: TrainingSpec
    rows: TrainingRows
    first: int
    fitted: Pipeline
    learnt: TrainingRows
    held: TrainingRows
    answers: list[str]
    champion: ChampionSide
    result: TrainingResult

    @property
    def fitter(self) -> Fitter:
        return fitter_of(self.spec)

    def final(self) -> tuple[Pipeline, TrainingRows | None]:
        """The model to be registered, and the rows that it was fitted on again; None where it is the judged one."""
        if not self.spec.recipe.refit:
            return self.fitted, None
        rows = self.rows.since(self.first)
        return self.fitter.fit(rows), rows


def make_candidate(spec: TrainingSpec, rows: TrainingRows, champion: Ask | None) -> Candidate:
    """Train and judge a candidate.

    Args:
        rows: every row of the order's dataset, in time order (`TrainingRows.of` brings a frame into it).
        champion: asks the champion's model for its answers (`asking` makes one of a fitted pipeline); whatever it
            raises, the predictions that the champion made live are taken instead. Not asked where the order names
            no champion.

    Raises:
        CannotTrain: the order cannot be carried out on these rows.
        Exception: anything, from the estimator.
    """
    chosen, parts = split(spec, rows)
    fitter = fitter_of(spec)
    choice = _choice(spec, fitter, parts)
    change = None if parts.change is None else parts.change - choice.first
    steps = steps_of(spec.recipe, len(parts.held), has_champion=spec.champion_version is not None)
    _log.info("learning from %s, judged on the newest %d in %d steps", choice.words, len(parts.held), steps)
    walked = walk(fitter, chosen.since(choice.first), len(parts.held), steps, change)
    side = champion_side(champion, spec, parts.held, sorted(set(chosen.labels.tolist())))
    side = replace(side, ahead=_ahead(spec, chosen, walked.newest[side.kept]), unseen=unseen(spec, chosen))
    judged = judge(spec, walked.learnt, parts.held, walked.answers, side)
    words = (
        choice.words if steps == 1 else f"{choice.words}; judged in {steps} steps, learning from each before the next"
    )
    found = _result(spec, words, walked.learnt, parts.held, champion=side, judged=judged)
    return Candidate(
        spec=spec,
        rows=chosen,
        first=choice.first,
        fitted=walked.fitted,
        learnt=walked.learnt,
        held=parts.held,
        answers=walked.answers,
        champion=side,
        result=checked(spec, found, chosen.since(choice.first), chosen.before(choice.first)),
    )


def _ahead(spec: TrainingSpec, rows: TrainingRows, newest: npt.NDArray[np.int64]) -> float | None:
    """How many rows newer than those of the champion the candidate had learnt from, on average over the judged ones."""
    new = unseen(spec, rows)
    if new is None or not len(newest):
        return None
    known = np.searchsorted(rows.predicted_at, newest, side="right") - (len(rows) - new)
    return max(0.0, float(known.mean()))


def classes_in(spec: TrainingSpec, rows: TrainingRows) -> tuple[str, ...]:
    """The classes among the labels; none for a regression."""
    return () if spec.task == "regression" else tuple(sorted(set(rows.labels.tolist())))


def fitter_of(spec: TrainingSpec) -> Fitter:
    return Fitter(recipe=spec.recipe, cpus=spec.cpus, form=form_of(spec))


def asking(fitted: Pipeline, spec: TrainingSpec) -> Ask:
    """A fitted pipeline as the champion of an order."""
    fitter = fitter_of(spec)

    def ask(features: pd.DataFrame) -> Sequence[str]:
        return fitter.answers(fitted, TrainingRows(features))

    return ask


def _choice(spec: TrainingSpec, fitter: Fitter, parts: Split) -> Choice:
    if spec.recipe.rows.kind != "auto":
        return Choice(first=parts.first, words=parts.words + parts.note)

    def answer(window: TrainingRows, validation: TrainingRows) -> Sequence[str]:
        return fitter.answers(fitter.fit(window), validation)

    found = contest(parts.older, parts.change, answer, _MetricRule(bench=bench_of(spec), seed=spec.recipe.seed))
    return replace(found, words=found.words + parts.note)


@dataclass(frozen=True, kw_only=True)
class _MetricRule:
    """`selection.Rule` by the metric that judges."""

    bench: Bench
    seed: int

    def value(self, validation: TrainingRows, answers: Sequence[str]) -> float | None:
        return self.bench.value(self.bench.metric, validation.labels.tolist(), answers)

    def better_by(self, ours: float, theirs: float) -> float:
        return better_by(self.bench.metric, ours, theirs)

    def error(self, validation: TrainingRows, ours: Sequence[str], theirs: Sequence[str]) -> float:
        return standard_error(self.bench, self.seed, validation.labels.tolist(), ours, theirs)


def _result(
    spec: TrainingSpec,
    words: str,
    learnt: TrainingRows,
    held: TrainingRows,
    *,
    champion: ChampionSide,
    judged: Judgement,
) -> TrainingResult:
    return TrainingResult(
        job_id=spec.job_id,
        verdict=verdict_of(judged.gates),
        candidate=judged.candidate,
        champion=judged.champion,
        champion_by=champion.by,
        trained_on=learnt.range,
        held_out=held.range,
        rows_chosen=words,
        evaluation=judged.evaluation,
        classes=classes_in(spec, learnt),
        row_loss=judged.loss,
        profile=profile(learnt),
        began=spec.began,
    )
