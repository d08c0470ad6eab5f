"""Judging: the tests against brute force and against simulation, and every gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import comb, erfc, log, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.judging.paired import compare_accuracy, exact_p, score_p
from retrainer.domain.judging.verdicts import (
    FIRST_LOOK,
    Bench,
    Gate,
    HeldOut,
    enough_rows,
    error_share,
    judge,
    judging_on_share,
    verdict_of,
)
from retrainer.domain.tally.measures import expansion
from tests.plain import plain_judge


def rows_of(both: int, wins: int, losses: int, neither: int = 0) -> HeldOut:
    """Held-out rows with labels x: both right, the candidate alone, the champion alone, both wrong."""
    candidate = ["x"] * (both + wins) + ["y"] * (losses + neither)
    champion = ["x"] * both + ["y"] * wins + ["x"] * losses + ["y"] * neither
    labels = ["x"] * len(candidate)
    return HeldOut(labels=labels, candidate=candidate, champion=champion, usual=["y"] * len(labels), last=labels)


def bench(*, judgement: int = 1, metric: str = "accuracy", **policy: Any) -> Bench:
    return Bench(
        policy=plain_judge(**({"min_rows": 10} | policy)),
        metric=metric,
        positive=None,
        judgement=judgement,
    )


def named(gates: Sequence[Gate], name: str) -> Gate:
    return next(gate for gate in gates if gate.name == name)


def against_champion(rows: HeldOut, **policy: Any) -> Gate:
    return named(judge(bench(**policy), rows), "better_than_champion")


class TestExactTest:
    @given(st.integers(0, 60), st.integers(0, 60))
    def test_is_the_tail_of_a_fair_coin(self, wins: int, losses: int) -> None:
        tosses = wins + losses
        expected = Fraction(sum(comb(tosses, heads) for heads in range(wins, tosses + 1)), 2**tosses)
        assert exact_p(wins, losses) == pytest.approx(float(expected), rel=1e-9)

    def test_keeps_the_digits_of_a_large_sample(self) -> None:
        expected = Fraction(sum(comb(3_000, heads) for heads in range(1_700, 3_001)), 2**3_000)
        assert exact_p(1_700, 1_300) == pytest.approx(float(expected), rel=1e-9)
        assert exact_p(1_300, 1_700) == pytest.approx(1 - float(expected), abs=1e-12)

    def test_without_a_difference_nothing_is_shown(self) -> None:
        assert exact_p(0, 0) == 1


class TestScoreTest:
    @pytest.mark.parametrize(
        ("wins", "losses", "n", "margin"),
        [(40, 10, 200, 0.05), (40, 10, 200, -0.05), (3, 0, 50, 0.01), (0, 9, 90, 0.02), (0, 0, 100, 0.03)],
    )
    def test_agrees_with_the_likelihood_maximised_on_a_grid(
        self, wins: int, losses: int, n: int, margin: float
    ) -> None:
        """Tango's closed form for the likeliest chance of a loss, against a search for it."""
        chances = np.linspace(max(0, -margin) + 1e-9, (1 - margin) / 2 - 1e-9, 2_000_001)
        likelihood = (n - wins - losses) * np.log(1 - 2 * chances - margin)
        if wins:
            likelihood += wins * np.log(chances + margin)
        if losses:
            likelihood += losses * np.log(chances)
        losing = float(chances[np.argmax(likelihood)])
        z = (wins - losses - n * margin) / sqrt(n * (2 * losing + margin * (1 - margin)))
        assert score_p(wins, losses, n, margin) == pytest.approx(0.5 * erfc(z / sqrt(2)), rel=1e-3)

    def test_without_a_margin_it_is_mcnemars_approximate_test(self) -> None:
        assert score_p(30, 14, 500, 0) == pytest.approx(0.5 * erfc((30 - 14) / sqrt(44) / sqrt(2)))

    def test_two_that_never_differ_are_no_better_than_a_margin_of_nothing(self) -> None:
        assert score_p(0, 0, 100, 0) == 1


