"""What a replay found: report.json and predictions.parquet."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retrainer.domain.deciding.jobs import JobState
from retrainer.domain.values import iso
from retrainer.replay.table.baselines import Baselines, value
from retrainer.replay.table.engine import Decided, Played, Ran
from retrainer.replay.table.models import Costs

REPORT_FILE = "report.json"
PAGE_FILE = "report.html"
PREDICTIONS_FILE = "predictions.parquet"

Json = dict[str, Any]

_VERDICTS: Mapping[JobState, str] = {
    JobState.PROMOTED: "accepted",
    JobState.ACCEPTED: "accepted",
    JobState.REJECTED: "rejected",
    JobState.FAILED: "failed",
}


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One policy's replay beside its baselines. `wall_seconds` is how long the replay itself took; `notes` are what
    a reader has to know beside them."""

    name: str
    played: Played
    baselines: Baselines
    wall_seconds: float
    notes: tuple[str, ...] = ()


def report_of(replays: Sequence[Replayed]) -> Json:
    """The report: the first policy's at the top, and each under its own name where there are several."""
    reports = {replayed.name: _one(replayed) for replayed in replays}
    first = next(iter(reports.values()))
    return first if len(reports) == 1 else {**first, "policies": reports}


def encoded(report: Json) -> bytes:
    """As it is written: indented, for people too."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def write_predictions(path: Path, played: Played) -> None:
    """Every row after the warm part: row, time, version, prediction and label, the last two as in the table."""
    first, *others = range(played.table.warm, len(played.table), _ROWS_WRITTEN)
    begin = _predictions(played, first)
    with pq.ParquetWriter(path, begin.schema) as writer:
        writer.write_table(begin)
        for number in others:
            writer.write_table(_predictions(played, number))


_ROWS_WRITTEN = 65_536
"""At once: of a large table there is memory for little more than itself."""


def _predictions(played: Played, first: int) -> pa.Table:
    table, rows = played.table, np.arange(first, min(first + _ROWS_WRITTEN, len(played.table)))
    versions = played.served.versions[rows]
    names = pa.array([str(number) for number in range(int(versions.max()) + 1)])
    return pa.table(
        {
            "row": rows,
            "time": pa.array(table.times[rows], pa.timestamp("us", tz="UTC")),
            "version": names.take(pa.array(versions)),
            "prediction": played.values.as_labels(played.served.answers[rows]),
            "label": table.classes.column(table.labels[rows]),
        }
    )


def _one(replayed: Replayed) -> Json:
    played = replayed.played
    return {
        "rows": len(played.table) - played.table.warm,
        "warm": played.table.warm,
        "metric": {"name": played.policy.watch.metrics[0], "value": value(played, played.served.answers)},
        "retrains": len(played.jobs),
        "promotions": len(played.promotions),
        "rollbacks": played.rollbacks,
        "decisions": [decision_of(one) for one in played.decisions],
        "jobs": [job_of(one, played.policy.watch.metrics[0]) for one in played.jobs],
        "baselines": asdict(replayed.baselines),
        "cost": cost_of(played.costs, replayed.wall_seconds),
        "notes": list(replayed.notes),
    }


def cost_of(costs: Costs, wall_seconds: float) -> Json:
    """What a replay took."""
    return {
        "fit_seconds": round(costs.fit, 3),
        "predict_seconds": round(costs.predict, 3),
        "wall_seconds": round(wall_seconds, 3),
        "peak_rss_mb": round(_peak_bytes() / 2**20, 1),
    }


def _peak_bytes() -> int:
    """The most memory that this process has ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def decision_of(decided: Decided) -> Json:
    """A decision as the report has it."""
    decision = decided.decision
    return {
        "row": decided.row,
        "time": iso(decided.at),
        "trigger": ", ".join(decision.triggers),
        "outcome": decision.outcome.value,
        "reason": decision.reason,
        "message": decision.message,
        "slot_end": iso(decision.slot_end),
        "champion": decision.champion,
        "evidence": decision.evidence,
    }


def job_of(ran: Ran, metric: str) -> Json:
    """A job as the report has it, with the values of the metric that judges."""
    result = ran.result
    trained_on = result.refitted_on or result.trained_on
    return {
        "row": ran.row,
        "time": iso(ran.at),
        "trigger": ", ".join(ran.job.triggers),
        "train_rows": trained_on.rows if trained_on else 0,
        "verdict": verdict_of(ran),
        "candidate": result.candidate.get(metric),
        "champion": result.champion.get(metric),
        "seconds": result.seconds,
        "reason": _reason(ran),
        "rows_chosen": result.rows_chosen,
        "version": ran.job.version or None,
        "promoted": ran.job.state is JobState.PROMOTED,
        "challenge": _challenge(ran),
        "ended": iso(ran.ends_at) if ran.has_ended else None,
    }


def verdict_of(ran: Ran) -> str:
    """In one word; `unfinished` where the rows ended before the job did."""
    if ran.has_ended and ran.result.verdict is not None and ran.result.verdict.answer == "inconclusive":
        return "inconclusive"
    return _VERDICTS.get(ran.job.state, ran.job.state.value) if ran.has_ended else "unfinished"


def _challenge(ran: Ran) -> Json | None:
    """What became of a candidate that was judged on."""
    if ran.job.challenge is None:
        return None
    test, ended = ran.job.challenge.test, ran.job.ended_at
    became = "judged on" if ended is None else "promoted" if ran.job.state is JobState.PROMOTED else "dropped"
    return {
        "became": became,
        "rows": test.rows,
        "better": test.wins,
        "worse": test.losses,
        "reason": ran.became or test.words,
        "ended": None if ended is None else iso(ended),
    }


def _reason(ran: Ran) -> str:
    return ran.job.error or (ran.result.verdict.reason if ran.result.verdict else ran.result.error or "")
