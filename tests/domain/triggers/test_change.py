"""`change`: silent while quality holds, soon after it drops; and what it remembers survives a restart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from retrainer.domain.metrics.registry import Estimate
from retrainer.domain.metrics.windows import CountWindow, History
from retrainer.domain.tally.measures import SUM, expansion
from retrainer.domain.triggers.base import Level, Reading, Scene, State
from retrainer.domain.triggers.change import Change, words
from retrainer.domain.values import SLOT_WIDTH, iso
from tests.plain import plain_change

SLOT = 100
"""Outcomes in a slot of these lives."""
Slot = Counter[tuple[str, str]]


def hits_and_misses(rates: Sequence[float], seed: int, size: int = SLOT) -> list[Slot]:
    """One class, with the accuracy of each slot given."""
    rng = np.random.default_rng(seed)
    hits = [int(rng.binomial(size, rate)) for rate in rates]
    return [Counter({("a", "a"): hit, ("a", "b"): size - hit}) for hit in hits]


def life(
    slots: Iterable[Slot],
    trigger: Change | None = None,
    baseline: Estimate | None = None,
    *,
    restarting: bool = False,
) -> list[Reading]:
    """What the trigger says at the end of each slot."""
    trigger, history = trigger or plain_change(), History(CountWindow(outcomes=10))
    state: State = {}
    readings = []
    for slot, cells in enumerate(slots):
        history.add(slot, cells)
        known = json.loads(json.dumps(state, sort_keys=True)) if restarting else state
        state, reading = trigger.evaluate(
            known, Scene(history=history, baseline={baseline.metric: baseline} if baseline else {})
        )
        readings.append(reading)
    return readings


def first_fired(readings: Sequence[Reading]) -> int | None:
    return next((slot for slot, reading in enumerate(readings) if reading.fired), None)


class TestWhileQualityHolds:
    def test_it_hardly_ever_fires(self) -> None:
        fired = [first_fired(life(hits_and_misses([0.9] * 300, seed))) is not None for seed in range(20)]
        assert sum(fired) <= 1  # the promise is at most one in twenty, in lives over thirty times as long

    def test_it_never_fires_when_quality_rises(self) -> None:
        assert first_fired(life(hits_and_misses([0.8] * 20 + [0.95] * 200, 1))) is None

    def test_nor_when_misses_come_in_runs(self) -> None:
        """Each outcome stands for ten that are the same: without regard to that, most of these lives would fire."""
        fired = []
        for seed in range(12):
            rng = np.random.default_rng(seed)
            hits = (rng.binomial(10, 0.9, 400) * 10).tolist()
            fired.append(first_fired(life(Counter({("a", "a"): n, ("a", "b"): SLOT - n}) for n in hits)) is not None)
        assert sum(fired) <= 2

    def test_nor_on_corrections_that_come_in_pairs(self) -> None:
        slots = hits_and_misses([0.9] * 100, 4)
        for number in range(60, 90):
            slots[number][("a", "a")] -= 8
            slots[number][("b", "b")] += 8
        assert first_fired(life(slots)) is None


class TestAfterAFall:
    @pytest.mark.parametrize(("after", "within"), [(0.85, 3_000), (0.8, 1_000), (0.7, 400)])
    def test_it_fires_soon_and_says_when_it_began(self, after: float, within: int) -> None:
        late = []
        for seed in range(8):
            readings = life(hits_and_misses([0.9] * 150 + [after] * 100, seed))
            slot = first_fired(readings)
            assert slot is not None
            assert slot >= 150
            late.append((slot + 1 - 150) * SLOT)
            began = readings[slot].began
            assert began is not None
            assert 130 <= began // SLOT_WIDTH <= 160
            assert readings[slot].evidence["began"] == iso(began)
        assert sorted(late)[6] <= within

    def test_it_need_not_wait_for_the_whole_reference(self) -> None:
        slot = first_fired(life(hits_and_misses([0.9] * 25 + [0.7] * 30, 3)))
        assert slot is not None
        assert slot < 40

    def test_a_slow_fall_is_not_swallowed_by_a_larger_reference(self) -> None:
        rates = [max(0.8, 0.92 - 0.0008 * slot) for slot in range(300)]
        assert first_fired(life(hits_and_misses(rates, 5))) is not None

    def test_a_champion_that_is_bad_from_the_first_outcome_is_known_by_its_baseline(self) -> None:
        promised = Estimate(metric="accuracy", value=0.9, n=4000, low=0.89, high=0.91)
        bad = hits_and_misses([0.75] * 60, 6)
        fired = life(bad, baseline=promised)
        assert first_fired(fired) is not None
        assert fired[-1].evidence["reference"] == "baseline"
        assert "its baseline had 0.9" in words(fired[-1].evidence)
        assert first_fired(life(bad)) is None

    def test_one_as_good_as_its_baseline_is_not(self) -> None:
        promised = Estimate(metric="accuracy", value=0.9, n=4000, low=0.89, high=0.91)
        assert first_fired(life(hits_and_misses([0.89] * 200, 7), baseline=promised)) is None

    def test_it_stays_fired_and_a_restart_changes_nothing(self) -> None:
        slots = hits_and_misses([0.9] * 110 + [0.7] * 20 + [0.95] * 30, 3)
        readings = life(slots)
        slot = first_fired(readings)
        assert slot is not None
        assert all(reading == readings[slot] for reading in readings[slot:])
        assert life(slots, restarting=True) == readings


def errors(scale: float, n: int, rng: np.random.Generator) -> Slot:
    """A slot of a regression whose errors have this standard deviation."""
    expand = expansion("regression", scores="none", positive=None)
    assert expand is not None
    cells: Slot = Counter()
    for error in rng.normal(0, scale, n).tolist():
        for cell, amount in expand("10", repr(10 + error)):
            cells[cell] += amount
    return cells


class TestLosses:
    @pytest.mark.parametrize(("metric", "scale"), [("mae", 1.5), ("rmse", 1.3), ("mape", 1.5)])
    def test_errors_that_grow_are_noticed_and_others_are_not(self, metric: str, scale: float) -> None:
        rng = np.random.default_rng(8)
        slots = [*(errors(1.0, 50, rng) for _ in range(100)), *(errors(scale, 50, rng) for _ in range(40))]
        readings = life(slots, plain_change(metric=metric, reference=2000))
        fired = first_fired(readings)
        assert fired is not None
        assert fired >= 100
        assert readings[-1].evidence["found"] > readings[-1].evidence["expected"]

    @pytest.mark.parametrize("metric", ["mae", "rmse"])
    @pytest.mark.parametrize("scale", [10, 60, 1000, 1e9])
    def test_the_more_they_grow_the_sooner(self, metric: str, scale: float) -> None:
        """As where a label's unit has changed."""
        rng = np.random.default_rng(8)
        slots = [*(errors(1.0, 10, rng) for _ in range(100)), *(errors(scale, 10, rng) for _ in range(20))]
        readings = life(slots, plain_change(metric=metric))
        fired = first_fired(readings)
        assert fired is not None
        assert 100 <= fired < 108
        began = readings[fired].began
        assert began is not None
        assert 94 <= began // SLOT_WIDTH <= 100

    @pytest.mark.parametrize("slip", [1e3, 1e6, 1e12])
    def test_one_label_that_is_a_slip_is_no_change(self, slip: float) -> None:
        rng = np.random.default_rng(8)
        slots = [errors(1.0, 10, rng) for _ in range(300)]
        slots[200] = slots[200] + errors(slip, 1, rng)
        assert first_fired(life(slots, plain_change(metric="mae"))) is None

    def test_a_slot_without_a_score_says_nothing(self) -> None:
        found = life([Counter({("a", "a"): 5})], plain_change(metric="brier"))
        assert found == [Reading()]
        assert SUM not in found[0].evidence


