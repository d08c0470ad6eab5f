"""Whether a fall is one within label classes, or only another mix of classes.

Labels of one class often arrive before those of another: after a promotion or a stall the outcomes that become known
are no fair sample. Within a class they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Final

from retrainer.domain.metrics.registry import Cells
from retrainer.domain.tally.measures import is_measure

ByClass = Mapping[str, Sequence[int]]
"""For each label class: how many outcomes, and how many misses."""

_MOST_CLASSES: Final = 12
_OTHERS: Final = "\x1fothers"
_FEWEST: Final = 30
"""So many outcomes of a class in the reference tell what to expect of it."""


def added(before: ByClass, cells: Cells) -> ByClass:
    """The counts with those of a slot; classes beyond the first dozen are counted together."""
    found = dict(before)
    for cell, n in cells.items():
        if is_measure(cell):
            continue
        label, answer = cell
        known = label in found or len(found) < _MOST_CLASSES
        name = label if known else _OTHERS
        so_far, misses = found.get(name, (0, 0))
        found[name] = [so_far + n, misses + n if label != answer else misses]
    return found


def explained(reference: ByClass, cells: Cells, *, errors: float = 0.0) -> float:
    """The misses of a slot that are due to its mix of label classes, had each the miss rate of the reference.

    Only what differs from the reference's mix counts.

    Args:
        errors: rates are taken so many standard errors off, to the side that explains more; and of a class that is
            hardly known any number of misses is explained. With none, such a class is taken to be like the others.
    """
    total = sum(n for n, _ in reference.values())
    if total <= 0:
        return 0.0
    slot = Counter[str]()
    for cell, n in cells.items():
        if not is_measure(cell):
            slot[cell[0] if cell[0] in reference or _OTHERS not in reference else _OTHERS] += n
    overall = sum(misses for _, misses in reference.values()) / total
    size, found = slot.total(), 0.0
    for name in {**reference, **slot}:  # in an order that is the same in every process
        n, misses = reference.get(name, (0, 0))
        surplus = slot[name] - size * n / total
        side = errors if surplus > 0 else -errors
        found += surplus * (_rate(n, misses, side) if n >= _FEWEST else _unknown(overall, side))
    return found


def _rate(n: int, misses: int, errors: float) -> float:
    rate = min(max((misses + 0.5) / (n + 1), 0.0), 1.0)
    return min(max(rate + errors * sqrt(rate * (1 - rate) / n), 0.0), 1.0)


def _unknown(overall: float, side: float) -> float:
    if side == 0:
        return overall
    return 1.0 if side > 0 else 0.0
