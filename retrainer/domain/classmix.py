"""Whether a fall is one within label classes, or only another mix of classes.

Labels of one class often arrive before those of another: after a promotion or a stall the outcomes that become known
are no fair sample. Within a class they are.
"""

from __future__ import annotations

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


def within(reference: ByClass, before: ByClass, now: ByClass, inflation: float) -> float | None:
    """The misses since `before` that exceed what each class had in the reference, in standard errors.

    None where no class is known well enough, or there are no classes.
    """
    excess, variance, known = 0.0, 0.0, False
    for name, (n, misses) in reference.items():
        if n < _FEWEST:
            continue
        known = True
        then, now_ = before.get(name, (0, 0)), now.get(name, (0, 0))
        seen, missed = now_[0] - then[0], now_[1] - then[1]
        rate = min(max((misses + 0.5) / (n + 1), 0.0), 1.0)
        excess += missed - seen * rate
        variance += max(seen, 0) * rate * (1 - rate) * (1 + seen / n)
    return excess / sqrt(variance * inflation) if known and variance > 0 else None
