"""Lives of a million outcomes, many at once: the functions of `domain.triggers.sequential` alone, without the trigger.

Independent outcomes, a reference of 10,000, its whole share of 1 - confidence (.04): what the promise says of the
horizon, which whole lives of the trigger are too slow to show.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from typing import Final

import numpy as np

from benchmarks.decisions.streams import SLOT
from retrainer.domain.triggers.sequential import (
    HORIZON,
    LossReference,
    Sums,
    advanced,
    begun,
    log_bets,
    log_evidence,
    starting,
)

_ALPHA: Final = 0.04
_REFERENCE: Final = 10_000
_WORTH_A_LOOK: Final = 0.5
"""No stake below its exponential can be through."""


def fired(rate: float, lives: int, length: int = HORIZON) -> int:
    """How many lives ever fire while accuracy stays what it was in the reference."""
    rng = np.random.default_rng([7, round(rate * 1000)])
    references = [
        LossReference(sums=Sums(n=_REFERENCE, total=misses, squares=misses), binary=True)
        for misses in rng.binomial(_REFERENCE, 1 - rate, lives).tolist()
    ]
    hit = np.array([log_bets(one, Sums(n=1)) for one in references])
    miss = np.array([log_bets(one, Sums(n=1, total=1, squares=1)) for one in references])
    stakes, through = np.repeat(starting()[None], lives, axis=0), np.zeros(lives, dtype=bool)
    for before in range(0, length, SLOT):
        misses = rng.binomial(SLOT, 1 - rate, lives)[:, None, None]
        stakes = advanced(stakes, (SLOT - misses) * hit + misses * miss, begun(before, SLOT))
        for life in np.flatnonzero(~through & (stakes.max(axis=(1, 2)) > _WORTH_A_LOOK)):
            through[life] = log_evidence(stakes[life], references[life], 1.0, _ALPHA) >= log(1 / _ALPHA)
    return int(through.sum())


def table(lives: int) -> Iterator[str]:
    """By accuracy."""
    yield "| accuracy | lives of 1,000,000 outcomes | fired |"
    yield "| --- | --- | --- |"
    for rate in (0.9, 0.98, 0.7):
        yield f"| {rate:.2f} | {lives} | {fired(rate, lives)} |"