def classes(zeros: int, ones: int, rng: np.random.Generator, *, zero: float = 0.95, one: float = 0.8) -> Slot:
    zeros_hit, ones_hit = int(rng.binomial(zeros, zero)), int(rng.binomial(ones, one))
    return Counter(
        {
            ("0", "0"): zeros_hit,
            ("0", "1"): zeros - zeros_hit,
            ("1", "1"): ones_hit,
            ("1", "0"): ones - ones_hit,
        }
    )


class TestLateLabels:
    def test_a_burst_of_one_class_after_a_stall_does_not_fire(self) -> None:
        for seed in range(4):
            rng = np.random.default_rng(seed)
            usual = [classes(60, 40, rng) for _ in range(150)]
            backlog = [classes(0, 500, rng) for _ in range(4)] + [classes(500, 0, rng) for _ in range(6)]
            readings = life([*usual, *backlog, *[classes(60, 40, rng) for _ in range(150)]])
            assert first_fired(readings) is None
            assert any(reading.level is Level.WARNED for reading in readings)
            assert readings[-1].level is Level.QUIET

    def test_nor_does_a_class_whose_labels_come_late_at_the_start(self) -> None:
        for seed in range(4):
            rng = np.random.default_rng(seed)
            early = [classes(60, 0, rng) for _ in range(50)]
            readings = life([*early, *[classes(60, 40, rng) for _ in range(600)]])
            assert first_fired(readings) is None
            assert readings[-1].level is Level.QUIET

    def test_a_fall_meanwhile_is_noticed(self) -> None:
        rng = np.random.default_rng(9)
        early = [classes(60, 0, rng) for _ in range(50)]
        later = [classes(60, 40, rng) for _ in range(300)]
        fallen = [classes(60, 40, rng, zero=0.85, one=0.7) for _ in range(30)]
        slot = first_fired(life([*early, *later, *fallen]))
        assert slot is not None
        assert slot >= 350

    def test_a_backlog_larger_than_the_reference_does_not_fire_either(self) -> None:
        rng = np.random.default_rng(12)
        usual = [classes(60, 40, rng) for _ in range(150)]
        backlog = [classes(0, 1000, rng) for _ in range(4)] + [classes(1000, 0, rng) for _ in range(6)]
        readings = life([*usual, *backlog, *[classes(60, 40, rng) for _ in range(50)]], plain_change(reference=2000))
        assert first_fired(readings) is None

    def test_a_mix_that_has_changed_for_good_fires_in_the_end(self) -> None:
        rng = np.random.default_rng(10)
        trigger = plain_change(reference=2000)
        slots = [classes(60, 40, rng) for _ in range(100)] + [classes(20, 80, rng) for _ in range(100)]
        readings = life(slots, trigger)
        warned = next(slot for slot, reading in enumerate(readings) if reading.level is Level.WARNED)
        fired = first_fired(readings)
        assert 100 <= warned < 140
        assert fired is not None
        assert warned + 20 <= fired <= warned + 25
        assert "the mix of label classes explains it" in words(readings[-1].evidence)


