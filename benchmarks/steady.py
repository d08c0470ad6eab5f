"""Whether memory stays where it is while events pass and the number that is remembered does not change."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from benchmarks.harness import Facts, Row, fresh, resident
from benchmarks.remembering import BATCH, Remembering

REMEMBERED: Final = 200_000
_SETTLED_AFTER: Final = 1_000_000
_EVENTS_A_COMMIT: Final = 50_000


def run(events: int) -> Sequence[Row]:
    """One long run."""
    facts = fresh("benchmarks.steady:passing", events=events)
    figure = f"resident memory, per million events after the first, {events:,} events, {REMEMBERED:,} ids remembered"
    value = f"{facts['slope']:+.3f} % (from {facts['first']:.1f} to {facts['last']:.1f} MiB)"
    return [Row("steady", figure, value, "about 0 %")]


def passing(*, events: int, began: float) -> Facts:
    """In a child: let events pass; how resident memory goes, as a straight line through it."""
    one = Remembering(REMEMBERED)
    one.fill()
    at: list[int] = []
    sizes: list[float] = []
    passed = 0
    for pair in one.pairs(events):
        one.take(pair)
        passed += 2 * BATCH
        if passed % _EVENTS_A_COMMIT == 0:
            one.flush()
            at.append(passed)
            sizes.append(resident()[0])
    settled = [n for n, seen in enumerate(at) if seen > _SETTLED_AFTER]
    x, y = np.array(at)[settled] / 1e6, np.array(sizes)[settled]
    slope = float(np.polyfit(x, y, 1)[0]) / y[0] * 100
    return {"slope": slope, "first": y[0], "last": y[-1], "seconds": time.monotonic() - began}
