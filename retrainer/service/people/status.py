"""What people ask: how the models stand, and why they were or were not retrained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from retrainer.domain.deciding.jobs import Job
from retrainer.domain.deciding.ledger import reign
from retrainer.domain.deciding.memory import ModelMemory
from retrainer.domain.events import Partition, Side
from retrainer.domain.join.rules import Status
from retrainer.domain.mapping.slices import by_slice
from retrainer.domain.metrics.registry import METRICS, Cells, Estimate, correct, estimate, size
from retrainer.domain.metrics.windows import History
from retrainer.domain.tally.tallies import WHOLE, by_slot
from retrainer.domain.triggers.wording import told
from retrainer.domain.values import Micros, Slot, iso, micros, moment
from retrainer.ports.manifest.decisions import DecisionState
from retrainer.ports.manifest.status import IngestView, StatusState
from retrainer.service.policy import ModelPolicy

STATUSES: Mapping[Side, Sequence[str]] = {
    Side.PREDICTIONS: (
        "consumed", "filtered", "quarantined", "duplicate", "late", "pending", "joined", "implied", "unlabelled",
    ),
    Side.LABELS: (
        "consumed", "filtered", "quarantined", "waiting", "applied", "superseded", "retracting", "late", "orphaned",
    ),
}  # fmt: skip


class ReadableState(DecisionState, StatusState, Protocol):
    """The manifest as a reader sees it."""


def status(policy: ModelPolicy, state: ReadableState, now: Micros) -> dict[str, Any]:
    """One model's status, as `status --json` prints it."""
    stored = state.memory(policy.name)
    memory = msgspec.json.decode(stored, type=ModelMemory) if stored else ModelMemory()
    view = state.ingest_view()
    progress = state.model_progress().get(policy.name)
    watermark = progress.progress.watermark if progress else None
    held = reign(state.ledger(policy.name))
    running = next(iter(state.jobs(policy.name, unfinished=True)), None)
    counts = _counts(view.counts.get(policy.name, {}))
    mine = {at for at in view.positions if at.topic in policy.ingest.topics}
    return {
        "champion": {
            "version": held.version if held else None,
            "since": iso(held.written_at) if held and held.written_at is not None else None,
            "alias": policy.promotion.alias,
        },
        "counts": counts,
        "outcomes": _outcomes(policy, state),
        "positions": {str(at): view.positions[at].position for at in sorted(mine)},
        "metrics": _metrics(memory),
        "slices": _slices(policy, memory, state),
        "coverage": _coverage(counts["predictions"]),
        "labels": dict(memory.missing),
        "watermark": iso(watermark) if watermark is not None else None,
        "lag": _lag(view, mine),
        "catching_up": progress is not None and progress.catching_up,
        "moved": view.moved.get(policy.name, 0),
        "triggers": _triggers(policy, memory),
        "job": _job(running) if running else None,
        "paused": memory.paused is not None,
        "next_schedule": _next_schedule(policy, memory, now),
    }


def _counts(stored: Mapping[Status, int]) -> dict[str, dict[str, int]]:
    return {side.value: {name: stored.get((side, name), 0) for name in names} for side, names in STATUSES.items()}


def _outcomes(policy: ModelPolicy, state: ReadableState) -> dict[str, int | None]:
    """Over everything ever joined, open slots included. The numbers of a regression are neither right nor wrong."""
    slots = by_slot(state.tallies(policy.name, None, 2**62, whole=True)).values()
    right = sum(correct(cells) for cells in slots) if policy.ingest.task == "classification" else None
    return {"n": sum(size(cells) for cells in slots), "correct": right}


def _metrics(memory: ModelMemory) -> dict[str, Any]:
    return {name: {**_estimate(found), "window": memory.metric_window} for name, found in memory.metrics.items()}


def _slices(policy: ModelPolicy, memory: ModelMemory, state: ReadableState) -> dict[str, Any]:
    """The metrics of each slice over the newest window of the whole, the slice whose first metric is worst first.

    Judged by the better end of its interval: a slice of a few outcomes, which says little, is not the worst.
    """
    first, before = _window(policy, memory, state), memory.evaluated_until
    if first is None or before is None:
        return {}
    tallies = state.tallies(policy.name, first, before)
    own = ((key, n) for key, n in tallies if memory.is_champions(key._replace(slice=WHOLE)))
    found = {name: _estimates(policy, cells) for name, cells in by_slice(own).items()}
    known = sorted(((name, one) for name, one in found.items() if one), key=lambda item: (_best(item[1]), item[0]))
    return {name: {one.metric: _estimate(one) for one in estimates} for name, estimates in known}


