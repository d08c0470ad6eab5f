"""From one model's settings to the policies of domain and service."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, assert_never

from retrainer.adapters.outside import load_trigger
from retrainer.adapters.timetable import CronTimetable, IntervalTimetable
from retrainer.config.metrics import DEFAULT_METRIC, METRICS
from retrainer.config.model import ModelSettings
from retrainer.config.training import GuardSettings, JudgeSettings, LimitSettings, PromotionSettings
from retrainer.config.triggers import (
    ChangeSettings,
    DriftSettings,
    DropSettings,
    NewClassSettings,
    OwnTrigger,
    ScheduleSettings,
    ThresholdSettings,
    TrialSettings,
    TriggerSettings,
    VolumeSettings,
)
from retrainer.domain.deciding.jobs import PromotionMode
from retrainer.domain.deciding.schedules import Timetable
from retrainer.domain.deciding.situation import DecisionPolicy, Guards
from retrainer.domain.deciding.watch import WatchPolicy
from retrainer.domain.events import Side
from retrainer.domain.join.ingest import IngestPolicy
from retrainer.domain.join.rules import Absent, JoinPolicy
from retrainer.domain.judging.order import Recipe, rows_needed_after_change
from retrainer.domain.judging.verdicts import JudgePolicy
from retrainer.domain.lateness.coverage import CoveragePolicy
from retrainer.domain.mapping.mapping import EventMapping
from retrainer.domain.metrics.windows import CountWindow, TimeWindow, Window
from retrainer.domain.tally.arrivals import width_of
from retrainer.domain.tally.measures import Scores
from retrainer.domain.triggers.base import Trigger
from retrainer.domain.triggers.change import Change
from retrainer.domain.triggers.drift import Drift
from retrainer.domain.triggers.drop import Drop
from retrainer.domain.triggers.new_class import NewClass
from retrainer.domain.triggers.threshold import Threshold
from retrainer.domain.triggers.trial import Trial
from retrainer.domain.triggers.volume import Volume
from retrainer.domain.values import duration
from retrainer.ports.training import Limits
from retrainer.service.control.silence import SilencePolicy
from retrainer.service.policy import ModelPolicy, PromotionPolicy

DEFAULT_TRIAL: Final = "trial"


class UnusableTrigger(ValueError):
    """A trigger of the user's own cannot be used: its name, its class, and why."""

    def __init__(self, name: str, entry: str, why: str) -> None:
        super().__init__(why)
        self.name = name
        self.entry = entry


DEFAULT_TRIGGER: Final = "shift"
"""The name of the trigger that a model without any gets."""


def model_policy(model: ModelSettings) -> ModelPolicy:
    """What one model's section means to the service."""
    training = model.training
    return ModelPolicy(
        name=model.name,
        task=model.task,
        ingest=_ingest_policy(model),
        watch=WatchPolicy(metrics=model.metrics, triggers=_triggers(model), positive=model.positive),
        deciding=DecisionPolicy(
            model=model.name,
            condition=model.retrain_when,
            guards=guards_of(model.guards),
            rows=training.rows,
            holdout=training.holdout,
            min_holdout=model.judge.min_rows,
            observe=model.observe,
        ),
        recipe=Recipe(
            estimator=training.estimator or "",
            params=training.params,
            rows=training.rows,
            holdout=training.holdout,
            refit=training.refit,
            seed=training.seed,
        ),
        judge=judge_of(model.judge),
        promotion=promotion_of(model.registered_model, model.promotion, model.judge),
        schedules=_schedules(model),
        limits=limits_of(training.limits),
        checks_on=training.checks.on,
        mature_after=None if model.labels.mature_after is None else duration(model.labels.mature_after),
        coverage=_coverage(model),
    )


def guards_of(settings: GuardSettings) -> Guards:
    """What must hold before any trigger may start a job."""
    return Guards(
        min_labels=settings.min_labels,
        min_coverage=settings.min_coverage,
        cooldown=duration(settings.cooldown),
        per_day=settings.per_day,
    )


def judge_of(settings: JudgeSettings) -> JudgePolicy:
    """What a candidate must show."""
    return JudgePolicy(
        min_rows=settings.min_rows,
        improvement=settings.improvement,
        confidence=settings.confidence,
        floors=settings.floors,
        max_slice_loss=None if settings.slices is None else settings.slices.max_loss,
    )


def promotion_of(registered_model: str, settings: PromotionSettings, judge: JudgeSettings) -> PromotionPolicy:
    """What becomes of an accepted candidate, and of one about which too little is known."""
    return PromotionPolicy(
        registered_model=registered_model,
        mode=_mode(settings),
        alias=settings.alias,
        challenger_alias=settings.challenger_alias,
        expires=duration(judge.expires),
        takes_effect=duration(settings.takes_effect),
    )


def _mode(settings: PromotionSettings) -> PromotionMode:
    match settings.mode:
        case "automatic":
            return PromotionMode.AUTOMATIC
        case "register":
            return PromotionMode.REGISTER
        case "approval" | "shadow" | "experiment":  # not built: `run` refuses them, and nothing may be promoted
            return PromotionMode.REGISTER
        case _:
            assert_never(settings.mode)


def limits_of(settings: LimitSettings) -> Limits:
    """What a training process may use."""
    return Limits(time=settings.time, memory=settings.memory, cpus=settings.cpus)


def silence_policy(model: ModelSettings) -> SilencePolicy:
    """How long the model's events may stay away."""
    expected = {Side.PREDICTIONS: model.predictions.expect_every, Side.LABELS: model.labels.expect_every}
    return SilencePolicy(
        model=model.name,
        expect_every={side: duration(every) for side, every in expected.items() if every is not None},
    )


