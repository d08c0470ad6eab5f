"""Cases 29 and 31: answers of MLflow that were lost, and threads that die unseen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from retrainer.adapters.memory.registry import MemoryRegistry
from retrainer.adapters.mlflow import connection as mlflow_connection
from retrainer.domain.deciding.schedules import Timetable
from retrainer.domain.values import SECOND, micros
from retrainer.errors import Unreachable
from retrainer.service.control.controller import Controller
from tests.service.control.rounds import Deciding
from tests.service.controlling import REGISTERED, Control, model, with_outcomes
from tests.service.world import at


@pytest.mark.parametrize("place", ["record_run.end", "register.end", "point.end"])
def test_case_29_a_write_whose_answer_was_lost_is_found_again_and_not_made_twice(control: Control, place: str) -> None:
    with_outcomes(control.world)
    control.promotions().reconcile(at(0))
    control.queue()
    lost = 1

    def lose(reached: str) -> None:
        nonlocal lost
        if reached == place and lost:
            lost -= 1
            raise Unreachable("timed out")

    control.registry.fail_at = lose
    assert control.run_job().state.value == "promoted"
    assert lost == 0
    assert len(control.registry.runs) == 1
    assert [version.job_id for version in control.registry.versions[REGISTERED]] == ["before-0", "flights-1"]
    assert control.registry.champion == "2"
    assert len(control.trainings.specs) == 1


def test_case_29_mlflow_itself_neither_retries_nor_waits_long() -> None:
    """Its own defaults, seven attempts of two minutes each, would repeat a create that had succeeded."""
    assert mlflow_connection._FIXED["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert int(mlflow_connection._DEFAULTS["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 30


class Hourly:
    """`schedules.Timetable`: at every full hour."""

    def next_after(self, moment: datetime) -> datetime | None:
        return datetime.fromtimestamp((micros(moment) // (3600 * SECOND) + 1) * 3600, UTC)


@pytest.mark.parametrize("restarted", [False, True])
def test_case_31_schedules_need_no_thread_and_make_up_for_missed_runs_once(restarted: bool) -> None:
    hourly: Mapping[str, Timetable] = {"hourly": Hourly()}
    deciding = Deciding(model(schedules=hourly, guards={"cooldown": 0}))
    deciding.outcomes(10, right=10)
    deciding.round()
    deciding.world.clock.advance(50 * 3600)
    if restarted:
        deciding.restart()
    deciding.round()
    deciding.end_job()
    deciding.world.clock.advance(10)
    deciding.outcomes(11, right=1)
    deciding.round()
    assert deciding.told == [("retrain", "fired")]


def test_case_31_the_death_of_a_thread_ends_the_controller(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor starts it again: nothing goes on with a thread missing."""
    controller = control.controller()

    def crash(*_: Any) -> None:
        raise ZeroDivisionError("a mistake of ours")

    controller.run_once()
    monkeypatch.setattr(MemoryRegistry, "version_at", crash)
    Controller._watch_aliases(controller)
    with pytest.raises(ZeroDivisionError):
        controller.run_once()
