"""A trigger of the user's own: whatever it does, the others go on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from retrainer.domain.metrics.windows import CountWindow, History, TimeWindow
from retrainer.domain.triggers.base import Level, Reading, Scene, State, wants_every_slot
from retrainer.domain.triggers.guarded import Guarded, failure_of, guarded
from retrainer.domain.triggers.new_class import NewClass
from retrainer.domain.triggers.volume import Volume
from tests.plain import plain_drift

SCENE = Scene(history=History(CountWindow(outcomes=10)), since_job=7)
FINE = Reading(level=Level.FIRED, evidence={"n": 1})


@dataclass
class Does:
    """A trigger that does what a test wants."""

    answer: Callable[[Any, Scene], Any]

    def evaluate(self, state: State, scene: Scene) -> Any:
        return self.answer(state, scene)


def ask(answer: Callable[[Any, Scene], Any], state: State | None = None) -> tuple[State, Reading]:
    return guarded("own:Trigger", Does(answer)).evaluate({"kept": 1} if state is None else state, SCENE)


def test_what_it_answers_is_taken_as_it_is() -> None:
    state, reading = ask(lambda state, scene: ({**state, "seen": scene.since_job}, FINE))
    assert (state, reading) == ({"kept": 1, "seen": 7}, FINE)
    assert failure_of(reading) is None


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda *_: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda *_: sys.exit(3), "SystemExit: 3"),
        (lambda *_: FINE, "expected a state and a Reading, got Reading"),
        (lambda *_: ({}, "fired"), "expected a state and a Reading, got tuple"),
        (lambda *_: ({}, Reading(level="fired")), "expected a state and a Reading"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda *_: ({"a": object()}, FINE), "its state cannot be stored as JSON"),
        (lambda *_: ({}, Reading(evidence={"a": Does})), "its evidence cannot be stored as JSON"),
        (lambda *_: ({"a": "x" * 2_000_000}, FINE), "its state has 2000008 bytes"),
        (lambda *_: ({}, Reading(began="now")), "expected began in microseconds"),  # type: ignore[arg-type]  # wrong on purpose
    ],
)
def test_a_mistake_is_told_and_changes_nothing(answer: Callable[[Any, Scene], Any], told: str) -> None:
    state, reading = ask(answer)
    assert state == {"kept": 1}
    assert reading.level is Level.QUIET
    assert (failure_of(reading) or "").startswith(told)


def test_what_it_does_to_a_state_before_it_fails_is_forgotten() -> None:
    def spoil(state: dict[str, Any], _: Scene) -> None:
        state["list"].append(2)
        raise KeyError("x")

    held = {"list": [1]}
    state, _ = ask(spoil, held)
    assert state == held == {"list": [1]}


def test_an_interruption_by_a_person_is_none_of_its_mistakes() -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(interrupted)


def test_its_window_counts_if_it_is_one() -> None:
    own = Does(lambda *_: ({}, FINE))
    assert guarded("own:Trigger", own).window == CountWindow(outcomes=1000)
    own.window = TimeWindow(span=5)  # type: ignore[attr-defined]  # optional
    assert guarded("own:Trigger", own).window == TimeWindow(span=5)
    own.window = 5  # type: ignore[attr-defined]  # optional
    assert guarded("own:Trigger", own).window == CountWindow(outcomes=1000)


def test_it_is_asked_at_every_slot_if_it_says_so() -> None:
    own = Does(lambda *_: ({}, FINE))
    assert not wants_every_slot(guarded("own:Trigger", own))
    own.every_slot = True  # type: ignore[attr-defined]  # optional
    assert wants_every_slot(guarded("own:Trigger", own))
    for trigger in (plain_drift(), NewClass(labels=1), Volume(labels=1)):  # they look at no outcomes of the champion's
        assert wants_every_slot(trigger)


def test_it_may_have_words_of_its_own() -> None:
    own = Does(lambda *_: ({}, FINE))
    made = guarded("own:Trigger", own)
    assert made.words({"n": 1, "m": 2}) == "n 1, m 2"
    own.words = lambda evidence: f"saw {evidence['n']}"  # type: ignore[attr-defined]  # optional
    assert made.words({"n": 1}) == "saw 1"
    assert made.words({"m": 1}) == "m 1", "its words have failed"
    _, failed = Guarded(kind="own:Trigger", inner=None).evaluate({}, SCENE)
    assert made.words(failed.evidence).startswith("it failed: AttributeError")
