"""What happened, gathered from the lines that the service and the application wrote. Missing facts stay unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

Verdict = Literal["accepted", "rejected", "failed"]

METRIC: Final = "accuracy"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The metric over the newest outcomes of one version, as the service computed it."""

    at: datetime
    version: str
    value: float
    n: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class JobStory:
    """One retraining. Times are event times; `ended` is the newest one known when it ended."""

    job_id: str
    decided: datetime | None = None
    ended: datetime | None = None
    rows: int | None = None
    verdict: Verdict | None = None
    candidate: float | None = None
    champion: float | None = None
    version: str | None = None


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """The alias moved."""

    version: str
    previous: str | None
    at: datetime | None


@dataclass
class Story:
    """Everything that the end of the demo reports, told line by line."""

    evaluations: list[Evaluation] = field(default_factory=list)
    breach: Evaluation | None = None
    warned: datetime | None = None
    jobs: dict[str, JobStory] = field(default_factory=dict)
    promotions: list[Promotion] = field(default_factory=list)
    suspicions: list[str] = field(default_factory=list)
    """What looked broken about training rows, each once, in the service's words."""
    now: datetime | None = None
    """The newest event time that anybody spoke of."""
    sent: dict[str, int] = field(default_factory=dict)
    """What the application has sent: predictions, labels, repeated."""

    def observe(self, entry: Mapping[str, Any]) -> None:
        """Take in one line; one that says nothing new here is passed over."""
        for moment in (time_of(entry, "event_time"), time_of(entry, "slot_end")):
            self.now = max(filter(None, (self.now, moment)), default=None)
        observer = _OBSERVERS.get(str(entry.get("event")))
        if observer is not None:
            observer(self, entry)

    @property
    def champion(self) -> str | None:
        """The version that was promoted last; None before the first promotion."""
        return self.promotions[-1].version if self.promotions else None

    def before(self, moment: datetime) -> Evaluation | None:
        """The newest evaluation that ends before a moment."""
        return next((one for one in reversed(self.evaluations) if one.at < moment), None)

    def after(self) -> Evaluation | None:
        """The newest evaluation of the version that was promoted last."""
        return next((one for one in reversed(self.evaluations) if one.version == self.champion), None)

    def put_job(self, entry: Mapping[str, Any], **facts: Any) -> None:
        """Add facts to the job that a line is about."""
        job_id = str(entry.get("job_id", "?"))
        self.jobs[job_id] = replace(self.jobs.get(job_id, JobStory(job_id=job_id)), **facts)


def _on_metric(story: Story, entry: Mapping[str, Any]) -> None:
    evaluation = evaluation_of(entry)
    if entry.get("metric") == METRIC and evaluation is not None:
        story.evaluations.append(evaluation)


def _on_fired(story: Story, entry: Mapping[str, Any]) -> None:
    if story.breach is None and entry.get("kind") == "threshold":
        last = story.evaluations[-1] if story.evaluations else None
        story.breach = evaluation_of(entry, fallback=last)


def _on_warned(story: Story, entry: Mapping[str, Any]) -> None:
    story.warned = story.warned or time_of(entry, "slot_end", "to") or story.now


def _on_decided(story: Story, entry: Mapping[str, Any]) -> None:
    if entry.get("job_id"):
        story.put_job(entry, decided=time_of(entry, "slot_end") or story.now)


def _on_started(story: Story, entry: Mapping[str, Any]) -> None:
    known = story.jobs.get(str(entry.get("job_id")))
    story.put_job(entry, rows=entry.get("rows"), decided=known.decided if known and known.decided else story.now)


def _on_suspicious(story: Story, entry: Mapping[str, Any]) -> None:
    story.suspicions += [words for words in suspicions_of(entry) if words not in story.suspicions]


def _on_judged(story: Story, entry: Mapping[str, Any]) -> None:
    story.put_job(
        entry,
        candidate=metric_of(entry.get("candidate")),
        champion=metric_of(entry.get("champion")),
        verdict="accepted" if entry.get("accepted") else "rejected",
        ended=story.now,
    )


def _on_failed(story: Story, entry: Mapping[str, Any]) -> None:
    story.put_job(entry, verdict="failed", ended=story.now)


def _on_registered(story: Story, entry: Mapping[str, Any]) -> None:
    story.put_job(entry, version=str(entry.get("version")))


def _on_promoted(story: Story, entry: Mapping[str, Any]) -> None:
    if entry.get("version") is not None:
        previous = entry.get("previous")
        story.promotions.append(
            Promotion(
                version=str(entry["version"]),
                previous=None if previous is None else str(previous),
                at=time_of(entry, "effective_from") or story.now,
            )
        )


def _on_progress(story: Story, entry: Mapping[str, Any]) -> None:
    story.sent = {name: value for name, value in entry.items() if isinstance(value, int)}


_OBSERVERS: Final[Mapping[str, Callable[[Story, Mapping[str, Any]], None]]] = {
    "metric.updated": _on_metric,
    "trigger.fired": _on_fired,
    "trigger.warned": _on_warned,
    "retrain.decided": _on_decided,
    "job.started": _on_started,
    "job.failed": _on_failed,
    "rows.suspicious": _on_suspicious,
    "candidate.judged": _on_judged,
    "candidate.registered": _on_registered,
    "model.promoted": _on_promoted,
    "application.progress": _on_progress,
    "application.stopped": _on_progress,
}


def evaluation_of(entry: Mapping[str, Any], fallback: Evaluation | None = None) -> Evaluation | None:
    """The evaluation that a line describes, with what it leaves out taken from another one."""
    at = time_of(entry, "slot_end", "to") or (fallback.at if fallback else None)
    value = number_of(entry.get("value")) or (fallback.value if fallback else None)
    if at is None or value is None:
        return None
    return Evaluation(
        at=at,
        version=str(entry.get("version") or (fallback.version if fallback else "?")),
        value=value,
        n=int(number_of(entry.get("n")) or 0),
        low=number_of(entry.get("low")),
        high=number_of(entry.get("high")),
    )


def time_of(entry: Mapping[str, Any], *names: str) -> datetime | None:
    """The first of some fields that holds a time."""
    for name in names:
        try:
            found = datetime.fromisoformat(str(entry.get(name)))
        except ValueError:
            continue
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None


def metric_of(metrics: object) -> float | None:
    """The demo's metric among a candidate's or a champion's."""
    return number_of(metrics.get(METRIC)) if isinstance(metrics, Mapping) else None


def suspicions_of(entry: Mapping[str, Any]) -> list[str]:
    """What a line says of training rows that look broken."""
    features = entry.get("features")
    named = [one for one in features if isinstance(one, Mapping)] if isinstance(features, list) else []
    return [str(one["words"]) for one in named if one.get("words")]


def number_of(value: object) -> float | None:
    """A number, or None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
