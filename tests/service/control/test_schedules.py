"""Deciding by the clock; and what becomes of triggers and schedules that the owner removes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from retrainer.domain.deciding.schedules import Timetable
from retrainer.domain.deciding.watch import TriggerChanged, WatchPolicy
from retrainer.domain.values import SECOND, micros
from tests.clock import START
from tests.service.control.rounds import Deciding
from tests.service.controlling import model


def holding(**changes: Any) -> Deciding:
    return Deciding(model(**changes))


class Hourly:
    """`schedules.Timetable`: at every full hour."""

    def next_after(self, moment: datetime) -> datetime | None:
        passed = micros(moment) // (3600 * SECOND) + 1
        return datetime.fromtimestamp(passed * 3600, UTC)


def scheduled(**changes: Any) -> Deciding:
    hourly: Mapping[str, Timetable] = {"hourly": Hourly()}
    deciding = Deciding(model(schedules=hourly, **changes))
    assert START % (3600 * SECOND) == 800 * SECOND  # minutes past the hour when the tests begin
    deciding.outcomes(10, right=10)
    deciding.round()
    return deciding


def test_a_schedule_fires_when_its_time_has_come() -> None:
    deciding = scheduled()
    deciding.world.clock.advance(2799)
    assert deciding.round().decisions == []
    deciding.world.clock.advance(1)
    done = deciding.round()
    assert [decision.triggers for decision in done.decisions] == [("hourly",)]
    assert [(fact.name, fact.kind) for fact in done.facts if isinstance(fact, TriggerChanged)] == [
        ("hourly", "schedule")
    ]
    assert len(done.jobs) == 1
    assert deciding.round().decisions == []


def test_a_schedule_does_not_fire_when_it_is_first_seen() -> None:
    deciding = scheduled()
    assert deciding.rounds[-1].decisions == []
    assert deciding.decider.memory.fired_at == {"hourly": START}


def test_a_schedule_that_is_held_back_stays_due() -> None:
    deciding = scheduled(guards={"min_labels": 12})
    deciding.world.clock.advance(2800)
    deciding.round()
    for minute in (11, 12):
        deciding.outcomes(minute, right=1)
        deciding.round()
    assert deciding.told == [("hold", "min_labels"), ("retrain", "fired")]
    assert deciding.decider.memory.latched == {}


@pytest.mark.parametrize("restarted", [False, True])
def test_runs_that_were_missed_are_made_up_for_once(restarted: bool) -> None:
    deciding = scheduled(guards={"cooldown": 0})
    deciding.world.clock.advance(10 * 3600)
    if restarted:
        deciding.restart()
    deciding.round()
    deciding.end_job()
    deciding.outcomes(11, right=1)
    deciding.world.clock.advance(10)
    deciding.round()
    assert len(deciding.state.jobs()) == 1
    deciding.world.clock.advance(3600)
    deciding.round()
    assert len(deciding.state.jobs()) == 2


def test_a_schedule_that_is_due_is_not_forgotten_by_a_restart() -> None:
    deciding = scheduled(guards={"min_labels": 12})
    deciding.world.clock.advance(2800)
    deciding.round()
    deciding.restart()
    deciding.outcomes(11, right=2)
    deciding.round()
    assert deciding.told[-1] == ("retrain", "fired")


# Another configuration


def test_a_trigger_that_was_removed_fires_no_more() -> None:
    deciding = holding(guards={"min_labels": 12})
    deciding.bad()
    deciding.policy = replace(deciding.policy, watch=WatchPolicy())
    deciding.restart()
    deciding.outcomes(11, wrong=10)
    deciding.round()
    assert deciding.told == [("hold", "min_labels")]
    assert deciding.decider.memory.readings == {}


def test_a_schedule_that_was_removed_is_due_no_more() -> None:
    deciding = scheduled(guards={"min_labels": 12})
    deciding.world.clock.advance(2800)
    deciding.round()
    deciding.policy = replace(deciding.policy, schedules={})
    deciding.restart()
    deciding.outcomes(11, right=10)
    deciding.round()
    assert deciding.told == [("hold", "min_labels")]
