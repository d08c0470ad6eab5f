"""Labels that are taken back, labels that are implied, and the slices in which an outcome counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from retrainer.domain.events import Side
from retrainer.domain.join.rules import Absent, Entry, JoinPolicy, Outcome, outcome_of, with_label, with_prediction
from retrainer.domain.tally.tallies import WHOLE
from retrainer.domain.values import Micros
from tests.domain.join.reader import HOUR, THE_END, Event, Reader, cell, read
from tests.domain.making import MINUTE, label, prediction, retraction


class TestRetractions:
    def test_takes_the_outcome_out_at_its_own_time(self) -> None:
        counts, tallies = read(HOUR, prediction("a", 0), label("a", MINUTE), retraction("a", 5 * MINUTE))
        assert tallies == {cell(1, "x"): 1, cell(5, "x"): -1}
        assert counts == {
            (Side.PREDICTIONS, "consumed"): 1,
            (Side.PREDICTIONS, "pending"): 1,
            (Side.LABELS, "consumed"): 2,
            (Side.LABELS, "superseded"): 1,
            (Side.LABELS, "retracting"): 1,
        }

    def test_once_however_often_it_is_said(self) -> None:
        again = [retraction("a", minute * MINUTE) for minute in (5, 6, 6)]
        counts, tallies = read(HOUR, prediction("a", 0), label("a", MINUTE), *again)
        assert tallies == {cell(1, "x"): 1, cell(5, "x"): -1}
        assert counts[Side.LABELS, "retracting"] == 3

    def test_of_nothing_changes_nothing_also_for_the_labels_after_it(self) -> None:
        counts, tallies = read(HOUR, prediction("a", 0), retraction("a", MINUTE), label("a", 2 * MINUTE))
        assert tallies == {cell(2, "x"): 1}
        assert counts[Side.PREDICTIONS, "joined"] == 1

    @pytest.mark.parametrize("corrections", ["last", "first"])
    def test_a_label_after_it_counts_again(self, corrections: Literal["last", "first"]) -> None:
        policy = replace(HOUR, corrections=corrections)
        events: list[Event] = [
            prediction("a", 0),
            label("a", MINUTE, "x"),
            retraction("a", 3 * MINUTE),
            label("a", 5 * MINUTE, "y"),
        ]
        counts, tallies = read(policy, *events)
        assert tallies == {cell(1, "x"): 1, cell(3, "x"): -1, cell(5, "y"): 1}
        assert counts[Side.LABELS, "applied"] == 1

    def test_of_a_correction_brings_the_old_label_not_back(self) -> None:
        labels = [label("a", MINUTE, "x"), label("a", 2 * MINUTE, "y"), retraction("a", 3 * MINUTE)]
        assert sum(read(HOUR, prediction("a", 0), *labels)[1].values()) == 0

    def test_of_the_same_moment_is_after_the_label_by_offset(self) -> None:
        assert read(HOUR, prediction("a", 0), label("a", MINUTE), retraction("a", MINUTE))[1] == {}
        assert read(HOUR, prediction("a", 0), retraction("a", MINUTE), label("a", MINUTE))[1] == {cell(1, "x"): 1}

    def test_waits_for_its_prediction_as_labels_do(self) -> None:
        assert read(HOUR, retraction("a", MINUTE))[0][Side.LABELS, "waiting"] == 1
        assert read(HOUR, retraction("a", MINUTE), label("a", 0), prediction("a", 2 * MINUTE))[1] == {}

    @pytest.mark.parametrize(("delay", "status"), [(60 * MINUTE + 1, "late"), (-61 * MINUTE - 1, "orphaned")])
    def test_beyond_the_longest_delay_takes_nothing_back(self, delay: Micros, status: str) -> None:
        events: list[Event] = [
            prediction("a", 100 * MINUTE),
            label("a", 101 * MINUTE),
            retraction("a", 100 * MINUTE + delay),
        ]
        counts, tallies = read(HOUR, *events)
        assert tallies == {cell(101, "x"): 1}
        assert counts[Side.LABELS, status] == 1

    def test_what_was_taken_back_is_nothing_to_train_on(self) -> None:
        labelled = with_label(with_prediction(Entry(), prediction("a", 0)), label("a", MINUTE))
        assert outcome_of(HOUR, labelled, None) is not None
        assert outcome_of(HOUR, with_label(labelled, retraction("a", 5 * MINUTE)), None) is None

    def test_what_was_taken_back_ends_unlabelled(self) -> None:
        reader = Reader(HOUR)
        for event in (prediction("a", 0), label("a", MINUTE), retraction("a", 5 * MINUTE)):
            reader.take(event)
        reader.close(62)
        assert reader.found[0][Side.PREDICTIONS, "unlabelled"] == 1


CLICKS = JoinPolicy(max_delay=60 * MINUTE, lateness=MINUTE, absent=Absent(after=30 * MINUTE, value="no"))


class TestAbsentLabels:
    """Half an hour without a click means that there was none."""

    def test_nothing_is_implied_before_the_slot_is_closed(self) -> None:
        reader = Reader(CLICKS)
        reader.take(prediction("a", 0))
        reader.close(30)
        assert reader.found == ({(Side.PREDICTIONS, "consumed"): 1, (Side.PREDICTIONS, "pending"): 1}, {})

    def test_then_it_is_in_that_slot(self) -> None:
        reader = Reader(CLICKS)
        reader.take(prediction("a", 0))
        reader.close(31)
        assert reader.found == (
            {(Side.PREDICTIONS, "consumed"): 1, (Side.PREDICTIONS, "implied"): 1},
            {cell(30, "no"): 1},
        )
        assert reader.index.moved_to_open == 0

    def test_one_long_step_implies_and_forgets_it(self) -> None:
        reader = Reader(CLICKS)
        reader.take(prediction("a", 0))
        reader.close(THE_END)
        assert reader.found[0][Side.PREDICTIONS, "implied"] == 1
        assert reader.found[1] == {cell(30, "no"): 1}
        assert len(reader.index) == 0

    @pytest.mark.parametrize("minute", [-5, 0, 29, 30])
    def test_a_label_in_time_leaves_nothing_to_imply(self, minute: int) -> None:
        reader = Reader(CLICKS)
        reader.take(label("a", minute * MINUTE, "click"))
        reader.take(prediction("a", 0))
        reader.close(61)
        assert reader.found[0][Side.PREDICTIONS, "joined"] == 1
        assert reader.found[1] == {cell(max(0, minute), "click"): 1}

    def test_a_label_in_time_that_arrives_late_undoes_it(self) -> None:
        reader = Reader(CLICKS)
        reader.take(prediction("a", 0))
        reader.close(31)
        reader.take(label("a", 10 * MINUTE, "click"))
        assert reader.found[1] == {cell(30, "no"): 1, cell(31, "no"): -1, cell(31, "click"): 1}
        assert reader.found[0][Side.PREDICTIONS, "joined"] == 1
        assert reader.index.moved_to_open == 1

    @pytest.mark.parametrize("corrections", ["last", "first"])
    @pytest.mark.parametrize("close_first", [True, False])
    def test_a_later_label_corrects_it_at_its_own_time(
        self, corrections: Literal["last", "first"], close_first: bool
    ) -> None:
        reader = Reader(replace(CLICKS, corrections=corrections))
        reader.take(prediction("a", 0))
        if close_first:
            reader.close(31)
        reader.take(label("a", 45 * MINUTE, "click"))
        reader.close(31)
        assert reader.found[1] == {cell(30, "no"): 1, cell(45, "no"): -1, cell(45, "click"): 1}
        assert reader.found[0][Side.LABELS, "applied"] == 1

    def test_a_later_label_that_says_the_same_changes_no_tally(self) -> None:
        reader = Reader(CLICKS)
        for event in (prediction("a", 0), label("a", 45 * MINUTE, "no")):
            reader.take(event)
        reader.close(50)
        assert reader.found[1] == {cell(30, "no"): 1}
        assert reader.found[0][Side.PREDICTIONS, "joined"] == 1

    def test_a_label_taken_back_in_time_counts_as_none(self) -> None:
        reader = Reader(CLICKS)
        for event in (prediction("a", 0), label("a", MINUTE, "click"), retraction("a", 20 * MINUTE)):
            reader.take(event)
        reader.close(31)
        assert reader.found[1] == {cell(1, "click"): 1, cell(20, "click"): -1, cell(30, "no"): 1}
        assert reader.found[0][Side.PREDICTIONS, "implied"] == 1

    def test_a_label_taken_back_later_gives_way_to_it_then(self) -> None:
        reader = Reader(CLICKS)
        for event in (prediction("a", 0), label("a", MINUTE, "click"), retraction("a", 40 * MINUTE)):
            reader.take(event)
        reader.close(31)
        assert reader.found[1] == {cell(1, "click"): 1, cell(40, "click"): -1, cell(40, "no"): 1}

    def test_itself_cannot_be_taken_back(self) -> None:
        reader = Reader(CLICKS)
        for event in (prediction("a", 0), retraction("a", 40 * MINUTE)):
            reader.take(event)
        reader.close(50)
        assert reader.found[1] == {cell(30, "no"): 1}
        assert reader.found[0][Side.PREDICTIONS, "implied"] == 1

    def test_training_reads_it_as_known_since_then(self) -> None:
        entry = with_prediction(Entry(), prediction("a", 0))
        assert outcome_of(CLICKS, entry, 30) is None
        assert outcome_of(CLICKS, entry, 31) == Outcome(30 * MINUTE, "no")
        assert outcome_of(CLICKS, with_label(entry, retraction("a", 40 * MINUTE)), 50) == Outcome(30 * MINUTE, "no")
        clicked = with_label(entry, label("a", MINUTE, "click"))
        assert outcome_of(CLICKS, with_label(clicked, retraction("a", 40 * MINUTE)), 50) == Outcome(40 * MINUTE, "no")

    def test_of_a_prediction_that_comes_after_that_slot_enters_the_oldest_open_one(self) -> None:
        reader = Reader(CLICKS)
        reader.close(40)
        reader.take(prediction("a", 0))
        assert reader.found[1] == {cell(40, "no"): 1}
        assert reader.index.moved_to_open == 1

    def test_an_earlier_duplicate_that_comes_before_the_close_moves_it(self) -> None:
        reader = Reader(CLICKS)
        for event in (prediction("a", 5 * MINUTE), prediction("a", 2 * MINUTE)):
            reader.take(event)
        reader.close(33)
        assert reader.found[1] == {cell(32, "no"): 1}
        reader.close(THE_END)
        assert reader.found[1] == {cell(32, "no"): 1}

    def test_nothing_ends_unlabelled(self) -> None:
        reader = Reader(replace(CLICKS, absent=Absent(after=CLICKS.max_delay, value="no")))
        reader.take(prediction("a", 0))
        reader.close(THE_END)
        assert reader.found[0][Side.PREDICTIONS, "unlabelled"] == 0
        assert reader.found[1] == {cell(60, "no"): 1}


class TestSlices:
    def test_an_outcome_counts_in_the_whole_and_in_each_of_its_slices(self) -> None:
        sliced = prediction("a", 0, slices=("carrier=AA", "long_haul"))
        corrected = [label("a", MINUTE, "x"), label("a", 2 * MINUTE, "y")]
        assert read(HOUR, sliced, *corrected, prediction("b", 0), label("b", 0, "x"))[1] == {
            cell(0, "x"): 1,
            **{cell(1, "x", part=part): 1 for part in (WHOLE, "carrier=AA", "long_haul")},
            **{cell(2, "x", part=part): -1 for part in (WHOLE, "carrier=AA", "long_haul")},
            **{cell(2, "y", part=part): 1 for part in (WHOLE, "carrier=AA", "long_haul")},
        }

    def test_they_are_those_of_the_prediction_that_counts(self) -> None:
        events: list[Event] = [
            prediction("a", MINUTE, slices=("b",)),
            label("a", 2 * MINUTE),
            prediction("a", 0, slices=("c",)),
        ]
        assert read(HOUR, *events)[1] == {cell(2, "x"): 1, cell(2, "x", part="c"): 1}

    def test_what_comes_for_a_closed_slot_is_one_outcome_however_many_they_are(self) -> None:
        reader = Reader(HOUR)
        reader.take(prediction("a", 0, slices=("b", "c")))
        reader.close(7)
        reader.take(label("a", 3 * MINUTE))
        assert reader.found[1] == {cell(7, "x", part=part): 1 for part in (WHOLE, "b", "c")}
        assert reader.index.moved_to_open == 1
