"""The whole configuration, resolved once and frozen. The attributes mirror the file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from retrainer.config.client import Client
from retrainer.config.forms import Tokens
from retrainer.config.model import ModelSettings
from retrainer.config.notation import (
    Address,
    Age,
    Count,
    DatabaseUrl,
    EventPattern,
    Name,
    Servers,
    Size,
    Span,
    StartPoint,
    Text,
    Topic,
    TrackingUri,
    Url,
)
from retrainer.config.section import NOT_EMPTY, Section


class OauthSettings(Section):
    """Where tokens for Kafka come from, with SASL's mechanism OAUTHBEARER."""

    token_url: Url
    client_id: Text
    client_secret: Text
    scope: Text | None = None


class KafkaSettings(Section):
    """Where the topics are."""

    bootstrap_servers: Servers
    group_id: Text = "retrainer"
    start: StartPoint = timedelta(days=7)
    """Where the first start begins: so far back, earliest, latest, or at a time."""
    rekey: bool | None = None
    """Whether topics that are not co-partitioned go through an internal topic; null: they do not."""
    oauth: OauthSettings | None = None
    client: Client = Field(default_factory=dict)
    """Security and network settings in kafka-python's names."""


class FlushSettings(Section):
    """When what was read is made durable: whichever comes first."""

    every: Span = timedelta(seconds=2)
    bytes: Size = 64 * 2**20


class QuarantineSettings(Section):
    """How much of what could not be used is kept, of each topic and model."""

    keep: Span = timedelta(days=30)
    records: Count = 100_000


class StateSettings(Section):
    """Where retrainer keeps its own state. Relative paths are relative to the configuration file."""

    folder: Text | None = None
    """The local working folder: locks, jobs, snapshots; null: the folder of the SQLite file."""
    database: DatabaseUrl = "sqlite:///state/retrainer.db"
    segments: Text = "state/segments"
    """A folder, or any fsspec URL."""
    flush: FlushSettings = FlushSettings()
    memory: Size = 2 * 2**30
    """Of the ingest worker."""
    retention: Span = timedelta(days=90)
    """Of segments; datasets live as long as their model version."""
    minutes: Span | None = None
    """How long tallies are kept by the minute; null: as long as the state."""
    keep: Age | None = None
    """Decisions, ledger and audit older than this are exported, then removed; null: none are."""
    quarantine: QuarantineSettings | None = None
    """What is kept of records that could not be used; null: all of it."""


class MlflowSettings(Section):
    """Where runs and models are recorded."""

    tracking_uri: TrackingUri = "sqlite:///state/mlflow.db"
    registry_uri: TrackingUri | None = None
    """Null: the tracking URI."""
    artifacts: Text = "state/artifacts"
    """Where a new experiment puts artefacts; ignored where the server decides."""
    experiment: Text = "retrainer"
    trust: Literal["any", "ours", "none"] | None = None
    """Whose champions the judge may load; null: any."""


class LogSettings(Section):
    """How the log is written."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class NotifySettings(Section):
    """A webhook."""

    url: Url
    on: Annotated[tuple[EventPattern, ...], NOT_EMPTY]
    """The events to send."""
    secret: Text | None = None
    """Signs what is sent."""
    format: Literal["cloudevents", "slack"] | None = None
    """Null: cloudevents."""
    headers: Mapping[str, Text] = Field(default_factory=dict)


class ServiceSettings(Section):
    """The service around the models."""

    http: Address | None = "127.0.0.1:8080"
    """Null turns it off."""
    url: Url | None = None
    """Where people reach the page; links in notifications use it."""
    own_code: bool | None = None
    """Whether triggers of your own may run with the service's rights; null: they may."""
    token: Tokens | None = None
    """Without one every POST answers 403. Several, each with the name that stands in the audit."""
    log: LogSettings = LogSettings()
    jobs: Count = 1
    """Trainings at a time, over all models."""
    quarantine_topic: Topic | None = None
    """A copy of what could not be used."""
    lifecycle_topic: Topic | None = None
    """CloudEvents about jobs, promotions and rollbacks."""
    notify: tuple[NotifySettings, ...] = ()


def _registered_under_their_names(models: Any) -> Any:
    if not isinstance(models, Mapping):
        return models
    return {name: _registered(name, model) for name, model in models.items()}


def _registered(name: str, model: Any) -> Any:
    if not isinstance(model, Mapping) or model.get("registered_model") is not None:
        return model
    return {**model, "registered_model": name}


class Settings(Section):
    """The configuration of retrainer."""

    kafka: KafkaSettings
    state: StateSettings = StateSettings()
    mlflow: MlflowSettings = MlflowSettings()
    service: ServiceSettings = ServiceSettings()
    models: Annotated[Mapping[Name, ModelSettings], BeforeValidator(_registered_under_their_names), NOT_EMPTY]

    @model_validator(mode="after")
    def _models_know_their_names(self) -> Settings:
        for name, model in self.models.items():
            model._name = name  # noqa: SLF001 - a section does not know its own key
        return self
