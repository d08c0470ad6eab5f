"""What has happened, told as values: what is measured of a running service comes from here. The log is for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from retrainer.domain.deciding.decisions import Decision
from retrainer.domain.deciding.jobs import Job
from retrainer.domain.deciding.watch import Fact
from retrainer.domain.events import Partition
from retrainer.domain.values import Micros


@dataclass(frozen=True, kw_only=True)
class FlushCommitted:
    """The worker has made true what it had read.

    Attributes:
        seconds: from the cut to the end of the commit.
        ends: how far partitions reach, of those of which that is known; `positions` is how far they are read.
        watermarks: each model's, in event time, of those that have one.
    """

    records: int
    quarantined: int
    seconds: float
    positions: Mapping[Partition, int]
    ends: Mapping[Partition, int]
    watermarks: Mapping[str, Micros]


@dataclass(frozen=True, kw_only=True)
class ModelDeliberated:
    """A round of deciding about a model is stored: what metrics and triggers said, and what came of it."""

    model: str
    facts: Sequence[Fact]
    decisions: Sequence[Decision]


@dataclass(frozen=True, kw_only=True)
class JobMoved:
    """A job has taken a step, which is stored."""

    job: Job


@dataclass(frozen=True, kw_only=True)
class DependencyLost:
    """Something outside cannot be reached any more."""

    name: str


@dataclass(frozen=True, kw_only=True)
class DependencyRecovered:
    """It can be reached again, `seconds` after it was lost."""

    name: str
    seconds: float


Happening = FlushCommitted | ModelDeliberated | JobMoved | DependencyLost | DependencyRecovered


class Telemetry(Protocol):
    """Hears what happens in a role."""

    def tell(self, happening: Happening, /) -> None:
        """Never waits and never fails. May be called from any thread."""
        ...