class TestErrorShare:
    def test_all_judgements_of_a_champion_share_one_error_rate(self) -> None:
        assert sum(error_share(0.95, k) for k in range(1, 100_000)) == pytest.approx(0.05, rel=1e-4)
        assert error_share(0.95, 1) == pytest.approx(0.025)

    def test_a_later_judgement_asks_for_more(self) -> None:
        rows = rows_of(both=300, wins=30, losses=14)  # p = 0.011
        assert against_champion(rows, judgement=1).passed
        assert not against_champion(rows, judgement=2).passed

    def test_the_first_look_and_judging_on_share_it(self) -> None:
        first = bench(judgement=3).error_share
        assert first == FIRST_LOOK * error_share(0.95, 3)
        assert first + judging_on_share(0.95, 3) == pytest.approx(error_share(0.95, 3))

    def test_counts_from_one(self) -> None:
        with pytest.raises(ValueError, match="from 1"):
            error_share(0.95, 0)


class TestAgainstTheChampion:
    def test_says_what_a_colleague_would_say(self) -> None:
        found = against_champion(rows_of(both=600, wins=212, losses=97, neither=91))
        assert found.reason == (
            "the candidate right on 212 rows where the champion was wrong, wrong on 97 where it was right:"
            " p=2.7e-11 <= 0.02"
        )
        assert found.evidence == {
            "b": 212,
            "c": 97,
            "standard_error": pytest.approx(sqrt(212 + 97) / 1000),
            "n": 1_000,
            "metric": "accuracy",
            "candidate": 0.812,
            "other": 0.697,
            "difference": pytest.approx(0.115),
            "improvement": 0.0,
            "p": pytest.approx(exact_p(212, 97)),
            "p_worse": pytest.approx(1),
            "alpha": pytest.approx(0.02),
            "judgement": 1,
            "test": "mcnemar",
        }

    def test_a_worse_candidate_is_rejected_and_so_are_the_two_swapped(self) -> None:
        better, worse = rows_of(both=600, wins=80, losses=20), rows_of(both=600, wins=20, losses=80)
        assert against_champion(better).passed
        assert not against_champion(worse).passed

    @given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("xyz")), min_size=1, max_size=200))
    def test_an_equal_candidate_is_never_accepted(self, pairs: list[tuple[str, str]]) -> None:
        labels, answers = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        rows = HeldOut(labels=labels, candidate=answers, champion=answers, usual=["w"] * len(pairs), last=labels)
        assert not against_champion(rows).passed

    def test_an_improvement_is_asked_for_with_a_score_test(self) -> None:
        rows = rows_of(both=600, wins=120, losses=40, neither=240)  # 8 points better
        near, far = against_champion(rows, improvement=0.03), against_champion(rows, improvement=0.07)
        assert near.passed
        assert not far.passed
        assert far.evidence["test"] == "tango"
        assert "to be better by more than 0.07" in far.reason

    def test_no_worse_by_more_than_a_little_may_be_asked_for_too(self) -> None:
        rows = rows_of(both=900, wins=30, losses=32)
        assert not against_champion(rows).passed
        assert against_champion(rows, improvement=-0.03).passed

    def test_the_majority_is_a_floor_by_its_value(self) -> None:
        rows = replace(rows_of(both=5, wins=12, losses=0, neither=20), usual=["x"] * 20 + ["y"] * 17)
        gates = judge(bench(), rows)
        assert named(gates, "better_than_champion").passed
        assert not named(gates, "better_than_majority").passed
        reason = "accuracy 0.4595 < 0.5405 of always saying the commonest class"
        assert named(gates, "better_than_majority").reason == reason


