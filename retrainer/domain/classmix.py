"""Whether a fall is one within label classes, or only another mix of classes.

Labels of one class often arrive before those of another: after a promotion or a stall the outcomes that become known
are no fair sample. Within a class they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Final

from retrainer.domain.measures import is_measure
from retrainer.domain.metrics import Cells

ByClass = Mapping[str, Sequence[int]]
"""For each label class: how many outcomes, and how many misses."""

_MOST_CLASSES: Final = 12
_OTHERS: Final = "\x1fothers"
_FEWEST: Final = 30
"""So many outcomes of a class in the reference tell what to expect of it."""


def added(before: ByClass, cells: Cells) -> ByClass:
    """The counts with those of a slot; classes beyond the first dozen are counted together."""
    found = {name: list(counts) for name, counts in before.items()}
    for cell, n in cells.items():
        if is_measure(cell):
            continue
        label, answer = cell
        known = label in found or len(found) < _MOST_CLASSES
        counts = found.setdefault(label if known else _OTHERS, [0, 0])
        counts[0] += n
        counts[1] += n if label != answer else 0
    return found


def explained(reference: ByClass, cells: Cells) -> float:
    """The misses of a slot that are due to its mix of label classes, had each the miss rate of the reference.

    Only what differs from the reference's mix counts. Rates are taken at the limit that explains most: of a class
    that is hardly known, any number of misses.
    """
    total = sum(n for n, _ in reference.values())
    if total <= 0:
        return 0.0
    slot = Counter[str]()
    for cell, n in cells.items():
        if not is_measure(cell):
            slot[cell[0] if cell[0] in reference or _OTHERS not in reference else _OTHERS] += n
    size, found = slot.total(), 0.0
    for name in reference.keys() | slot.keys():
        n, misses = reference.get(name, (0, 0))
        surplus = slot[name] - size * n / total
        found += surplus * _rate(n, misses, most=surplus > 0)
    return found


def _rate(n: int, misses: int, *, most: bool) -> float:
    if n < _FEWEST:
        return 1.0 if most else 0.0
    rate = min(max((misses + 0.5) / (n + 1), 0.0), 1.0)
    error = _ERRORS * sqrt(rate * (1 - rate) / n)
    return min(max(rate + (error if most else -error), 0.0), 1.0)


_ERRORS: Final = 2.0