def _coverage(model: ModelSettings) -> CoveragePolicy:
    max_delay, mature_after = duration(model.labels.max_delay), model.labels.mature_after
    return CoveragePolicy(
        width=width_of(max_delay),
        max_delay=max_delay,
        mature_after=None if mature_after is None else duration(mature_after),
    )


def _ingest_policy(model: ModelSettings) -> IngestPolicy:
    predictions, labels = model.predictions, model.labels
    fields, absent = predictions.fields, labels.absent
    classes = None if model.classes is None else frozenset(model.classes)
    return IngestPolicy(
        model=model.name,
        predictions=EventMapping(
            topic=predictions.topic,
            id=fields.id,
            time=fields.time,
            value=fields.value,
            version=fields.version,
            score=fields.score,
            where=predictions.where,
            classes=classes,
            features=fields.features,
            scores=_scores(model),
            positive=model.positive,
            task=model.task,
            slices=model.slices,
        ),
        labels=EventMapping(
            topic=labels.topic,
            id=labels.fields.id,
            time=labels.fields.time,
            value=labels.fields.value,
            where=labels.where,
            classes=classes,
            task=model.task,
        ),
        join=JoinPolicy(
            max_delay=duration(labels.max_delay),
            lateness=duration(labels.lateness),
            corrections=labels.corrections,
            absent=None if absent is None else Absent(after=duration(absent.after), value=absent.value),
        ),
    )


def _scores(model: ModelSettings) -> Scores:
    """How closely scores are read: as they are for metrics of scores, rounded for estimates without labels.

    For an estimate alone only where `positive` says what a score speaks of: taken for the confidence in the answer, the
    probability of a class would estimate nonsense.
    """
    if model.task == "regression" or model.predictions.fields.score is None:
        return "none"
    named = {*model.metrics, *model.judge.floors, *(trigger.metric for trigger in model.triggers.values())}
    if any(name in METRICS and METRICS[name].needs_score for name in named if name):
        return "exact"
    return "none" if model.positive is None else "binned"


def _triggers(model: ModelSettings) -> dict[str, Trigger]:
    """The triggers that are asked slot by slot; a model that configures none at all gets the policy that serves most
    users."""
    if not model.triggers:
        return {
            DEFAULT_TRIGGER: _quality_trigger(ChangeSettings(metric=_outcome_metric(model)), model),
            DEFAULT_TRIAL: _trial(TrialSettings(), model),
        }
    made = {name: _trigger(name, trigger, model) for name, trigger in model.triggers.items()}
    return {name: trigger for name, trigger in made.items() if trigger is not None}


def _outcome_metric(model: ModelSettings) -> str:
    """The first metric where it is a mean over outcomes, which a sequential test needs; else the task's own."""
    first = model.metrics[0]
    return first if METRICS[first].moments is not None else DEFAULT_METRIC[model.task]


def _trigger(name: str, trigger: TriggerSettings, model: ModelSettings) -> Trigger | None:
    """One that is asked slot by slot; None of a schedule."""
    match trigger.settings:
        case OwnTrigger() as own:
            try:
                return load_trigger(own.entry, own.settings)
            except ValueError as error:
                raise UnusableTrigger(name, own.entry, str(error)) from None
        case ThresholdSettings() | DropSettings() | ChangeSettings() as settings:
            return _quality_trigger(settings, model)
        case DriftSettings() as settings:
            return Drift(
                newest=_window(settings.window),
                features=settings.features,
                confidence=settings.confidence,
                launches=settings.launches,
            )
        case NewClassSettings() as settings:
            return NewClass(labels=settings.labels)
        case VolumeSettings() | TrialSettings() as settings:
            return _due_trigger(settings, model)
        case ScheduleSettings():
            return None


def _quality_trigger(settings: ThresholdSettings | DropSettings | ChangeSettings, model: ModelSettings) -> Trigger:
    if isinstance(settings, ThresholdSettings):
        return _threshold(settings, model.positive)
    if isinstance(settings, ChangeSettings):
        return Change(metric=settings.metric, confidence=settings.confidence)
    return Drop(
        metric=settings.metric,
        by=settings.by,
        window=_window(settings.window),
        breaches=settings.breaches,
        confident=settings.confident,
        positive=model.positive,
        min_labels=model.guards.min_labels,
    )


def _due_trigger(settings: VolumeSettings | TrialSettings, model: ModelSettings) -> Trigger:
    if isinstance(settings, VolumeSettings):
        return Volume(labels=settings.labels)
    return _trial(settings, model)


def _trial(settings: TrialSettings, model: ModelSettings) -> Trial:
    return Trial(
        times=settings.times,
        price=settings.price,
        least=rows_needed_after_change(model.judge.min_rows),
        metric=model.metrics[0],
        positive=model.positive,
    )


def _threshold(settings: ThresholdSettings, positive: str | None) -> Threshold:
    return Threshold(
        metric=settings.metric,
        window=_window(settings.window),
        below=settings.below,
        above=settings.above,
        warn_below=settings.warn_below,
        warn_above=settings.warn_above,
        breaches=settings.breaches,
        confident=settings.confident,
        positive=positive,
    )


def _window(window: int | timedelta) -> Window:
    return CountWindow(outcomes=window) if isinstance(window, int) else TimeWindow(span=duration(window))


def _schedules(model: ModelSettings) -> dict[str, Timetable]:
    return {
        name: _timetable(trigger.schedule) for name, trigger in model.triggers.items() if trigger.schedule is not None
    }


def _timetable(settings: ScheduleSettings) -> Timetable:
    if settings.every is not None:
        return IntervalTimetable(settings.every)
    return CronTimetable(settings.cron or "", settings.timezone.key)
