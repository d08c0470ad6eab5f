"""Combinations of settings that cannot work, each rule on its own.

A rule names, as parameters, the settings that it looks at; it is asked only where all of them are valid, so one
mistake never hides or causes another. `given` is the section as it stands in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from inspect import signature
from math import ceil
from typing import Annotated, Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError

from retrainer.config.document import KeyPath
from retrainer.config.metrics import METRICS, Task, metrics_of
from retrainer.config.model import LabelSettings, ModelSettings, PredictionSettings
from retrainer.config.quantities import format_duration
from retrainer.config.suggest import did_you_mean
from retrainer.config.training import WAYS, JudgeSettings, TrainingSettings
from retrainer.config.triggers import TriggerSettings
from retrainer.domain.answers import class_text
from retrainer.domain.deciding.conditions import Condition
from retrainer.domain.mapping.slices import SlicePolicy


@dataclass(frozen=True)
class Clash:
    """A setting that cannot work with another."""

    path: KeyPath
    message: str


Rule = Callable[..., Iterator[Clash]]


def clashes(given: Mapping[str, Any], settings: type[BaseModel], rules: tuple[Rule, ...]) -> Iterator[Clash]:
    """What a section's rules find in those of its settings that are valid."""
    valid = {**survivors(given, settings), "given": given}
    for rule in rules:
        wanted = signature(rule).parameters
        if wanted.keys() <= valid.keys():
            yield from rule(**{name: valid[name] for name in wanted})


def survivors(given: Mapping[str, Any], settings: type[BaseModel]) -> dict[str, Any]:
    """The settings of a section that are valid, each by itself."""
    found: dict[str, Any] = {}
    for name, field in settings.model_fields.items():
        if given.get(name) is not None:
            with suppress(ValidationError):
                kind: Any = Annotated[field.annotation, field]
                found[name] = TypeAdapter(kind).validate_python(given[name])
        elif not field.is_required():
            found[name] = field.get_default(call_default_factory=True)
    return found


def _somehow_trained(observe: bool, training: TrainingSettings) -> Iterator[Clash]:
    if not observe and all(getattr(training, way) is None for way in WAYS):
        yield Clash(("training",), "expected an estimator, a pipeline, an entrypoint or a command")


def _classes_hold_positive(classes: tuple[str, ...] | None, positive: str | None) -> Iterator[Clash]:
    if classes and positive is not None and positive not in classes:
        yield Clash(("positive",), f'expected one of the classes {_listed(classes)}, got "{positive}"')


def _classes_hold_absent(classes: tuple[str, ...] | None, labels: LabelSettings) -> Iterator[Clash]:
    if classes and labels.absent and labels.absent.value not in classes:
        message = f'expected one of the classes {_listed(classes)}, got "{labels.absent.value}"'
        yield Clash(("labels", "absent", "value"), message)


def _absent_is_a_number(task: Task, labels: LabelSettings) -> Iterator[Clash]:
    if task == "regression" and labels.absent:
        try:
            class_text(labels.absent.value, task, None)
        except ValueError:
            message = f'expected a number for a regression, got "{labels.absent.value}"'
            yield Clash(("labels", "absent", "value"), message)


def _sides_differ(predictions: PredictionSettings, labels: LabelSettings) -> Iterator[Clash]:
    if predictions.topic != labels.topic:
        return
    if not predictions.where or not labels.where or predictions.where == labels.where:
        message = "expected another topic than that of predictions, or a different where on both"
        yield Clash(("labels", "topic"), f'{message}, got "{labels.topic}"')


def _delays_fit(labels: LabelSettings) -> Iterator[Clash]:
    delays: dict[KeyPath, timedelta | None] = {("labels", "mature_after"): labels.mature_after}
    if labels.absent:
        delays["labels", "absent", "after"] = labels.absent.after
    for path, delay in delays.items():
        if delay is not None and delay > labels.max_delay:
            most, got = format_duration(labels.max_delay), format_duration(delay)
            yield Clash(path, f'expected at most labels.max_delay, which is {most}, got "{got}"')


def _metrics_known(task: Task, metrics: tuple[str, ...]) -> Iterator[Clash]:
    for index, metric in enumerate(metrics):
        yield from _unknown_metric(task, metric, ("metrics", index))


def _trigger_metrics_known(task: Task, triggers: Mapping[str, TriggerSettings]) -> Iterator[Clash]:
    for name, trigger in triggers.items():
        if trigger.metric is not None:
            yield from _unknown_metric(task, trigger.metric, ("triggers", name, trigger.kind, "metric"))


def _changes_are_of_means(triggers: Mapping[str, TriggerSettings]) -> Iterator[Clash]:
    means = tuple(name for name, metric in METRICS.items() if metric.moments is not None)
    for name, trigger in triggers.items():
        if trigger.change is not None and trigger.change.metric in METRICS and trigger.change.metric not in means:
            message = (
                f'expected a metric that is a mean over outcomes ({_listed(means)}), got "{trigger.change.metric}"'
            )
            yield Clash(("triggers", name, "change", "metric"), message)


