"""The champion's side of a judgement: its answers to the held-out rows, from the model or from its live predictions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from retrainer.domain.training import CHAMPION_FOLDER, Column, TrainingSpec
from retrainer.training.dataset import Rows
from retrainer.training.models import LoadedModel

_log = logging.getLogger(__name__)

_LEAST_KNOWN: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class ChampionSide:
    """What the champion answers, to which of the held-out rows.

    Attributes:
        answers: one class for each row that is kept; None where there is no champion.
        kept: which of the held-out rows are judged: (held-out rows,).
        why: why its model was not asked, where its live predictions were taken instead.
    """

    by: Literal["model", "events", "none"]
    kept: npt.NDArray[np.bool_]
    answers: list[str] | None = None
    why: str = ""


def champion_side(folder: Path, spec: TrainingSpec, held: Rows, classes: Sequence[str]) -> ChampionSide:
    """The champion's answers to the held-out rows: its model's, or else those that it gave when they were live.

    Args:
        folder: the job's folder, with the champion's model in it where there is one.
        classes: every class that the labels know. A model that answers with other values is not asked further.
    """
    if spec.champion_version is None:
        return ChampionSide(by="none", kept=np.ones(len(held), dtype=np.bool_))
    try:
        answers = _from_model(folder / CHAMPION_FOLDER, held, classes)
    except Exception as error:  # noqa: BLE001 - a champion is other people's code; there is a second way
        why = f"{type(error).__name__}: {error}"
        _log.warning("the champion's model cannot be asked (%s): taking its live predictions", why)
        return _from_events(spec.champion_version, held, why)
    return ChampionSide(by="model", kept=np.ones(len(held), dtype=np.bool_), answers=answers)


def _from_model(folder: Path, held: Rows, classes: Sequence[str]) -> list[str]:
    if not folder.is_dir():
        raise FileNotFoundError("the job's folder holds no champion")
    answers = LoadedModel(folder).answers(held.features)
    known = np.isin(answers, list(classes))
    if len(answers) and known.mean() < _LEAST_KNOWN:
        strange = sorted(set(answers).difference(classes))[:3]
        raise ValueError(f"it answers with what no label is: {', '.join(strange)}")
    return answers


def _from_events(version: str, held: Rows, why: str) -> ChampionSide:
    live = held.frame[Column.PREDICTION]
    kept = ((held.frame[Column.VERSION] == version) & live.notna()).to_numpy(dtype=np.bool_)
    return ChampionSide(by="events", kept=kept, answers=[str(answer) for answer in live[kept]], why=why)
