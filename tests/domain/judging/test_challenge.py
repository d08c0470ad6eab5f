"""Judging on: decided as soon as the evidence is there, and wrong as rarely as promised however often one looks."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.judging.challenge import Differences, PairedTest, RowLoss, judging_on
from retrainer.domain.judging.verdicts import judging_on_share
from tests.domain.making import quick, restored
from tests.effort import much
from tests.plain import plain_judge

differences = st.lists(st.sampled_from([-1.0, -0.25, 0.0, 0.5, 1.0]), max_size=40)


def judged_on(test: PairedTest, values: npt.NDArray[np.float64], batch: int) -> PairedTest:
    """The test once it is decided, or at the end of the rows, looked at after each batch."""
    for begin in range(0, len(values), batch):
        test = test.update(Differences(values=tuple(values[begin : begin + batch].tolist())))
        if test.answer is not None:
            break
    return test


def pairs(random: np.random.Generator, rows: int, differing: float, gain: float) -> npt.NDArray[np.float64]:
    """Right or wrong on rows of which a share differs, the challenger better by `gain` over all of them."""
    drawn = random.random(rows)
    wins, losses = (differing + gain) / 2, (differing - gain) / 2
    return np.where(drawn < wins, 1.0, np.where(drawn < wins + losses, -1.0, 0.0))


class TestErrorRate:
    """Simulated with fixed seeds; alpha is 0.1, so that a test which errs too often shows."""

    def test_an_equal_challenger_is_found_better_at_most_as_often_as_promised(self) -> None:
        """Runs of up to 20,000 pairs that differ on a fifth, looked at every 100 rows."""
        random, runs = np.random.default_rng(5), much(120, slow=400)
        found = [judged_on(PairedTest(alpha=0.1), pairs(random, 20_000, 0.2, 0.0), 100).answer for _ in range(runs)]
        assert 0 < found.count("better") <= 0.1 * runs
        assert 0 < found.count("worse") <= 0.1 * runs

    def test_one_at_the_edge_of_the_improvement_too(self) -> None:
        random = np.random.default_rng(6)
        test = PairedTest(alpha=0.1, margin=0.03)
        found = [judged_on(test, pairs(random, 5_000, 0.2, 0.03), 100).answer for _ in range(300)]
        assert found.count("better") <= 0.1 * 300

    def test_losses_of_any_size_too(self) -> None:
        """Seldom much better, often a little worse, and no better on average."""
        random = np.random.default_rng(7)
        values = [np.where(random.random(5_000) < 0.1, 0.9, -0.1) for _ in range(300)]
        found = [judged_on(PairedTest(alpha=0.1), one, 50).answer for one in values]
        assert found.count("better") <= 0.1 * 300

    @pytest.mark.parametrize(("gain", "answer", "rows"), [(0.05, "better", 2_000), (-0.05, "worse", 2_000)])
    def test_a_difference_is_found(self, gain: float, answer: str, rows: int) -> None:
        random = np.random.default_rng(8)
        ends = [judged_on(PairedTest(alpha=0.01), pairs(random, 20_000, 0.2, gain), 50) for _ in range(50)]
        assert {end.answer for end in ends} == {answer}
        assert np.median([end.rows for end in ends]) < rows


class TestEvidence:
    @quick
    @given(differences, st.sampled_from([0.0, 0.1, -0.1]), st.data())
    def test_is_the_same_however_the_rows_are_cut(
        self, values: list[float], margin: float, data: st.DataObject
    ) -> None:
        cut = data.draw(st.integers(0, len(values)))
        start = PairedTest(alpha=1e-12, margin=margin)
        whole = start.update(Differences(values=tuple(values)))
        parts = start.update(Differences(values=tuple(values[:cut]))).update(Differences(values=tuple(values[cut:])))
        assert parts.better == pytest.approx(whole.better)
        assert parts.worse == pytest.approx(whole.worse)
        assert (parts.rows, parts.wins, parts.losses) == (whole.rows, whole.wins, whole.losses)

    @quick
    @given(differences)
    def test_is_swapped_with_the_models(self, values: list[float]) -> None:
        ours = PairedTest(alpha=0.05).update(Differences(values=tuple(values)))
        theirs = PairedTest(alpha=0.05).update(Differences(values=tuple(-value for value in values)))
        assert (ours.for_better, ours.for_worse) == pytest.approx((theirs.for_worse, theirs.for_better))

    @pytest.mark.parametrize("margin", [0.0, 0.2, -0.2])
    def test_one_row_is_a_fair_game_at_the_edge_of_the_claim(self, margin: float) -> None:
        """The expected wealth after a row whose mean is the margin is 1: exactly, so by hand over its two outcomes."""
        win = Fraction(1 + Fraction(str(margin)), 2)
        start = PairedTest(alpha=0.05, margin=margin)
        won, lost = (start.update(Differences(values=(value,))) for value in (1.0, -1.0))
        for one, other in ((won.for_better, lost.for_better), (won.for_worse, lost.for_worse)):
            assert float(win) * one + float(1 - win) * other == pytest.approx(1)

    def test_of_no_rows_is_none(self) -> None:
        start = PairedTest(alpha=0.05)
        assert (start.for_better, start.for_worse, start.answer) == (1, 1, None)
        assert start.update(Differences()).answer is None

    def test_ties_say_nothing(self) -> None:
        test = PairedTest(alpha=0.05).update(Differences(values=(1.0, 1.0)))
        assert test.update(Differences(values=(0.0,) * 1_000)).for_better == pytest.approx(test.for_better)

    def test_the_first_decision_stays(self) -> None:
        test = PairedTest(alpha=0.05).update(Differences(values=(1.0,) * 40))
        assert test.answer == "better"
        assert test.update(Differences(values=(-1.0,) * 4_000)).answer == "better"

    def test_is_told_in_words(self) -> None:
        test = PairedTest(alpha=0.05).update(Differences(values=(1.0,) * 40 + (-1.0, 0.0)))
        assert test.words.startswith("on 42 new rows the challenger did better on 40 and worse on 1: it is better")

    @quick
    @given(differences)
    def test_comes_back_from_storage(self, values: list[float]) -> None:
        test = PairedTest(alpha=0.05).update(Differences(values=tuple(values)))
        assert restored(test) == test


class TestWhatIsAskedFor:
    def test_what_the_first_look_has_left_of_the_error(self) -> None:
        test = judging_on(plain_judge(confidence=0.9), 2, RowLoss())
        assert (test.alpha, test.margin) == (judging_on_share(0.9, 2), 0.0)

    def test_the_improvement_in_the_unit_of_the_rows(self) -> None:
        policy = plain_judge(improvement=0.02)
        assert judging_on(policy, 1, RowLoss()).margin == 0.02
        assert judging_on(policy, 1, RowLoss(kind="absolute", scale=0.5)).margin == pytest.approx(0.04)
        assert judging_on(policy, 1, RowLoss(kind="squared", exact=False)).margin == 0.0

    def test_one_out_of_reach_is_soon_refused(self) -> None:
        test = judging_on(plain_judge(improvement=50), 1, RowLoss(kind="absolute"))
        assert judged_on(test, np.full(100, 0.5), 10).answer == "worse"
