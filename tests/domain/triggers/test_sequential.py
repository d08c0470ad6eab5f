"""The arithmetic of sequential tests: the bets are fair, the weights are spent once, dependence is seen."""

from __future__ import annotations

from itertools import pairwise
from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.triggers.sequential import (
    EFFECTS,
    HORIZON,
    Blocks,
    LossReference,
    Sums,
    advanced,
    begun,
    log_bets,
    log_bets_against,
    log_evidence,
    log_mixed,
    starting,
)
from tests.domain.making import thorough

ALPHA = 0.04


def misses(n: int, total: int) -> Sums:
    return Sums(n=n, total=total, squares=total)


def of(values: np.ndarray) -> Sums:
    return Sums(n=len(values), total=float(values.sum()), squares=float((values**2).sum()))


class TestBets:
    @thorough
    @given(st.integers(20, 20_000), st.floats(0.01, 0.6), st.floats(1, 5))
    def test_on_a_share_they_are_fair_at_the_candidate_and_lose_below_it(
        self, n: int, share: float, inflation: float
    ) -> None:
        reference = LossReference(sums=misses(n, round(n * share)), binary=True, inflation=inflation)
        hit = np.exp(log_bets(reference, misses(1, 0)))
        miss = np.exp(log_bets(reference, misses(1, 1)))
        true = reference.candidates[:, None]
        assert np.allclose((1 - true) * hit + true * miss, 1)
        better = 0.9 * true
        assert np.all((1 - better) * hit + better * miss < 1 + 1e-12)

    @pytest.mark.parametrize("kind", ["uniform", "exponential", "heavy"])
    def test_on_losses_they_gain_nothing_whatever_their_shape(self, kind: str) -> None:
        rng = np.random.default_rng(1)
        drawn = {
            "uniform": rng.random(20_000),
            "exponential": rng.exponential(2, 20_000),
            "heavy": rng.pareto(2.2, 20_000),
        }[kind]
        mean = float(drawn.mean())
        factors = [
            np.exp(log_bets_against(mean, float(drawn.var()), of(np.array([one])), binary=False))
            for one in drawn[:1500]
        ]
        assert np.all(np.mean(factors, axis=0) <= 1.02)

    def test_they_grow_when_losses_do(self) -> None:
        rng = np.random.default_rng(2)
        worse = of(rng.exponential(1.3, 2000))
        assert log_bets_against(1.0, 1.0, worse, binary=False).max() > 10

    @pytest.mark.parametrize("n", [1, 2, 30])
    def test_a_slot_of_losses_is_worth_no_more_than_they_are_one_by_one(self, n: int) -> None:
        rng = np.random.default_rng(3)
        for _ in range(100):
            drawn = np.minimum(rng.pareto(1.2, n), 29.0)
            together = log_bets_against(1.0, 2.0, of(drawn), binary=False)
            alone = sum(log_bets_against(1.0, 2.0, of(np.array([one])), binary=False) for one in drawn)
            assert np.all(together <= alone + 1e-9)

    @pytest.mark.parametrize("loss", [0.0, 0.5, 20.0])
    def test_and_the_same_where_they_are_alike(self, loss: float) -> None:
        together = log_bets_against(1.0, 2.0, of(np.full(10, loss)), binary=False)
        assert np.allclose(together, 10 * log_bets_against(1.0, 2.0, of(np.array([loss])), binary=False))

    def test_a_slot_is_worth_what_its_outcomes_are_one_by_one(self) -> None:
        reference = LossReference(sums=misses(1000, 100), binary=True)
        together = log_bets(reference, misses(10, 3))
        alone = 7 * log_bets(reference, misses(1, 0)) + 3 * log_bets(reference, misses(1, 1))
        assert np.allclose(together, alone)

    def test_the_wider_the_reference_is_uncertain_the_wider_its_candidates(self) -> None:
        few = LossReference(sums=misses(100, 10), binary=True).candidates
        many = LossReference(sums=misses(10_000, 1000), binary=True).candidates
        dependent = LossReference(sums=misses(10_000, 1000), binary=True, inflation=4).candidates
        assert few.max() > dependent.max() > many.max() > 0.1
        assert np.all(np.diff(many) < 0)


