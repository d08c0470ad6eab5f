"""The report folder: what a person or the experiment tracker wants to see of a judgement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from retrainer.domain.answers import answer_of
from retrainer.domain.judging.order import REPORT_FOLDER, DatasetColumn, RowRange, TrainingResult, TrainingSpec
from retrainer.domain.judging.verdicts import Verdict
from retrainer.domain.values import iso
from retrainer.training.candidate import Candidate

VERDICT_FILE = "verdict.json"
PREDICTIONS_FILE = "predictions.parquet"
CARD_FILE = "model_card.md"

_VERDICTS: Final = {"accept": "accepted", "reject": "rejected", "inconclusive": "inconclusive"}


def write_report(folder: Path, candidate: Candidate, result: TrainingResult) -> None:
    """Write verdict.json, predictions.parquet and model_card.md into the job's report folder."""
    report = folder / REPORT_FOLDER
    report.mkdir(parents=True, exist_ok=True)
    if result.verdict is not None:
        (report / VERDICT_FILE).write_bytes(_verdict(result, result.verdict))
        card = _card(candidate.spec, result, result.verdict)
        (report / CARD_FILE).write_text(card, encoding="utf-8")
    pq.write_table(_predictions(candidate), report / PREDICTIONS_FILE)


def _verdict(result: TrainingResult, verdict: Verdict) -> bytes:
    told = {
        "accepted": verdict.accepted,
        "answer": verdict.answer,
        "reason": verdict.reason,
        "gates": verdict.gates,
        "candidate": result.candidate,
        "champion": result.champion,
        "champion_by": result.champion_by,
        "rows_chosen": result.rows_chosen,
        "trained_on": result.trained_on,
        "held_out": result.held_out,
        "refitted_on": result.refitted_on,
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"


def _predictions(candidate: Candidate) -> pa.Table:
    """One line for each held-out row; the champion's is null where it has no answer."""
    held, champion = candidate.held, candidate.champion
    theirs = iter(champion.answers or [])
    regression = candidate.spec.task == "regression"

    def column(answers: Sequence[str | None]) -> pa.Array:
        plain = [None if answer is None else answer_of(answer) for answer in answers]
        if not regression:
            return pa.array(plain, pa.string())
        return pa.array([None if answer is None else float(answer) for answer in plain], pa.float64())

    return pa.table(
        {
            "id": pa.array(held.frame[DatasetColumn.ID].tolist()),
            "time": pa.array(held.predicted_at, pa.timestamp("us", tz="UTC")),
            "label": column(held.labels.tolist()),
            "candidate": column(candidate.answers),
            "champion": column([next(theirs, None) if kept else None for kept in champion.kept.tolist()]),
        }
    )


def _card(spec: TrainingSpec, result: TrainingResult, verdict: Verdict) -> str:
    recipe = spec.recipe
    lines = [
        f"# {spec.model}",
        "",
        f"Trained by retrainer in job `{spec.job_id}`.",
        "",
        f"- Estimator: `{recipe.estimator}`, params `{dict(recipe.params)}`, seed {recipe.seed}",
        f"- Dataset: sha256 `{spec.dataset_digest}`",
        f"- Rows: {result.rows_chosen}",
        f"- Learnt from: {_range(result.trained_on)}",
        f"- Judged on: {_range(result.held_out)}",
        f"- Fitted again on: {_range(result.refitted_on)}",
        f"- Verdict: {_VERDICTS[verdict.answer]}",
        "",
        "| metric | candidate | champion |",
        "| --- | --- | --- |",
        *(f"| {name} | {value:.4f} | {_told(result.champion.get(name))} |" for name, value in result.candidate.items()),
        "",
        *(f"- {'passed' if gate.passed else 'FAILED'} `{gate.name}`: {gate.reason}" for gate in verdict.gates),
        "",
    ]
    return "\n".join(lines)


def _range(rows: RowRange | None) -> str:
    return f"{rows.rows} rows, {iso(rows.first)} to {iso(rows.last)}" if rows else "no rows"


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
