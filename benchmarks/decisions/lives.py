"""Simulated lives of a champion, looked at by the production triggers: does `change` keep its promise, and how soon.

    python -m benchmarks.decisions.lives --data FOLDER [--lives 1000] [--only no-change,million,delay,late]

FOLDER holds elec2.csv, weather_noaa.csv and powersupply.csv, whose hits and misses the dependent lives are drawn
from. docs/decisions.md has the figures. Reproducible: each life has its own seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.decisions import late, million, streams
from benchmarks.decisions.late import usual_change
from benchmarks.decisions.streams import Cells
from retrainer.domain.metrics.windows import CountWindow, History
from retrainer.domain.triggers.base import Reading, Scene, Trigger
from retrainer.domain.values import SLOT_WIDTH

SLOT: Final = 100
LENGTH: Final = 100_000
REFERENCE: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class Fired:
    """When a life's trigger fired, in outcomes, and when it thinks that the fall began; None where it never did."""

    at: int | None
    began: int | None = None


def watch(trigger: Trigger, life: Iterable[Cells], slot: int = SLOT) -> Fired:
    """The first firing in a life."""
    for number, reading in enumerate(readings(trigger, life)):
        if reading.fired:
            began = reading.began
            return Fired(at=(number + 1) * slot, began=None if began is None else began // SLOT_WIDTH * slot)
    return Fired(at=None)


def readings(trigger: Trigger, life: Iterable[Cells]) -> Iterator[Reading]:
    """What the trigger says after each slot."""
    history, state = History(CountWindow(outcomes=1)), dict[str, Any]()
    for number, cells in enumerate(life):
        history.add(number, cells)
        found, reading = trigger.evaluate(state, Scene(history=history))
        state = dict(found)
        yield reading


def upper_limit(fired: int, lives: int, confidence: float = 0.99) -> float:
    """The upper limit of the share (Clopper and Pearson 1934, one-sided)."""
    from scipy.stats import beta

    return 1.0 if fired == lives else float(beta.ppf(confidence, fired + 1, lives - fired))


def no_change(name: str, lives: int, make: Callable[[np.random.Generator], Iterable[Cells]]) -> str:
    """How many lives ever fire."""
    began = time.perf_counter()
    fired = sum(watch(usual_change(), make(np.random.default_rng([1, life]))).at is not None for life in range(lives))
    seconds = time.perf_counter() - began
    return f"| {name} | {lives} | {fired} | {fired / lives:.3f} | {upper_limit(fired, lives):.3f} | {seconds:.0f} s |"


def delay(before: float, after: float, lives: int) -> str:
    """How soon a step at a random time is noticed, and how well its time is told."""
    found, early, errors = [], 0, []
    for life in range(lives):
        rng = np.random.default_rng([2, life])
        at = int(rng.integers(REFERENCE // SLOT, 90_000 // SLOT)) * SLOT
        fired = watch(usual_change(), streams.step(rng, before, after, at=at, length=at + 60_000))
        if fired.at is not None and fired.at <= at:
            early += 1
            continue
        found.append(60_000 if fired.at is None else fired.at - at)
        errors += [] if fired.began is None else [fired.began - at]
    return row(f"{before:.2f} to {after:.2f}", found, early, errors)


def row(name: str, found: Sequence[int], early: int, errors: Sequence[int]) -> str:
    """Median and 95th percentile of the delays; of where it began, the median error and the middle 80 %."""
    middle, most = np.percentile(found, [50, 95], method="inverted_cdf").astype(int)
    begun = "{:+.0f} ({:+.0f} to {:+.0f})".format(*np.percentile(errors, [50, 10, 90])) if errors else ""
    return f"| {name} | {len(found) + early} | {early} | {middle:,} | {most:,} | {begun} |"


def _no_change(folder: Path, lives: int) -> Iterator[str]:
    yield "| lives of 100,000 outcomes | lives | fired | share | upper 99 % limit | took |"
    yield "| --- | --- | --- | --- | --- | --- |"
    yield no_change("independent, .90", lives, lambda rng: streams.step(rng, 0.9, 0.9, at=0, length=LENGTH))
    for name, stretch in streams.real(folder).items():
        for block in streams.BLOCKS:
            make = streams.bootstrap(stretch, block, LENGTH)
            yield no_change(f"{name}, blocks of {block}", lives, make)


def _delay(_: Path, lives: int) -> Iterator[str]:
    yield "| step | lives | fired before it | median | 95 % | where it began: median error (80 %) |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for before, after in ((0.9, 0.85), (0.9, 0.8), (0.9, 0.87), (0.98, 0.96), (0.7, 0.6)):
        yield delay(before, after, lives)


def _late(_: Path, lives: int) -> Iterator[str]:
    return late.table(lives, watch)


def _million(_: Path, lives: int) -> Iterator[str]:
    return million.table(lives)


PARTS: Final[Mapping[str, Callable[[Path, int], Iterator[str]]]] = {
    "no-change": _no_change,
    "million": _million,
    "delay": _delay,
    "late": _late,
}


def main() -> None:
    """Print the tables as Markdown."""
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--data", type=Path, required=True)
    read.add_argument("--lives", type=int, default=1000)
    read.add_argument("--only", default=",".join(PARTS))
    given = read.parse_args()
    for part in given.only.split(","):
        print(f"\n{part}\n", flush=True)
        for line in PARTS[part](given.data, given.lives):
            print(line, flush=True)


if __name__ == "__main__":
    main()