class TestWeights:
    def test_they_sum_to_one_over_the_horizon_however_it_is_cut(self) -> None:
        edges = [0, 1, 500, 501, 90_000, HORIZON]
        assert sum(begun(a, b - a) for a, b in pairwise(edges)) == pytest.approx(1)

    def test_a_stake_begins_with_its_weight(self) -> None:
        stakes = advanced(starting(1), np.zeros((1, len(EFFECTS))), 0.25)
        assert np.allclose(np.exp(stakes), 0.25)
        again = advanced(stakes, np.full((1, len(EFFECTS)), log(2)), 0.5)
        assert np.allclose(np.exp(again), 1.5)
        assert exp(log_mixed(again)[0]) == pytest.approx(1.5)


class TestEvidence:
    REFERENCE = LossReference(sums=misses(10_000, 1000), binary=True)

    def evidence(self, stake: float, inflation: float = 1.0) -> float:
        return log_evidence(np.full_like(starting(), stake), self.REFERENCE, inflation, ALPHA)

    def test_the_error_of_the_reference_is_paid_for(self) -> None:
        """If the stakes against every candidate were the same, it would take more than without that error."""
        assert self.evidence(log(1 / ALPHA)) < log(1 / ALPHA) - 1

    def test_it_is_paid_once(self) -> None:
        assert self.evidence(log(1 / ALPHA) + 5) > log(1 / ALPHA)

    def test_one_candidate_that_stands_is_enough_to_be_silent(self) -> None:
        stakes = np.full_like(starting(), 50.0)
        near = 6  # one standard error from the estimate
        stakes[near] = 0.0
        assert log_evidence(stakes, self.REFERENCE, 1.0, ALPHA) < log(1 / ALPHA)

    def test_one_that_the_reference_itself_refutes_is_not(self) -> None:
        stakes = np.full_like(starting(), 50.0)
        stakes[0] = 0.0
        assert log_evidence(stakes, self.REFERENCE, 1.0, ALPHA) > log(1 / ALPHA)

    def test_that_refutation_fades_when_outcomes_turn_out_to_be_dependent(self) -> None:
        stakes = np.full_like(starting(), 50.0)
        stakes[1] = 0.0
        assert log_evidence(stakes, self.REFERENCE, 1.0, ALPHA) > log(1 / ALPHA)
        assert log_evidence(stakes, self.REFERENCE, 9.0, ALPHA) < log(1 / ALPHA)


class TestBlocks:
    @staticmethod
    def filled(slots: np.ndarray, size: int = 100) -> Blocks:
        blocks = Blocks()
        for total in slots.tolist():
            blocks = blocks.add(misses(size, total))
        return blocks

    def test_independent_outcomes_are_hardly_inflated(self) -> None:
        found = [self.filled(np.random.default_rng(seed).binomial(100, 0.1, 200)).inflation(0.09) for seed in range(15)]
        assert np.median(found) < 1.05
        assert max(found) < 2

    @pytest.mark.parametrize("truth", [3, 8])
    def test_dependence_is_measured(self, truth: int) -> None:
        """Each outcome stands for so many that are the same."""
        found = [
            self.filled(truth * np.random.default_rng(seed).binomial(100 // truth, 0.1, 300), 100 // truth * truth)
            for seed in range(10)
        ]
        assert np.median([one.inflation(0.09) for one in found]) == pytest.approx(truth, rel=0.35)

    def test_a_step_is_no_dependence(self) -> None:
        rng = np.random.default_rng(5)
        slots = np.concatenate([rng.binomial(100, 0.1, 150), rng.binomial(100, 0.25, 150)])
        assert self.filled(slots).inflation(0.15) < 1.6

    def test_the_less_is_known_the_more_is_assumed(self) -> None:
        rng = np.random.default_rng(6)
        found = [self.filled(rng.binomial(100, 0.1, slots)).caution for slots in (8, 30, 101, 500)]
        assert found[0] > 3
        assert found[0] > found[1] > found[2] == found[3] == 1

    def test_nothing_is_known_of_a_single_block(self) -> None:
        assert not Blocks().add(misses(5000, 4000)).known
        assert self.filled(np.full(10, 7)).known
