"""Accuracy estimated from scores: calibrated, ahead of the labels, and measured against what came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

import pytest

from retrainer.domain.lateness.coverage import CoveragePolicy, Maturity
from retrainer.domain.lateness.estimated import Estimated, EstimatedReport, estimated_facts
from retrainer.domain.tally.arrivals import BINS, HIT, MISS, NO_SCORE, PREDICTED, ArrivalKey
from retrainer.domain.values import Slot
from tests.domain.making import MINUTE, restored

POLICY = CoveragePolicy(width=1, max_delay=60 * MINUTE)
MATURITY = Maturity(mature=20 * MINUTE, settled=20 * MINUTE, n=1000, configured=False)

Rows = list[tuple[ArrivalKey, int]]
Chance = Callable[[Slot, float], float]
"""That an answer of so much confidence is right, if it is given in a slot."""


def boastful(_: Slot, confidence: float) -> float:
    """A model that is less often right than it says."""
    return confidence - 0.15


def lived(
    chance: Chance = boastful, sure: Callable[[Slot], float] = lambda _: 0.9, slots: int = 150, seed: int = 1
) -> tuple[list[Rows], list[float]]:
    """What arrives, slot by slot, with labels after 20 minutes; and how accurate each slot's predictions were."""
    draw = Random(seed)
    rows = [Counter[ArrivalKey]() for _ in range(slots + 30)]
    accuracy = []
    for slot in range(slots):
        right = 0
        for _ in range(120):
            confidence = draw.uniform(0.5, 1.0) if draw.random() > sure(slot) else draw.uniform(0.9, 1.0)
            bin_ = min(BINS - 1, int(confidence * BINS))
            hit = draw.random() < chance(slot, confidence)
            right += hit
            rows[slot][ArrivalKey("1", slot, PREDICTED, slot, bin_)] += 1
            if draw.random() < 0.5:
                rows[slot + 20][ArrivalKey("1", slot + 20, HIT if hit else MISS, slot, bin_)] += 1
        accuracy.append(right / 120)
    return [list(one.items()) for one in rows[:slots]], accuracy


def reports(rows: list[Rows]) -> Iterator[EstimatedReport | None]:
    estimated = Estimated(POLICY)
    for slot, arrived in enumerate(rows):
        estimated.count(slot, arrived, MATURITY)
        yield estimated.report


def test_scores_that_boast_are_calibrated() -> None:
    rows, accuracy = lived()
    *_, report = reports(rows)
    assert report is not None
    assert report.value == pytest.approx(sum(accuracy) / len(accuracy), abs=0.02)
    assert report.value < 0.85  # the scores say 0.93
    assert report.n >= 200
    assert report.calibrated_on > 500
    assert report.compared > 50
    assert report.error_so_far is not None
    assert 0 < report.error_so_far < 0.06
    assert report.low < report.value < report.high


def test_harder_questions_are_seen_before_their_labels_come() -> None:
    rows, accuracy = lived(sure=lambda slot: 0.9 if slot < 100 else 0.0)
    found = list(reports(rows))
    before, after = found[99], found[105]
    assert before is not None
    assert after is not None
    assert after.value < before.value - 0.1
    assert after.value == pytest.approx(sum(accuracy[101:]) / len(accuracy[101:]), abs=0.04)


def test_a_changed_relation_is_not_seen_but_the_error_is_told_once_labels_come() -> None:
    rows, _ = lived(chance=lambda slot, confidence: confidence - (0.1 if slot < 80 else 0.5))
    found = [report for report in reports(rows) if report is not None]
    before, at_once, later = found[75], found[79], found[100]
    assert at_once.value == pytest.approx(before.value, abs=0.03)
    assert before.error_so_far is not None
    assert later.error_so_far is not None
    assert later.error_so_far > 2 * before.error_so_far
    assert later.high - later.value >= min(later.error_so_far, 1 - later.value) - 1e-9


def test_the_interval_holds_what_it_promises() -> None:
    held = 0
    for seed in range(20):
        rows, accuracy = lived(seed=seed, slots=70)
        estimated = Estimated(POLICY)
        for slot, arrived in enumerate(rows):
            estimated.count(slot, arrived, MATURITY)
        report = estimated.report
        assert report is not None
        held += report.low <= sum(accuracy[-2:]) / 2 <= report.high
    assert held >= 17


def test_without_scores_nothing_is_estimated() -> None:
    rows, _ = lived()
    blind = [[(key._replace(bin=NO_SCORE), n) for key, n in arrived] for arrived in rows]
    assert set(reports(blind)) == {None}


def test_before_labels_have_matured_nothing_is_estimated() -> None:
    found = list(reports(lived()[0]))
    assert set(found[:20]) == {None}
    assert None not in found[25:]


def test_while_nobody_knows_when_labels_mature_nothing_is_learnt() -> None:
    estimated = Estimated(POLICY)
    for slot, arrived in enumerate(lived()[0]):
        estimated.count(slot, arrived, None)
    assert estimated.report is None


def test_an_outcome_that_is_taken_back_before_it_has_matured_teaches_nothing() -> None:
    estimated, plain = Estimated(POLICY), Estimated(POLICY)
    rows, _ = lived(slots=60)
    wrong: Rows = [(ArrivalKey("1", 0, MISS, 5, 15), 50)]
    back: Rows = [(ArrivalKey("1", 0, MISS, 5, 15), -50)]
    for slot, arrived in enumerate(rows):
        plain.count(slot, arrived, MATURITY)
        estimated.count(slot, [*arrived, *(wrong if slot == 7 else back if slot == 9 else [])], MATURITY)
    assert estimated.report == plain.report is not None


@pytest.mark.parametrize("cut", [1, 30, 61, 149])
def test_a_restart_changes_nothing(cut: int) -> None:
    rows, _ = lived()
    whole, parted = Estimated(POLICY), Estimated(POLICY)
    for slot, arrived in enumerate(rows):
        if slot == cut:
            parted = Estimated(POLICY, restored(parted.state))
            for past in range(max(0, slot - POLICY.ages - 1), slot):
                parted.remember(past, rows[past])
            assert parted.report == whole.report
        whole.count(slot, arrived, MATURITY)
        parted.count(slot, arrived, MATURITY)
    assert parted.report == whole.report
    assert parted.state == whole.state


def test_a_report_is_told_with_its_numbers() -> None:
    report = EstimatedReport(
        value=0.91234, low=0.9, high=0.95, n=400, calibrated_on=900, error_so_far=0.01234, compared=7
    )
    assert estimated_facts(report) == {
        "metric": "accuracy",
        "value": 0.9123,
        "low": 0.9,
        "high": 0.95,
        "n": 400,
        "calibrated_on": 900,
        "error_so_far": 0.0123,
        "compared": 7,
    }
    assert estimated_facts(None) is None
