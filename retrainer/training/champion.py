"""The champion's side of a judgement: its answers to the held-out rows, from the model or from its live predictions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from retrainer.domain.answers import answer_of
from retrainer.domain.judging.order import DatasetColumn, TrainingSpec
from retrainer.training.dataset import TrainingRows

_log = logging.getLogger(__name__)

Ask = Callable[[pd.DataFrame], Sequence[str]]
"""A champion's model: (rows, features) of raw values to one answer for each row, in the form that the order's metrics
need (`form.form_of`). It may raise anything."""

_LEAST_KNOWN: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class ChampionSide:
    """What the champion answers, to which of the held-out rows.

    Attributes:
        answers: one answer for each row that is kept; None where there is no champion.
        kept: which of the held-out rows are judged: (held-out rows,).
        why: why its model was not asked, where its live predictions were taken instead.
        seen: how many of the kept rows the champion was fitted on; left_out: how many were not kept for that.
        ahead: how many rows newer than its own the candidate had learnt from, on average; unseen: how many there are in
            all, from which the final model learns. None if that is not known.
    """

    by: Literal["model", "events", "none"]
    kept: npt.NDArray[np.bool_]
    answers: list[str] | None = None
    why: str = ""
    seen: int = 0
    left_out: int = 0
    ahead: float | None = None
    unseen: int | None = None


def champion_side(ask: Ask | None, spec: TrainingSpec, held: TrainingRows, classes: Sequence[str]) -> ChampionSide:
    """The champion's answers to the held-out rows: its model's, or else those that it gave when they were live.

    Args:
        ask: the champion's model; None where there is none to be asked.
        classes: every class that the labels know. A model that answers with other values is not asked further.
    """
    if spec.champion_version is None:
        return ChampionSide(by="none", kept=np.ones(len(held), dtype=np.bool_))
    new, seen = _unseen(spec, held)
    try:
        answers = _from_model(ask, spec, held if new.all() else held.where(new), classes)
    except Exception as error:  # noqa: BLE001 - a champion is other people's code; there is a second way
        why = f"{type(error).__name__}: {error}"
        _log.warning("the champion's model cannot be asked (%s): taking its live predictions", why)
        return _from_events(spec.champion_version, held, why)
    return ChampionSide(by="model", kept=new, answers=answers, seen=seen, left_out=len(held) - int(new.sum()))


def _unseen(spec: TrainingSpec, held: TrainingRows) -> tuple[npt.NDArray[np.bool_], int]:
    """The rows that the champion was not fitted on, where there are enough of them, else all; and how many it was.

    A champion that was fitted again on every row knows some of the next holdout by heart. What it gave live it gave
    before it could know.
    """
    if spec.champion_trained_to is None:
        return np.ones(len(held), dtype=np.bool_), 0
    new = held.predicted_at > spec.champion_trained_to
    if int(new.sum()) >= max(1, spec.judge.min_rows):
        return new, 0
    return np.ones(len(held), dtype=np.bool_), int((~new).sum())


def _from_model(ask: Ask | None, spec: TrainingSpec, held: TrainingRows, classes: Sequence[str]) -> list[str]:
    if ask is None:
        raise FileNotFoundError("there is no model of the champion")
    answers = list(ask(held.features))
    if spec.task == "regression":
        if not np.isfinite([float(answer) for answer in answers]).all():
            raise ValueError("it answers with what is no finite number")
        return answers
    plain = [answer_of(answer) for answer in answers]
    known = np.isin(plain, list(classes))
    if answers and known.mean() < _LEAST_KNOWN:
        strange = sorted(set(plain).difference(classes))[:3]
        raise ValueError(f"it answers with what no label is: {', '.join(strange)}")
    return answers


def _from_events(version: str, held: TrainingRows, why: str) -> ChampionSide:
    live = held.frame[DatasetColumn.PREDICTION]
    kept = ((held.frame[DatasetColumn.VERSION] == version) & live.notna()).to_numpy(dtype=np.bool_)
    return ChampionSide(by="events", kept=kept, answers=[str(answer) for answer in live[kept]], why=why)
