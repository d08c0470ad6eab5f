"""Labels of one class before those of the other: at the start, all along, and in a burst after a stall.

The classes differ in accuracy (.94 and .84, .90 in all), so that outcomes which become known are no fair sample
whenever their mix moves. Ordered by when they become known, as the service orders them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.streams import SLOT, Cells, two_classes
from retrainer.config.triggers import ChangeSettings
from retrainer.domain.triggers.base import Trigger
from retrainer.domain.triggers.change import Change

_ONES: Final = 0.4
_RATES: Final = np.array([0.94, 0.84])


class _Fired(Protocol):
    @property
    def at(self) -> int | None: ...


def usual_change() -> Change:
    """The trigger as the configuration makes it where it says no more than its kind."""
    return Change(metric="accuracy", confidence=ChangeSettings(metric="accuracy").confidence)


@dataclass(frozen=True, kw_only=True)
class Lateness:
    """In predictions made meanwhile (100 a slot).

    Attributes:
        delays: the mean delay of each class's labels; exponential.
        stall: from when on, and for how long, no label comes; then all do, class 1 first.
    """

    delays: tuple[float, float]
    stall: tuple[int, int] | None = None


CASES: Final = {
    "no delay": Lateness(delays=(0, 0)),
    "class 1 late by 3,000": Lateness(delays=(0, 3_000)),
    "class 0 late by 3,000": Lateness(delays=(3_000, 0)),
    "class 1 late by 20,000": Lateness(delays=(0, 20_000)),
    "a stall of 5,000, then class 1 first": Lateness(delays=(0, 0), stall=(40_000, 5_000)),
    "a stall of 20,000, then class 1 first": Lateness(delays=(300, 300), stall=(40_000, 20_000)),
}


def life(rng: np.random.Generator, how: Lateness, length: int, fall: tuple[int, float] | None) -> Iterator[Cells]:
    """Slots in order of known_at.

    Args:
        fall: the prediction from which on accuracy is so much lower in both classes.
    """
    made = np.arange(length)
    label = rng.random(length) < _ONES
    rate = _RATES[label.astype(int)] - (0 if fall is None else np.where(made >= fall[0], fall[1], 0.0))
    hit = rng.random(length) < rate
    known = made + rng.exponential(1, length) * np.where(label, how.delays[1], how.delays[0])
    if how.stall:
        begin, span = how.stall
        held = (known >= begin) & (known < begin + span)
        # The backlog comes within ten slots: class 1 in the first half of them.
        burst = begin + span + np.where(label, 0, 5 * SLOT) + rng.random(length) * 5 * SLOT
        known = np.where(held, burst, known)
    yield from _slots(known, label, hit, length)


def _slots(
    known: NDArray[np.float64], label: NDArray[np.bool_], hit: NDArray[np.bool_], length: int
) -> Iterator[Cells]:
    slot = (known // SLOT).astype(int)
    size = length // SLOT
    counts = np.zeros((4, size), dtype=int)
    inside = slot < size
    np.add.at(counts, ((label * 2 + hit)[inside], slot[inside]), 1)
    for zeros_missed, zeros_hit, ones_missed, ones_hit in counts.T.tolist():
        if zeros_missed + zeros_hit + ones_missed + ones_hit:
            yield two_classes(zeros_missed + zeros_hit, ones_missed + ones_hit, zeros_hit, ones_hit)
        else:
            yield two_classes(0, 0, 0, 0)


def table(lives: int, watch: Callable[[Trigger, Iterator[Cells]], _Fired]) -> Iterator[str]:
    """False firings, and the delay of a fall of five points in both classes, by how late labels are."""
    yield "| labels | lives | fired without a change | with a fall: fired before it | median | 95 % |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, how in CASES.items():
        false = sum(
            watch(usual_change(), life(np.random.default_rng([3, n]), how, 100_000, None)).at is not None
            for n in range(lives)
        )
        early, found = 0, []
        for n in range(lives):
            rng = np.random.default_rng([4, n])
            at = int(rng.integers(70_000, 90_000))
            fired = watch(usual_change(), life(rng, how, at + 60_000, (at, 0.05))).at
            early += fired is not None and fired <= at
            found += [] if fired is not None and fired <= at else [60_000 if fired is None else fired - at]
        middle, most = np.percentile(found, [50, 95], method="inverted_cdf").astype(int) if found else (0, 0)
        yield f"| {name} | {lives} | {false} | {early} | {middle:,} | {most:,} |"
