"""`change`: silent while quality holds, soon after it drops; and what it remembers survives a restart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from retrainer.domain.triggers.base import Reading, Scene, State
from retrainer.domain.triggers.change import Change
from retrainer.domain.values import SLOT_WIDTH, iso
from retrainer.domain.windows import CountWindow, History

SLOT = 100
"""Outcomes in a slot of these lives."""


def life(rates: Sequence[float], seed: int, *, restarting: bool = False) -> list[Reading]:
    """What the trigger says at the end of each slot, given the accuracy in it."""
    chance, trigger, history = Random(seed), Change(), History(CountWindow(outcomes=10))
    state: State = {}
    readings = []
    for slot, rate in enumerate(rates):
        hits = sum(chance.random() < rate for _ in range(SLOT))
        history.add(slot, Counter({("a", "a"): hits, ("a", "b"): SLOT - hits}))
        state, reading = trigger.evaluate(
            json.loads(json.dumps(state)) if restarting else state, Scene(history=history)
        )
        readings.append(reading)
    return readings


def first_fired(readings: Sequence[Reading]) -> int | None:
    return next((slot for slot, reading in enumerate(readings) if reading.fired), None)


def test_it_hardly_ever_fires_while_quality_holds() -> None:
    fired = [first_fired(life([0.9] * 300, seed)) is not None for seed in range(60)]
    assert sum(fired) <= 3  # the promise is at most one in twenty, in lives over thirty times as long


def test_it_never_fires_when_quality_rises() -> None:
    assert first_fired(life([0.8] * 20 + [0.95] * 300, 1)) is None


@pytest.mark.parametrize(("after", "within"), [(0.8, 2_500), (0.7, 800)])
def test_it_fires_soon_after_a_drop_and_says_when_it_began(after: float, within: int) -> None:
    for seed in range(20):
        readings = life([0.9] * 100 + [after] * 60, seed)
        slot = first_fired(readings)
        assert slot is not None
        assert 100 <= slot <= 100 + within // SLOT
        began = readings[slot].evidence["began"]
        assert iso(80 * SLOT_WIDTH) <= began <= iso(110 * SLOT_WIDTH)


def test_it_says_nothing_before_the_reference_is_known() -> None:
    readings = life([0.9] * 9, 0)
    assert not any(reading.fired for reading in readings)
    assert readings[-1].evidence == {"reference": "900 of 1000 outcomes"}


def test_it_stays_fired_and_a_restart_changes_nothing() -> None:
    rates = [0.9] * 50 + [0.7] * 20 + [0.95] * 50
    readings = life(rates, 3)
    slot = first_fired(readings)
    assert slot is not None
    assert all(reading.fired for reading in readings[slot:])
    assert life(rates, 3, restarting=True) == readings
