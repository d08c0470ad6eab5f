"""Other ways to notice a fall, in the same lives: windows with a line, and ADWIN, Page-Hinkley and DDM from river.

    python -m benchmarks.decisions.compare [--lives 100]

Each is tuned to the false alarms that `change` promises: the most sensitive setting with which at most one life of
100,000 outcomes in twenty ever fires. Needs the package `river`; the windows do without.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Misses = NDArray[np.int64]
"""One life: for each outcome whether it was a miss."""
Detector = Callable[[Misses], int | None]
"""The outcome at which it fires first."""

LENGTH: Final = 100_000
REFERENCE: Final = 10_000
STEPS: Final = (0.85, 0.80, 0.87)
BEFORE: Final = 0.90
ALLOWED: Final = 0.05
AFTER: Final = 30_000


def line(window: int, below: float) -> Detector:
    """Accuracy over a window, looked at every tenth of it, is so far below that of the first 10,000 outcomes."""

    def fires(misses: Misses) -> int | None:
        total = np.concatenate([[0], np.cumsum(misses)])
        ends = np.arange(REFERENCE + window, len(misses) + 1, max(1, window // 10))
        beyond = (total[ends] - total[ends - window]) / window > total[REFERENCE] / REFERENCE + below
        return int(ends[np.argmax(beyond)]) if beyond.any() else None

    return fires


def from_river(name: str, **settings: Any) -> Detector:
    """A detector of river, fed with misses."""
    folder, kind = name.rsplit(".", 1)
    make = getattr(import_module(folder), kind)

    def fires(misses: Misses) -> int | None:
        one = make(**settings)
        for number, miss in enumerate(misses.tolist()):
            one.update(miss)
            if one.drift_detected:
                return number + 1
        return None

    return fires


def candidates() -> Mapping[str, Sequence[tuple[str, Callable[[], Detector]]]]:
    """By detector, its settings from the most sensitive on."""
    margins = np.arange(0.02, 0.16, 0.005).round(3)
    windows = {
        f"line, window {window}": [
            (f"{below:.3f} below", lambda window=window, below=below: line(window, below)) for below in margins
        ]
        for window in (200, 500, 1000, 2000)
    }
    return windows | {
        "ADWIN": [
            (f"delta {delta:g}", lambda delta=delta: from_river("river.drift.ADWIN", delta=delta))
            for delta in (2e-3, 1e-3, 3e-4, 1e-4, 1e-5, 1e-6)
        ],
        "Page-Hinkley": [
            (
                f"threshold {limit}",
                lambda limit=limit: from_river("river.drift.PageHinkley", threshold=limit, mode="up"),
            )
            for limit in (30, 50, 70, 90, 120, 160)
        ],
        "DDM": [
            (f"threshold {limit}", lambda limit=limit: from_river("river.drift.binary.DDM", drift_threshold=limit))
            for limit in (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0)
        ],
    }


def life(seed: Sequence[int], after: float | None) -> tuple[Misses, int]:
    """Outcomes at .90, and the outcome at which accuracy steps (at a random time after the reference)."""
    rng = np.random.default_rng(seed)
    if after is None:
        return rng.binomial(1, 1 - BEFORE, LENGTH), LENGTH
    at = int(rng.integers(REFERENCE, 90_000))
    return np.concatenate([rng.binomial(1, 1 - BEFORE, at), rng.binomial(1, 1 - after, AFTER)]), at


def tuned(settings: Sequence[tuple[str, Callable[[], Detector]]], lives: int) -> tuple[str, Detector, int] | None:
    """The first setting with few enough false alarms, and how many it had."""
    for name, make in settings:
        detector, fired = make(), 0
        for number in range(lives):
            fired += detector(life([5, number], None)[0]) is not None
            if fired > ALLOWED * lives:
                break
        else:
            return name, detector, fired
    return None


def measured(detector: Detector, after: float, lives: int) -> str:
    """Median and 95th percentile of the delay, and how many fired before the step."""
    found, early = [], 0
    for number in range(lives):
        misses, at = life([6, number], after)
        fired = detector(misses)
        early += fired is not None and fired <= at
        found += [] if fired is not None and fired <= at else [AFTER if fired is None else fired - at]
    if not found:
        return f"- ({early} early)"
    middle, most = np.percentile(found, [50, 95], method="inverted_cdf").astype(int)
    late = "more" if most >= AFTER else f"{most:,}"
    return f"{middle:,} / {late}" + (f" ({early} early)" if early else "")


def table(lives: int) -> Iterator[str]:
    """First the line as people draw it, five points below; then each as tuned."""
    yield f"| detector | setting | false alarms in {lives} lives | to .85 | to .80 | to .87 |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for window in (200, 500, 1000, 2000):
        detector = line(window, 0.05)
        false = sum(detector(life([5, n], None)[0]) is not None for n in range(lives))
        yield _row(f"line, window {window}", "0.050 below, not tuned", false, detector, lives)
    for name, settings in candidates().items():
        found = tuned(settings, lives)
        if found is None:
            yield f"| {name} | none of those tried | | | | |"
        else:
            yield _row(name, found[0], found[2], found[1], lives)


def _row(name: str, setting: str, false: int, detector: Detector, lives: int) -> str:
    return f"| {name} | {setting} | {false} | " + " | ".join(measured(detector, to, lives) for to in STEPS) + " |"


def main() -> None:
    """Print the table as Markdown."""
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--lives", type=int, default=100)
    for found in table(read.parse_args().lives):
        print(found, flush=True)


if __name__ == "__main__":
    main()
