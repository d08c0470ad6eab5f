"""`module:Class`: a trigger of the user's own, wrapped so that its mistakes stay its own.

Such a class is made from its settings, as keywords, and has `evaluate(state, scene)` as `base.Trigger` says; `window`,
`every_slot` and `words(evidence)` are optional. One that raises, or answers with something else than a state that is
JSON-able and a `Reading`, is quiet in that slot, remembers what it did before, and says why in its evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from retrainer.domain.metrics.windows import CountWindow, TimeWindow, Window
from retrainer.domain.triggers.base import Level, Reading, Scene, State

_FAILED: Final = "failed"
_LONGEST: Final = 500
_LARGEST: Final = 1_000_000
"""Bytes of a state or of evidence, as JSON: both are stored at every step."""


class Misbehaved(ValueError):
    """A user's trigger has not answered as a trigger must."""


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """A user's trigger. `kind` is how the configuration names its class: `package.module:Class`."""

    kind: str
    inner: Any
    window: Window = field(default_factory=lambda: CountWindow(outcomes=1000))

    @property
    def every_slot(self) -> bool:
        """As `base.wants_every_slot` has it."""
        return getattr(self.inner, "every_slot", False) is True

    def evaluate(self, state: State, scene: Scene) -> tuple[State, Reading]:
        """What the user's trigger says; quiet, with the error as evidence, where it fails."""
        try:
            return _checked(self.inner.evaluate(_copied("state", state), scene))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raises, the service goes on
            told = f"{type(error).__name__}: {error}" if not isinstance(error, Misbehaved) else str(error)
            return state, Reading(level=Level.QUIET, evidence={_FAILED: told[:_LONGEST]})

    def words(self, evidence: Mapping[str, Any]) -> str:
        """What it saw, in its own words where it has some."""
        if _FAILED in evidence or not callable(getattr(self.inner, "words", None)):
            return words(evidence)
        try:
            return str(self.inner.words(evidence))
        except (Exception, SystemExit):  # noqa: BLE001 - as above
            return words(evidence)


def guarded(kind: str, inner: Any) -> Guarded:
    """The trigger around an instance of a user's class; its own window, if it has one that is a window."""
    window = getattr(inner, "window", None)
    if isinstance(window, CountWindow | TimeWindow):
        return Guarded(kind=kind, inner=inner, window=window)
    return Guarded(kind=kind, inner=inner)


def failure_of(reading: Reading) -> str | None:
    """Why a user's trigger could not be asked; None where it was.

    It is worth reporting (`trigger.failed`) where the reading before was none: the next ones will be failures too.
    """
    found = reading.evidence.get(_FAILED)
    return str(found) if found is not None and reading.level is Level.QUIET else None


def words(evidence: Mapping[str, Any]) -> str:
    """What any trigger saw, fact by fact."""
    if _FAILED in evidence:
        return f"it failed: {evidence[_FAILED]}"
    return ", ".join(f"{name} {value}" for name, value in evidence.items()) or "nothing to tell"


def _checked(answer: object) -> tuple[State, Reading]:
    match answer:
        case (Mapping() as state, Reading() as reading) if isinstance(reading.level, Level):
            evidence = _copied("evidence", reading.evidence)
            if reading.began is not None and not isinstance(reading.began, int):
                raise Misbehaved("expected began in microseconds of event time, or None")
            return _copied("state", state), Reading(level=reading.level, evidence=evidence, began=reading.began)
        case _:
            raise Misbehaved(f"expected a state and a Reading, got {type(answer).__name__}: {str(answer)[:200]}")


def _copied(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as they come back from where they are stored, so that nobody else holds them."""
    try:
        stored = msgspec.json.encode(dict(facts))
    except (TypeError, ValueError, RecursionError) as error:
        raise Misbehaved(f"its {name} cannot be stored as JSON: {error}") from None
    if len(stored) > _LARGEST:
        raise Misbehaved(f"its {name} has {len(stored)} bytes, of which at most {_LARGEST} can be stored")
    found: dict[str, Any] = msgspec.json.decode(stored)
    return found
