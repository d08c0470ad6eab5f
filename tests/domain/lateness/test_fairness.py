"""The gate: quality triggers see a fair sample after a start and after a stall, where the order of arrival is none."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from random import Random
from typing import Any

import msgspec
import pytest

from retrainer.domain.lateness.completeness import Completeness, CompletenessState
from retrainer.domain.lateness.coverage import Coverage, CoveragePolicy
from retrainer.domain.lateness.fairness import Fairness, FairnessState
from retrainer.domain.metrics.windows import CountWindow, History
from retrainer.domain.tally.arrivals import HIT, MISS, PREDICTED, ArrivalKey
from retrainer.domain.triggers.base import Level, Scene
from retrainer.domain.values import Micros, slot_of
from tests.domain.lateness.labelling import (
    DAY,
    HOUR,
    QUICK_AND_HARD,
    START,
    TRUE,
    Cells,
    Kind,
    Life,
    Move,
    cells_of,
    gated,
)
from tests.domain.making import MINUTE, restored
from tests.plain import plain_threshold

WINDOW = 500
CHANCE = 4 * sqrt(TRUE * (1 - TRUE) / WINDOW)
"""How far the accuracy of a window strays from the truth if nothing but chance is at work."""

FROM, TO = 72 * HOUR, 78 * HOUR
"""When labels stall."""

Shown = Sequence[tuple[Micros, Cells]]


def in_order(life: Life, length: Micros) -> Shown:
    """What a trigger would see without the gate: every outcome when it becomes known."""
    return [((slot + 1) * MINUTE - START, cells_of(rows, "1")) for slot, rows in life.slots(length)]


def behind_gate(life: Life, length: Micros) -> Shown:
    return [(end, cells) for end, cells, _, _ in gated(life, length)]


def size(shown: Shown) -> int:
    return sum(cells.total() for _, cells in shown)


def strays(shown: Shown, since: Micros = 0, truth: float = TRUE) -> float:
    """How far the accuracy of any window of outcomes is from the truth."""
    held: deque[tuple[int, int]] = deque()
    hits = n = 0
    furthest = 0.0
    for end, cells in shown:
        held.append((cells["x", "x"], cells.total()))
        hits, n = hits + held[-1][0], n + held[-1][1]
        while n - held[0][1] >= WINDOW:
            first = held.popleft()
            hits, n = hits - first[0], n - first[1]
        if n >= WINDOW and end >= since:
            furthest = max(furthest, abs(hits / n - truth))
    return furthest


def fires(shown: Shown, below: float = 0.76) -> Micros | None:
    """When a threshold over a window would launch a retraining."""
    trigger = plain_threshold(metric="accuracy", window=CountWindow(outcomes=WINDOW), below=below)
    history = History(trigger.window)
    state: Mapping[str, Any] = {}
    for end, cells in shown:
        if cells:
            history.add(slot_of(START + end) - 1, Counter(cells))
            state, reading = trigger.evaluate(state, Scene(history=history))
            if reading.level is Level.FIRED:
                return end
    return None


# At the start


def test_at_the_start_the_quick_labels_alone_would_fire_and_are_not_shown() -> None:
    life = Life()
    assert fires(in_order(life, 2 * DAY)) is not None
    assert fires(behind_gate(life, 2 * DAY)) is None
    assert strays(in_order(life, 2 * DAY)) > 2 * CHANCE
    assert strays(behind_gate(life, 2 * DAY)) < CHANCE


def test_the_start_ends_when_the_slow_labels_have_come() -> None:
    ends = [end for end, _, fairness, _ in gated(Life(), 2 * DAY) if fairness.reading.fair]
    assert 12 * HOUR <= ends[0] <= 13 * HOUR
    assert ends == list(range(ends[0], 2 * DAY + 1, MINUTE))


def test_where_nobody_can_know_of_slower_labels_the_start_lasts_for_the_longest_delay() -> None:
    some = Life(reviewed=lambda _: 0.2, rate=lambda _: 10)
    withheld = [fairness.reading for end, _, fairness, _ in gated(some, 26 * HOUR) if end < DAY]
    assert {reading.reason for reading in withheld} == {"starting"}
    assert withheld[-1].until is not None
    assert withheld[-1].until - START == pytest.approx(DAY, abs=10 * MINUTE)
    assert fires(behind_gate(some, 3 * DAY)) is None


@pytest.mark.parametrize(("delay", "lost"), [(0, 0), (10 * MINUTE, HOUR)])
def test_labels_that_come_soon_are_shown_soon(delay: Micros, lost: Micros) -> None:
    quick = {name: Kind(share=kind.share, right=kind.right, delays=(0, delay)) for name, kind in QUICK_AND_HARD.items()}
    life = Life(kinds=quick)
    found, every = behind_gate(life, 6 * HOUR), in_order(life, 6 * HOUR)
    assert size([one for one in every if one[0] > lost]) <= size(found) <= size(every)
    assert next(end for end, cells in found if cells) <= max(lost, 10 * MINUTE)


def test_where_nearly_all_are_labelled_nothing_is_lost() -> None:
    coverage = Coverage(CoveragePolicy(width=60, max_delay=60 * HOUR))
    fairness = Fairness(coverage)
    arrived = [(PREDICTED, 100), (HIT, 90), (MISS, 4), (MISS, 1), (HIT, 3)]
    shown = []
    for slot, (kind, n) in enumerate(arrived, start=600):
        rows = [(ArrivalKey("1", slot, kind, 10), n)]
        shown.append(fairness.close_slot(slot, cells_of(rows), rows, bucket_ended=coverage.count(slot, rows)).total())
    assert shown == [0, 0, 0, 95, 3]


def test_an_owner_s_word_on_when_labels_are_mature_holds() -> None:
    coverage = Coverage(CoveragePolicy(width=24, max_delay=DAY, mature_after=0))
    fairness = Fairness(coverage)
    life = Life()
    for slot, rows in life.slots(4 * HOUR):
        cells = cells_of(rows)
        assert fairness.close_slot(slot, cells, rows, bucket_ended=coverage.count(slot, rows)) == cells


def test_of_predictions_that_nothing_is_known_of_everything_is_shown() -> None:
    coverage = Coverage(CoveragePolicy(width=1, max_delay=HOUR))
    fairness = Fairness(coverage)
    for slot in range(100):
        cells = Counter({("x", "x"): 3})
        assert fairness.close_slot(slot, cells, [], bucket_ended=coverage.count(slot, [])) == cells


# After a stall


def by_class(due: Micros, name: str, _: Micros) -> Micros:
    """The hard ones first."""
    return TO + (0 if name == "hard" else HOUR) + (due - FROM) // 6 if FROM <= due < TO else due


def oldest_first(due: Micros, _: str, made: Micros) -> Micros:
    return TO + (made - FROM + 12 * HOUR) // 9 if FROM <= due < TO else due


def newest_first(due: Micros, _: str, made: Micros) -> Micros:
    return TO + (TO - made) // 9 if FROM <= due < TO else due


def one_class_late(due: Micros, name: str, _: Micros) -> Micros:
    return TO + (due - FROM) // 8 if name == "easy" and FROM <= due < TO else due


@pytest.mark.parametrize("move", [by_class, oldest_first, newest_first, one_class_late])
def test_a_backlog_in_whatever_order_is_shown_as_a_whole(move: Move) -> None:
    life = Life(move=move)
    found, every = behind_gate(life, 4 * DAY), in_order(life, 4 * DAY)
    assert strays(every, since=2 * DAY) > 1.2 * CHANCE
    assert strays(found) < CHANCE
    at_start = sum(cells.total() for end, cells in every if end < 13 * HOUR) - sum(
        cells.total() for end, cells in found if end < 13 * HOUR
    )
    assert size(found) == size(every) - at_start  # all of it: only those of the start are lost
    assert fires(found) is None


def test_what_is_withheld_after_a_stall_says_why() -> None:
    said = {fairness.reading.reason for end, _, fairness, _ in gated(Life(move=by_class), 78 * HOUR) if end > 74 * HOUR}
    assert said == {"behind"}


def lost(due: Micros, _: str, __: Micros) -> Micros | None:
    return None if FROM <= due < TO else due


def test_labels_that_were_lost_are_waited_for_in_vain_but_not_for_ever() -> None:
    life = Life(move=lost)
    again = next(end for end, cells, _, _ in gated(life, 4 * DAY) if end > TO and cells)
    assert TO < again < TO + 12 * HOUR
    found, every = behind_gate(life, 4 * DAY), in_order(life, 4 * DAY)
    assert sum(cells.total() for end, cells in found if end > DAY) == sum(
        cells.total() for end, cells in every if end > DAY
    )
    assert strays(found) < CHANCE


def test_fewer_reviews_are_no_backlog() -> None:
    kinds = {**QUICK_AND_HARD, "hard": Kind(share=0.3, right=0.3, delays=QUICK_AND_HARD["hard"].delays)}
    truth = 0.3 * 0.3 + 0.7 * 0.95
    life = Life(kinds=kinds, rate=lambda _: 8, reviewed=lambda time: 0.4 if time < FROM else 0.15)
    found = behind_gate(life, 5 * DAY)
    assert strays(in_order(life, 5 * DAY), since=2 * DAY, truth=truth) > 1.5 * CHANCE
    withheld = [end for end, _, fairness, _ in gated(life, 5 * DAY) if end > 2 * DAY and not fairness.reading.fair]
    assert FROM < withheld[0] < FROM + 3 * HOUR
    assert withheld == list(range(withheld[0], withheld[-1] + 1, MINUTE))
    # Quick reviews are fewer at once, slow ones hours later: what came in between is not shown either.
    assert strays([one for one in found if one[0] > withheld[0]], truth=truth) < CHANCE
    assert 0 < len(withheld) * MINUTE <= DAY


def test_of_a_class_whose_labels_stay_away_nothing_is_concluded_for_a_day() -> None:
    def stops(due: Micros, name: str, _: Micros) -> Micros | None:
        return None if name == "easy" and due >= FROM else due

    fired = fires(in_order(Life(move=stops), 4 * DAY))
    assert fired is not None  # at the start
    assert fires(behind_gate(Life(move=stops), FROM + 22 * HOUR)) is None


# What must not be hidden


def test_a_fall_in_quality_is_seen_as_soon_as_without_the_gate() -> None:
    life = Life(right=lambda made, _, right: right - 0.2 if made >= 30 * HOUR else right)
    late = [(end, cells) for end, cells in in_order(life, 3 * DAY) if end > 13 * HOUR]
    seen = fires(behind_gate(life, 3 * DAY))
    without = fires(late)
    assert seen is not None
    assert without is not None
    assert 30 * HOUR < seen < without + HOUR


def test_less_traffic_withholds_nothing() -> None:
    life = Life(rate=lambda time: 8.0 if time < 2 * DAY else 0.5)
    assert all(fairness.reading.fair for end, _, fairness, _ in gated(life, 4 * DAY) if end > DAY)


def test_chance_withholds_nothing_where_few_are_reviewed() -> None:
    life = Life(rate=lambda _: 10, reviewed=lambda _: 0.05)
    assert all(fairness.reading.fair for end, _, fairness, _ in gated(life, 4 * DAY) if end > DAY + HOUR)


# Promotions


def test_each_champion_has_a_start_of_its_own() -> None:
    life = Life(version=lambda made: "1" if made < 2 * DAY else "2")
    every = [((slot + 1) * MINUTE - START, cells_of(rows, "2")) for slot, rows in life.slots(4 * DAY)]
    found = [(end, cells) for end, cells, _, _ in gated(life, 4 * DAY, version="2")]
    assert strays(every) > CHANCE
    assert strays(found) < CHANCE
    assert next(end for end, cells in found if cells) < 2 * DAY + 13 * HOUR


def test_a_version_that_predicted_long_before_its_promotion_begins_at_once() -> None:
    life = Life(version=lambda made: str(1 + made // MINUTE % 2))  # two versions side by side
    slots = life.slots(2 * DAY)
    gate = Completeness(life.policy, lambda version, _: version == "2")
    for slot, rows in slots:
        gate.close_slot(slot, rows, Cells())
    before = slots[-1][0] + 1
    gate.follow("2", None, before)
    past = gate.shown((slot, cells_of(rows, "2")) for slot, rows in slots)
    first = next(slot for slot, cells in past if cells)
    assert first * MINUTE - START > 12 * HOUR  # what it had at its own start is not shown
    assert strays([(slot * MINUTE - START, cells) for slot, cells in past]) < CHANCE
    hit = [(ArrivalKey("2", before, HIT, before // 24 - 1), 1)]
    assert gate.close_slot(before, hit, cells_of(hit)) == cells_of(hit)


def test_unversioned_predictions_are_the_champion_s_from_its_promotion_on() -> None:
    life, since = Life(version=lambda _: ""), slot_of(START + 2 * DAY)
    gate = Completeness(life.policy, lambda _, slot: slot >= since)
    found = []
    for slot, rows in life.slots(4 * DAY):
        if slot == since:
            gate.follow("2", since, slot)
        cells = cells_of(rows) if slot >= since else Cells()
        found.append(((slot + 1) * MINUTE - START, gate.close_slot(slot, rows, cells)))
    assert 2 * DAY + 12 * HOUR < next(end for end, cells in found if cells) < 2 * DAY + 13 * HOUR
    assert strays(found) < CHANCE


# Restarts


@pytest.mark.parametrize("move", [by_class, lost])
def test_a_restart_changes_nothing(move: Move) -> None:
    life = Life(move=move, rate=lambda _: 1.5)
    slots, draw = life.slots(4 * DAY), Random(7)
    cuts = {
        slot_of(START + time) for time in (HOUR, 75 * HOUR, 79 * HOUR, *(draw.randrange(4 * DAY) for _ in range(8)))
    }
    whole, parted = _completeness(life), _completeness(life)
    given: list[tuple[int, Cells]] = []
    for n, (slot, rows) in enumerate(slots):
        if slot in cuts:
            parted = _restarted(life, restored(parted.state), slots[:n], given)
        own = cells_of(rows)
        shown = parted.close_slot(slot, rows, own)
        assert shown == whole.close_slot(slot, rows, own)
        given.append((slot, shown))
    assert parted.state == whole.state
    assert parted.coverage == whole.coverage is not None


def _completeness(life: Life, state: CompletenessState | None = None) -> Completeness:
    return Completeness(life.policy, lambda _, __: True, state)


def _restarted(
    life: Life,
    state: CompletenessState,
    past: Sequence[tuple[int, list[tuple[ArrivalKey, int]]]],
    given: Iterable[tuple[int, Cells]],
) -> Completeness:
    found = _completeness(life, state)
    needed = found.needs_from() or 0
    found.recall((slot, rows) for slot, rows in past if slot >= needed)
    again = found.shown((slot, cells_of(rows)) for slot, rows in past)
    assert [(slot, cells) for slot, cells in again if cells] == [(slot, cells) for slot, cells in given if cells]
    return found


def test_other_buckets_begin_anew_and_what_was_withheld_ends() -> None:
    life = Life(move=by_class)
    gate = _completeness(life)
    for slot, rows in life.slots(76 * HOUR):
        gate.close_slot(slot, rows, cells_of(rows))
    assert gate.fairness.reason == "behind"
    longer = Life(max_delay=2 * DAY)
    other = _completeness(longer, restored(gate.state))
    assert other.coverage is None
    assert other.needs_from() is None
    found = [other.close_slot(slot, rows, cells_of(rows)) for slot, rows in longer.slots(76 * HOUR + 10 * MINUTE)[-10:]]
    assert other.fairness.fair
    assert all(found)
    assert _completeness(life, restored(gate.state)).coverage == gate.coverage is not None


def test_what_is_stored_stays_small() -> None:
    life = Life(rate=lambda _: 0.5)
    gate = _completeness(life)
    for slot, rows in life.slots(10 * DAY):
        gate.close_slot(slot, rows, cells_of(rows))
    assert len(msgspec.json.encode(gate.state)) < 8000


def test_a_new_gate_withholds_nothing_and_says_so() -> None:
    fairness = Fairness(Coverage(CoveragePolicy(width=1, max_delay=HOUR)), FairnessState())
    assert fairness.reading.fair
    assert fairness.reading.facts == {"fair": True, "reason": "", "message": "", "until": None}
