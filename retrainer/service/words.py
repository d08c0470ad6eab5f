"""Answers for people: status and decisions as a colleague would tell them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_SLICES: Final = 10
"""How many slices are shown, the worst ones."""


def status_in_words(name: str, status: Mapping[str, Any]) -> str:
    """One model's status, a few lines."""
    champion, counts = status["champion"], status["counts"]
    lines = [
        f"{name}",
        f"  champion     version {champion['version'] or '-'} ({champion['alias']}) since {champion['since'] or '-'}",
        *[f"  {metric:<12} {_metric(found)}" for metric, found in status["metrics"].items()],
        *[f"  {line}" for line in _slices(status["slices"])],
        f"  outcomes     {status['outcomes']['n']} joined ever, {status['outcomes']['correct']} of them correct",
        f"  predictions  {_counts(counts['predictions'])}",
        f"  labels       {_counts(counts['labels'])}",
        f"  coverage     {_share(status['coverage'])}",
        f"  watermark    {status['watermark'] or '-'}, {status['lag']} records behind the end of the topics",
        *[f"  {trigger:<12} {found['kind']}: {found['state']}" for trigger, found in status["triggers"].items()],
        f"  job          {_job(status['job'])}",
    ]
    if status["moved"]:
        lines.append(f"  moved        {status['moved']} outcomes came for a closed minute and count in a later one")
    if status["catching_up"]:
        lines.append("  catching up  far behind the end of the topics; triggers launch nothing until it is there")
    if status["paused"]:
        lines.append("  paused       deciding is paused")
    if status["next_schedule"]:
        lines.append(f"  schedule     next at {status['next_schedule']}")
    return "\n".join(lines)


def _metric(found: Mapping[str, Any]) -> str:
    return f"{_estimate(found)}, window {found['window']}"


def _estimate(found: Mapping[str, Any]) -> str:
    interval = "" if found["low"] is None else f" ({found['low']:.3f} to {found['high']:.3f})"
    return f"{found['value']:.3f}{interval} over {found['n']} outcomes"


def _slices(slices: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    """Each slice's first metric; they come worst first."""
    if not slices:
        return []
    shown = list(slices.items())[:_SLICES]
    width = max(len(name) for name, _ in shown)
    lines = ["slices       in the newest window, worst first"]
    for name, metrics in shown:
        metric, found = next(iter(metrics.items()))
        lines.append(f"  {name:<{width}}  {metric} {_estimate(found)}")
    return lines if len(slices) <= _SLICES else [*lines, f"  and {len(slices) - _SLICES} more: status --json"]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items() if n or name == "consumed")


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%} of the usable predictions have their label"


def _job(job: Mapping[str, Any] | None) -> str:
    return "none under way" if job is None else f"{job['job_id']} is {job['state']}"


def decisions_in_words(model: str, decisions: Sequence[Mapping[str, Any]]) -> str:
    """The decisions, one paragraph each."""
    if not decisions:
        return f"{model}: nothing has asked for a retraining yet."
    return "\n\n".join(_decision(decision) for decision in decisions)


def _decision(decision: Mapping[str, Any]) -> str:
    verb = "RETRAIN" if decision["outcome"] == "retrain" else "HELD"
    lines = [f"{decision['slot_end'][:16]}  {verb}  {decision['message']}"]
    lines += [f"    {_evidence(name, found)}" for name, found in decision["evidence"].get("triggers", {}).items()]
    if "request" in decision["evidence"]:
        lines.append(f"    a person asked: {decision['evidence']['request']}")
    lines.append(f"    {decision['evidence']['labels']} labels of champion {decision['champion'] or '-'}, "
                 f"{decision['evidence']['rows']} rows to learn from")  # fmt: skip
    if decision["job"]:
        lines += [f"    {line}" for line in _job_lines(decision["job"])]
    return "\n".join(lines)


def _evidence(name: str, found: Mapping[str, Any]) -> str:
    if "value" in found:
        side = "below" if "below" in found else "above"
        return (
            f"{name}: {found['metric']} {found['value']:.4f} over {found['n']} outcomes is {side} {found[side]} "
            f"in {found['breaches']} evaluations (needed {found['needed']}), {found['from'][:16]} to {found['to'][:16]}"
        )
    if "e_value" in found:
        return (
            f"{name}: {found['metric']} is below the {found['expected']} its first {found['reference_n']} outcomes "
            f"promised: e-value {found['e_value']} (needed {found['needed']}); it began about {found['began'][:16]}"
        )
    return f"{name}: {', '.join(f'{key} {value}' for key, value in found.items()) or 'fired'}"


def _job_lines(job: Mapping[str, Any]) -> Sequence[str]:
    lines = [f"job {job['job_id']}: {job['state']}" + (f", version {job['version']}" if job["version"] else "")]
    if job["error"]:
        lines.append(f"  error: {job['error']}")
    lines += [f"  {'passed' if gate['passed'] else 'FAILED'} {gate['name']}: {gate['reason']}" for gate in job["gates"]]
    return lines
