"""The capabilities that the configuration knows and retrainer does not have yet.

To build one is to remove its line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from retrainer.config.document import KeyPath, Located


@dataclass(frozen=True, kw_only=True)
class Unbuilt:
    """A key in a file that asks for what is not built yet."""

    key: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"not built yet: {self.key}"


Asks = Callable[[Any], bool]


def _always(_: Any) -> bool:
    return True


@dataclass(frozen=True)
class _UnbuiltKey:
    """Keys (`*` is any one) whose values, where `asks` says so, ask for something that is not built."""

    pattern: str
    reason: str
    asks: Asks = _always

    def fits(self, path: KeyPath) -> bool:
        steps = self.pattern.split(".")
        return len(steps) == len(path) and all(step in ("*", key) for step, key in zip(steps, path, strict=True))


def _is(*values: object) -> Asks:
    return lambda value: value in values


def _is_not(*values: object) -> Asks:
    return lambda value: value not in values


def _is_full(value: Any) -> bool:
    return bool(value)


def _is_sandboxed(value: Any) -> bool:
    return not isinstance(value, dict) or value.get("mode") != "none"


def _is_not_sqlite(value: Any) -> bool:
    return not str(value).startswith("sqlite:")


def _is_remote(value: Any) -> bool:
    return "://" in str(value) and not str(value).startswith("file:")


# The value that says what retrainer does today asks for nothing: `rekey: false`, `baselines: block`, and so on.
_GAPS: Final = (
    _UnbuiltKey("kafka.rekey", "topics are read as they are", _is(True)),
    _UnbuiltKey("kafka.oauth", "tokens are not fetched"),
    _UnbuiltKey("state.database", "only SQLite is supported", _is_not_sqlite),
    _UnbuiltKey("state.segments", "only a local folder is supported", _is_remote),
    _UnbuiltKey("state.minutes", "tallies are kept by the minute"),
    _UnbuiltKey("state.keep", "decisions, ledger and audit are kept"),
    _UnbuiltKey("state.quarantine", "all quarantined records are kept"),
    _UnbuiltKey("mlflow.trust", "any champion is loaded, in the isolated training process", _is_not("any")),
    _UnbuiltKey("service.http", "there is no HTTP server"),
    _UnbuiltKey("service.token", "there is no HTTP server"),
    _UnbuiltKey("service.url", "there is no HTTP server"),
    _UnbuiltKey("service.own_code", "own triggers always run with the service's rights", _is_not(True)),
    _UnbuiltKey("service.quarantine_topic", "quarantined records are not copied"),
    _UnbuiltKey("service.lifecycle_topic", "nothing is published"),
    _UnbuiltKey("service.notify", "there are no webhooks", _is_full),
    _UnbuiltKey("models.*.preset", "single keys say where values stand"),
    _UnbuiltKey("models.*.numbers", "a feature that is text stays text", _is_full),
    _UnbuiltKey("models.*.predictions.time_format", "fields.time may name a unit"),
    _UnbuiltKey("models.*.labels.time_format", "fields.time may name a unit"),
    _UnbuiltKey("models.*.labels.when_null", "a label that is null is quarantined", _is_not("quarantine")),
    _UnbuiltKey("models.*.labels.deleted", "only tombstones and deletes of CDC take a label back", _is_full),
    _UnbuiltKey("models.*.training.on", "only a process on this machine can train", _is_not("process")),
    _UnbuiltKey("models.*.training.weights", "every row counts alike"),
    _UnbuiltKey("models.*.training.pipeline", "only an estimator can be trained"),
    _UnbuiltKey("models.*.training.entrypoint", "only an estimator can be trained"),
    _UnbuiltKey("models.*.training.command", "only an estimator can be trained"),
    _UnbuiltKey("models.*.training.search", "parameters are not searched"),
    _UnbuiltKey("models.*.training.code", "own code is found in the environment alone"),
    _UnbuiltKey(
        "models.*.training.sandbox",
        "a job has limits, and no sandbox",
        _is_sandboxed,
    ),
    _UnbuiltKey("models.*.training.environment", "the job sees the usual variables", _is_full),
    _UnbuiltKey("models.*.training.price", "the trigger trial has a price of its own"),
    _UnbuiltKey("models.*.judge.by", "only evidence promotes", _is_not("evidence")),
    _UnbuiltKey("models.*.judge.baselines", "who does not beat the baselines is rejected", _is_not("block")),
    _UnbuiltKey(
        "models.*.promotion.mode", "only automatic and register are supported", _is_not("automatic", "register")
    ),
    _UnbuiltKey("models.*.promotion.approval", "nobody is asked"),
    _UnbuiltKey("models.*.promotion.probation", "a new champion is not watched"),
)


def unbuilt(root: Located) -> Iterator[Unbuilt]:
    """The keys of a file that ask for what is not built; null asks for nothing."""
    for path, found in root.walk():
        for gap in _GAPS:
            if found.value is not None and gap.fits(path) and gap.asks(found.plain()):
                yield Unbuilt(key=".".join(map(str, path)), line=found.line, reason=gap.reason)
