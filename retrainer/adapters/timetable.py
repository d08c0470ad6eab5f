"""When schedules fire, by APScheduler's triggers. They are pure: given a moment they name the next one.

No scheduler thread runs and no job store holds truth: the controller keeps each schedule's last fire time and asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_TICK: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class CronTimetable:
    """A cron expression of five fields, meaning what it means in cron, in a time zone."""

    def __init__(self, cron: str, timezone: str) -> None:
        minute, hour, day, month, weekday = cron.split()
        fields = {"minute": minute, "hour": hour, "month": month, "timezone": ZoneInfo(timezone)}
        by_day = CronTrigger(day=day, **fields)
        by_weekday = CronTrigger(day_of_week=_weekdays(weekday), **fields)
        self._trigger = _combined(by_day, by_weekday, day, weekday)

    def next_after(self, moment: datetime) -> datetime | None:
        found = self._trigger.get_next_fire_time(None, moment + _TICK)
        return None if found is None else found.astimezone(UTC)


class IntervalTimetable:
    """Every so often, counted from 1970, so that a restart does not shift it."""

    def __init__(self, every: timedelta) -> None:
        self._trigger = IntervalTrigger(seconds=every.total_seconds(), start_date=_EPOCH, timezone=UTC)

    def next_after(self, moment: datetime) -> datetime | None:
        found = self._trigger.get_next_fire_time(None, moment + _TICK)
        return None if found is None else found.astimezone(UTC)


def _combined(by_day: CronTrigger, by_weekday: CronTrigger, day: str, weekday: str) -> BaseTrigger:
    """Cron takes either of day and weekday where both are limited; APScheduler would ask for both."""
    if weekday == "*":
        return by_day
    return by_weekday if day == "*" else OrTrigger([by_day, by_weekday])


def _weekdays(field: str) -> str:
    """Numbers from 0 = Sunday, as in cron, to names; APScheduler counts from 0 = Monday."""
    if field == "*":
        return field
    return ",".join(name for part in field.lower().split(",") for name in _names(part))


def _names(part: str) -> Iterator[str]:
    span, _, step = part.partition("/")
    first, _, last = span.partition("-")
    if first == "*":
        low, high = 0, 6
    else:
        low = _number(first)
        high = _number(last) if last else (6 if step else low)
    if high < low:
        high += 7
    for number in range(low, high + 1, int(step or 1)):
        yield _WEEKDAYS[number % 7]


def _number(weekday: str) -> int:
    return _WEEKDAYS.index(weekday) if weekday in _WEEKDAYS else int(weekday)
