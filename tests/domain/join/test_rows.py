"""The rows in columns are a simple table: what stands in it, what is due, and what a dump brings back."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from retrainer.domain.join import rows as rows_module
from retrainer.domain.join.keytable import Keys, Rows
from retrainer.domain.join.rows import COLUMNS, EXTRA, LABELLED, NEVER, PREDICTED, Extra, JoinRows
from tests.effort import much

ROW_BYTES = 61
NUMBERS = st.integers(0, 400)


def keys_of(numbers: Sequence[int]) -> tuple[Keys, Keys]:
    """Neighbours have the same low word; otherwise these are spread as those of hashes are."""
    return np.array(numbers, np.uint64), np.array(numbers, np.uint64) // 2 * np.uint64(0x9E3779B97F4A7C15)


def add(rows: JoinRows, numbers: Sequence[int], *, at: int = 0) -> Rows:
    """Predictions of these ids, at a time each after the other."""
    added = rows.add(*keys_of(numbers))
    rows.state[added] = PREDICTED
    rows.predicted_at[added] = np.arange(len(numbers)) + at
    rows.answer[added] = numbers
    return added


class RowsMachine(RuleBasedStateMachine):
    """Blocks are of eight rows here, so that a few ids fill several."""

    def __init__(self) -> None:
        super().__init__()
        self._patched = pytest.MonkeyPatch()
        self._patched.setattr(rows_module, "_BLOCK", 8)
        self.rows = JoinRows()
        self.held: dict[int, int] = {}
        """Id to row."""
        self.watched: dict[int, int] = {}
        """Id to the time that it is to be named from."""
        self.free: deque[int] = deque()
        self.used = 0
        self.extra: dict[int, Extra] = {}

    def teardown(self) -> None:
        self._patched.undo()

    @rule(numbers=st.lists(NUMBERS, unique=True, max_size=20), time=st.integers(0, 100))
    def add(self, numbers: list[int], time: int) -> None:
        numbers = [number for number in numbers if number not in self.held]
        added = add(self.rows, numbers)
        self.rows.look_at(added, np.full(len(added), time))
        if len(self.free) < len(numbers):
            fresh = len(numbers) - len(self.free)
            self.free += range(self.used, self.used + fresh)
            self.used += fresh
        assert added.tolist() == [self.free.popleft() for _ in numbers]
        self.held.update(zip(numbers, added.tolist(), strict=True))
        self.watched.update(dict.fromkeys(numbers, time))

    @rule(numbers=st.lists(NUMBERS, unique=True, max_size=30))
    def remove(self, numbers: list[int]) -> None:
        numbers = [number for number in numbers if number in self.held]
        rows = [self.held.pop(number) for number in numbers]
        self.rows.remove(np.array(rows, np.int32))
        self.free += rows
        for number in numbers:
            del self.watched[number]
            self.extra.pop(number, None)

    @rule(number=NUMBERS, duplicates=st.integers(0, 5))
    def put_extra(self, number: int, duplicates: int) -> None:
        if number in self.held:
            extra = Extra(duplicates, ((number, 1, 2), (number, 3, -1)))
            self.rows.state[self.held[number]] |= EXTRA | LABELLED
            self.rows.extra[self.held[number]] = self.extra[number] = extra

    @rule(before=st.integers(0, 101), data=st.data())
    def look(self, before: int, data: st.DataObject) -> None:
        """What is due is gone afterwards, or stays to be looked at later."""
        due = self.rows.due(before).tolist()
        assert len(due) == len(set(due))
        assert set(due) <= set(self.held.values())
        assert {self.held[number] for number, time in self.watched.items() if time < before} <= set(due)
        gone = [number for number, row in self.held.items() if row in due and self.watched[number] < before]
        self.remove(gone[: data.draw(st.integers(0, len(gone)))])
        stays = [number for number, row in self.held.items() if row in due]
        self.watched.update({number: max(self.watched[number], before) for number in stays})
        times = np.array([self.watched[number] for number in stays], np.int64)
        self.rows.look_at(np.array([self.held[number] for number in stays], np.int32), times)

    @rule(in_one_piece=st.booleans())
    def go_on_from_a_dump(self, in_one_piece: bool) -> None:
        """In the order of the rows, without those that are free."""
        columns = dict(self.rows.dump())
        if in_one_piece:
            columns = {name: [np.concatenate([np.empty(0, COLUMNS[name]), *found])] for name, found in columns.items()}
        self.rows = JoinRows.load(columns, self.rows.dump_extra())
        order = sorted(self.held, key=lambda number: self.held[number])
        self.held = {number: place for place, number in enumerate(order)}
        self.used, self.free = len(order), deque()

    @invariant()
    def it_holds_what_it_should(self) -> None:
        numbers = list(range(401))
        found = self.rows.find(*keys_of(numbers))
        assert found.tolist() == [self.held.get(number, -1) for number in numbers]
        assert len(self.rows) == len(self.held)
        held = np.array(list(self.held.values()), np.int32)
        assert self.rows.answer[held].tolist() == list(self.held)
        assert self.rows.extra == {self.held[number]: extra for number, extra in self.extra.items()}
        assert self.rows.free_bytes == ROW_BYTES * len(self.free)


TestRows = RowsMachine.TestCase
TestRows.settings = settings(max_examples=much(120), stateful_step_count=30, deadline=None)


def test_a_row_is_as_large_as_the_docs_say() -> None:
    assert sum(np.dtype(kind).itemsize for kind in COLUMNS.values()) == ROW_BYTES


def test_nothing_is_due_that_is_never_looked_at_again() -> None:
    rows = JoinRows()
    added = add(rows, range(10))
    rows.look_at(added, np.full(10, 5))
    assert rows.due(5).tolist() == []
    assert rows.due(6).tolist() == added.tolist()
    assert rows.due(NEVER).tolist() == []
    rows.look_at(added[:1], np.array([7]))
    assert rows.due(NEVER).tolist() == added.tolist()


def test_after_a_load_everything_is_looked_at_once() -> None:
    rows = JoinRows()
    rows.look_at(add(rows, range(10)), np.full(10, 1000))
    again = JoinRows.load(rows.dump(), rows.dump_extra())
    assert again.due(0).tolist() == list(range(10))
    assert again.due(NEVER).tolist() == []


def test_rows_grow_past_a_block_with_all_that_they_hold() -> None:
    rows = JoinRows()
    first = add(rows, range(50_000))
    rows.look_at(first, np.full(50_000, 7))
    second = add(rows, range(50_000, 200_000))
    rows.look_at(second, np.full(150_000, 9))
    assert rows.answer[rows.find(*keys_of(range(200_000)))].tolist() == list(range(200_000))
    assert set(first.tolist()) <= set(rows.due(8).tolist())
    rows.look_at(rows.find(*keys_of(range(200_000))), np.full(200_000, 9))
    assert len(rows.due(10)) == 200_000


def test_the_span_is_that_of_the_predictions_that_are_held() -> None:
    rows = JoinRows()
    assert rows.span == 0
    added = add(rows, range(5), at=100)
    label = rows.add(*keys_of([90]))
    rows.state[label] = LABELLED
    rows.predicted_at[label] = 0
    assert rows.span == 4
    rows.remove(added[:2])
    assert rows.span == 2


def test_a_dump_of_nothing_and_of_what_is_gone() -> None:
    empty = JoinRows()
    assert {name: list(blocks) for name, blocks in empty.dump().items()} == {name: [] for name in COLUMNS}
    rows = JoinRows()
    rows.remove(add(rows, range(5)))
    for one in (empty, rows):
        again = JoinRows.load(one.dump(), one.dump_extra())
        assert (len(again), again.free_bytes, again.due(NEVER).tolist()) == (0, 0, [])
        assert add(again, [1]).tolist() == [0]
