"""Schedules: triggers that fire by the clock, and wait from then on for a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from retrainer.domain.deciding.decisions import SCHEDULE
from retrainer.domain.deciding.memory import ModelMemory
from retrainer.domain.deciding.watch import TriggerChanged
from retrainer.domain.frozen import changed
from retrainer.domain.triggers.base import Level, Reading
from retrainer.domain.values import Micros, iso, micros, moment


class Timetable(Protocol):
    """When a schedule fires; pure, so that a replay's clock serves as well."""

    def next_after(self, moment: datetime) -> datetime | None:
        """The first fire time strictly after a moment."""
        ...


def fire(
    schedules: Mapping[str, Timetable], memory: ModelMemory, now: Micros
) -> tuple[ModelMemory, Sequence[TriggerChanged]]:
    """Each schedule that came due since its last fire is latched once, however many runs were missed.

    One that is seen for the first time fires at its next time. `now` is wall time.
    """
    told: list[TriggerChanged] = []
    for name, timetable in schedules.items():
        last = memory.fired_at.get(name)
        due = None if last is None else timetable.next_after(moment(last))
        if last is not None and (due is None or micros(due) > now):
            continue
        memory = changed(memory, fired_at={**memory.fired_at, name: now})
        if due is None:
            continue
        reading = Reading(level=Level.FIRED, evidence={"due": due.isoformat(), "fired_at": iso(now)})
        if name not in memory.latched:
            told.append(TriggerChanged(name=name, kind=SCHEDULE, reading=reading))
        memory = changed(memory, latched={**memory.latched, name: reading})
    return memory, told
