"""The baselines against slow and obvious computations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from retrainer.domain.values import SECOND
from retrainer.replay.options import TableOptions, Warm
from retrainer.replay.table.baselines import baselines, never, no_change, value
from retrainer.replay.table.engine import Played, play
from retrainer.replay.table.table import MISSING, load
from retrainer.replay.table.times import NEVER
from retrainer.replay.table.values import LabelCodes
from retrainer.training.form import Form
from retrainer.training.pipeline import build
from tests.effort import much
from tests.replay.streams import policy, turning, written
from tests.replay.table.test_flow import ROWS, table_of


@settings(max_examples=much(200), deadline=None)
@given(rows=ROWS)
def test_no_change_says_the_last_label_that_had_arrived(rows: list[tuple[int, int | None, int, int]]) -> None:
    table = table_of([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows], warm=1)
    if table.labels[0] == MISSING:
        return
    found = no_change(table, LabelCodes(Form(), table))
    for row in range(len(table)):
        known = [
            (int(table.arrivals[other]), other)
            for other in range(row)
            if table.arrivals[other] != NEVER and table.arrivals[other] <= table.times[row]
        ]
        assert found[row] == (table.labels[max(known)[1]] if known else table.labels[0])


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("baselines")
    path = written(folder, turning(), "t.parquet")
    return play(policy(folder), load(TableOptions(path=path, label="label", warm=Warm(share=None, rows=600))), 0)


def predicted(played: Played, rows: slice, asked: slice) -> list[str]:
    features = played.table.features
    labels = np.array([played.table.classes.texts[code] for code in played.table.labels[rows]])
    fitted = build(played.policy.recipe, features[rows]).fit(features[rows], labels)
    return [str(answer) for answer in fitted.predict(features[asked])]


def test_never_is_version_1_throughout(played: Played) -> None:
    assert played.promotions
    found = [played.table.classes.texts[code] for code in never(played)[600:]]
    assert found == predicted(played, slice(0, 600), slice(600, 6_000))


def test_periodic_retrains_as_often_on_all_that_is_known(played: Played) -> None:
    found = baselines(played, 0).periodic
    retrains = len(played.jobs)
    assert found.retrains == retrains
    assert found.every == 5_400 // (retrains + 1)
    moments = [600 + number * 5_400 // (retrains + 1) for number in range(1, retrains + 1)]
    answers = predicted(played, slice(0, 600), slice(600, moments[0] + 1))
    for moment, end in zip(moments, [*moments[1:], 5_999], strict=True):
        answers += predicted(played, slice(moment - 600, moment), slice(moment + 1, end + 1))
    truth = [played.table.classes.texts[code] for code in played.table.labels[600:]]
    assert found.value == pytest.approx(np.mean([a == b for a, b in zip(answers, truth, strict=True)]))


def test_without_a_retraining_the_beat_is_never(tmp_path: Path) -> None:
    path = written(tmp_path, turning(), "t.parquet")
    quiet = policy(tmp_path, more="    observe: true\n")
    found = baselines(play(quiet, load(TableOptions(path=path, label="label")), 0), 0)
    assert found.periodic.every is None
    assert found.periodic.value == found.never


def test_a_retraining_that_takes_time_serves_later(played: Played) -> None:
    slow = baselines(played, 600 * SECOND).periodic
    assert slow.value is not None
    assert slow.value < (baselines(played, 0).periodic.value or 0)


def test_rows_without_a_label_do_not_count(tmp_path: Path) -> None:
    frame = turning()
    frame.loc[frame.index % 3 == 0, "label"] = None
    path = written(tmp_path, pd.DataFrame(frame), "t.parquet")
    found = play(policy(tmp_path), load(TableOptions(path=path, label="label")), 0)
    labelled = found.table.labels[600:] != MISSING
    right = (found.served.answers == found.table.labels)[600:][labelled].mean()
    assert right == pytest.approx(value(found, found.served.answers))