class TestErrorRate:
    """Equal models, simulated with fixed seeds: accepted at most as often as the confidence allows."""

    @staticmethod
    def accepted(random: np.random.Generator, judgement: int, improvement: float, gain: float) -> bool:
        """One judgement of two models of which the candidate is better by `gain`, their errors independent."""
        n = 400
        ours, theirs = random.random(n) < 0.75 + gain, random.random(n) < 0.75
        both, wins, losses = int((ours & theirs).sum()), int((ours & ~theirs).sum()), int((~ours & theirs).sum())
        rows = rows_of(both, wins, losses, neither=n - both - wins - losses)
        return against_champion(rows, judgement=judgement, improvement=improvement).passed

    def test_of_one_judgement(self) -> None:
        random = np.random.default_rng(20)
        found = sum(self.accepted(random, 1, 0.0, 0.0) for _ in range(1_000))
        assert 0 < found <= 0.05 * 1_000

    def test_of_one_judgement_at_the_edge_of_an_improvement(self) -> None:
        random = np.random.default_rng(21)
        found = sum(self.accepted(random, 1, 0.05, 0.05) for _ in range(1_000))
        assert 0 < found <= 0.05 * 1_000

    def test_of_ten_judgements_of_one_champion(self) -> None:
        random = np.random.default_rng(22)
        found = sum(any(self.accepted(random, k, 0.0, 0.0) for k in range(1, 11)) for _ in range(200))
        assert found <= 0.05 * 200

    def test_a_clearly_better_model_is_accepted(self) -> None:
        random = np.random.default_rng(23)
        assert sum(self.accepted(random, 1, 0.0, 0.12) for _ in range(200)) > 180


class TestWithoutAChampion:
    def rows(self, candidate: str, last_class: str) -> HeldOut:
        labels = "xxxyyyxxxyyyxxx" * 10
        return HeldOut(
            labels=labels,
            candidate=candidate * 10,
            champion=None,
            usual="x" * len(labels),
            last=last_class * 10,
        )

    def test_the_baselines_are_the_gates(self) -> None:
        gates = judge(bench(), self.rows(candidate="xxxyyyxxxyyyxxy", last_class="xxxxyyyxxxyyyxx"))
        assert [gate.name for gate in gates] == ["enough_rows", "better_than_majority", "better_than_last_class"]
        assert verdict_of(gates).accepted
        assert named(gates, "better_than_majority").evidence["test"] == "mcnemar"

    def test_the_majority_must_be_beaten_beyond_chance(self) -> None:
        labels = ["x"] * 100 + ["y"] * 50
        candidate = ["x"] * 99 + ["y"] * 3 + ["x"] * 48
        rows = HeldOut(labels=labels, candidate=candidate, champion=None, usual=["x"] * 150, last=["y"] * 150)
        found = named(judge(bench(), rows), "better_than_majority")
        assert found.evidence["candidate"] > found.evidence["other"]
        assert not found.passed

    def test_the_last_class_is_a_floor(self) -> None:
        gates = judge(bench(), self.rows(candidate="xxxyyyxxxyyyxxy", last_class="xxxyyyxxxyyyxxx"))
        assert not named(gates, "better_than_last_class").passed
        assert "repeating the last class seen" in verdict_of(gates).reason


class TestOtherGates:
    def test_too_few_rows_are_no_judgement(self) -> None:
        assert enough_rows(299, 300).reason == "299 held-out rows < 300"
        assert not enough_rows(299, 300).passed
        assert enough_rows(300, 300).passed

    def test_floors_are_least_values(self) -> None:
        rows = rows_of(both=80, wins=15, losses=5)
        gates = judge(bench(floors={"accuracy": 0.95, "recall": 0.96}), rows)
        assert named(gates, "floor_accuracy").passed
        assert named(gates, "floor_recall").reason == "recall 0.0000 < 0.96, its floor"
        assert not named(gates, "floor_recall").passed

    def test_without_rows_no_metric_has_a_value_and_no_gate_passes(self) -> None:
        rows = HeldOut(labels=[], candidate=[], champion=[], usual=[], last=[])
        gates = judge(bench(floors={"accuracy": 0.5}), rows)
        assert not any(gate.passed for gate in gates)
        assert named(gates, "better_than_champion").reason == "accuracy has no value on 0 held-out rows"

    def test_every_contestant_answers_every_row(self) -> None:
        with pytest.raises(ValueError, match="every held-out row"):
            HeldOut(labels=["x"], candidate=[], champion=None, usual=["x"], last=["x"])

    def test_a_verdict_gives_the_reasons_that_failed(self) -> None:
        passed = Gate(name="a", passed=True, reason="a is fine")
        failed = Gate(name="b", passed=False, reason="b is not")
        assert verdict_of([passed, failed]).reason == "b is not"
        assert not verdict_of([passed, failed]).accepted
        assert verdict_of([passed]).reason == "a is fine"
        with pytest.raises(ValueError, match="at least one gate"):
            verdict_of([])


