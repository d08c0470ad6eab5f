"""Candidates that nothing decides about at first: judged on with new labels, then taken or given up."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from retrainer.domain.deciding.jobs import JobState
from retrainer.replay.options import TableOptions, Warm
from retrainer.replay.table.engine import Played, Ran, play
from retrainer.replay.table.table import Table, load
from retrainer.training.pipeline import build
from tests.replay.streams import config, policy, predictions, replayed, written

STUMP = "{estimator: sklearn.tree.DecisionTreeClassifier, params: {max_depth: 1}, rows: {last: 200}}"
BEAT = "    triggers: {beat: {schedule: {every: 15m}}}\n"


def shifted(seed: int = 0) -> pd.DataFrame:
    """The line between the classes has moved a little by the end of the warm part: a new model is better by a tenth."""
    random = np.random.default_rng(seed)
    a = random.normal(size=6_000)
    truth = (a > np.where(np.arange(6_000) < 600, 0.0, 0.4)) ^ (random.random(6_000) < 0.05)
    return pd.DataFrame({"a": a, "label": np.where(truth, "yes", "no")})


def table_of(folder: Path) -> Table:
    path = written(folder, shifted(), "t.parquet")
    return load(TableOptions(path=path, label="label", warm=Warm(share=None, rows=600)))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("challengers")
    return play(policy(folder, training=STUMP, more=BEAT), table_of(folder), 0)


def answers(played: Played, learnt: slice, asked: slice) -> np.ndarray[Any, Any]:
    features = played.table.features
    labels = np.array([played.table.classes.texts[code] for code in played.table.labels[learnt]])
    fitted = build(played.policy.recipe, features[learnt]).fit(features[learnt], labels)
    return np.array(fitted.predict(features[asked]))


def row_at(played: Played, time: int) -> int:
    return int(np.searchsorted(played.table.times, time))


def test_a_challenger_that_is_better_on_new_rows_is_promoted(played: Played) -> None:
    ran = played.jobs[0]
    assert ran.result.verdict is not None
    assert (ran.result.verdict.answer, ran.job.state) == ("inconclusive", JobState.PROMOTED)
    assert ran.job.ended_at is not None
    assert ran.job.ended_at > ran.at
    promoted = played.promotions[0]
    assert (promoted.version, promoted.at) == (ran.job.version, ran.job.ended_at)
    assert set(played.served.versions[600 : promoted.row + 1]) == {1}
    assert set(played.served.versions[promoted.row + 1 : played.jobs[1].row]) == {2}


def test_it_was_compared_on_the_rows_after_those_that_it_has_learnt_from_each_once(played: Played) -> None:
    """Both models fitted anew with nothing but pandas, and asked about the rows from the job on."""
    ran = played.jobs[0]
    assert ran.job.challenge is not None
    test = ran.job.challenge.test
    begin = row_at(played, ran.job.known_by)
    asked = slice(begin, begin + test.rows)
    assert played.table.times[asked.stop - 1] < ran.job.challenge.judged_to <= (ran.job.ended_at or 0)
    labels = np.array([played.table.classes.texts[code] for code in played.table.labels[asked]])
    ours = answers(played, slice(begin - 200, begin), asked) == labels
    theirs = answers(played, slice(0, 600), asked) == labels
    assert (test.wins, test.losses) == (int((ours & ~theirs).sum()), int((theirs & ~ours).sum()))


def test_a_newer_job_takes_its_place(played: Played) -> None:
    """From then on there is nothing to be found: each waits until the next job is launched."""
    later = played.jobs[1:]
    assert len(later) > 2
    for ran, following in pairwise(later):
        assert ran.job.state is JobState.REJECTED
        assert ran.job.ended_at == following.at
        assert following.job.job_id in ran.became
        assert ran.job.challenge is not None
        assert ran.job.challenge.test.answer is None
    assert len(played.promotions) == 1


def test_one_that_stays_undecided_for_too_long_is_given_up(tmp_path: Path) -> None:
    rare = BEAT.replace("15m", "50m") + "    judge: {min_rows: 50, expires: 10m}\n"
    file = config(tmp_path, training=STUMP, more=rare)
    text = file.read_text().replace("    judge: {min_rows: 50}\n", "").replace("cooldown: 10m", "cooldown: 49m")
    file.write_text(text)
    report = replayed(tmp_path, shifted(seed=1)[600:].reset_index(drop=True), config_file=file)
    ended = [job for job in report["jobs"] if job["challenge"] and job["challenge"]["became"] == "dropped"]
    assert ended
    assert "undecided after 11m: on 591 new rows" in ended[0]["challenge"]["reason"]


def test_who_only_registers_has_no_challengers(tmp_path: Path) -> None:
    only = policy(tmp_path, training=STUMP, more=BEAT + "    promotion: {mode: register}\n")
    found = play(only, table_of(tmp_path), 0)
    open_ones = [ran for ran in found.jobs if _answer(ran) == "inconclusive"]
    assert open_ones
    assert all(ran.job.state is JobState.REJECTED and ran.job.challenge is None for ran in open_ones)


def test_the_report_says_what_became_of_them(tmp_path: Path) -> None:
    file = config(tmp_path, training=STUMP, more=BEAT)
    report = replayed(tmp_path, shifted(), "--warm", "600", config_file=file)
    first, last = report["jobs"][0], report["jobs"][-1]
    assert (first["verdict"], first["promoted"], first["challenge"]["became"]) == ("inconclusive", True, "promoted")
    assert "it is better" in first["challenge"]["reason"]
    assert last["challenge"]["became"] == "judged on"
    assert last["challenge"]["ended"] is None
    versions = predictions(tmp_path)["version"]
    assert (versions == first["version"]).sum() > 4_000


def _answer(ran: Ran) -> str | None:
    return ran.result.verdict.answer if ran.result.verdict else None
