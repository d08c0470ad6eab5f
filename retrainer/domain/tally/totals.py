"""How many outcomes became known: in a slot, and since any moment in a bounded amount of memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from retrainer.domain.tally.arrivals import ArrivalKey
from retrainer.domain.tally.measures import SUM, N
from retrainer.domain.tally.tallies import ARRIVALS, WHOLE, TallyKey
from retrainer.domain.values import Slot

_MEASURE: Final = SUM[:1]
"""How the names of cells begin that are no pairs of label and prediction."""

_MOST: Final = 4096


class Closed(NamedTuple):
    """What a closed slot holds, of every version: outcomes, without slices, and arrivals."""

    outcomes: Sequence[tuple[TallyKey, int]]
    arrived: Sequence[tuple[ArrivalKey, int]]

    @classmethod
    def of(cls, tallies: Iterable[tuple[TallyKey, int]]) -> Closed:
        """Sorted from the tallies of one slot."""
        outcomes, arrived = [], []
        for tally in tallies:
            place = tally[0].slice
            if place == WHOLE:
                outcomes.append(tally)
            elif place == ARRIVALS:
                arrived.append((ArrivalKey.of(tally[0]), tally[1]))
        return cls(outcomes, arrived)


class Totals:
    """A running total by slot. What is long ago is kept coarsely: a count since then may be too low, never too high."""

    def __init__(self) -> None:
        self._slots: list[Slot] = []
        self._before: list[int] = []
        """The total before each slot."""
        self._total = 0

    def add(self, slot: Slot, n: int) -> None:
        """Outcomes of a slot; slots come in order."""
        if not self._slots or self._slots[-1] != slot:
            self._slots.append(slot)
            self._before.append(self._total)
        self._total += n
        if len(self._slots) > _MOST:
            self._thin()

    def since(self, slot: Slot) -> int:
        """Outcomes that became known in this slot and after it."""
        at = bisect_left(self._slots, slot)
        return self._total - self._before[at] if at < len(self._slots) else 0

    def _thin(self) -> None:
        """Every second slot of the older half is merged with the one before it."""
        half = len(self._slots) // 2
        kept = [*range(0, half, 2), *range(half, len(self._slots))]
        self._slots = [self._slots[at] for at in kept]
        self._before = [self._before[at] for at in kept]


def outcomes_in(tallies: Iterable[tuple[TallyKey, int]]) -> int:
    """How many outcomes became known, whichever version predicted."""
    found = 0
    for key, n in tallies:
        if key.slice == WHOLE and (key.truth[:1] != _MEASURE or (key.truth == SUM and key.answer == N)):
            found += n
    return found


def labels_in(tallies: Iterable[tuple[TallyKey, int]]) -> Mapping[str, int]:
    """How many labels of each class became known."""
    labels: dict[str, int] = {}
    for key, n in tallies:
        if key.slice == WHOLE and key.truth[:1] != _MEASURE:
            labels[key.truth] = labels.get(key.truth, 0) + n
    return labels
