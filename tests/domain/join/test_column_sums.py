"""Sums over columns are those of a counter."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.join import column_sums
from retrainer.domain.join.column_sums import ColumnSum, spread
from tests.domain.making import thorough

NUMBERS = st.sampled_from([0, 1, -1, 7, 2**40, -(2**40), 2**62, -(2**62)])
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(-3, 3), st.integers(-5, 5)), max_size=6)


@thorough
@given(st.lists(ROWS, max_size=8), st.integers(0, 10))
def test_each_different_row_comes_once_with_its_sum(parts: list[list[tuple[int, int, int, int]]], at_once: int) -> None:
    """Whatever the numbers: also where their product would not fit into one."""
    wanted: Counter[tuple[int, ...]] = Counter()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(column_sums, "_SUM_UP_FROM", at_once)
        found = ColumnSum()
        for rows in parts:
            columns = np.array(rows, np.int64).reshape(-1, 4).T
            found.add(list(columns[:3]), columns[3])
            for *row, n in rows:
                wanted[tuple(row)] += n
        columns_of, sums = found.take()
        told = list(zip(*(column.tolist() for column in columns_of), strict=True))
        assert len(told) == len(set(told))
        assert dict(zip(told, sums.tolist(), strict=True)) == wanted
        assert found.take()[1].tolist() == []


@thorough
@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=5), st.data())
def test_each_row_is_replaced_by_its_parts(parts: list[list[int]], data: st.DataObject) -> None:
    which = data.draw(st.lists(st.integers(0, len(parts) - 1), max_size=10))
    columns = [[np.array(part, np.int64), -np.array(part, np.int64)] for part in parts]
    rows, (first, second) = spread(np.array(which, np.int64), columns)
    wanted = [(row, one, -one) for row, place in enumerate(which) for one in parts[place]]
    assert list(zip(rows.tolist(), first.tolist(), second.tolist(), strict=True)) == wanted
