"""The steps of one training process: read its order's rows, make a candidate, save it, check it, report.

What happens to the rows is in `candidate`, which knows no files.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pandas as pd
from sklearn.pipeline import Pipeline

from retrainer.domain.judging.order import (
    CHALLENGER_FOLDER,
    CHAMPION_FOLDER,
    DATASET_FILE,
    MODEL_FOLDER,
    REPORT_FOLDER,
    RESULT_FILE,
    TrainingResult,
    TrainingSpec,
)
from retrainer.domain.judging.verdicts import Gate, verdict_of
from retrainer.training.candidate import Candidate, classes_in, make_candidate
from retrainer.training.challenger import compare
from retrainer.training.champion import Ask
from retrainer.training.checks import profile
from retrainer.training.dataset import TrainingRows, read_rows
from retrainer.training.form import Form, form_of
from retrainer.training.models import LoadedModel, Saved, save
from retrainer.training.pipeline import kinds_read
from retrainer.training.report import write_report

_log = logging.getLogger(__name__)

CHECKED_ROWS: Final = 100
"""The newest rows, on which the saved model must answer as the fitted one."""


def carry_out(spec: TrainingSpec, folder: Path) -> TrainingResult:
    """Do what the order is for."""
    return judge_on(spec, folder) if spec.purpose == "judge" else train(spec, folder)


def judge_on(spec: TrainingSpec, folder: Path) -> TrainingResult:
    """Compare the models in `challenger/` and `champion/` on the rows of the dataset.

    Raises:
        CannotTrain: the order cannot be carried out.
        Exception: anything, from the challenger.
    """
    (folder / RESULT_FILE).unlink(missing_ok=True)
    rows, form = read_rows(folder / DATASET_FILE, spec.dataset_digest), form_of(spec)
    return compare(spec, rows, _model_in(folder / CHALLENGER_FOLDER, form), _model_in(folder / CHAMPION_FOLDER, form))


def train(spec: TrainingSpec, folder: Path) -> TrainingResult:
    """Train and judge a candidate; its model is in the folder unless it was rejected.

    Raises:
        CannotTrain: the order cannot be carried out on these rows.
        Exception: anything, from the estimator.
    """
    _clear(folder)
    rows = read_rows(folder / DATASET_FILE, spec.dataset_digest)
    candidate = make_candidate(spec, rows, _model_in(folder / CHAMPION_FOLDER, form_of(spec)))
    result = candidate.result
    if result.verdict is not None and result.verdict.answer != "reject":
        result = _kept(candidate, folder)
    write_report(folder, candidate, result)
    return result


def _model_in(folder: Path, form: Form) -> Ask:
    """Asks the model in a folder, which is loaded only then."""

    def ask(features: pd.DataFrame) -> Sequence[str]:
        if not folder.is_dir():
            raise FileNotFoundError(f"the job's folder holds no {folder.name}")
        return LoadedModel(folder).answers(features, form)

    return ask


def _clear(folder: Path) -> None:
    """Without what an attempt that was killed has left."""
    for name in (MODEL_FOLDER, REPORT_FOLDER):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / RESULT_FILE).unlink(missing_ok=True)


def _kept(candidate: Candidate, folder: Path) -> TrainingResult:
    """Refit where it is wanted, save, and load again: the result with the gate on that."""
    fitted, refitted = candidate.final()
    held, judged = candidate.held, candidate.result.verdict
    gate = _saved(candidate, fitted, folder / MODEL_FOLDER, held.since(max(0, len(held) - CHECKED_ROWS)))
    found = replace(candidate.result, verdict=verdict_of((*(judged.gates if judged else ()), gate)))
    if refitted is None:
        return found
    classes = classes_in(candidate.spec, refitted)
    return replace(found, refitted_on=refitted.range, classes=classes, profile=profile(refitted))


def _saved(candidate: Candidate, fitted: Pipeline, model: Path, rows: TrainingRows) -> Gate:
    """The gate that what was saved can be loaded, and answers as before."""
    form = candidate.fitter.form
    saved = save(fitted, model, rows.features, kinds_read(fitted), form.task)
    _log.info("saved as %s %s", saved.format, saved.why)
    try:
        wrong = form.differing(LoadedModel(model).answers(rows.features, form), candidate.fitter.answers(fitted, rows))
    except Exception as error:  # noqa: BLE001 - the gate fails, whatever the model raises
        reason = f"the saved model cannot be loaded and asked: {type(error).__name__}: {error}"
        return _gate(saved, passed=False, reason=reason)
    if wrong:
        reason = f"the saved model answers {wrong} of {len(rows)} rows differently from the fitted one"
        return _gate(saved, passed=False, reason=reason)
    return _gate(saved, passed=True, reason=f"the saved model loads and answers {len(rows)} rows as the fitted one")


def _gate(saved: Saved, *, passed: bool, reason: str) -> Gate:
    evidence = {"format": saved.format, **({"why_not_skops": saved.why} if saved.why else {})}
    return Gate(name="loads_and_predicts", passed=passed, reason=reason, evidence=evidence)
