"""Which triggers fire when something is due: it is time, or there is enough to learn from. Others look at quality."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from retrainer.domain.deciding.decisions import MANUAL, SCHEDULE
from retrainer.domain.triggers.base import Trigger, fires_when_due
from retrainer.domain.triggers.trial import Trial
from retrainer.domain.triggers.volume import Volume

_OFTEN_NAMED: Final = frozenset({MANUAL, SCHEDULE, Trial.kind, Volume.kind})
"""Jobs name triggers that have been removed since. Most are named as their kind is, so that they are still known."""


def due_names(triggers: Mapping[str, Trigger], schedules: Collection[str]) -> frozenset[str]:
    """The names of those among a model's triggers, present and past, that fire when something is due."""
    due = {name for name, trigger in triggers.items() if fires_when_due(trigger)} | set(schedules)
    return frozenset(due | (_OFTEN_NAMED - set(triggers)))
