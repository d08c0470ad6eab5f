"""The gate on slices: better over all is not enough where a part of the traffic loses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from retrainer.domain.judging.verdicts import Gate, HeldOut
from retrainer.training.candidate import asking, make_candidate
from retrainer.training.dataset import TrainingRows
from retrainer.training.judge import bench_of
from retrainer.training.slicing import slices_gate
from tests.plain import plain_judge
from tests.training.orders import SPEC, flights

SLICES = {"carrier": None, "far": "distance > 500"}


def gate_of(
    wrong_in_aa: int, *, wrong_of_champion: int = 0, limit: float | None = 0.05, rows: int = 200
) -> Gate | None:
    """Two carriers with so many rows each; both models are right but for so many of AA."""
    held = TrainingRows(pd.DataFrame({"carrier": ["AA"] * rows + ["BB"] * rows, "distance": np.arange(2.0 * rows)}))
    labels = ["x"] * 2 * rows
    side = {wrong: ["y"] * wrong + ["x"] * (2 * rows - wrong) for wrong in (wrong_in_aa, wrong_of_champion)}
    compared = HeldOut(
        labels=labels,
        candidate=side[wrong_in_aa],
        champion=side[wrong_of_champion],
        usual=labels,
        last=labels,
    )
    bench = bench_of(replace(SPEC, metrics=("accuracy",), judge=plain_judge(max_slice_loss=limit)))
    return slices_gate(bench, SLICES, held, compared)


class TestGate:
    def test_a_slice_that_loses_too_much_is_named(self) -> None:
        found = gate_of(20)
        assert found is not None
        assert not found.passed
        assert not found.undecided
        assert found.reason.startswith(
            "worse by more than 0.05 in carrier=AA 0.9 against 1 of the champion on 200 rows"
        )
        assert found.evidence["worse_in"] == ["carrier=AA"]

    @pytest.mark.parametrize(("ours", "theirs"), [(0, 20), (9, 0), (20, 20)])
    def test_a_gain_a_small_loss_and_no_difference_pass(self, ours: int, theirs: int) -> None:
        found = gate_of(ours, wrong_of_champion=theirs)
        assert found is not None
        assert found.passed
        assert found.reason == "in none of 2 slices worse by more than 0.05 beyond chance"

    def test_a_loss_that_may_be_chance_passes(self) -> None:
        """4 rows of 60 are 6.7 points, and no evidence."""
        found = gate_of(4, rows=60)
        assert found is not None
        assert found.passed
        assert (found.evidence["worst"], found.evidence["worst_n"]) == ("carrier=AA", 60)

    def test_conditions_are_slices_and_small_ones_are_none(self) -> None:
        """Rows beyond a distance of 500 are 299 of 800, and none of 98."""
        found = gate_of(0, rows=400)
        assert found is not None
        assert found.evidence["slices"] == 3
        found = gate_of(0, rows=49)
        assert found is not None
        assert found.evidence["slices"] == 0

    def test_without_a_limit_there_is_no_gate(self) -> None:
        assert gate_of(20, limit=None) is None


def test_a_candidate_that_ruins_one_carrier_is_rejected() -> None:
    """Its rows are wrong about UA before the holdout, which the champion has learnt from otherwise."""
    frame = flights()
    rows = TrainingRows.of(frame)
    champion = make_candidate(SPEC, rows, None).fitted
    poisoned = frame.copy()
    ua = (frame["carrier"] == "UA") & (frame.index < 1_500)
    poisoned.loc[ua, "$label"] = poisoned.loc[ua, "$label"].map({"late": "on_time", "on_time": "late"})
    spec = replace(
        SPEC, champion_version="1", slices={"carrier": None}, judge=plain_judge(min_rows=100, max_slice_loss=0.05)
    )
    result = make_candidate(spec, TrainingRows.of(poisoned), asking(champion, spec)).result
    assert result.verdict is not None
    found = result.verdict.gates[-1]
    assert (found.name, found.passed) == ("no_slice_worse", False)
    assert "carrier=UA" in found.evidence["worse_in"]
    assert result.verdict.answer == "reject"
