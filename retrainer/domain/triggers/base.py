"""What every trigger is: a policy that looks at outcomes when a slot closes, and says what it sees.

A trigger is frozen; what it must remember between slots is a small JSON-able state that the controller stores. To add
a kind, write one file beside this one and enter it where the configuration is wired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from retrainer.domain.windows import History, Window


class Level(StrEnum):
    """What a trigger says."""

    QUIET = "quiet"
    WARNED = "warned"
    FIRED = "fired"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A trigger's answer at the end of a slot, with the evidence for it."""

    level: Level = Level.QUIET
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fired(self) -> bool:
        return self.level is Level.FIRED


State = Mapping[str, Any]
"""What a trigger remembers between slots: JSON-able, made by the trigger itself, empty at each promotion."""


class QualityTrigger(Protocol):
    """A trigger over the outcomes of the champion's version."""

    @property
    def kind(self) -> str:
        """The word for it in configuration."""
        ...

    @property
    def window(self) -> Window:
        """The longest stretch of outcomes that it looks at."""
        ...

    def evaluate(self, state: State, history: History) -> tuple[State, Reading]:
        """What it says now that the newest slot of the history has closed, and what it will remember."""
        ...
