"""`new_class` and `volume`: what they count, when they fire, and how long they stay fired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import pytest

from retrainer.domain.metrics.windows import CountWindow, History
from retrainer.domain.triggers import new_class, volume
from retrainer.domain.triggers.base import Level, Reading, Scene, State
from retrainer.domain.triggers.new_class import NewClass
from retrainer.domain.triggers.volume import Volume

HISTORY = History(CountWindow(outcomes=10))
KNOWN = frozenset({"late", "on_time"})
Q, F = Level.QUIET, Level.FIRED


def said(trigger: NewClass, known: frozenset[str] | None, slots: Sequence[Mapping[str, int]]) -> list[Reading]:
    """What it says after each slot of labels, with a restart in between."""
    state: State = {}
    readings = []
    for labels in slots:
        scene = Scene(history=HISTORY, labels=labels, known_classes=known)
        state, reading = trigger.evaluate(msgspec.json.decode(msgspec.json.encode(state)), scene)
        readings.append(reading)
    return readings


def levels(trigger: NewClass, known: frozenset[str] | None, *slots: Mapping[str, int]) -> list[Level]:
    return [reading.level for reading in said(trigger, known, slots)]


class TestNewClass:
    def test_known_classes_say_nothing(self) -> None:
        assert levels(NewClass(labels=1), KNOWN, {"late": 900}, {"on_time": 3}) == [Q, Q]

    def test_it_fires_at_the_label_that_is_asked_for_and_stays_fired(self) -> None:
        diverted = {"diverted": 1}
        assert levels(NewClass(labels=3), KNOWN, diverted, diverted, {}, diverted, {}) == [Q, Q, Q, F, F]

    def test_labels_of_several_new_classes_are_not_added_up(self) -> None:
        assert levels(NewClass(labels=2), KNOWN, {"a": 1, "b": 1}, {"a": 1}) == [Q, F]

    def test_labels_that_are_taken_back_do_not_count(self) -> None:
        assert levels(NewClass(labels=2), KNOWN, {"a": 2}, {"a": -1}, {"a": 1}) == [F, Q, F]

    def test_where_nobody_knows_the_first_thousand_labels_tell(self) -> None:
        slots = [{"late": 600}, {"late": 300, "on_time": 99}, {"diverted": 1}, {"late": 1, "diverted": 1}, {"new": 1}]
        readings = said(NewClass(labels=1), None, slots)
        assert [reading.level for reading in readings] == [Q, Q, Q, Q, F]
        assert readings[-1].evidence["new"] == {"new": 1}
        assert readings[1].evidence["learning"] == "999 of 1000 labels"

    def test_a_broken_field_does_not_fill_the_memory(self) -> None:
        state: State = {}
        for number in range(500):
            scene = Scene(history=HISTORY, labels={f"id-{number}": 1}, known_classes=KNOWN)
            state, _ = NewClass(labels=2).evaluate(state, scene)
        assert len(state["counts"]) == 100

    @pytest.mark.parametrize(
        ("slot", "told"),
        [
            ({"a": 1}, 'labels name a class that the champion has never seen: "a" (1 label)'),
            ({"a": 2, "b": 1}, 'labels name classes that the champion has never seen: "a" (2 labels), "b" (1 label)'),
            ({"late": 1}, "no new class has 1 labels or more"),
        ],
    )
    def test_in_words(self, slot: Mapping[str, int], told: str) -> None:
        assert new_class.words(said(NewClass(labels=1), KNOWN, [slot])[0].evidence) == told


@pytest.mark.parametrize(("labels", "level"), [(0, Q), (4999, Q), (5000, F), (7000, F)])
def test_volume_fires_from_so_many_labels_on_and_until_the_next_job(labels: int, level: Level) -> None:
    state, reading = Volume(labels=5000).evaluate({}, Scene(history=HISTORY, since_job=labels))
    assert (state, reading.level) == ({}, level)
    assert volume.words(reading.evidence) == f"{labels:,} labels since the last job, of the 5,000 that it takes"
