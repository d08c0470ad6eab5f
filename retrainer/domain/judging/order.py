"""What the controller asks of a training process, and what it answers: the contents of spec.json and result.json.

Both are plain facts that survive a round trip through JSON. `format` is raised when their meaning changes.
The sizes of a split are computed here, so that whoever waits for enough rows and whoever splits them agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from retrainer.domain.features.findings import Finding
from retrainer.domain.features.profiles import Profile
from retrainer.domain.judging.challenge import Differences, RowLoss
from retrainer.domain.judging.verdicts import JudgePolicy, Verdict
from retrainer.domain.metrics.registry import Estimate
from retrainer.domain.values import Micros

FORMAT: Final = 1

SPEC_FILE: Final = "spec.json"
RESULT_FILE: Final = "result.json"
DATASET_FILE: Final = "dataset.parquet"
CHAMPION_FOLDER: Final = "champion"
CHALLENGER_FOLDER: Final = "challenger"
MODEL_FOLDER: Final = "model"
REPORT_FOLDER: Final = "report"
LOG_FILE: Final = "training.log"


class DatasetColumn(StrEnum):
    """The columns of a dataset that are not features. Every other column is a feature, by its own name."""

    ID = "$id"
    PREDICTED_AT = "$predicted_at"
    KNOWN_AT = "$known_at"
    LABEL = "$label"
    PREDICTION = "$prediction"
    VERSION = "$version"


RowsKind = Literal["last", "all", "auto", "since_change"]


@dataclass(frozen=True, kw_only=True)
class RowsPolicy:
    """Which outcomes a candidate learns from: the newest `count`, those of the newest `span`, all, or a contest."""

    kind: RowsKind = "auto"
    count: int | None = None
    span: Micros | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a candidate is made: the estimator, its parameters and the rows it learns from."""

    estimator: str
    params: Mapping[str, Any] = field(default_factory=dict)
    rows: RowsPolicy = field(default_factory=RowsPolicy)
    holdout: float = 0.25
    refit: bool = True
    seed: int = 0


def rows_needed_after_change(min_rows: int) -> int:
    """So many rows after a change make both a judgement on the new times, and as much to learn them from."""
    return 2 * max(1, min_rows)


STEPS: Final = 3
"""In so many steps a candidate that will be fitted again on every row is judged against a champion."""

FEWEST_IN_A_STEP: Final = 100


def steps_of(recipe: Recipe, held: int, *, has_champion: bool) -> int:
    """How many times a candidate is fitted while it is judged on so many rows, each time with the rows before a step.

    One where the judged model itself is registered, and where there is no champion to fall behind.
    """
    return max(1, min(STEPS, held // FEWEST_IN_A_STEP)) if recipe.refit and has_champion else 1


def holdout_rows(
    total: int,
    after_change: int | None,
    holdout: float,
    min_rows: int,
    *,
    unseen: int | None = None,
    steps: int = STEPS,
) -> int:
    """How many of the newest rows are held out.

    Of the rows after a change the share that is asked for, at least `min_rows` and at most half of them, so that the
    candidate learns from the new times and is judged on them. Where no change is known, or too few rows came after
    it (`rows_needed_after_change`), the share of all rows. Of those that the champion has not learnt from only so many
    that what is left is as large as a step: a candidate that knew nothing newer than the champion would show nothing.

    Args:
        total: rows that the policy takes.
        after_change: how many of them were predicted since the change began; None where none is known.
        unseen: how many of them are newer than those that the champion learnt from; None if that is not known.
        steps: of the judgement.
    """
    most = total if unseen is None else max(min_rows, unseen * steps // (steps + 1))
    if after_change is None or min(after_change, total) < rows_needed_after_change(min_rows):
        return min(round(total * holdout), most)
    after = min(after_change, total)
    return max(1, min(max(round(after * holdout), min_rows), after // 2, most))


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """One order to a training process. Paths are relative to the job's folder."""

    job_id: str
    model: str
    task: Literal["classification", "regression"]
    metrics: tuple[str, ...]
    positive: str | None
    recipe: Recipe
    judge: JudgePolicy
    judgement: int
    """The number of this judgement among those against this champion, from 1: the error rate is shared among them."""
    champion_version: str | None
    dataset_digest: str
    cpus: int = 1
    purpose: Literal["train", "judge"] = "train"
    """`judge`: no candidate is made; the models in `challenger/` and `champion/` are compared on the dataset's rows."""
    began: Micros | None = None
    """When the change that asked for the job, or for the champion's, is estimated to have begun; None without one."""
    champion_trained_to: Micros | None = None
    """The newest row that the champion was fitted on, which it may know by heart; None if that is not known."""
    slices: Mapping[str, str | None] = field(default_factory=dict)
    """Name to condition, or to None where the name is a feature: parts of the rows that `judge` may look at."""
    row_loss: RowLoss | None = None
    """With the purpose `judge`: what the first judgement said that the rows are compared by."""
    reference: Profile | None = None
    """Of the rows that the champion was fitted on; None if that is not known."""
    checks_on: Literal["alert", "hold"] = "alert"
    """Whether training rows that look broken hold the candidate back."""
    format: int = FORMAT


@dataclass(frozen=True, kw_only=True)
class RowRange:
    """A part of the dataset in time order."""

    rows: int
    first: Micros
    last: Micros


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training process found. A process that failed says why in `error` and has no verdict."""

    job_id: str
    verdict: Verdict | None
    error: str | None = None
    candidate: Mapping[str, float] = field(default_factory=dict)
    """The candidate's metrics on the holdout."""
    champion: Mapping[str, float] = field(default_factory=dict)
    """The champion's metrics on the same rows; empty without a champion."""
    champion_by: Literal["model", "events", "none"] = "none"
    """Where the champion's side came from: the loaded model, its live predictions, or there is none."""
    trained_on: RowRange | None = None
    held_out: RowRange | None = None
    refitted_on: RowRange | None = None
    rows_chosen: str = ""
    """The recipe for rows that was used, in words, e.g. `last 8000` as the winner of `auto`."""
    evaluation: Mapping[str, Estimate] = field(default_factory=dict)
    """The candidate's metrics on the judged rows with their sizes and intervals: its baseline, once it is champion."""
    classes: tuple[str, ...] = ()
    """The classes that it was trained on; none for a regression."""
    row_loss: RowLoss | None = None
    """What judging on has to compare single rows by."""
    compared: Differences | None = None
    """The answer to an order with the purpose `judge`."""
    profile: Profile | None = None
    """Of the rows that the final model was fitted on: how its features looked."""
    checks: tuple[Finding, ...] = ()
    """What looks broken about the training rows."""
    began: Micros | None = None
    """When the last change before it is estimated to have begun, as the order said."""
    seconds: float = 0.0
    format: int = FORMAT
