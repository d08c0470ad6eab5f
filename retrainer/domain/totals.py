"""How many outcomes became known since any moment, in a bounded amount of memory."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from retrainer.domain.values import Slot

_MOST: Final = 4096


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
