"""The join against an oracle that sees only the set of events, and its edges one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrainer.domain.events import Prediction, Side
from retrainer.domain.join.rules import (
    Absent,
    Entry,
    JoinPolicy,
    Status,
    known_at,
    outcome_of,
    with_label,
    with_prediction,
)
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.values import SECOND, Micros, Slot, slot_of
from tests.domain.join.reader import HOUR, THE_END, Event, Reader, cell
from tests.domain.join.reference import ReferenceIndex
from tests.domain.making import MINUTE, label, origin, prediction, thorough
from tests.domain.oracle import Expected, expected, nonzero, unslotted
from tests.effort import much

TICK: Micros = 20 * SECOND
"""Three to a slot, so that slots hold several events and times often tie."""
relentless = settings(thorough, max_examples=much(200))


def told_by(events: Expected) -> tuple[Counter[Status], Counter[TallyKey]]:
    return events.counts, events.tallies


@st.composite
def policies(draw: st.DrawFn) -> JoinPolicy:
    delay = draw(st.integers(0, 20))
    implied = st.builds(Absent, after=st.integers(0, delay).map(lambda n: n * TICK), value=st.sampled_from("xz"))
    return JoinPolicy(
        max_delay=delay * TICK,
        lateness=draw(st.integers(0, 6)) * TICK,
        corrections=draw(st.sampled_from(["last", "first"])),
        absent=draw(st.none() | implied),
    )


@st.composite
def histories(draw: st.DrawFn, policy: JoinPolicy, earliest: int = 0) -> list[Event]:
    """Events of a few ids, each within the horizon of its earliest prediction; labels up to `earliest` ticks before."""
    horizon = policy.horizon // TICK
    events: list[Event] = []
    for key in "abc"[: draw(st.integers(1, 3))]:
        start = draw(st.integers(-30, 30))
        for n in range(draw(st.integers(0, 3))):
            at = start + (draw(st.integers(0, horizon)) if n else 0)
            value, version = draw(st.sampled_from("xy")), draw(st.sampled_from(["", "1", "2"]))
            slices = draw(st.sampled_from([(), ("a=1",), ("a=2", "b")]))
            events.append(prediction(key, at * TICK, value, version, origin("p", draw(st.integers(0, 1))), slices))
        for _ in range(draw(st.integers(0, 4))):
            at = start + draw(st.integers(-horizon - earliest, horizon))
            truth = draw(st.sampled_from(["x", "y", None]))
            events.append(label(key, at * TICK, truth, origin("l", draw(st.integers(0, 1)))))
    return draw(st.permutations(events))


class TestAnyOrder:
    """The result is a function of the set of events, and of how far the slots are closed."""

    @relentless
    @given(st.data())
    def test_at_any_moment_it_is_what_the_events_so_far_come_to(self, data: st.DataObject) -> None:
        policy = data.draw(policies())
        events = data.draw(histories(policy, earliest=10))
        reader = Reader(policy)
        for n, event in enumerate(events, start=1):
            reader.take(event)
            assert reader.found == told_by(expected(policy, events[:n]))

    @relentless
    @given(st.data())
    def test_wherever_slots_are_closed_that_no_event_comes_for(self, data: st.DataObject) -> None:
        policy = data.draw(policies())
        events = data.draw(histories(policy, earliest=10))
        silence = policy.absent.after if policy.absent else 0
        reader = Reader(policy)
        for n, event in enumerate(events):
            back = data.draw(st.integers(-1, 3))
            if back >= 0:
                reader.close(min(slot_of(one.time) for one in events[n:]) - back)
            reader.take(event)
        assert reader.index.moved_to_open == 0
        if events:
            reader.close(slot_of(max(one.time for one in events) + silence) + 1)
        reader.close(THE_END)
        assert reader.found == told_by(expected(policy, events, forgotten=True))
        assert len(reader.index) == 0

    @relentless
    @given(st.data())
    def test_at_any_close_before_the_horizon_too(self, data: st.DataObject) -> None:
        policy = data.draw(policies())
        events = data.draw(histories(policy))
        reader = Reader(policy)
        for n, event in enumerate(events):
            first_open = min(_last_slot(policy, one, events) for one in events) - data.draw(st.integers(0, 9))
            if first_open <= min(slot_of(one.time) for one in events[n:]):
                reader.close(first_open)
            reader.take(event)
            ideal = expected(policy, events[: n + 1], first_open=reader.index.first_open)
            assert reader.found == told_by(ideal)

    @relentless
    @given(st.data())
    def test_what_comes_for_a_closed_slot_within_the_horizon_enters_the_oldest_open_one(
        self, data: st.DataObject
    ) -> None:
        policy = data.draw(policies())
        events = data.draw(histories(policy))
        reader, model = Reader(policy), _Slots()
        for n, event in enumerate(events):
            if data.draw(st.booleans()):
                before = reader.index.first_open
                reader.close(min(_last_slot(policy, one, events) for one in events[n:]) - data.draw(st.integers(0, 9)))
                model.become(expected(policy, events[:n], first_open=reader.index.first_open).tallies, before)
            reader.take(event)
            first_open = reader.index.first_open
            model.become(expected(policy, events[: n + 1], first_open=first_open).tallies, first_open)
        first_open = reader.index.first_open
        reader.close(THE_END)
        truth = expected(policy, events, forgotten=True)
        model.become(truth.tallies, first_open)
        assert reader.found == (truth.counts, nonzero(model.tallies))
        assert unslotted(reader.tallies) == unslotted(truth.tallies)
        assert reader.index.moved_to_open == model.moved

    @relentless
    @given(st.data())
    def test_the_outcome_that_training_reads_is_the_one_that_was_tallied(self, data: st.DataObject) -> None:
        policy = data.draw(policies())
        events = data.draw(histories(policy, earliest=10))
        first_open = data.draw(st.none() | st.integers(-12, 25))
        entries: dict[str, Entry] = {}
        for event in events:
            entry = entries.get(event.id, Entry())
            entries[event.id] = (
                with_prediction(entry, event) if isinstance(event, Prediction) else with_label(entry, event)
            )
        outcomes = {
            key: (entry.prediction, found.known_at, found.value)
            for key, entry in entries.items()
            if (found := outcome_of(policy, entry, first_open)) is not None
        }
        wanted = expected(policy, events, first_open=first_open).outcomes
        assert outcomes == {key: (one, known_at(one, two), two.value) for key, (one, two) in wanted.items()}


class _Slots:
    """Tallies of which closed slots stay as they are: every change of them goes to the oldest open slot."""

    def __init__(self) -> None:
        self.tallies: Counter[TallyKey] = Counter()
        self.moved = 0
        self._truth: Counter[TallyKey] = Counter()

    def become(self, truth: Counter[TallyKey], first_open: Slot | None) -> None:
        for key in {*self._truth, *truth}:
            change = truth[key] - self._truth[key]
            if first_open is not None and key.slot < first_open:
                self.tallies[key._replace(slot=first_open)] += change
                self.moved += max(0, change) if key.slice == WHOLE else 0
            else:
                self.tallies[key] += change
        self._truth = truth


def _last_slot(policy: JoinPolicy, event: Event, events: Sequence[Event]) -> Slot:
    """The slot after which the event would be too late to count."""
    same = [one.time for one in events if one.id == event.id and isinstance(one, Prediction)]
    return slot_of(min(same) + policy.horizon if same else event.time + 2 * policy.horizon)


class TestWhichEventsMeet:
    @pytest.mark.parametrize("delay", [-61, -60, -1, 0, 1, 60])
    def test_a_label_meets_a_prediction_up_to_the_longest_delay_and_one_horizon_before(self, delay: int) -> None:
        reader = Reader(HOUR)
        reader.take(prediction("a", 100 * MINUTE))
        reader.take(label("a", (100 + delay) * MINUTE))
        assert reader.found[1] == {cell(100 + max(0, delay), "x"): 1}

    @pytest.mark.parametrize(("delay", "status"), [(60 * MINUTE + 1, "late"), (-61 * MINUTE - 1, "orphaned")])
    def test_a_label_just_beyond_does_not(self, delay: Micros, status: str) -> None:
        reader = Reader(HOUR)
        reader.take(prediction("a", 100 * MINUTE))
        reader.take(label("a", 100 * MINUTE + delay))
        counts, tallies = reader.found
        assert tallies == {}
        assert counts[Side.LABELS, status] == 1
        assert counts[Side.PREDICTIONS, "pending"] == 1

    def test_an_outcome_is_known_when_the_later_of_both_happened(self) -> None:
        assert known_at(prediction("a", 5), label("a", 3)) == 5
        assert known_at(prediction("a", 3), label("a", 5)) == 5

    def test_of_two_predictions_the_earlier_counts_then_the_lower_partition_and_offset(self) -> None:
        later = prediction("a", 2 * MINUTE, "late", at=origin("p", 0))
        first_offset = prediction("a", MINUTE, "first", at=origin("p", 1))
        second_offset = prediction("a", MINUTE, "second", at=origin("p", 1))
        reader = Reader(HOUR)
        for event in (later, second_offset, first_offset, label("a", MINUTE)):
            reader.take(event)
        assert reader.found[1] == {cell(1, "x", "first"): 1}
        assert reader.counts[Side.PREDICTIONS, "duplicate"] == 2

    @pytest.mark.parametrize(("corrections", "counts"), [("last", "z"), ("first", "x")])
    def test_of_two_labels_of_the_same_time_offsets_decide(
        self, corrections: Literal["last", "first"], counts: str
    ) -> None:
        reader = Reader(JoinPolicy(max_delay=HOUR.max_delay, lateness=0, corrections=corrections))
        before, after = label("a", MINUTE, "x"), label("a", MINUTE, "z")
        for event in (prediction("a", 0), after, before):
            reader.take(event)
        assert reader.found[1] == {cell(1, counts): 1}


class TestCorrections:
    def test_a_correction_takes_the_old_outcome_back_at_its_own_time(self) -> None:
        reader = Reader(HOUR)
        for event in (prediction("a", 0), label("a", MINUTE, "x"), label("a", 5 * MINUTE, "y")):
            reader.take(event)
        assert reader.found[1] == {cell(1, "x"): 1, cell(5, "x"): -1, cell(5, "y"): 1}

    def test_the_same_value_again_changes_nothing(self) -> None:
        reader = Reader(HOUR)
        for event in (prediction("a", 0), label("a", MINUTE, "x"), label("a", 5 * MINUTE, "x")):
            reader.take(event)
        counts, tallies = reader.found
        assert tallies == {cell(1, "x"): 1}
        assert counts[Side.LABELS, "superseded"] == 1

    def test_of_an_outcome_in_a_closed_slot_takes_nothing_from_that_slot(self) -> None:
        reader = Reader(HOUR)
        for event in (prediction("a", 0), label("a", MINUTE, "x")):
            reader.take(event)
        reader.close(5)
        reader.take(label("a", 5 * MINUTE, "y"))
        assert reader.found[1] == {cell(1, "x"): 1, cell(5, "x"): -1, cell(5, "y"): 1}
        assert reader.index.moved_to_open == 0

    def test_an_earlier_prediction_takes_the_outcome_over(self) -> None:
        reader = Reader(HOUR)
        for event in (prediction("a", 3 * MINUTE, version="2"), label("a", 4 * MINUTE), prediction("a", 2 * MINUTE)):
            reader.take(event)
        assert reader.found[1] == {cell(4, "x"): 1}


class TestClosedSlots:
    def test_an_outcome_for_a_closed_slot_is_counted_in_the_oldest_open_one(self) -> None:
        reader = Reader(HOUR)
        reader.take(prediction("a", 0))
        reader.close(7)
        reader.take(label("a", 3 * MINUTE))
        assert reader.found[1] == {cell(7, "x"): 1}
        assert reader.index.moved_to_open == 1

    def test_they_stay_closed(self) -> None:
        index = ReferenceIndex(HOUR)
        index.close_before(7)
        index.close_before(3)
        assert index.first_open == 7


class TestForgetting:
    """An id is remembered to the end of the slot that holds its horizon: 61 minutes here."""

    def test_a_prediction_without_a_label_becomes_unlabelled(self) -> None:
        reader = Reader(HOUR)
        reader.take(prediction("a", 0))
        reader.close(61)
        assert reader.found[0][Side.PREDICTIONS, "pending"] == 1
        reader.close(62)
        assert reader.found[0] == {(Side.PREDICTIONS, "consumed"): 1, (Side.PREDICTIONS, "unlabelled"): 1}
        assert len(reader.index) == 0

    def test_a_joined_one_stays_joined(self) -> None:
        reader = Reader(HOUR)
        reader.take(prediction("a", 0))
        reader.take(label("a", MINUTE))
        before = reader.found
        reader.close(62)
        assert reader.found == before
        assert len(reader.index) == 0

    def test_a_label_waits_for_two_horizons(self) -> None:
        reader = Reader(HOUR)
        reader.take(label("a", 0))
        reader.take(label("a", 0))
        reader.close(122)
        assert reader.found[0][Side.LABELS, "waiting"] == 2
        reader.close(123)
        assert reader.found[0] == {(Side.LABELS, "consumed"): 2, (Side.LABELS, "orphaned"): 2}
        assert len(reader.index) == 0

    def test_each_label_waits_for_itself_alone(self) -> None:
        reader = Reader(HOUR)
        for minute in (30, 0, 30):
            reader.take(label("a", minute * MINUTE))
        reader.close(123)
        assert reader.found[0] == {
            (Side.LABELS, "consumed"): 3,
            (Side.LABELS, "waiting"): 2,
            (Side.LABELS, "orphaned"): 1,
        }
        reader.take(label("a", 0))
        assert reader.found[0][Side.LABELS, "late"] == 1
        reader.take(prediction("a", 91 * MINUTE))
        assert reader.found[1] == {cell(123, "x"): 1}

    @pytest.mark.parametrize(("first_open", "status"), [(61, "pending"), (62, "late")])
    def test_a_prediction_counts_as_late_once_its_horizon_has_closed(self, first_open: Slot, status: str) -> None:
        reader = Reader(HOUR)
        reader.take(label("a", 0))
        reader.close(first_open)
        reader.take(prediction("b", 0))
        assert reader.found[0][Side.PREDICTIONS, status] == 1

    def test_a_late_prediction_is_never_applied(self) -> None:
        reader = Reader(HOUR)
        reader.take(label("a", MINUTE))
        reader.close(62)
        reader.take(prediction("a", 0))
        reader.close(THE_END)
        assert reader.found == (
            {
                (Side.PREDICTIONS, "consumed"): 1,
                (Side.PREDICTIONS, "late"): 1,
                (Side.LABELS, "consumed"): 1,
                (Side.LABELS, "orphaned"): 1,
            },
            {},
        )

    @pytest.mark.parametrize(("first_open", "status"), [(122, "waiting"), (123, "late")])
    def test_a_label_counts_as_late_once_nothing_can_meet_it(self, first_open: Slot, status: str) -> None:
        reader = Reader(HOUR)
        reader.close(first_open)
        reader.take(label("a", 0))
        assert reader.found[0][Side.LABELS, status] == 1

    def test_a_label_for_a_forgotten_prediction_changes_no_tally(self) -> None:
        reader = Reader(HOUR)
        reader.take(prediction("a", 0))
        reader.take(label("a", MINUTE, "x"))
        reader.close(62)
        reader.take(label("a", 62 * MINUTE, "y"))
        reader.close(THE_END)
        counts, tallies = reader.found
        assert tallies == {cell(1, "x"): 1}
        assert counts[Side.LABELS, "orphaned"] == 1

    def test_an_index_that_goes_on_from_stored_progress_knows_what_is_closed(self) -> None:
        index = ReferenceIndex(HOUR, first_open=62)
        index.add_prediction(prediction("a", 0))
        assert index.drain().statuses == {(Side.PREDICTIONS, "late"): 1}


def test_what_is_drained_is_drained_once() -> None:
    index = ReferenceIndex(HOUR)
    index.add_prediction(prediction("a", 0))
    assert nonzero(index.drain().statuses) == {(Side.PREDICTIONS, "pending"): 1}
    assert nonzero(index.drain().statuses) == {}
    index.add_label(label("a", MINUTE))
    drained = index.drain()
    assert nonzero(drained.statuses) == {
        (Side.PREDICTIONS, "pending"): -1,
        (Side.PREDICTIONS, "joined"): 1,
        (Side.LABELS, "applied"): 1,
    }
    assert drained.cells == {cell(1, "x"): 1}
