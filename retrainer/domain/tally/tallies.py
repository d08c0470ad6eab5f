"""Exact, mergeable, subtractable counts of outcomes; every metric over any window is a merge of these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from retrainer.domain.values import Slot

WHOLE: Final = ""
"""The slice that holds every outcome."""

ARRIVALS: Final = "\x1farrivals"
"""In place of a slice: what is counted there are not outcomes (see `arrivals`)."""


class TallyKey(NamedTuple):
    """Which tally, and which of its cells: outcomes with this label and this prediction."""

    version: str
    slice: str
    slot: Slot
    truth: str
    answer: str


Tallies = Mapping[TallyKey, int]


def by_slot(tallies: Iterable[tuple[TallyKey, int]]) -> dict[Slot, Counter[tuple[str, str]]]:
    """The cells of each slot, versions and slices merged; in time order."""
    slots: dict[Slot, Counter[tuple[str, str]]] = {}
    for key, n in sorted(tallies, key=lambda item: item[0].slot):
        slots.setdefault(key.slot, Counter())[key.truth, key.answer] += n
    return slots
