"""Scores are read where they can be, and do no harm where they cannot; many at once are read as one by one."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.mapping.scores import LONGEST_SCORE, scored, scored_column
from retrainer.domain.tally.measures import Scores
from tests.domain.making import thorough
from tests.domain.mapping.records import SCORES

MODES = st.sampled_from(["binned", "exact"])
FLOATS = st.floats() | st.floats(0, 1) | st.integers(0, 400).map(lambda n: n / 400)


@pytest.mark.parametrize(
    ("found", "mode", "positive", "value"),
    [
        (0.8765432, "exact", "late", "late\x1f0.876543"),
        (0.8765432, "binned", "late", "late\x1f0.9"),
        (0.8765432, "binned", None, "late\x1f0.9"),
        (0.8765432, "binned", "on_time", "late\x1f0.1"),
        (0.8765432, "exact", "on_time", "late\x1f0.876543"),
        (1, "exact", None, "late\x1f1"),
        (0, "binned", None, "late\x1f0"),
        ({"late": 0.7512, "on_time": 0.2488}, "binned", "on_time", "late\x1f0.75"),
        ({"late": 0.75, "on_time": 0.25}, "exact", None, 'late\x1f{"late":0.75,"on_time":0.25}'),
        ({"on_time": 0.25}, "binned", None, "late"),
        ({"on_time": 0.25}, "exact", None, 'late\x1f{"on_time":0.25}'),
    ],
)
def test_a_score_is_put_to_its_answer(found: object, mode: Scores, positive: str | None, value: str) -> None:
    assert scored("late", found, mode, positive) == value


UNUSABLE: list[object] = [
    None, True, False, "0.5", "", -0.001, 1.001, math.nan, math.inf, 2**70, [0.5], {}, {"late": "0.5"},
    {"late": 0.5, "on_time": None}, {"late": 1.5}, {f"a long name of class {n}": 1 for n in range(LONGEST_SCORE // 20)},
]  # fmt: skip


@pytest.mark.parametrize("found", UNUSABLE, ids=str)
def test_what_is_no_score_counts_as_missing(found: object) -> None:
    assert scored("late", found, "exact", None) == "late"
    if not isinstance(found, dict) or len(found) < 100:  # of many classes that of the answer is enough
        assert list(scored_column(["late"], [found], "binned", "late")) == ["late"]


@thorough
@given(
    st.lists(st.tuples(st.sampled_from(["a", "1", "late"]), FLOATS))
    | st.lists(st.tuples(st.sampled_from(["a", "1", "late"]), SCORES)),
    MODES,
    st.sampled_from([None, "a"]),
)
def test_many_are_read_as_one_by_one(rows: list[tuple[str, Any]], mode: Scores, positive: str | None) -> None:
    answers, found = [answer for answer, _ in rows], [one for _, one in rows]
    told = [scored(answer, one, mode, positive) for answer, one in rows]
    assert list(scored_column(answers, found, mode, positive)) == told
