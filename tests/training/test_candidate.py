"""A candidate made in this process, from rows in memory, as a replay makes it."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retrainer.domain.judging.order import RowsPolicy, TrainingSpec
from retrainer.training.candidate import asking, make_candidate
from retrainer.training.child import run
from retrainer.training.dataset import TrainingRows
from retrainer.training.selection import known_before
from tests.plain import plain_judge
from tests.training.orders import SPEC, flights, place, result_in

AUTO = replace(SPEC, recipe=replace(SPEC.recipe, rows=RowsPolicy(kind="auto")))


def test_is_the_one_that_the_training_process_makes(tmp_path: Path) -> None:
    place(tmp_path, flights(), AUTO)
    assert run(tmp_path) == 0
    theirs = result_in(tmp_path)
    ours = make_candidate(AUTO, TrainingRows.of(flights().sample(frac=1, random_state=2)), None).result
    assert ours.verdict is not None
    assert theirs.verdict is not None
    assert ours.verdict.gates == theirs.verdict.gates[:-1]
    assert ours.rows_chosen == theirs.rows_chosen
    assert ours.evaluation == theirs.evaluation


def test_the_final_model_has_learnt_from_all_rows() -> None:
    candidate = make_candidate(SPEC, TrainingRows.of(flights()), None)
    fitted, refitted = candidate.final()
    assert refitted is not None
    assert len(refitted) == len(flights())
    assert fitted is not candidate.fitted
    unrefitted = replace(SPEC, recipe=replace(SPEC.recipe, refit=False))
    candidate = make_candidate(unrefitted, TrainingRows.of(flights()), None)
    assert candidate.final() == (candidate.fitted, None)


def test_one_can_be_the_champion_of_the_next() -> None:
    rows = TrainingRows.of(flights())
    first = make_candidate(SPEC, rows.before(1_500), None)
    champion, _ = first.final()
    spec = replace(SPEC, champion_version="1", champion_trained_to=int(rows.predicted_at[1_499]))
    second = make_candidate(spec, rows, asking(champion, spec)).result
    assert second.champion_by == "model"
    assert second.verdict is not None
    assert second.verdict.gates[0].evidence["n"] == (len(rows) - 1_500) * 3 // 4


def stepwise() -> TrainingSpec:
    """An order of a candidate that walks forward over the newest rows, which the champion has not seen."""
    known_to = int(TrainingRows.of(flights()).predicted_at[999])
    return replace(SPEC, champion_version="1", champion_trained_to=known_to, judge=plain_judge(min_rows=100))


def test_against_a_champion_a_candidate_learns_from_each_step_before_the_next() -> None:
    """Each step is answered by a model of its own, which has learnt from the rows before it and nothing later."""
    rows, spec = TrainingRows.of(flights()), stepwise()
    candidate = make_candidate(spec, rows, None)
    held = len(candidate.held)
    assert held == 500
    edges = [len(rows) - held + round(held * step / 3) for step in range(4)]
    for first, end in itertools.pairwise(edges):
        asked = rows.before(end).since(first)
        alone = candidate.fitter.fit(known_before(rows.before(first).since(candidate.first), asked))
        place = first - edges[0]
        assert candidate.answers[place : place + end - first] == candidate.fitter.answers(alone, asked)
    assert "judged in 3 steps" in candidate.result.rows_chosen
    fresh = [rows.first_at(int(asked)) - 1_000 for asked in rows.predicted_at[edges[:-1]]]
    (contest,) = [gate for gate in candidate.result.verdict.gates if gate.name == "better_than_champion"]  # type: ignore[union-attr]  # a candidate has one
    assert contest.evidence["ahead"] == pytest.approx(np.mean(fresh), rel=0.1)


def test_its_result_remembers_the_change_that_it_was_told_of() -> None:
    """For the orders of those who will challenge it."""
    began = int(TrainingRows.of(flights()).predicted_at[1_000])
    assert make_candidate(replace(SPEC, began=began), TrainingRows.of(flights()), None).result.began == began


def test_in_steps_too_nothing_of_the_future_is_learnt() -> None:
    frame, spec = flights(), stepwise()
    plain = make_candidate(spec, TrainingRows.of(frame), None)
    last = int(plain.held.predicted_at[round(len(plain.held) * 2 / 3)])
    unknown = frame["$known_at"] > last
    turned = frame.copy()
    turned.loc[unknown, "$label"] = turned.loc[unknown, "$label"].map({"late": "on_time", "on_time": "late"})
    assert make_candidate(spec, TrainingRows.of(turned), None).answers == plain.answers


@pytest.mark.parametrize("kind", ["all", "auto"])
def test_nothing_of_the_future_is_learnt(kind: str) -> None:
    """The labels of the held-out rows, and those that came after the holdout began, turn without a trace."""
    frame = flights()
    recipe = replace(SPEC.recipe, rows=RowsPolicy(kind=kind))  # type: ignore[arg-type]  # parametrised text
    spec = replace(SPEC, recipe=recipe, judge=plain_judge(min_rows=100))
    plain = make_candidate(spec, TrainingRows.of(frame), None)
    begins = int(plain.held.predicted_at[0])
    unknown = frame["$known_at"] > begins
    turned = frame.copy()
    turned.loc[unknown, "$label"] = turned.loc[unknown, "$label"].map({"late": "on_time", "on_time": "late"})
    assert 0 < (unknown & (frame["$predicted_at"] < begins)).sum() < 60
    assert make_candidate(spec, TrainingRows.of(turned), None).answers == plain.answers


def test_a_luckier_small_window_is_not_taken() -> None:
    """Rows that never change: the contest mostly stays with all of them. By the best value alone fewer do."""
    alls = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        x = random.normal(size=2_000)
        frame = pd.DataFrame(
            {
                "$id": np.arange(2_000).astype(str),
                "$predicted_at": np.arange(2_000),
                "$known_at": np.arange(2_000),
                "$label": np.where(x + random.normal(size=2_000) > 0, "a", "b"),
                "$prediction": None,
                "$version": None,
                "x": x,
                "noise": random.normal(size=2_000),
            }
        )
        recipe = replace(AUTO.recipe, estimator="sklearn.linear_model.LogisticRegression", params={})
        alls.append(make_candidate(replace(AUTO, recipe=recipe), TrainingRows.of(frame), None).first == 0)
    assert sum(alls) >= 9


def test_importing_it_costs_no_tracker_and_no_plots() -> None:
    heavy = "mlflow", "matplotlib", "skops"
    code = f"import retrainer.training.candidate, sys; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
