"""The steps of one training: choose rows, fit, judge, refit, save, check, report."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sklearn.pipeline import Pipeline

from retrainer.domain.training import (
    DATASET_FILE,
    MODEL_FOLDER,
    REPORT_FOLDER,
    RESULT_FILE,
    TrainingResult,
    TrainingSpec,
)
from retrainer.domain.verdicts import Gate, verdict_of
from retrainer.training.champion import ChampionSide, champion_side
from retrainer.training.dataset import Rows, read_rows
from retrainer.training.fit import Fitter
from retrainer.training.judge import Judged, bench_of, judge
from retrainer.training.models import LoadedModel, Saved, save
from retrainer.training.order import CannotTrain
from retrainer.training.pipeline import kinds_read
from retrainer.training.report import write_report
from retrainer.training.selection import Choice, contest, select

_log = logging.getLogger(__name__)

CHECKED_ROWS: Final = 100
"""The newest rows, on which the saved model must answer as the fitted one."""


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """A candidate before it is judged: fitted on `learnt`, which starts at row `first`; `held` was kept from it."""

    first: int
    words: str
    fitted: Pipeline
    learnt: Rows
    held: Rows


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """The model that would be registered, what it was fitted on last, and whether it could be loaded again."""

    refitted: Rows | None
    gate: Gate


def carry_out(spec: TrainingSpec, folder: Path) -> TrainingResult:
    """Train and judge a candidate; its model is in the folder only if it was accepted.

    Raises:
        CannotTrain: the order cannot be carried out on these rows.
        Exception: anything, from the estimator.
    """
    _clear(folder)
    rows, words = select(read_rows(folder / DATASET_FILE, spec.dataset_digest), spec.recipe.rows)
    fitter = Fitter(recipe=spec.recipe, cpus=spec.cpus)
    trained = _train(spec, fitter, rows, words)
    answers = fitter.answers(trained.fitted, trained.held)
    champion = champion_side(folder, spec, trained.held, sorted(set(rows.labels.tolist())))
    judged = judge(spec, trained.learnt, trained.held, answers, champion)
    accepted = all(gate.passed for gate in judged.gates)
    kept = _keep(spec, fitter, folder, rows, trained) if accepted else None
    result = _result(spec, trained, champion, judged, kept)
    write_report(folder, spec, result, held=trained.held, candidate=answers, champion=champion)
    return result


def _clear(folder: Path) -> None:
    """Without what an attempt that was killed has left."""
    for name in (MODEL_FOLDER, REPORT_FOLDER):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / RESULT_FILE).unlink(missing_ok=True)


def _train(spec: TrainingSpec, fitter: Fitter, rows: Rows, words: str) -> _Trained:
    older, held = rows.split(spec.recipe.holdout)
    if not len(older) or not len(held):
        raise CannotTrain(f"{len(rows)} rows are too few to hold {spec.recipe.holdout:g} of them out")
    choice = _contest(spec, fitter, older) if spec.recipe.rows.kind == "auto" else Choice(first=0, words=words)
    _log.info("learning from %s, holding out the newest %d", choice.words, len(held))
    learnt = older.since(choice.first)
    return _Trained(first=choice.first, words=choice.words, fitted=fitter.fit(learnt), learnt=learnt, held=held)


def _contest(spec: TrainingSpec, fitter: Fitter, older: Rows) -> Choice:
    bench = bench_of(spec)

    def score(window: Rows, validation: Rows) -> float | None:
        answers = fitter.answers(fitter.fit(window), validation)
        return bench.value(bench.metric, validation.labels.tolist(), answers)

    return contest(older, score)


def _keep(spec: TrainingSpec, fitter: Fitter, folder: Path, rows: Rows, trained: _Trained) -> _Kept:
    """Refit where it is wanted, save, and load again."""
    refitted = rows.since(trained.first) if spec.recipe.refit else None
    fitted = trained.fitted if refitted is None else fitter.fit(refitted)
    newest = trained.held.since(max(0, len(trained.held) - CHECKED_ROWS))
    model = folder / MODEL_FOLDER
    saved = save(fitted, model, newest.features, kinds_read(fitted))
    _log.info("saved as %s %s", saved.format, saved.why)
    return _Kept(refitted=refitted, gate=_loads_and_predicts(model, newest, fitter.answers(fitted, newest), saved))


def _loads_and_predicts(model: Path, rows: Rows, expected: list[str], saved: Saved) -> Gate:
    """The gate that what was saved can be loaded, and answers as before."""
    try:
        found = LoadedModel(model).answers(rows.features)
    except Exception as error:  # noqa: BLE001 - the gate fails, whatever the model raises
        reason = f"the saved model cannot be loaded and asked: {type(error).__name__}: {error}"
        return _gate(saved, passed=False, reason=reason)
    wrong = sum(ours != theirs for ours, theirs in zip(found, expected, strict=True))
    if wrong:
        reason = f"the saved model answers {wrong} of {len(rows)} rows differently from the fitted one"
        return _gate(saved, passed=False, reason=reason)
    return _gate(saved, passed=True, reason=f"the saved model loads and answers {len(rows)} rows as the fitted one")


def _gate(saved: Saved, *, passed: bool, reason: str) -> Gate:
    evidence = {"format": saved.format, **({"why_not_skops": saved.why} if saved.why else {})}
    return Gate(name="loads_and_predicts", passed=passed, reason=reason, evidence=evidence)


def _result(
    spec: TrainingSpec, trained: _Trained, champion: ChampionSide, judged: Judged, kept: _Kept | None
) -> TrainingResult:
    gates: Iterable[Gate] = (*judged.gates, kept.gate) if kept else judged.gates
    return TrainingResult(
        job_id=spec.job_id,
        verdict=verdict_of(tuple(gates)),
        candidate=judged.candidate,
        champion=judged.champion,
        champion_by=champion.by,
        trained_on=trained.learnt.range,
        held_out=trained.held.range,
        refitted_on=kept.refitted.range if kept and kept.refitted else None,
        rows_chosen=trained.words,
    )
