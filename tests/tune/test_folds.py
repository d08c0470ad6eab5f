"""What is tried on unseen rows was found without them, and what it comes to is what a replay says."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from math import inf
from pathlib import Path

import numpy as np
import pytest

from retrainer.cli import main
from retrainer.tune.folds import walk
from retrainer.tune.plays import Scored, Stretch
from retrainer.tune.weighing import weigh
from tests.tune.streams import config, searching, turning


def test_a_search_never_sees_a_later_row(tmp_path: Path) -> None:
    frame = turning(2_400, 900)
    about = searching(tmp_path, frame, folds=1, trials=4, improvement=0.9)
    end = about.plays.bounds[1]
    spoilt = frame.copy()
    spoilt.loc[end:, "label"] = np.random.default_rng(1).choice(["yes", "no", "unheard of"], len(frame) - end)
    spoilt.loc[end:, "a"] = 1e6
    other = searching(tmp_path, spoilt, folds=1, trials=4, improvement=0.9)
    assert other.space == about.space
    first, second = (one.search(1, [one.space.present], inf) for one in (about, other))
    assert first == second
    assert len({one.scored for one in first.tried}) > 2
    assert first.best != about.space.present
    before, after = zip(*(one.plays.score(first.best, 2).stretches for one in (about, other)), strict=True)
    assert before[0] == before[1]
    assert after[0] != after[1]


def test_a_trial_that_cannot_be_played_is_told_and_not_the_end(tmp_path: Path) -> None:
    about = searching(tmp_path, turning(400), folds=1, trials=3, rows="since_change")
    places = list(about.space.present)
    (knob,) = [at for at, knob in enumerate(about.space.knobs) if knob.key == "triggers"]
    places[knob] = about.space.knobs[knob].choices.index(("trial",))
    found = about.search(1, [about.space.present, tuple(places)], inf)
    assert [one.scored is None for one in found.tried] == [False, True, False]
    assert "got since_change without one" in found.tried[1].why


def test_a_fold_counts_its_own_stretch_alone(tmp_path: Path) -> None:
    """The sums of the stretches are those of a replay over all rows."""
    frame = turning(1_500, 400, 900)
    about = searching(tmp_path, frame, folds=3, trials=1)
    walked = walk(about, 3, inf)
    out = ["--out", str(tmp_path / "out"), "--every", "2s", "--label", "label"]
    assert main(["replay", str(config(tmp_path)), "--table", str(tmp_path / "table.parquet"), *out]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert sum(stretch.rows for stretch in walked.present.stretches) == report["rows"] == 1_350
    assert walked.present.loss() == round((1 - report["metric"]["value"]) * 1_350)
    assert walked.never.loss() == round((1 - report["baselines"]["never"]) * 1_350)
    assert walked.present.jobs() == report["retrains"] > 0
    assert walked.never.jobs() == 0
    bounds = about.plays.bounds
    for number, stretch in enumerate(walked.present.stretches):
        assert stretch.jobs == sum(bounds[number] <= job["row"] < bounds[number + 1] for job in report["jobs"])
    assert [fold.tuned for fold in walked.folds] == list(walked.present.stretches[1:])
    assert not walked.helps


def test_what_was_played_is_not_played_again(tmp_path: Path) -> None:
    about = searching(tmp_path, turning(600), folds=1, trials=6)
    asked: list[tuple[int, ...]] = []

    def policy_of(point: tuple[int, ...]):  # type: ignore[no-untyped-def]
        asked.append(point)
        return policy(point)

    policy, about.plays.policy_of = about.plays.policy_of, policy_of
    walk(about, 1, inf)
    walk(about, 1, inf)
    assert len(asked) <= 12
    assert asked.count(about.space.present) == 2


def test_time_that_is_up_ends_each_search_after_its_first_trial(tmp_path: Path) -> None:
    about = searching(tmp_path, turning(600), folds=2, trials=50)
    ticking = replace(about, clock=count(0.0, 10.0).__next__)
    walked = walk(ticking, 2, 1.0)
    assert [len(fold.studied.tried) for fold in walked.folds] == [1, 1]
    assert walked.last.best == about.space.present


def test_searches_have_shares_of_the_time(tmp_path: Path) -> None:
    """A longer history has the larger share; a second passes each time that somebody looks."""
    about = searching(tmp_path, turning(400), folds=2, trials=1_000)
    walked = walk(replace(about, clock=count(0.0, 1.0).__next__), 2, 24.0)
    tried = [len(studied.tried) for studied in (*(fold.studied for fold in walked.folds), walked.last)]
    assert tried == sorted(tried)
    assert tried[0] > 1
    assert sum(tried) <= 24


def test_costs_are_losses_and_retrainings() -> None:
    scored = Scored(
        stretches=(Stretch(rows=10, loss=0.1, jobs=1), Stretch(rows=10, loss=0.2, jobs=3)),
        metric=0.9,
    )
    assert scored.cost(0) == 0.3
    assert scored.cost(2.5) == 10.3
    assert scored.cost(2.5, first=1) == 7.7


def test_changes_that_save_nothing_are_put_back(tmp_path: Path) -> None:
    about = searching(tmp_path, turning(1_500, 400, 900), folds=1, trials=1)
    space, plays = about.space, about.plays
    far = list(space.present)
    for number, knob in enumerate(space.knobs):
        if knob.key in {"guards.cooldown", "training.holdout", "training.rows"}:
            far[number] = 0 if knob.present else 1
    weighed = weigh(space, plays, tuple(far), 5.0, lambda _rows, _retrains: None)
    assert weighed.cost <= plays.score(tuple(far), 2).cost(5.0)
    assert set(space.changed(weighed.point)) == {one.key for one in weighed.reasons}
    for one in weighed.reasons:
        assert one.more is not None
        back = plays.score(space.put_back(weighed.point, one.key), 2).cost(5.0)
        assert back - weighed.cost == pytest.approx(one.more)
        assert one.more > 0
