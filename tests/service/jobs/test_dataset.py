"""The rows that a candidate learns from: what was known by its decision, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrainer.domain.events import Label, Origin, Partition, Prediction
from retrainer.domain.join.rules import Absent
from retrainer.domain.judging.order import RowsPolicy
from retrainer.domain.mapping.mapping import Field
from retrainer.domain.values import Micros
from retrainer.ports.training import DatasetRow
from retrainer.service.jobs.dataset import Dataset
from retrainer.service.policy import ModelPolicy
from tests.domain.oracle import expected
from tests.effort import much
from tests.service.controlling import Control, model
from tests.service.world import FLIGHTS, LABELS, MINUTE, PREDICTIONS, World, at, policy

AT_ONCE = model(mature_after=0)
"""Outcomes are mature as soon as they are known."""


class Built:
    """A dataset built from what a world has consumed."""

    def __init__(self, world: World, folder: Path, policy: ModelPolicy, known_by: Micros) -> None:
        control = Control(world, folder, policy)
        self.dataset: Dataset | None = control.parts().datasets.build(policy, known_by, folder / "dataset")
        self.rows: Sequence[DatasetRow] = control.rows.written[-1] if control.rows.written else []

    @property
    def ids(self) -> list[str]:
        return [row.id for row in self.rows]


def build(world: World, folder: Path, known_by: float, policy: ModelPolicy = AT_ONCE) -> Built:
    """Consume what was written, and build."""
    world.settle(world.worker())
    return Built(world, folder, policy, at(known_by))


# Rows


def test_rows_are_outcomes_with_their_features_in_time_order(world: World, tmp_path: Path, kept: str) -> None:
    world.predict(2, 20, "late", hour=7, carrier="UA", delay=float("1.5"))
    world.label(2, 30, "on_time")
    world.settle(world.worker())
    world.label(1, 25, "late")
    world.predict(1, 10, "late", hour=8, version="9")
    world.predict(3, 11, "late")
    built = build(world, tmp_path, 60)
    assert built.rows == [
        DatasetRow(
            id="1",
            predicted_at=at(10),
            known_at=at(25),
            label="late",
            prediction="late",
            version="9",
            features={"hour": 8},
        ),
        DatasetRow(
            id="2",
            predicted_at=at(20),
            known_at=at(30),
            label="on_time",
            prediction="late",
            version="1",
            features={"hour": 7, "carrier": "UA", "delay": 1.5},
        ),
    ]
    assert built.dataset == Dataset(rows=2, digest="digest-2", first=at(10), last=at(20), mature_after=0)


def test_a_row_has_the_answer_and_the_score_beside_it(tmp_path: Path) -> None:
    flights = policy()
    mapping = replace(flights.predictions, score=Field(paths=("score",)), scores="exact", positive="late")
    scored = replace(flights, predictions=mapping)
    world = World(models=(scored,))
    world.predict("a", 10, "late", score=0.75)
    world.predict("b", 11, "on_time", score={"late": 0.25, "on_time": 0.75})
    world.predict("c", 12, "late", score="high")
    for key in "abc":
        world.label(key, 15, "late")
    rows = build(world, tmp_path, 60, model(ingest=scored, mature_after=0)).rows
    told = [(row.prediction, row.score) for row in rows]
    assert told == [("late", 0.75), ("on_time", {"late": 0.25, "on_time": 0.75}), ("late", None)]
    assert all(row.features == {} for row in rows)


def test_predictions_of_one_moment_are_in_the_order_of_their_ids(world: World, tmp_path: Path) -> None:
    for key in ("b", "c", "a"):
        world.predict(key, 10)
        world.label(key, 11)
    assert build(world, tmp_path, 60).ids == ["a", "b", "c"]


def test_without_outcomes_there_is_no_dataset(world: World, tmp_path: Path) -> None:
    world.predict("f1", 10)
    assert build(world, tmp_path, 60).dataset is None


def test_records_in_quarantine_are_left_out(world: World, tmp_path: Path) -> None:
    world.predict("f1", 10)
    world.write(Partition(PREDICTIONS, 0), b"\xff")
    world.write(Partition(LABELS, 0), None)
    world.write(Partition(LABELS, 0), b'{"id": "f1", "label": "late"}')
    world.write(Partition(PREDICTIONS, 0), b'{"id": "f1", "time": 0, "prediction": null}')
    world.label("f1", 20)
    assert build(world, tmp_path, 60).ids == ["f1"]


def test_only_the_models_own_events(tmp_path: Path) -> None:
    own, other = policy(where={"airline": "UA"}), policy("other", where={"airline": "DL"})
    world = World(models=(own, other))
    for minute, airline in ((10, "UA"), (9, "DL")):  # two models may well use the same ids
        world.predict("f1", minute, airline=airline)
        world.label("f1", 30 - minute, "late" if airline == "UA" else "on_time", airline=airline)
    built = build(world, tmp_path, 60, replace(AT_ONCE, ingest=own))
    assert [(row.predicted_at, row.known_at, row.label) for row in built.rows] == [(at(10), at(20), "late")]
    assert built.rows[0].features == {}  # what tells models apart tells nothing about the outcome


def test_a_label_that_was_taken_back_makes_no_row_from_then_on(tmp_path: Path) -> None:
    keyed = replace(FLIGHTS, labels=replace(FLIGHTS.labels, id=(Field(paths=("id", "$key")),)))
    world = World(models=(keyed,))
    world.predict("f1", 10)
    world.label("f1", 20)
    world.write(Partition(LABELS, 0), None, key=b"f1", timestamp=at(30) // 1000)
    own = replace(AT_ONCE, ingest=keyed)
    assert build(world, tmp_path, 30, own).ids == ["f1"]
    assert build(world, tmp_path, 31, own).dataset is None


def test_what_the_absence_of_a_label_implies_is_a_row_once_its_slot_has_passed(tmp_path: Path) -> None:
    silent = policy(absent=Absent(after=20 * MINUTE, value="on_time"))
    world = World(models=(silent,))
    world.predict("f1", 10)
    world.predict("f2", 10)
    world.label("f2", 12, "late")
    own = replace(AT_ONCE, ingest=silent)
    assert build(world, tmp_path, 30, own).ids == ["f2"]
    first, second = build(world, tmp_path, 31, own).rows
    assert (first.id, first.label, first.known_at) == ("f1", "on_time", at(30))
    assert (second.id, second.label, second.known_at) == ("f2", "late", at(12))


def test_nothing_is_mature_before_the_absence_of_a_label_means_something(tmp_path: Path) -> None:
    silent = policy(absent=Absent(after=20 * MINUTE, value="on_time"))
    world = World(models=(silent,))
    for minute in range(30):
        world.predict(minute, minute)
        world.label(minute, minute + 1)
    built = build(world, tmp_path, 35, replace(model(), ingest=silent))
    assert built.dataset is not None
    assert (built.dataset.rows, built.dataset.mature_after) == (16, 20 * MINUTE)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_features_are_those_of_the_prediction_that_counts(world: World, tmp_path: Path, order: Sequence[int]) -> None:
    duplicates = [{"minute": 10, "hour": 1}, {"minute": 11, "hour": 2}]
    for number in order:
        world.predict("f1", **duplicates[number])  # type: ignore[arg-type]  # keywords of one type each
        world.settle(world.worker())
    world.label("f1", 20)
    (row,) = build(world, tmp_path, 60).rows
    assert (row.predicted_at, row.features) == (at(10), {"hour": 1})


# What was known


def test_what_came_to_be_known_later_is_left_out(world: World, tmp_path: Path) -> None:
    for key, minute in (("before", 29.99), ("then", 30), ("after", 31)):
        world.predict(key, 10)
        world.label(key, minute)
    assert build(world, tmp_path, 30).ids == ["before"]


def test_a_prediction_of_the_next_slot_is_left_out_although_its_label_is_older(world: World, tmp_path: Path) -> None:
    world.predict("f1", 30)
    world.label("f1", 20)
    assert build(world, tmp_path, 30).dataset is None
    assert build(world, tmp_path, 31).ids == ["f1"]


def test_a_correction_counts_once_it_was_known(world: World, tmp_path: Path) -> None:
    world.predict("f1", 10)
    world.label("f1", 20, "late")
    world.label("f1", 40, "on_time")
    assert [build(world, tmp_path, minute).rows[0].label for minute in (30, 40, 41)] == ["late", "late", "on_time"]
    assert build(world, tmp_path, 41).rows[0].known_at == at(40)


def test_where_the_first_label_counts_a_correction_never_does(tmp_path: Path) -> None:
    first = policy(corrections="first")
    world = World(models=(first,))
    world.predict("f1", 10)
    world.label("f1", 20, "late")
    world.label("f1", 40, "on_time")
    assert build(world, tmp_path, 60, replace(AT_ONCE, ingest=first)).rows[0].label == "late"


def test_labels_beyond_the_longest_delay_never_count(world: World, tmp_path: Path) -> None:
    world.predict("f1", 10)
    world.label("f1", 71)
    assert build(world, tmp_path, 100).dataset is None


def test_what_is_consumed_later_changes_nothing(world: World, tmp_path: Path) -> None:
    for number in range(5):
        world.predict(number, number)
        world.label(number, number + 5)
    before = build(world, tmp_path, 8).rows
    for number in range(5, 9):
        world.predict(number, number + 3)
        world.label(number - 1, number + 4, "on_time")
    assert build(world, tmp_path, 8).rows == before


# What has matured


def test_only_what_had_the_time_that_labels_usually_take(world: World, tmp_path: Path) -> None:
    for number in range(40):
        world.predict(number, number)
        world.label(number, number + (20 if number < 20 else 1))
    built = build(world, tmp_path, 50, model())
    assert built.dataset is not None
    assert built.dataset.mature_after == 20 * MINUTE
    assert built.ids == [str(number) for number in range(31)]  # though the quick ones are known, too


def test_a_few_slow_labels_hold_nobody_up(world: World, tmp_path: Path) -> None:
    for number in range(100):
        world.predict(number, 0)
        world.label(number, 50 if number < 4 else 1)
    built = build(world, tmp_path, 60, model())
    assert built.dataset is not None
    assert built.dataset.mature_after == MINUTE


def test_the_owner_may_say_when_outcomes_are_mature(world: World, tmp_path: Path) -> None:
    for number in range(10):
        world.predict(number, number)
        world.label(number, number + 1)
    built = build(world, tmp_path, 20, model(mature_after=15 * MINUTE))
    assert built.ids == [str(number) for number in range(6)]


# Which of them


@pytest.mark.parametrize(
    ("rows", "first"),
    [
        (RowsPolicy(kind="all"), 0),
        (RowsPolicy(kind="auto"), 0),
        (RowsPolicy(kind="last", count=3), 7),
        (RowsPolicy(kind="last", count=99), 0),
        (RowsPolicy(kind="last", span=16 * MINUTE), 4),
    ],
)
def test_the_policy_for_rows_chooses(world: World, tmp_path: Path, rows: RowsPolicy, first: int) -> None:
    worker = world.worker()
    for number in range(10):
        world.predict(number, number)
        world.label(number, number + 5)
        world.settle(worker)
    built = build(world, tmp_path, 20, model(mature_after=0, rows=rows))
    assert built.ids == [str(number) for number in range(first, 10)]


# All of it at once

EVENTS = st.lists(
    st.tuples(
        st.sampled_from([PREDICTIONS, LABELS]), st.integers(0, 5), st.integers(0, 40), st.sampled_from(["a", "b"])
    ),
    max_size=25,
)


@settings(max_examples=much(100), deadline=None)
@given(events=EVENTS, known_by=st.integers(1, 45), cut=st.integers(0, 25))
def test_the_rows_are_the_outcomes_of_the_events_known_by_then(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[str, int, int, str]],
    known_by: int,
    cut: int,
) -> None:
    world = World()
    known: list[Prediction | Label] = []
    for number, (topic, key, minute, value) in enumerate(events):
        if number == cut:
            world.settle(world.worker())
        if topic == PREDICTIONS:
            origin = Origin(topic, 0, world.predict(key, minute, value))
            known += [Prediction(str(key), at(minute), origin, value, "1")] if minute < known_by else []
        else:
            origin = Origin(topic, 0, world.label(key, minute, value))
            known += [Label(str(key), at(minute), origin, value)] if minute < known_by else []
    built = build(world, tmp_path_factory.getbasetemp(), known_by)
    outcomes = expected(FLIGHTS.join, known).outcomes
    assert {row.id: (row.predicted_at, row.label, row.prediction) for row in built.rows} == {
        key: (prediction.time, label.value, prediction.value) for key, (prediction, label) in outcomes.items()
    }
    assert all(row.known_at < at(known_by) for row in built.rows)


def test_a_model_that_came_later_learns_from_what_only_it_can_use(tmp_path: Path) -> None:
    """When those records were read, nobody could say how new the events in them are."""
    first, second = policy(where={"airline": "UA"}), policy("second", where={"airline": "DL"})
    world = World(models=(first,))
    world.predict("f1", 10, airline="DL")
    world.label("f1", 20, airline="DL")
    world.settle(world.worker())
    world.models = (first, second)
    recent = replace(AT_ONCE.recipe, rows=RowsPolicy(kind="last", span=60 * MINUTE))
    assert build(world, tmp_path, 60, replace(AT_ONCE, ingest=second, recipe=recent)).ids == ["f1"]
