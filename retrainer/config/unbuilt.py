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
class _Gap:
    """Keys (`*` is any one) whose values, where `asks` says so, ask for something that is not built."""

    pattern: str
    reason: str
    asks: Asks = _always

    def fits(self, path: KeyPath) -> bool:
        steps = self.pattern.split(".")
        return len(steps) == len(path) and all(step in ("*", key) for step, key in zip(steps, path, strict=True))


def _is(*values: object) -> Asks:
    return lambda value: value in values


def _is_full(value: Any) -> bool:
    return bool(value)


def _is_not_sqlite(value: Any) -> bool:
    return not str(value).startswith("sqlite:")


def _is_remote(value: Any) -> bool:
    return "://" in str(value) and not str(value).startswith("file:")


_GAPS: Final = (
    _Gap("state.database", "only SQLite is supported", _is_not_sqlite),
    _Gap("state.segments", "only a local folder is supported", _is_remote),
    _Gap("service.http", "there is no HTTP server"),
    _Gap("service.token", "there is no HTTP server"),
    _Gap("service.quarantine_topic", "quarantined records are not copied"),
    _Gap("service.lifecycle_topic", "nothing is published"),
    _Gap("service.notify", "there are no webhooks", _is_full),
    _Gap("models.*.training.entrypoint", "only an estimator can be trained"),
    _Gap("models.*.training.command", "only an estimator can be trained"),
    _Gap("models.*.training.search", "parameters are not searched"),
    _Gap("models.*.promotion.mode", "only automatic and register are supported", _is("approval", "shadow")),
    _Gap("models.*.promotion.probation", "a new champion is not watched"),
)


def unbuilt(root: Located) -> Iterator[Unbuilt]:
    """The keys of a file that ask for what is not built; null asks for nothing."""
    for path, found in root.walk():
        for gap in _GAPS:
            if found.value is not None and gap.fits(path) and gap.asks(found.plain()):
                yield Unbuilt(key=".".join(map(str, path)), line=found.line, reason=gap.reason)
