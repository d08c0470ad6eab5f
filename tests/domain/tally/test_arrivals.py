"""Arrivals: each prediction once, each outcome once, in whatever order their events come."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.join.counting import WhatIsCounted
from retrainer.domain.join.rules import IMPLIED, JOINED, PENDING, UNLABELLED, Absent, JoinPolicy, Status
from retrainer.domain.join.table import JoinTable
from retrainer.domain.tally.arrivals import (
    BINS,
    DELAY,
    EDGES,
    HIT,
    MISS,
    NO_SCORE,
    PREDICTED,
    ArrivalKey,
    ArrivalPolicy,
    delay_bucket,
    delay_of,
    width_of,
)
from retrainer.domain.tally.tallies import ARRIVALS, WHOLE, TallyKey
from retrainer.domain.values import SECOND, Micros
from tests.domain.join.test_table import CLOSES, POLICIES, Event, Fed, labels, predictions
from tests.domain.making import MINUTE, label, origin, prediction, quick, retraction
from tests.domain.oracle import nonzero

HOUR = JoinPolicy(max_delay=60 * MINUTE, lateness=MINUTE)
ARRIVING = ArrivalPolicy(width=5, positive="x")
TEN: Micros = 10 * MINUTE
IN_TEN = delay_bucket(TEN)


@dataclass
class Counted:
    """A join that counts arrivals, and what it has counted so far."""

    policy: JoinPolicy = HOUR
    arriving: ArrivalPolicy = ARRIVING
    tallies: Counter[TallyKey] = field(default_factory=Counter)
    statuses: Counter[Status] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.fed = Fed(JoinTable(self.policy, counting=WhatIsCounted(arriving=self.arriving)))

    def take(self, *events: Event) -> Counted:
        self.fed.take(events)
        return self

    def close(self, slot: int) -> Counted:
        self.fed.table.close_before(slot)
        return self

    @property
    def arrivals(self) -> dict[ArrivalKey, int]:
        drained = self.fed.table.drain()
        self.tallies.update(drained.cells)
        self.statuses.update(drained.statuses)
        return {ArrivalKey.of(key): n for key, n in nonzero(self.tallies).items() if key.slice == ARRIVALS}

    @property
    def kinds(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for key, n in self.arrivals.items():
            found[key.kind] += n
        return found


def known(slot: int, kind: str, born: int, bin_: int = NO_SCORE, delay: int = IN_TEN) -> dict[ArrivalKey, int]:
    """An outcome that became known in a slot."""
    return {ArrivalKey("1", slot, kind, born, bin_): 1, ArrivalKey("1", slot, DELAY, delay): 1}


MADE = {ArrivalKey("1", 12, PREDICTED, 2): 1}


class TestWhatIsCounted:
    def test_a_prediction_when_it_is_made(self) -> None:
        assert Counted().take(prediction("a", 12 * MINUTE)).arrivals == MADE

    @pytest.mark.parametrize(("truth", "kind"), [("x", HIT), ("y", MISS)])
    def test_an_outcome_when_it_is_known(self, truth: str, kind: str) -> None:
        found = Counted().take(prediction("a", 12 * MINUTE), label("a", 22 * MINUTE, truth))
        assert found.arrivals == {**MADE, **known(22, kind, 2)}

    def test_a_label_that_came_first_has_no_delay(self) -> None:
        found = Counted().take(label("a", 2 * MINUTE), prediction("a", 12 * MINUTE))
        assert found.arrivals == {**MADE, **known(12, HIT, 2, delay=0)}

    def test_a_correction_moves_it_and_its_delay_stays(self) -> None:
        found = Counted().take(prediction("a", 12 * MINUTE), label("a", 22 * MINUTE), label("a", 30 * MINUTE, "y"))
        moved = {ArrivalKey("1", 30, HIT, 2): -1, ArrivalKey("1", 30, MISS, 2): 1}
        assert found.arrivals == {**MADE, **known(22, HIT, 2), **moved}

    def test_a_retraction_takes_it_back_with_its_delay(self) -> None:
        found = Counted().take(prediction("a", 12 * MINUTE), label("a", 22 * MINUTE), retraction("a", 30 * MINUTE))
        back = {key._replace(slot=30): -n for key, n in known(22, HIT, 2).items()}
        assert found.arrivals == {**MADE, **known(22, HIT, 2), **back}
        again = found.take(label("a", 40 * MINUTE, "y"))
        later = known(40, MISS, 2, delay=delay_bucket(28 * MINUTE))
        assert again.arrivals == {**MADE, **known(22, HIT, 2), **back, **later}

    def test_an_implied_label_is_one(self) -> None:
        silent = JoinPolicy(max_delay=60 * MINUTE, lateness=MINUTE, absent=Absent(after=TEN, value="y"))
        found = Counted(silent).take(prediction("a", 12 * MINUTE)).close(23)
        assert found.arrivals == {**MADE, **known(22, MISS, 2)}

    def test_what_comes_for_a_closed_slot_is_counted_in_the_oldest_open_one(self) -> None:
        found = Counted().close(30).take(prediction("a", 12 * MINUTE), label("a", 22 * MINUTE))
        assert found.arrivals == {ArrivalKey("1", 30, PREDICTED, 2): 1, **known(30, HIT, 2)}

    def test_an_earlier_prediction_of_the_same_id_takes_its_place(self) -> None:
        found = Counted().take(prediction("a", 12 * MINUTE), prediction("a", 4 * MINUTE, version="2"))
        assert found.arrivals == {ArrivalKey("2", 4, PREDICTED, 0): 1}

    def test_a_prediction_that_is_too_late_is_not(self) -> None:
        assert Counted().close(100).take(prediction("a", 12 * MINUTE)).arrivals == {}

    def test_slices_do_not_matter(self) -> None:
        found = Counted().take(prediction("a", 12 * MINUTE, slices=("carrier=AA", "far")))
        assert found.arrivals == MADE

    @pytest.mark.parametrize(
        ("value", "bin_"),
        [("x", NO_SCORE), ("x\x1f0", 0), ("x\x1f0.049", 0), ("x\x1f0.05", 1), ("x\x1f1", 19), ("y\x1f0.1", 18)],
    )
    def test_the_bin_is_that_of_the_answers_confidence(self, value: str, bin_: int) -> None:
        found = Counted().take(prediction("a", 12 * MINUTE, value), label("a", 22 * MINUTE, value[0]))
        assert found.arrivals == {ArrivalKey("1", 12, PREDICTED, 2, bin_): 1, **known(22, HIT, 2, bin_)}

    def test_a_regression_has_hits_alone(self) -> None:
        numbers = ArrivalPolicy(width=5, task="regression")
        found = Counted(arriving=numbers).take(prediction("a", 12 * MINUTE, "3.5"), label("a", 22 * MINUTE, "4"))
        assert found.arrivals == {**MADE, **known(22, HIT, 2)}


EVENTS = st.lists(st.one_of(predictions(), labels(), labels()), max_size=30)


@quick
@given(policy=st.sampled_from(POLICIES), events=EVENTS, data=st.data())
def test_in_any_order_they_are_the_same(policy: JoinPolicy, events: list[Event], data: st.DataObject) -> None:
    events = [event._replace(origin=origin()) for event in events]  # of several labels of one time the later counts
    found = Counted(policy).take(*events).arrivals
    sizes = data.draw(st.lists(st.integers(1, 5), max_size=8))
    other = Counted(policy)
    shuffled: Sequence[Event] = data.draw(st.permutations(events))
    for size in sizes:
        other.take(*shuffled[:size])
        shuffled = shuffled[size:]
        assert other.kinds[PREDICTED] <= len(events)  # drained in between
    assert other.take(*shuffled).arrivals == found


@quick
@given(
    policy=st.sampled_from(POLICIES), steps=st.lists(st.one_of(predictions(), labels(), labels(), CLOSES), max_size=40)
)
def test_each_prediction_and_each_outcome_is_counted_once(policy: JoinPolicy, steps: list[Event | int]) -> None:
    counted = Counted(policy)
    for step in steps:
        counted.close(step) if isinstance(step, int) else counted.take(step)
        kinds, statuses = counted.kinds, counted.statuses
        outcomes = statuses[JOINED] + statuses[IMPLIED]
        assert kinds[HIT] + kinds[MISS] == kinds[DELAY] == outcomes
        assert kinds[PREDICTED] == outcomes + statuses[PENDING] + statuses[UNLABELLED]
        hits = sum(n for key, n in counted.tallies.items() if key.slice == WHOLE and key.truth == key.answer[:1])
        assert kinds[HIT] == hits


# Keys, buckets


@given(
    st.text(), st.integers(), st.sampled_from([PREDICTED, HIT, MISS, DELAY]), st.integers(), st.integers(-1, BINS - 1)
)
def test_a_key_lies_in_the_tallies(version: str, slot: int, kind: str, born: int, bin_: int) -> None:
    key = ArrivalKey(version, slot, kind, born, bin_)
    assert key.in_tallies.slice == ARRIVALS
    assert ArrivalKey.of(key.in_tallies) == key


def test_an_outcome_is_no_arrival() -> None:
    with pytest.raises(ValueError, match="expected a key of arrivals"):
        ArrivalKey.of(TallyKey("1", WHOLE, 5, "late", "late"))


@given(st.integers(0, 10**15))
def test_a_delays_bucket_is_a_quarter_of_an_octave(delay: Micros) -> None:
    bucket = delay_bucket(delay)
    assert delay < delay_of(bucket)
    assert bucket == 0 or delay >= delay_of(bucket - 1)
    if delay >= SECOND:
        exact = 4 * math.log2(delay / SECOND)
        assert math.floor(exact - 1e-9) <= bucket - 1 <= math.floor(exact + 1e-9)


def test_edges_are_exact() -> None:
    assert EDGES[:9:4] == (SECOND, 2 * SECOND, 4 * SECOND)
    assert EDGES[2] == 1_414_214  # the root of 2, rounded up
    assert [delay_bucket(delay) for delay in (0, SECOND - 1, SECOND, 1_414_213, 1_414_214)] == [0, 0, 1, 2, 3]
    assert delay_of(delay_bucket(10**18)) == EDGES[-1]


@pytest.mark.parametrize(("minutes", "width"), [(0, 1), (1, 1), (60, 1), (61, 2), (3 * 24 * 60, 72)])
def test_a_bucket_of_prediction_time_is_a_sixtieth_of_the_longest_delay(minutes: int, width: int) -> None:
    assert width_of(minutes * MINUTE) == width
