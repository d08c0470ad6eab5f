"""What `drift` triggers see of a table: its rows' features, slot by slot, as the service counts live predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from retrainer.domain.features.drift import DriftView
from retrainer.domain.features.drift_windows import DriftWindows
from retrainer.domain.features.profiles import Profile
from retrainer.domain.metrics.windows import Window
from retrainer.domain.values import Micros, Slot, slot_of, slot_start
from retrainer.replay.table.table import Table
from retrainer.service.control.drifting import reference_of
from retrainer.training.checks import columns_of
from retrainer.training.dataset import TrainingRows

_BLOCK: Final = 8_192
"""Rows whose bins are found at once."""


class TableDrift:
    """`follow` names what rows are compared with, `at` answers; slots are asked for in order."""

    def __init__(self, table: Table, windows: Iterable[Window]) -> None:
        self._table = table
        self._windows = tuple(windows)
        self._counted: DriftWindows | None = None
        self._next = 0
        self._block = (0, np.empty((0, 0), dtype=np.int64))

    def follow(self, profile: Profile | None, since: Micros) -> None:
        """Compare rows of slots from a time on with those that a champion has learnt from."""
        reference = reference_of(profile, since)
        self._counted = DriftWindows(reference, self._windows) if reference and self._windows else None
        self._next = int(np.searchsorted(self._table.times, slot_start(slot_of(since))))
        self._block = (0, np.empty((0, 0), dtype=np.int64))

    def at(self, slot: Slot) -> Mapping[str, DriftView]:
        """What each window shows at the end of a slot, by its text."""
        if self._counted is None:
            return {}
        end = int(np.searchsorted(self._table.times, slot_start(slot + 1)))
        while self._next < end:
            one = slot_of(int(self._table.times[self._next]))
            until = int(np.searchsorted(self._table.times, slot_start(one + 1)))
            self._counted.add(one, until - self._next, self._count(self._counted, until))
            self._next = until
        return self._counted.at(slot)

    def _count(self, counted: DriftWindows, until: int) -> npt.NDArray[np.int64]:
        """The bins of the next rows up to one."""
        counts = np.zeros(counted.layout.size, dtype=np.int64)
        first = self._next
        while first < until:
            begin, bins = self._block
            if not begin <= first < begin + len(bins):
                begin, bins = self._block = (first, self._bins(counted, first, first + _BLOCK))
            end = min(until, begin + len(bins))
            counts += np.bincount(bins[first - begin : end - begin].ravel(), minlength=len(counts))
            first = end
        return counts

    def _bins(self, counted: DriftWindows, first: int, end: int) -> npt.NDArray[np.int64]:
        """Of each row one flat bin for each feature: (rows, features)."""
        return counted.layout.bins_of_rows(columns_of(TrainingRows(self._table.features.iloc[first:end])))
