"""`retrainer replay --recorded`: policies played over what the service has stored, and what is written of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from retrainer.domain.metrics import registry as metrics
from retrainer.domain.metrics.windows import CountWindow
from retrainer.domain.tally.measures import Cell
from retrainer.domain.tally.tallies import WHOLE
from retrainer.domain.values import Micros, Slot, iso, slot_start
from retrainer.replay.progress import ProgressBar
from retrainer.replay.recorded.play import Build, PlayedAgain, play_again
from retrainer.replay.recorded.recording import Recording
from retrainer.replay.report import report
from retrainer.replay.report.page import rendered, without_evidence
from retrainer.replay.report.series import POINTS, thresholds
from retrainer.replay.run import Replays, prepare, write
from retrainer.service.policy import ModelPolicy

Json = dict[str, Any]

_USUAL: Final = 1_000
_MOST_DECISIONS: Final = 400
_NO_BASELINES: Final[Json] = {
    "never": None,
    "no_change": None,
    "periodic": {"every": None, "retrains": 0, "value": None},
}
"""They would need answers that nobody has given."""


def replay_recorded(
    policies: Mapping[str, ModelPolicy],
    recording: Recording,
    build: Build,
    training_takes: Micros,
    *,
    out: Path,
    progress: ProgressBar,
) -> Replays:
    """Replay each policy over a recording, and write report.json and report.html into a folder.

    Args:
        policies: by name; the first one is the report's own, and the service's.

    Raises:
        Refused: the folder cannot be used.
    """
    prepare(out)
    reports: dict[str, Json] = {}
    played: dict[str, PlayedAgain] = {}
    for name, policy in policies.items():
        began = perf_counter()
        with progress.over(name, 0):
            played[name] = play_again(policy, recording, build, training_takes)
        reports[name] = _one(played[name], perf_counter() - began)
    first = next(iter(reports.values()))
    found = first if len(reports) == 1 else {**first, "policies": reports}
    page = rendered(recording.model, _drawn(recording, reports, played))
    return write(out, found, page)


def _one(played: PlayedAgain, seconds: float) -> Json:
    recording, watch = played.recording, played.policy.watch
    cells = sum((cells for _, cells in _outcomes(recording)), Counter[Cell]())
    metric = watch.metrics[0]
    return {
        "rows": recording.row_at(recording.first_open) + 1,
        "warm": 0,
        "metric": {"name": metric, "value": metrics.value(metric, cells, watch.positive)},
        "retrains": len(played.jobs),
        "promotions": len(played.promotions),
        "rollbacks": 0,
        "recorded": _compared(played) if recording.decisions else None,
        "decisions": [report.decision_of(one) for one in played.decisions],
        "jobs": [report.job_of(one, metric) for one in played.jobs],
        "baselines": _NO_BASELINES,
        "cost": report.cost_of(played.costs, seconds),
    }


def _compared(played: PlayedAgain) -> Json:
    recording = played.recording
    return {
        "decisions": len(recording.decisions),
        "same": played.same,
        "retrains": len(recording.jobs),
        "promotions": sum(change.reign.job_id is not None for change in recording.changes),
    }


def _outcomes(recording: Recording) -> Iterator[tuple[Slot, Counter[Cell]]]:
    """The outcomes of every version by slot."""
    for slot, held in recording.slots:
        cells = Counter[Cell]()
        for key, n in held:
            if key.slice == WHOLE:
                cells[key.truth, key.answer] += n
        yield slot, cells


def _drawn(recording: Recording, reports: Mapping[str, Json], played: Mapping[str, PlayedAgain]) -> Json:
    first = next(iter(played))
    ends = [slot + 1 for slot, _ in recording.slots]
    step = max(1, len(ends) // POINTS)
    chosen = [*ends[::step], recording.first_open]
    marks = [{"row": max(0, recording.row_at(end)), "time": iso(slot_start(end))} for end in chosen]
    return {
        "model": recording.model,
        "table": recording.source,
        "metric": reports[first]["metric"]["name"],
        "rows": reports[first]["rows"],
        "warm": 0,
        "from": marks[0]["time"],
        "to": marks[-1]["time"],
        "marks": marks,
        "coverage": [],
        "policies": {name: _drawn_policy(reports[name], one) for name, one in played.items()},
    }


def _drawn_policy(own: Json, played: PlayedAgain) -> Json:
    window = played.policy.watch.report_window
    size = window.outcomes if isinstance(window, CountWindow) else _USUAL
    return {
        "summary": {name: own[name] for name in ("metric", "retrains", "promotions", "rollbacks", "baselines", "cost")},
        "window": size,
        "line": _line(played, size),
        "never": [],
        "no_change": [],
        "thresholds": thresholds(played.policy),
        "decisions": [without_evidence(one) for one in own["decisions"][:_MOST_DECISIONS]],
        "decided": len(own["decisions"]),
        "changes": [
            {"row": row, "trigger": change.name, "level": change.reading.level.value} for row, change in played.changes
        ],
        "promotions": [{"row": one.row, "version": one.version, "time": iso(one.at)} for one in played.promotions],
        "jobs": own["jobs"],
        "slices": [],
    }


def _line(played: PlayedAgain, size: int) -> Sequence[Json]:
    """The metric over the newest whole slots that hold so many outcomes, at some of the slots."""
    recording, watch = played.recording, played.policy.watch
    held: deque[Counter[Cell]] = deque()
    cells: Counter[Cell] = Counter()
    found, every = [], max(1, len(recording.slots) // POINTS)
    for number, (slot, new) in enumerate(_outcomes(recording)):
        held.append(new)
        cells.update(new)
        while held and metrics.size(cells) - metrics.size(held[0]) >= size:
            cells.subtract(held.popleft())
        if number % every == 0:
            known = {cell: n for cell, n in cells.items() if n}
            one = metrics.estimate(watch.metrics[0], known, watch.positive) if known else None
            if one is not None:
                row = max(0, recording.row_at(slot + 1))
                found.append({"row": row, "value": one.value, "low": one.low, "high": one.high, "n": one.n})
    return found
