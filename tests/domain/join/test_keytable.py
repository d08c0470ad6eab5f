"""The table of keys is a dictionary, whatever collides in it and however much was removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrainer.domain.join.keytable import Keys, KeyTable, Rows
from tests.effort import much

Key = tuple[int, int]
MOST = 2**64 - 1
LOWS = [0, 1, 2, 1023, 1024, 2047, 2**40, 2**63, MOST - 1023, MOST]
"""Many begin at one slot, at some size of the table; the last slot's neighbour is the first."""

KEYS = st.tuples(st.sampled_from([0, 1, MOST]), st.sampled_from(LOWS))
BATCHES = st.lists(st.tuples(st.sampled_from(["insert", "remove", "find"]), st.lists(KEYS, max_size=12)), max_size=30)


class Held:
    """A table, its rows' keys, and a dictionary of what it should hold."""

    def __init__(self, rows: int) -> None:
        self.table = KeyTable()
        self.columns: tuple[Keys, Keys] = (np.zeros(rows, np.uint64), np.zeros(rows, np.uint64))
        self.expected: dict[Key, int] = {}
        self._free = list(range(rows))

    def insert(self, keys: Sequence[Key]) -> None:
        """Those that are not held yet, in the rows that were freed last."""
        fresh = [key for key in dict.fromkeys(keys) if key not in self.expected]
        rows = [self._free.pop() for _ in fresh]
        for row, key in zip(rows, fresh, strict=True):
            self.columns[0][row], self.columns[1][row] = key
        self.table.insert(np.array(rows, np.int32), self.columns)
        self.expected.update(zip(fresh, rows, strict=True))

    def remove(self, keys: Sequence[Key]) -> None:
        """Those that are held."""
        rows = [self.expected.pop(key) for key in dict.fromkeys(keys) if key in self.expected]
        self.table.remove(np.array(rows, np.int32), self.columns)
        self._free += rows

    def find(self, keys: Sequence[Key]) -> list[int]:
        return list(self.found(*column_of(keys)))

    def found(self, high: Keys, low: Keys) -> Iterator[int]:
        found: Rows = self.table.find(high, low, self.columns)
        return iter(found.tolist())

    def check(self, keys: Sequence[Key]) -> None:
        assert self.find(keys) == [self.expected.get(key, -1) for key in keys]
        assert len(self.table) == len(self.expected)


def column_of(keys: Sequence[Key]) -> tuple[Keys, Keys]:
    return np.array([high for high, _ in keys], np.uint64), np.array([low for _, low in keys], np.uint64)


@settings(max_examples=much(300), deadline=None)
@given(batches=BATCHES)
def test_it_is_a_dictionary(batches: list[tuple[str, list[Key]]]) -> None:
    held = Held(64)
    for act, keys in batches:
        if act == "insert":
            held.insert(keys)
        elif act == "remove":
            held.remove(keys)
        held.check(keys)
    held.check([(high, low) for high in (0, 1, 2, MOST) for low in LOWS])


@settings(max_examples=much(15), deadline=None)
@given(seed=st.integers(0, 2**32), few=st.booleans())
def test_it_is_a_dictionary_as_it_grows(seed: int, few: bool) -> None:
    """Thousands at once, of which many come and go, with `few` different low words or each with its own."""
    random = np.random.default_rng(seed)
    held = Held(20_000)
    pool = [
        (int(high), int(low) % 500 * 0x9E3779B97F4A7C15 % 2**64 if few else int(low))
        for high, low in random.integers(0, MOST, (6000, 2), np.uint64, endpoint=True)
    ]
    for _ in range(12):
        chosen = [pool[i] for i in random.permutation(len(pool))[: random.integers(0, 3000)]]
        held.insert(chosen)
        held.remove([pool[i] for i in random.permutation(len(pool))[: random.integers(0, 3000)]])
        held.check(chosen)
    held.check(pool)
    held.remove(pool)
    held.check(pool)


def test_many_that_begin_at_one_slot_are_told_apart() -> None:
    held = Held(2000)
    keys = [(number, 5) for number in range(1000)]
    held.insert(keys[:500])
    held.insert(keys[500:])
    held.check(keys)
    held.remove(keys[::2])
    held.check(keys)
    held.insert(keys[::2])
    held.check(keys)


@pytest.mark.timeout(60)
def test_what_comes_and_goes_for_ever_fills_nothing() -> None:
    """Each removal leaves a mark in its slot: without a way back, the table would fill or look for ever."""
    held = Held(1000)
    for turn in range(3000):
        keys = [(turn, turn * 7919 + number * 104_729) for number in range(100)]
        held.insert(keys)
        held.remove(keys)
    held.check([(2999, 2999 * 7919)])
    assert len(held.table._slots) == 1024


def test_asked_for_nothing_it_answers_nothing() -> None:
    held = Held(4)
    held.insert([])
    held.remove([])
    assert held.find([]) == []
    assert held.find([(0, 0)]) == [-1]  # the rows' own keys are zeros, too
