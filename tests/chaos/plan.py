"""How large a run is, and the models that it feeds: what traffic, service and oracle agree on, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
START: Final = 1_740_000_000 // 60 * MINUTE
"""The first event time, in microseconds: a day in February 2025, at the beginning of a slot."""

PARTITIONS: Final = 4
ROOT: Final = Path(__file__).parents[2]
STRAGGLER: Final = "s"
"""The version of predictions that come after their slot was closed: the slot that takes them is not known before."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How one model joins. Times in microseconds."""

    max_delay: int
    lateness: int
    last: bool
    absent: tuple[int, str] | None = None
    """After how long the absence of a label means which class."""

    @property
    def horizon(self) -> int:
        return self.max_delay + self.lateness


MODELS: Final = {
    "a": Rules(max_delay=3 * HOUR, lateness=HOUR, last=True),
    "b": Rules(max_delay=2 * HOUR, lateness=HOUR, last=False),
    "c": Rules(max_delay=2 * HOUR, lateness=HOUR, last=True, absent=(30 * MINUTE, "no")),
}
LATENESS: Final = HOUR
LAG: Final = 10 * MINUTE
"""Events reach the topics in disorder, but for stragglers and codas at most about twice this late."""
CHUNK: Final = 12 * MINUTE
"""The producer waits for all acknowledgements after so much event time, so no partition lags further behind."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run. `span` is the event time that the traffic covers, in microseconds."""

    predictions: int
    span: int
    kills: int
    zombies: int
    broker_kills: int
    outages: int
    jumps: int
    flush_ms: int
    poll: int
    """Records in a poll: few, so that there are many commits to be interrupted."""
    controller: bool
    """Whether a controller works beside the worker: it merges segments, and is killed at times too."""
    codas: int
    """How many late events of each kind come at each barrier."""

    @property
    def records(self) -> int:
        """About how many records this makes."""
        return int(self.predictions * 2.27)

    @property
    def lead(self) -> int:
        """How many records the producer may be ahead of what is committed."""
        return max(20_000, self.records // 12)


PLANS: Final = {
    "short": Plan(
        predictions=60_000,
        span=72 * HOUR,
        kills=6,
        zombies=2,
        broker_kills=1,
        outages=2,
        jumps=3,
        flush_ms=100,
        poll=1000,
        controller=False,
        codas=10,
    ),
    "full": Plan(
        predictions=1_000_000,
        span=240 * HOUR,
        kills=30,
        zombies=6,
        broker_kills=5,
        outages=4,
        jumps=12,
        flush_ms=300,
        poll=4000,
        controller=True,
        codas=200,
    ),
}


@dataclass(frozen=True)
class Topics:
    """The topics of one run."""

    suffix: str

    @property
    def predictions(self) -> str:
        return f"chaos-predictions-{self.suffix}"

    @property
    def labels(self) -> str:
        return f"chaos-labels-{self.suffix}"

    @property
    def both(self) -> tuple[str, str]:
        return self.predictions, self.labels


@dataclass(frozen=True, kw_only=True)
class Barrier:
    """A moment when everything sent had been committed: what came later met at least these watermarks."""

    ends: dict[tuple[str, int], int]
    watermarks: dict[str, int]