class TestAnswers:
    """Accept, reject, or inconclusive: then the candidate is judged on."""

    @staticmethod
    def answer(wins: int, losses: int, **policy: Any) -> str:
        return verdict_of(judge(bench(**policy), rows_of(both=600, wins=wins, losses=losses))).answer

    @pytest.mark.parametrize(
        ("wins", "losses", "answer"),
        [
            (80, 20, "accept"),
            (60, 40, "inconclusive"),
            (50, 50, "inconclusive"),
            (42, 58, "reject"),
            (20, 80, "reject"),
        ],
    )
    def test_follow_the_evidence(self, wins: int, losses: int, answer: str) -> None:
        assert self.answer(wins, losses) == answer

    def test_a_floor_that_fails_is_a_rejection(self) -> None:
        assert self.answer(60, 40, floors={"accuracy": 0.99}) == "reject"
        assert self.answer(60, 40, min_rows=10_000) == "reject"

    def test_an_improvement_that_is_out_of_reach_is_a_rejection(self) -> None:
        assert self.answer(60, 40, improvement=0.01) == "inconclusive"
        assert self.answer(60, 40, improvement=0.1) == "reject"

    def test_nothing_is_judged_on_without_a_champion(self) -> None:
        labels = ["x"] * 100 + ["y"] * 50
        candidate = ["x"] * 99 + ["y"] * 3 + ["x"] * 48
        rows = HeldOut(labels=labels, candidate=candidate, champion=None, usual=["x"] * 150, last=["y"] * 150)
        assert verdict_of(judge(bench(), rows)).answer == "reject"

    def test_only_an_accepted_one_is_accepted(self) -> None:
        gates = [Gate(name="a", passed=True, reason=""), Gate(name="b", passed=False, reason="", undecided=True)]
        assert (verdict_of(gates).answer, verdict_of(gates).accepted) == ("inconclusive", False)
        assert verdict_of([*gates, Gate(name="c", passed=False, reason="")]).answer == "reject"


class TestRegression:
    """Errors are better where they are lower."""

    @staticmethod
    def bench(**policy: Any) -> Bench:
        return Bench(
            policy=plain_judge(**({"min_rows": 3} | policy)),
            metric="mae",
            positive=None,
            judgement=1,
            task="regression",
            expand=expansion("regression", scores="none", positive=None),
        )

    rows = HeldOut(
        labels=["1", "2", "3", "4"],
        candidate=["1.5", "2", "3", "4"],
        champion=None,
        usual=["2.5"] * 4,
        last=["0", "1", "2", "3"],
    )

    def test_the_baselines_are_the_mean_and_the_last_value(self) -> None:
        gates = judge(self.bench(), self.rows)
        assert [gate.name for gate in gates] == ["enough_rows", "better_than_mean", "better_than_last_value"]
        last = named(gates, "better_than_last_value")
        assert last.passed
        assert last.reason == "mae 0.1250 < 1.0000 of repeating the last value seen"
        swapped = replace(self.rows, candidate=self.rows.last, last=self.rows.candidate)
        assert not named(judge(self.bench(), swapped), "better_than_last_value").passed

    def test_a_floor_of_an_error_is_the_greatest_value(self) -> None:
        gates = judge(self.bench(floors={"mae": 0.125, "rmse": 0.2, "r2": 0.9}), self.rows)
        assert named(gates, "floor_mae").reason == "mae 0.1250 <= 0.125, its floor"
        assert named(gates, "floor_mae").passed
        assert named(gates, "floor_rmse").reason == "rmse 0.2500 > 0.2, its floor"
        assert not named(gates, "floor_rmse").passed
        assert named(gates, "floor_r2").passed


def test_a_comparison_has_both_values() -> None:
    found = compare_accuracy(list("xxyy"), list("xxyx"), list("xyxx"), 0.0)
    assert found is not None
    assert (found.candidate, found.other) == (0.75, 0.25)
    assert log(found.p) == pytest.approx(log(0.25))