def _window(policy: ModelPolicy, memory: ModelMemory, state: ReadableState) -> Slot | None:
    """The first slot of the window that metrics are reported over; None where it is not full, or nobody asks."""
    if not policy.ingest.predictions.slices or memory.evaluated_until is None:
        return None
    window = policy.watch.report_window
    history = History(window)
    tallies = state.tallies(policy.name, None, memory.evaluated_until, whole=True)
    for slot, cells in by_slot(item for item in tallies if memory.is_champions(item[0])).items():
        history.add(slot, cells)
    view = history.view(window)
    return view.first if view else None


def _estimates(policy: ModelPolicy, cells: Cells) -> list[Estimate]:
    found = (estimate(metric, cells, policy.watch.positive) for metric in policy.watch.metrics)
    return [one for one in found if one is not None]


def _best(estimates: Sequence[Estimate]) -> float:
    """The best that the first metric could be, as a number that is greater the better."""
    first = estimates[0]
    if METRICS[first.metric].higher_is_better:
        return first.value if first.high is None else first.high
    return -first.value if first.low is None else -first.low


def _estimate(found: Estimate) -> dict[str, Any]:
    bound = {} if found.bound is None else {"bound": found.bound}
    return {"value": found.value, "n": found.n, "low": found.low, "high": found.high, **bound}


def _coverage(predictions: Mapping[str, int]) -> float | None:
    """The share of the usable predictions that have their label by now, be it an implied one."""
    labelled = predictions["joined"] + predictions["implied"]
    usable = labelled + predictions["pending"] + predictions["unlabelled"]
    return labelled / usable if usable else None


def _lag(view: IngestView, mine: set[Partition]) -> int:
    return sum(max(0, view.ends[at] - view.positions[at].position) for at in mine if at in view.ends)


def _triggers(policy: ModelPolicy, memory: ModelMemory) -> dict[str, Any]:
    kinds = {name: trigger.kind for name, trigger in policy.watch.triggers.items()}
    kinds |= dict.fromkeys(policy.schedules, "schedule")
    readings = {**memory.readings, **memory.latched}
    return {
        name: {
            "kind": kind,
            "state": memory.level_of(name).value,
            "evidence": dict(readings[name].evidence) if name in readings else {},
        }
        for name, kind in kinds.items()
    }


def _job(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "state": job.state.value,
        "decision_id": job.decision_id,
        "triggers": list(job.triggers),
        "created_at": iso(job.created_at),
        "attempts": job.attempts,
    }


def _next_schedule(policy: ModelPolicy, memory: ModelMemory, now: Micros) -> str | None:
    upcoming = [
        due
        for name, timetable in policy.schedules.items()
        if (due := timetable.next_after(moment(memory.fired_at.get(name, now)))) is not None
    ]
    return iso(micros(min(upcoming))) if upcoming else None


def explanation(policy: ModelPolicy, state: ReadableState, last: int) -> list[dict[str, Any]]:
    """The newest decisions with everything that followed from them, oldest first."""
    jobs = {job.decision_id: job for job in state.jobs(policy.name)}
    return [
        {
            "decision_id": decision.decision_id,
            "slot_end": iso(decision.slot_end),
            "decided_at": iso(decision.decided_at),
            "outcome": decision.outcome.value,
            "triggers": list(decision.triggers),
            "reason": decision.reason,
            "message": decision.message,
            "champion": decision.champion,
            "evidence": dict(decision.evidence),
            "words": {
                name: told(policy.watch.triggers.get(name), recorded)
                for name, recorded in decision.evidence.get("triggers", {}).items()
            },
            "job": _ended_job(jobs[decision.decision_id]) if decision.decision_id in jobs else None,
        }
        for decision in state.decisions(policy.name, last)
    ]


def _ended_job(job: Job) -> dict[str, Any]:
    result = job.result
    verdict = result.verdict if result else None
    return {
        **_job(job),
        "dataset": job.dataset_digest,
        "run_id": job.run_id,
        "version": job.version or None,
        "error": job.error or None,
        "accepted": verdict.accepted if verdict else None,
        "verdict": verdict.reason if verdict else None,
        "gates": msgspec.to_builtins(verdict.gates) if verdict else [],
        "candidate": dict(result.candidate) if result else {},
        "champion_metrics": dict(result.champion) if result else {},
    }