def _trigger_scores_mapped(triggers: Mapping[str, TriggerSettings], predictions: PredictionSettings) -> Iterator[Clash]:
    for name, trigger in triggers.items():
        metric = METRICS.get(trigger.metric or "")
        if metric is not None and metric.needs_score and predictions.fields.score is None:
            message = "expected a metric that needs no score, as predictions.fields.score is null, got"
            yield Clash(("triggers", name, trigger.kind, "metric"), f'{message} "{trigger.metric}"')


def _floor_metrics_known(task: Task, judge: JudgeSettings) -> Iterator[Clash]:
    for metric in judge.floors:
        yield from _unknown_metric(task, metric, ("judge", "floors", metric))


def _scores_mapped(metrics: tuple[str, ...], predictions: PredictionSettings) -> Iterator[Clash]:
    for index, metric in enumerate(metrics):
        if metric in METRICS and METRICS[metric].needs_score and predictions.fields.score is None:
            message = f'expected a metric that needs no score, as predictions.fields.score is null, got "{metric}"'
            yield Clash(("metrics", index), message)


def _slices_differ(slices: tuple[SlicePolicy, ...]) -> Iterator[Clash]:
    names = [part.name for part in slices]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Clash(
                ("slices", index), f'expected another name than that of slices.{names.index(name)}, got "{name}"'
            )


def _slices_look_at_features(slices: tuple[SlicePolicy, ...], predictions: PredictionSettings) -> Iterator[Clash]:
    known = predictions.fields.features
    if not isinstance(known, tuple):
        return  # they are known only once the records are read
    for index, part in enumerate(slices):
        for name in sorted(part.features.difference(known)):
            message = f'expected features of predictions.fields.features, got "{name}"{did_you_mean(name, known)}'
            yield Clash(("slices", index), message)


def _drift_looks_at_features(
    triggers: Mapping[str, TriggerSettings], predictions: PredictionSettings
) -> Iterator[Clash]:
    known = predictions.fields.features
    if not isinstance(known, tuple):
        return  # as above
    for name, trigger in triggers.items():
        for feature in (trigger.drift.features if trigger.drift else None) or ():
            if feature not in known:
                message = f'expected features of predictions.fields.features, got "{feature}"'
                path = ("triggers", name, "drift", "features")
                yield Clash(path, message + did_you_mean(feature, known))


def _lines_face_the_bad_side(triggers: Mapping[str, TriggerSettings]) -> Iterator[Clash]:
    for name, trigger in triggers.items():
        threshold = trigger.threshold
        if threshold and threshold.metric in METRICS:
            better = METRICS[threshold.metric].higher_is_better
            right, wrong = ("below", "above") if better else ("above", "below")
            if getattr(threshold, wrong) is not None:
                kind = "a score" if better else "an error"
                message = f"expected {right}, as {threshold.metric} is {kind}"
                yield Clash(("triggers", name, "threshold", wrong), message)


def _triggers_exist(retrain_when: Condition | None, given: Mapping[str, Any]) -> Iterator[Clash]:
    known = given.get("triggers") or {}
    for name in sorted(retrain_when.names - set(known) if retrain_when else ()):
        message = f'expected names of triggers, got "{name}"{did_you_mean(name, known)}'
        yield Clash(("retrain_when",), message)


def _holdout_reaches_min_rows(training: TrainingSettings, judge: JudgeSettings) -> Iterator[Clash]:
    rows, holdout = training.rows.count, Decimal(str(training.holdout))
    if rows is not None and int(rows * holdout) < judge.min_rows:
        message = (
            f"expected at least {ceil(judge.min_rows / holdout)} rows, as {holdout} of them are held out"
            f" and judge.min_rows is {judge.min_rows}, got {rows}"
        )
        yield Clash(("training", "rows"), message)


def _change_is_noticed(training: TrainingSettings, triggers: Mapping[str, TriggerSettings]) -> Iterator[Clash]:
    if training.rows.kind == "since_change" and triggers and all(one.change is None for one in triggers.values()):
        yield Clash(("training", "rows"), "expected a change trigger among the triggers, got since_change without one")


def _champions_are_apart(models: Mapping[str, ModelSettings]) -> Iterator[Clash]:
    owners: dict[tuple[str, str], str] = {}
    for name, model in models.items():
        owner = owners.setdefault((model.registered_model, model.promotion.alias), name)
        if owner != name:
            message = f"expected another registered_model or promotion.alias than those of models.{owner}"
            yield Clash(("models", name), message)


def _unknown_metric(task: Task, metric: str, path: KeyPath) -> Iterator[Clash]:
    known = metrics_of(task)
    if metric not in known:
        yield Clash(
            path, f'expected a metric for {task} ({_listed(known)}), got "{metric}"{did_you_mean(metric, known)}'
        )


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(words)


MODEL_RULES: Final[tuple[Rule, ...]] = (
    _somehow_trained,
    _classes_hold_positive,
    _classes_hold_absent,
    _absent_is_a_number,
    _sides_differ,
    _delays_fit,
    _metrics_known,
    _trigger_metrics_known,
    _trigger_scores_mapped,
    _changes_are_of_means,
    _floor_metrics_known,
    _scores_mapped,
    _slices_differ,
    _slices_look_at_features,
    _drift_looks_at_features,
    _lines_face_the_bad_side,
    _triggers_exist,
    _holdout_reaches_min_rows,
    _change_is_noticed,
)
SETTINGS_RULES: Final[tuple[Rule, ...]] = (_champions_are_apart,)
