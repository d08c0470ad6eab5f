"""What a slot adds to the tallies: outcomes, and when predictions and their labels came, as ingest would count them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from retrainer.domain.arrivals import DELAY, HIT, MISS, NO_SCORE, PREDICTED
from retrainer.domain.tallies import ARRIVALS, WHOLE, TallyKey
from retrainer.domain.values import SLOT_WIDTH, Slot, slot_of, slot_start
from retrainer.replay.flow import Flow
from retrainer.replay.learning import Served
from retrainer.replay.table import Table

Tallied = list[tuple[TallyKey, int]]
Numbers = npt.NDArray[np.int64]

_KINDS: Final = (PREDICTED, HIT, MISS, DELAY)
_LEAST: Final = 2**36
_BUCKETS: Final = 2 * _LEAST
"""Buckets of prediction time are numbered from -2**36 on, before the year 1 even where each is one slot."""


@dataclass(frozen=True, kw_only=True)
class Counting:
    """Counts the slots of a replay.

    Attributes:
        width: of a bucket of prediction time, in slots; None where nobody asks when anything came.
    """

    table: Table
    flow: Flow
    served: Served
    width: int | None

    def slots(self, first: Slot, before: Slot) -> Iterator[tuple[Slot, Tallied]]:
        """The slots of a span in which anything became known or was predicted; every row in them has been answered."""
        times = (self.flow.at, self.table.times[self.table.warm :])
        bounds = [slot_start(first), slot_start(before)]
        ends = [int(np.searchsorted(one, bounds[1])) for one in times]
        at = [int(np.searchsorted(one, bounds[0])) for one in times]
        while any(place < end for place, end in zip(at, ends, strict=True)):
            heads = zip(times, at, ends, strict=True)
            slot = slot_of(min(int(one[place]) for one, place, end in heads if place < end))
            beyond = slot_start(slot + 1)
            heads = zip(times, at, ends, strict=True)
            stops = [place + int(np.searchsorted(one[place:end], beyond)) for one, place, end in heads]
            warm = self.table.warm
            yield slot, self._tallied(slot, slice(at[0], stops[0]), slice(at[1] + warm, stops[1] + warm))
            at = stops

    def _tallied(self, slot: Slot, changes: slice, predicted: slice) -> Tallied:
        found = self._outcomes(slot, changes)
        return found if self.width is None else found + self._arrivals(slot, self.width, changes, predicted)

    def _outcomes(self, slot: Slot, changes: slice) -> Tallied:
        texts = self.table.classes.texts
        rows, classes = self.flow.row[changes], len(texts)
        codes = self.served.versions[rows].astype(np.int64) * classes + self.flow.truth[changes]
        cells, sums = _summed(codes * classes + self.served.answers[rows], self.flow.sign[changes])
        found: Tallied = []
        for cell, n in zip(cells, sums, strict=True):
            rest, answer = divmod(cell, classes)
            version, truth = divmod(rest, classes)
            found.append((TallyKey(str(version), WHOLE, slot, texts[truth], texts[answer]), n))
        return found

    def _arrivals(self, slot: Slot, width: int, changes: slice, predicted: slice) -> Tallied:
        """Rows that were learned from and never predicted are not counted."""
        rows = self.flow.row[changes]
        own = rows >= self.table.warm
        rows, signs = rows[own], self.flow.sign[changes][own]
        truth, delay = self.flow.truth[changes][own], self.flow.delay[changes][own]
        born = self.table.times[rows] // SLOT_WIDTH // width
        kind = np.where(truth == self.served.answers[rows], _KINDS.index(HIT), _KINDS.index(MISS))
        versions = self.served.versions[rows].astype(np.int64)
        new = self.served.versions[predicted].astype(np.int64)
        codes = np.concatenate(
            [
                _code(new, _KINDS.index(PREDICTED), np.full(len(new), slot // width)),
                _code(versions, kind, born),
                _code(versions, _KINDS.index(DELAY), delay),
            ]
        )
        weights = np.concatenate([np.ones(len(new), np.int64), signs, signs])
        found: Tallied = []
        for code, n in zip(*_summed(codes, weights), strict=True):
            rest, bucket = divmod(code, _BUCKETS)
            version, kind_ = divmod(rest, len(_KINDS))
            found.append((TallyKey(str(version), ARRIVALS, slot, _KINDS[kind_], f"{bucket - _LEAST}:{NO_SCORE}"), n))
        return found


def _code(version: Numbers, kind: Numbers | int, bucket: Numbers) -> Numbers:
    return (version * len(_KINDS) + kind) * _BUCKETS + bucket + _LEAST


def _summed(codes: Numbers, weights: Numbers) -> tuple[list[int], list[int]]:
    """The sum of the weights of each code, without zeros."""
    cells, places = np.unique(codes, return_inverse=True)
    sums = np.bincount(places, weights=weights, minlength=len(cells)).astype(np.int64)
    kept = sums != 0
    return cells[kept].tolist(), sums[kept].tolist()
