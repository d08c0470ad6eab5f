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
        f"  outcomes     {_outcomes(status['outcomes'])}",
        f"  predictions  {_counts(counts['predictions'])}",
        f"  labels       {_counts(counts['labels'])}",
        f"  coverage     {_share(status['coverage'])}",
        *[f"  {line}" for line in _late_labels(status["labels"])],
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


def _outcomes(outcomes: Mapping[str, Any]) -> str:
    right = "" if outcomes["correct"] is None else f", {outcomes['correct']} of them correct"
    return f"{outcomes['n']} joined ever{right}"


def _metric(found: Mapping[str, Any]) -> str:
    return f"{_estimate(found)}, window {found['window']}"


def _estimate(found: Mapping[str, Any]) -> str:
    interval = "" if found["low"] is None else f" ({_number(found['low'])} to {_number(found['high'])})"
    return f"{_number(found['value'])}{interval} over {found['n']} outcomes"


def _number(value: float) -> str:
    """Three digits after the point; more of what would be nothing then."""
    return f"{value:.3f}" if not value or abs(value) >= 0.01 else f"{value:.3g}"


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


def _late_labels(labels: Mapping[str, Any]) -> Sequence[str]:
    """What is known of labels that are missing still."""
    lines = []
    if coverage := labels.get("coverage"):
        lines.append(
            f"             {coverage['relative']:.0%} of the labels that are usual after {coverage['age_seconds']} s "
            f"have come ({coverage['actual']:.1%} of {coverage['n']} predictions)"
        )
    if maturity := labels.get("maturity"):
        told = "as configured" if maturity["configured"] else f"by {maturity['delays']} delays seen"
        lines.append(f"maturity     outcomes are mature after {maturity['mature_after_seconds']} s, {told}")
    if estimated := labels.get("estimated"):
        error = "" if estimated["error_so_far"] is None else f"; so far it was wrong by {estimated['error_so_far']:.3f}"
        lines.append(
            f"estimated    {estimated['metric']} {estimated['value']:.3f} ({estimated['low']:.3f} to "
            f"{estimated['high']:.3f}) of the newest {estimated['n']} predictions, from their scores{error}"
        )
    if not labels.get("fairness", {}).get("fair", True):
        lines.append(f"             {labels['fairness']['message']}")
    return lines


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%} of the usable predictions have their label"


def _job(job: Mapping[str, Any] | None) -> str:
    return "none under way" if job is None else f"{job['job_id']} is {job['state']}"


def decisions_in_words(model: str, decisions: Sequence[Mapping[str, Any]]) -> str:
    """The decisions, one paragraph each, oldest first."""
    if not decisions:
        return f"{model}: nothing has asked for a retraining yet."
    return "\n\n".join(_decision(decision) for decision in decisions)


def _decision(decision: Mapping[str, Any]) -> str:
    is_retrain, evidence = decision["outcome"] == "retrain", decision["evidence"]
    verb = "RETRAINED" if is_retrain else "HELD BACK"
    lines = [f"{_when(decision['slot_end'])}  {verb}, champion {decision['champion'] or '-'}", *_reasons(decision)]
    if "change" in evidence:
        change = evidence["change"]
        lines.append(f"  It began at about {_when(change['began'])}; {change['rows_since']} labels have come since.")
    if is_retrain:
        lines.append(
            f"  No guard objected: {evidence['labels']} labels of this champion, {evidence['rows']} rows to learn from."
        )
    else:
        lines.append(f"  Not now, because it {_held(decision)}.")
    if decision["job"]:
        lines += [f"  {line}" for line in _job_lines(decision["job"])]
    return "\n".join(lines)


def _reasons(decision: Mapping[str, Any]) -> Sequence[str]:
    evidence = decision["evidence"]
    if "request" in evidence:
        return [f"  A person asked for it: {evidence['request']}"]
    if decision["triggers"] == ["bootstrap"]:
        return ["  There is no champion yet: the first one is to be trained."]
    return [f"  {name} fired: {words}." for name, words in decision["words"].items()]


def _held(decision: Mapping[str, Any]) -> str:
    """The guard's message as the end of a sentence about the service."""
    message = str(decision["message"])
    return message if message.split(" ", 1)[0].endswith("s") else f"holds for {decision['reason']}: {message}"


def _when(time: str) -> str:
    return time[:16].replace("T", " ")


def _job_lines(job: Mapping[str, Any]) -> Sequence[str]:
    lines = [f"job {job['job_id']}: {job['state']}" + (f", version {job['version']}" if job["version"] else "")]
    if job["error"]:
        lines.append(f"  error: {job['error']}")
    lines += [f"  {'passed' if gate['passed'] else 'FAILED'} {gate['name']}: {gate['reason']}" for gate in job["gates"]]
    return lines
