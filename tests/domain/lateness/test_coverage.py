"""Coverage: beside what is usual, true when labels stall and when there is less traffic; and how long labels take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.lateness.cohorts import COHORTS_PER_POOL, Cohort, Cohorts, Usual
from retrainer.domain.lateness.coverage import Coverage, CoveragePolicy, CoverageReading, coverage_facts, maturity_facts
from retrainer.domain.lateness.delays import Delays
from retrainer.domain.tally.arrivals import DELAY, HIT, MISS, PREDICTED, ArrivalKey, delay_bucket
from retrainer.domain.values import SECOND, Micros
from tests.domain.lateness.labelling import DAY, HOUR, START, Kind, Life
from tests.domain.making import MINUTE, quick, restored

ONE_KIND = {"x": Kind(share=1.0, right=0.9, delays=(HOUR, 3 * HOUR))}


def readings(life: Life, length: Micros) -> Iterator[tuple[Micros, CoverageReading | None, Coverage]]:
    """What is known at the end of each slot (since the start)."""
    coverage = Coverage(life.policy)
    for slot, rows in life.slots(length):
        coverage.count(slot, rows)
        yield (slot + 1) * MINUTE - START, coverage.reading, coverage


def relative(life: Life, length: Micros, since: Micros) -> list[float]:
    return [reading.relative for end, reading, _ in readings(life, length) if end > since and reading is not None]


# What is usual


def test_where_one_in_twenty_is_labelled_that_is_full_coverage() -> None:
    life = Life(kinds=ONE_KIND, rate=lambda _: 20, reviewed=lambda _: 0.05)
    found = relative(life, 3 * DAY, 2 * DAY)
    assert len(found) == DAY // MINUTE
    assert sum(found) / len(found) == pytest.approx(1.0, abs=0.1)
    assert min(found) > 0.5


def test_nobody_has_an_opinion_before_six_buckets_are_complete() -> None:
    life = Life(kinds=ONE_KIND)
    first = next(end for end, reading, _ in readings(life, 2 * DAY) if reading is not None)
    width = 24 * MINUTE
    assert DAY + (COHORTS_PER_POOL - 1) * width <= first <= DAY + (COHORTS_PER_POOL + 2) * width


def test_coverage_falls_when_labels_stall_and_comes_back_with_them() -> None:
    life = Life(kinds=ONE_KIND, move=lambda due, _, __: max(due, 54 * HOUR) if due >= 48 * HOUR else due)
    found = {end: reading.relative for end, reading, _ in readings(life, 3 * DAY) if reading is not None}
    assert min(found[end] for end in found if 46 * HOUR < end < 48 * HOUR) > 0.95
    assert found[52 * HOUR] < 0.4
    assert found[54 * HOUR] < 0.1
    assert min(found[end] for end in found if end > 55 * HOUR) > 0.95


def test_labels_that_stop_for_good_never_become_usual() -> None:
    life = Life(kinds=ONE_KIND, rate=lambda _: 1.0, move=lambda due, _, __: due if due < 2 * DAY else None)
    found = [reading for end, reading, _ in readings(life, 7 * DAY) if end > 2 * DAY + 6 * HOUR]
    assert None not in found
    assert max(reading.relative for reading in found if reading is not None) < 0.1


def test_fewer_labels_become_usual_after_a_while() -> None:
    life = Life(kinds=ONE_KIND, rate=lambda _: 10.0, reviewed=lambda time: 0.5 if time < 2 * DAY else 0.2)
    found = {end: reading.relative for end, reading, _ in readings(life, 5 * DAY) if reading is not None}
    assert found[2 * DAY + 8 * HOUR] == pytest.approx(0.4, abs=0.15)
    assert found[5 * DAY] == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("rate", [0.5, 0.05])
def test_less_traffic_is_no_lack_of_labels(rate: float) -> None:
    life = Life(kinds=ONE_KIND, rate=lambda time: 6.0 if time < 2 * DAY else rate)
    found = relative(life, 3 * DAY, 2 * DAY)
    assert min(found) > 0.9
    assert max(found) < 1.1


def test_a_stall_is_seen_in_little_traffic_too() -> None:
    life = Life(kinds=ONE_KIND, rate=lambda _: 0.2, move=lambda due, _, __: due if due < 2 * DAY else None)
    assert relative(life, 3 * DAY, 3 * DAY - HOUR)[-1] < 0.1


def test_what_is_usual_is_not_spoilt_by_a_stall_that_is_over() -> None:
    def late(due: Micros, _: str, __: Micros) -> Micros:
        return max(due, 52 * HOUR) if due >= 48 * HOUR else due

    before, after = (
        {end: reading.usual for end, reading, _ in readings(Life(kinds=ONE_KIND, move=move), 4 * DAY) if reading}
        for move in (lambda due, _, __: due, late)
    )
    assert after[4 * DAY] == pytest.approx(before[4 * DAY], abs=0.05)


def test_an_outcome_that_is_taken_back_is_no_label() -> None:
    policy = CoveragePolicy(width=1, max_delay=10 * MINUTE, mature_after=0)
    coverage = Coverage(policy)
    for slot in range(40):
        rows = [(ArrivalKey("1", slot, PREDICTED, slot), 10), (ArrivalKey("1", slot, HIT, slot), 10)]
        coverage.count(slot, rows)
    assert coverage.reading is not None
    assert coverage.reading.relative == 1.0
    coverage.count(40, [(ArrivalKey("1", 40, HIT, slot), -5) for slot in range(36, 40)])
    assert coverage.reading.relative < 0.7


def test_a_reading_is_told_with_its_numbers() -> None:
    reading = CoverageReading(age=90 * MINUTE, usual=0.05, actual=0.02, relative=0.4, n=700)
    assert coverage_facts(reading) == {"relative": 0.4, "actual": 0.02, "usual": 0.05, "age_seconds": 5400, "n": 700}
    assert coverage_facts(None) is None


# Maturity


@quick
@given(st.lists(st.integers(0, 10 * DAY), min_size=1, max_size=60), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_the_delays_own_within_a_bucket(delays: list[Micros], share: float) -> None:
    seen = Delays().with_more(Counter(map(delay_bucket, delays)))
    exact = sorted(delays)[ceil(share * len(delays) - 1e-9) - 1]
    found = seen.quantile(share)
    assert found is not None
    assert exact < found <= max(SECOND, exact * 2**0.25 + 1)
    assert restored(seen) == seen


def test_maturity_is_what_95_percent_of_the_labels_needed() -> None:
    *_, (_, _, coverage) = readings(Life(kinds=ONE_KIND), 2 * DAY)
    found = coverage.maturity
    assert found is not None
    assert 2.85 * HOUR <= found.mature <= found.settled <= 2.98 * HOUR * 2**0.25
    assert not found.configured
    assert found.n > 1000
    assert maturity_facts(found) == {
        "mature_after_seconds": found.mature // SECOND,
        "settled_after_seconds": found.settled // SECOND,
        "delays": found.n,
        "configured": False,
    }


def test_it_is_known_early_only_where_nearly_all_are_labelled() -> None:
    def known(reviewed: float) -> Micros:
        life = Life(kinds=ONE_KIND, rate=lambda _: 8.0, reviewed=lambda _: reviewed)
        return next(end for end, _, coverage in readings(life, 2 * DAY) if coverage.maturity is not None)

    assert 3 * HOUR < known(1.0) < 4 * HOUR
    assert known(0.5) >= DAY  # the others may have labels that are still to come


def test_delays_that_have_changed_are_followed() -> None:
    at_once = {"x": Kind(share=1.0, right=0.9, delays=(0, 0))}
    life = Life(
        kinds=at_once, rate=lambda _: 0.5, move=lambda due, _, __: due + (8 * HOUR if due < 2 * DAY else MINUTE)
    )
    found = [(end, coverage.maturity) for end, _, coverage in readings(life, 7 * DAY)]
    (early, late) = (next(one for end, one in reversed(found) if end <= until) for until in (2 * DAY, 7 * DAY))
    assert early is not None
    assert late is not None
    assert early.mature >= 8 * HOUR
    assert late.mature <= 3 * MINUTE


def test_maturity_is_never_more_than_the_longest_delay() -> None:
    coverage = Coverage(CoveragePolicy(width=1, max_delay=10 * MINUTE))
    for slot in range(60):
        rows = [(ArrivalKey("1", slot, kind, slot), 5) for kind in (PREDICTED, MISS)]
        coverage.count(slot, [*rows, (ArrivalKey("1", slot, DELAY, delay_bucket(10 * MINUTE)), 5)])
    assert coverage.maturity is not None
    assert coverage.maturity.mature == 10 * MINUTE


def test_an_owner_s_word_stands_from_the_beginning() -> None:
    maturity = Coverage(CoveragePolicy(width=1, max_delay=HOUR, mature_after=5 * MINUTE)).maturity
    assert maturity is not None
    assert (maturity.mature, maturity.settled, maturity.configured) == (5 * MINUTE, 5 * MINUTE, True)


# Cohorts


@pytest.mark.parametrize(("max_delay", "width", "ages"), [(MINUTE // 2, 1, 1), (HOUR, 1, 60), (3 * DAY, 72, 60)])
def test_the_last_label_has_come_when_a_cohort_is_complete(max_delay: Micros, width: int, ages: int) -> None:
    assert CoveragePolicy(width=width, max_delay=max_delay).ages == ages


def test_gaps_are_passed_over_at_once() -> None:
    cohorts = Cohorts(1, 5)
    cohorts.add(0, [(ArrivalKey("1", 0, PREDICTED, 0), 3)])
    assert cohorts.close_before(10**9) == (6, [Cohort(predicted=3, labelled=0, path=[0] * 6)])
    assert cohorts.closed == 10**9


@quick
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8), st.integers(0, 9)), max_size=60))
def test_no_prediction_is_lost_between_open_and_complete(steps: list[tuple[int, int, int]]) -> None:
    """Steps: slots passed, age of the cohort in buckets, predictions."""
    cohorts, slot, expected, complete = Cohorts(2, 6), 100, 0, 0
    for passed, age, n in steps:
        slot += passed
        complete += sum(one.predicted for one in cohorts.close_before(slot)[1])
        cohorts.add(slot, [(ArrivalKey("1", slot, PREDICTED, slot // 2 - age), n)])
        expected += n if age <= 6 else 0
    _, done = cohorts.close_before(slot + 1000)
    assert all(len(one.path) == 7 for one in done)
    complete += sum(one.predicted for one in done)
    assert complete == expected


def test_one_pool_with_a_stall_does_not_move_what_is_usual() -> None:
    def pools(share: Callable[[int], float]) -> Usual:
        usual = Usual()
        for n in range(30):
            labelled = round(1000 * share(n))
            usual = usual.with_cohort(Cohort(predicted=1000, labelled=900, path=[labelled, 900]))
        return usual

    assert pools(lambda n: 0.0 if 12 <= n < 18 else 0.5).shares(0) == pools(lambda _: 0.5).shares(0) == (0.5,)
    assert restored(pools(lambda _: 0.5)) == pools(lambda _: 0.5)