def test_it_says_how_far_it_is_while_it_learns() -> None:
    readings = life(hits_and_misses([0.9] * 4, 0))
    assert not any(reading.fired for reading in readings)
    assert words(readings[-1].evidence) == "it is still learning what to expect (400 of 500 outcomes)"


def test_the_words_tell_value_reference_and_strength() -> None:
    readings = life(hits_and_misses([0.9] * 110 + [0.7] * 20, 3))
    said = words(readings[-1].evidence)
    assert "since 1970-01-01T01:50:00+00:00, where its 10000 first outcomes had" in said
    assert "20 needed" in said


def test_what_it_remembers_is_small() -> None:
    """However long the life."""
    sizes = []
    history, trigger = History(CountWindow(outcomes=10)), plain_change()
    state: State = {}
    for slot, cells in enumerate(hits_and_misses([0.9] * 1000, 11)):
        history.add(slot, cells)
        state = trigger.evaluate(state, Scene(history=history))[0]
        sizes.append(len(json.dumps(state)))
    assert max(sizes) < 6000


def test_what_an_older_version_remembered_is_learned_anew() -> None:
    history = History(CountWindow(outcomes=10))
    history.add(0, hits_and_misses([0.9], 1)[0])
    older = {"hits": 900, "n": 1000, "expected": 0.88, "sums": [-1e9] * 5, "tested": 100, "fired": True}
    _, reading = plain_change().evaluate(older, Scene(history=history))
    assert reading.evidence == {"reference": "100 of 500 outcomes"}
