"""What a line of the service's or the application's log means, in words. A fact that is missing is a question mark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from retrainer.demo.story import METRIC, metric_of, number_of, suspicions_of, time_of

Entry = Mapping[str, Any]


class Sentence(NamedTuple):
    """Something to tell. `when` is event time, `style` one of rich's."""

    label: str
    text: str
    style: str = ""
    when: datetime | None = None


def sentences(entry: Entry) -> Sequence[Sentence]:
    """What a line has to tell; nothing for most."""
    tell = _TELLERS.get(str(entry.get("event")))
    return tell(entry) if tell else []


def day(moment: datetime | None) -> str:
    """`17 Apr 21:00`."""
    return f"{moment.day:2d} {moment:%b %H:%M}" if moment else "?"


def number(value: object) -> str:
    """`.873`; a question mark for what is no number."""
    found = number_of(value)
    return "?" if found is None else f"{found:.3f}".removeprefix("0")


def count(value: object) -> str:
    """`3,002`; a question mark for what is no number."""
    found = number_of(value)
    return "?" if found is None else f"{int(found):,}"


def measured(entry: Entry) -> str:
    """A value with its interval and the number of outcomes behind it."""
    low, high = number_of(entry.get("low")), number_of(entry.get("high"))
    interval = f" ({number(low)} to {number(high)})" if low is not None and high is not None else ""
    return f"{number(entry.get('value'))}{interval} over {count(entry.get('n'))} outcomes"


def _service(entry: Entry) -> list[Sentence]:
    return [Sentence("service", f"{entry.get('role', 'retrainer')} is up")]


def _champion(entry: Entry) -> list[Sentence]:
    learnt = f"trained on {count(entry.get('rows'))} flights of January and February"
    return [Sentence("champion", f"version {entry.get('version', '?')} in MLflow, {learnt}")]


def _application(entry: Entry) -> list[Sentence]:
    at = time_of(entry, "event_time")
    return [Sentence("application", f"scores flights at take-off with version {entry.get('version', '?')}", "", at)]


def _answering(entry: Entry) -> list[Sentence]:
    at = time_of(entry, "event_time")
    return [Sentence("application", f"answers with version {entry.get('version', '?')} from now on", "green", at)]


def _metric(entry: Entry) -> list[Sentence]:
    if entry.get("metric") != METRIC:
        return []
    text = f"{measured(entry)} of version {entry.get('version', '?')}"
    return [Sentence(METRIC, text, "", time_of(entry, "slot_end"))]


def _warned(entry: Entry) -> list[Sentence]:
    text = f"{_trigger(entry)}: {measured(entry)}; the warning line is {number(entry.get('warn_below'))}"
    return [Sentence("warning", text, "yellow", time_of(entry, "slot_end", "to"))]


def _fired(entry: Entry) -> list[Sentence]:
    at = time_of(entry, "slot_end", "to")
    if entry.get("kind") != "threshold":
        return [Sentence("trigger", f"{_trigger(entry)} has fired", "red", at)]
    line = number(entry.get("below", entry.get("threshold")))
    times = f"{entry.get('breaches', '?')} evaluations below {line}"
    return [Sentence("breach", f"{_trigger(entry)}: {measured(entry)}; {times}", "bold red", at)]


def _cleared(entry: Entry) -> list[Sentence]:
    return [Sentence("all clear", f"{_trigger(entry)} is quiet again", "green", time_of(entry, "slot_end", "to"))]


def _decided(entry: Entry) -> list[Sentence]:
    return [Sentence("decision", f"retrain: {_reason(entry)}", "magenta", time_of(entry, "slot_end"))]


def _held(entry: Entry) -> list[Sentence]:
    return [Sentence("decision", f"hold: {_reason(entry)}", "magenta", time_of(entry, "slot_end"))]


def _training(entry: Entry) -> list[Sentence]:
    first, last = time_of(entry, "first"), time_of(entry, "last")
    span = f", {day(first).strip()} to {day(last).strip()}" if first and last else ""
    dataset = str(entry.get("dataset", "?"))[:12]
    return [Sentence("job", f"{_job(entry)} trains on {count(entry.get('rows'))} outcomes{span}; dataset {dataset}")]


def _failed(entry: Entry) -> list[Sentence]:
    return [Sentence("job", f"{_job(entry)} failed: {entry.get('error', 'no reason given')}", "red")]


def _suspicious(entry: Entry) -> list[Sentence]:
    return [Sentence("rows", words, "yellow") for words in suspicions_of(entry)]


def _judged(entry: Entry) -> list[Sentence]:
    accepted = bool(entry.get("accepted"))
    candidate, champion = number(metric_of(entry.get("candidate"))), number(metric_of(entry.get("champion")))
    text = f"candidate {candidate}, champion {champion} on the same {count(entry.get('held_out'))} newest rows"
    word, style = ("accepted", "green") if accepted else ("rejected", "yellow")
    return [Sentence("verdict", f"{word}: {text}", style), *_gates(entry)]


def _gates(entry: Entry) -> list[Sentence]:
    gates = entry.get("gates")
    named = [gate for gate in gates if isinstance(gate, Mapping)] if isinstance(gates, list) else []
    return [
        Sentence("", f"{'✓' if gate.get('passed') else '✗'} {gate.get('reason') or gate.get('name', '?')}", "dim")
        for gate in named
    ]


def _registered(entry: Entry) -> list[Sentence]:
    run = str(entry.get("run_id", "?"))[:8]
    return [Sentence("registered", f"version {entry.get('version', '?')} in MLflow, from run {run}")]


def _promoted(entry: Entry) -> list[Sentence]:
    previous = f" instead of version {entry['previous']}" if entry.get("previous") else ""
    text = f"version {entry.get('version', '?')} holds the alias {entry.get('alias', 'champion')}{previous}"
    return [Sentence("promotion", text, "bold green", time_of(entry, "effective_from"))]


def _trouble(entry: Entry) -> list[Sentence]:
    facts = {name: value for name, value in entry.items() if name not in {"event", "level", "timestamp"}}
    said = ", ".join(f"{name} {value}" for name, value in facts.items())
    return [Sentence("trouble", f"{entry['event']}: {said[:300]}", "red")]


def _trigger(entry: Entry) -> str:
    return str(entry.get("trigger", "a trigger"))


def _reason(entry: Entry) -> str:
    return str(entry.get("message") or entry.get("reason") or "no reason given")


def _job(entry: Entry) -> str:
    return str(entry.get("job_id", "?"))


_TELLERS: Final[Mapping[str, Callable[[Entry], list[Sentence]]]] = {
    "service.started": _service,
    "service.refused": _trouble,
    "service.crashed": _trouble,
    "role.restarted": _trouble,
    "dependency.lost": _trouble,
    "champion.registered": _champion,
    "application.started": _application,
    "application.champion": _answering,
    "application.champion_unknown": _trouble,
    "metric.updated": _metric,
    "trigger.warned": _warned,
    "trigger.fired": _fired,
    "trigger.cleared": _cleared,
    "retrain.decided": _decided,
    "retrain.held": _held,
    "job.started": _training,
    "job.failed": _failed,
    "rows.suspicious": _suspicious,
    "candidate.judged": _judged,
    "candidate.registered": _registered,
    "model.promoted": _promoted,
}
