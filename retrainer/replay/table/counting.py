"""What a slot adds to the tallies, as ingest would count it: outcomes, and when predictions and labels came.

Many slots are counted at once, ahead of the clock, as if the champion stayed; once it does not, what is ahead is
counted anew. So nothing that lies ahead reaches whoever is told of a slot that has closed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import prod
from operator import itemgetter
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from retrainer.domain.tally.arrivals import DELAY, HIT, MISS, NO_SCORE, PREDICTED, ArrivalKey
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.tally.totals import Closed
from retrainer.domain.values import SLOT_WIDTH, Slot, slot_of, slot_start
from retrainer.replay.table.flow import Flow
from retrainer.replay.table.learning import Served
from retrainer.replay.table.table import Table
from retrainer.replay.table.values import LabelCodes

_Key = TypeVar("_Key", TallyKey, ArrivalKey)
Numbers = npt.NDArray[np.int64]

_KINDS: Final = (PREDICTED, HIT, MISS, DELAY)
_BLOCK: Final = 16_384
"""So many events are counted at once, more only where a round needs it."""
_WIDEST: Final = 2**62


@dataclass
class SlotCounter:
    """Counts the slots of a replay.

    Attributes:
        width: of a bucket of prediction time, in slots; None where nobody asks when anything came.
    """

    table: Table
    flow: Flow
    served: Served
    values: LabelCodes
    width: int | None
    _counted: deque[tuple[Slot, Closed]] = field(default_factory=deque, init=False)
    _until: Slot | None = field(default=None, init=False)

    def slots(self, first: Slot, before: Slot, answered: int) -> list[tuple[Slot, Closed]]:
        """The slots of a span in which anything became known or was predicted. Spans follow each other.

        Args:
            answered: rows before this one have been answered, among them all in the span.
        """
        if self._until is None or before > self._until:
            begin = first if self._until is None else self._until
            self._until = max(before, self._end(begin, answered))
            self._counted.extend(self._count(begin, self._until))
        found = []
        while self._counted and self._counted[0][0] < before:
            found.append(self._counted.popleft())
        return found

    def forget(self) -> None:
        """What has been answered ahead is not true any more."""
        self._counted.clear()
        self._until = None

    def _end(self, begin: Slot, answered: int) -> Slot:
        """Where a block ends that begins at a slot: before rows that have not been answered, and not too far ahead."""
        times, at = self.table.times, self.flow.at
        row = min(answered, int(np.searchsorted(times, slot_start(begin))) + _BLOCK)
        change = int(np.searchsorted(at, slot_start(begin))) + _BLOCK
        ends = [slot_of(int(one[place])) for one, place in ((times, row), (at, change)) if place < len(one)]
        return min(ends, default=slot_of(int(times[-1])) + 1)

    def _count(self, first: Slot, before: Slot) -> Iterator[tuple[Slot, Closed]]:
        bounds = [slot_start(first), slot_start(before)]
        changes = slice(*np.searchsorted(self.flow.at, bounds).tolist())
        begin, end = np.searchsorted(self.table.times, bounds).tolist()
        outcomes = _by_slot(self._outcomes(changes))
        arrived: dict[Slot, list[tuple[ArrivalKey, int]]] = {}
        if self.width is not None:
            arrived = _by_slot(self._arrivals(self.width, changes, slice(max(begin, self.table.warm), end)))
        for slot in sorted(outcomes.keys() | arrived.keys()):
            yield slot, Closed(outcomes.get(slot, ()), arrived.get(slot, ()))

    def _outcomes(self, changes: slice) -> Iterator[tuple[TallyKey, int]]:
        rows = self.flow.row[changes]
        columns = (
            self.flow.at[changes] // SLOT_WIDTH,
            self.served.versions[rows].astype(np.int64),
            self.flow.truth[changes].astype(np.int64),
            self.served.answers[rows].astype(np.int64),
        )
        summed, texts, names = _summed(columns, self.flow.sign[changes]), self.values.texts, _Names()
        if self.values.form.expand is None:
            for slot, version, truth, answer, n in summed:
                yield TallyKey(names[version], WHOLE, slot, texts[truth], texts[answer]), n
            return
        for (slot, version), group in groupby(summed, _place):
            for cell, n in self.values.expanded(counted[2:] for counted in group).items():
                if n:
                    yield TallyKey(names[version], WHOLE, slot, *cell), n

    def _arrivals(self, width: int, changes: slice, predicted: slice) -> Iterator[tuple[ArrivalKey, int]]:
        """Rows that were learned from and never predicted are not counted."""
        own = np.flatnonzero(self.flow.row[changes] >= self.table.warm) + changes.start
        rows, sign = self.flow.row[own], self.flow.sign[own]
        slots, new = self.flow.at[own] // SLOT_WIDTH, self.table.times[predicted] // SLOT_WIDTH
        answers, versions = self.served.answers[rows], self.served.versions[rows]
        kind = np.where(self.values.is_right(self.flow.truth[own], answers), _KINDS.index(HIT), _KINDS.index(MISS))
        fresh, bins = self.served.versions[predicted], self.values.bins
        predicted_, delay = np.full(len(new), _KINDS.index(PREDICTED)), np.full(len(rows), _KINDS.index(DELAY))
        parts = (
            (new, fresh, predicted_, new // width, bins(self.served.answers[predicted])),
            (slots, versions, kind, self.table.times[rows] // SLOT_WIDTH // width, bins(answers)),
            (slots, versions, delay, self.flow.delay[own], np.full(len(rows), NO_SCORE)),
        )
        columns = [np.concatenate([part[place] for part in parts]).astype(np.int64) for place in range(5)]
        weights = np.concatenate([np.ones(len(new), np.int64), sign, sign])
        names = _Names()
        for slot, version, what, born, bin_, n in _summed(columns, weights):
            yield ArrivalKey(names[version], slot, _KINDS[what], born, bin_), n


def _place(counted: tuple[int, ...]) -> tuple[int, ...]:
    """Slot and version."""
    return counted[:2]


class _Names(dict[int, str]):
    """Versions by their numbers."""

    def __missing__(self, version: int) -> str:
        name = self[version] = str(version)
        return name


def _by_slot(counted: Iterable[tuple[_Key, int]]) -> dict[Slot, list[tuple[_Key, int]]]:
    found: dict[Slot, list[tuple[_Key, int]]] = {}
    for one in counted:
        slot = one[0].slot
        if slot in found:
            found[slot].append(one)
        else:
            found[slot] = [one]
    return found


def _summed(columns: Sequence[Numbers], weights: npt.NDArray[np.integer]) -> Iterator[tuple[int, ...]]:
    """Each combination of values whose weights do not add up to 0, with that sum at its end; in order."""
    if not len(weights):
        return iter(())
    lows = [int(column.min()) for column in columns]
    spans = [int(column.max()) - low + 1 for column, low in zip(columns, lows, strict=True)]
    if prod(spans) > _WIDEST:
        return _summed_widely(columns, weights)
    codes = np.zeros(len(weights), np.int64)
    for column, low, span in zip(columns, lows, spans, strict=True):
        codes = codes * span + (column - low)
    cells, places = np.unique(codes, return_inverse=True)
    sums = np.bincount(places, weights=weights, minlength=len(cells)).astype(np.int64)
    rest, values = cells[sums != 0], [sums[sums != 0]]
    for low, span in zip(reversed(lows), reversed(spans), strict=True):
        rest, value = np.divmod(rest, span)
        values.append(value + low)
    return zip(*(value.tolist() for value in reversed(values)), strict=True)


def _summed_widely(columns: Sequence[Numbers], weights: npt.NDArray[np.integer]) -> Iterator[tuple[int, ...]]:
    """The same where one number cannot hold a combination."""
    cells, places = np.unique(np.stack(columns), axis=1, return_inverse=True)
    sums = np.bincount(places.ravel(), weights=weights, minlength=cells.shape[1]).astype(np.int64)
    found = zip(*cells.tolist(), sums.tolist(), strict=True)
    return filter(itemgetter(-1), found)
