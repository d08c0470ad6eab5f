"""Predictions by the time at which they were made, and how many of them were labelled by each age. Pure, incremental.

A cohort holds the predictions of one bucket of prediction time. Its age is counted in whole buckets since its own end;
at each end of a bucket every open cohort notes how many of its predictions are labelled. At the age by which the last
label may come it is complete, and goes into what is usual.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Final

from retrainer.domain.arrivals import HIT, MISS, PREDICTED, ArrivalKey
from retrainer.domain.values import Slot

Rows = Iterable[tuple[ArrivalKey, int]]
"""What arrived in one slot."""

POOLS: Final = 5
COHORTS_PER_POOL: Final = 6
"""What is usual comes from the newest 30 complete cohorts that had predictions, six by six."""

MIN_LABELS: Final = 20
"""With fewer labels in all of them nothing is called usual."""

EXPECTED: Final = 5
"""A complete cohort without any label, where as many were due, tells that labels stopped, not what is usual."""


@dataclass(slots=True)
class Cohort:
    """One bucket's predictions. `path[a]` of them were labelled at the end of the bucket `a` later."""

    predicted: int = 0
    labelled: int = 0
    path: list[int] = field(default_factory=list)


class Cohorts:
    """The cohorts that still wait for labels, by bucket of prediction time."""

    def __init__(self, width: int, ages: int) -> None:
        """`width` in slots; a cohort is complete at the age of so many buckets."""
        self._width = width
        self._ages = ages
        self._open: dict[int, Cohort] = {}
        self._closed: int | None = None

    @property
    def closed(self) -> int | None:
        """Buckets before this one have ended; None: nothing has been seen."""
        return self._closed

    def add(self, slot: Slot, rows: Rows) -> None:
        """Take in what arrived in a slot; what is about complete cohorts comes too late."""
        oldest = slot // self._width - self._ages
        if self._closed is None:
            self._closed = slot // self._width
        for key, n in rows:
            if key.born < oldest or key.kind not in (PREDICTED, HIT, MISS):
                continue
            cohort = self._open.setdefault(key.born, Cohort())
            if key.kind == PREDICTED:
                cohort.predicted += n
            else:
                cohort.labelled += n

    def close(self, before: Slot) -> Iterator[tuple[int, list[Cohort]]]:
        """End every bucket that lies before a slot; each one's number with the cohorts that are complete by it."""
        end = before // self._width
        while self._closed is not None and self._closed < end:
            if not self._open:
                self._closed = end
                return
            bucket, self._closed = self._closed, self._closed + 1
            yield bucket, self._end(bucket)

    def aged(self) -> Iterator[tuple[int, int, Cohort]]:
        """The cohorts whose bucket has ended: bucket, age, cohort; youngest first."""
        newest = (self._closed or 0) - 1
        for born in sorted((born for born, cohort in self._open.items() if cohort.path), reverse=True):
            yield born, newest - born, self._open[born]

    def _end(self, bucket: int) -> list[Cohort]:
        complete = []
        for born, cohort in sorted(self._open.items()):
            if born > bucket:
                continue
            cohort.path += [0] * (bucket - born - len(cohort.path))  # it came to be known late
            cohort.path.append(cohort.labelled)
            if bucket - born >= self._ages:
                complete.append(self._open.pop(born))
        return complete


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Complete cohorts in a row: how many predictions, and how many of them were labelled by each age."""

    cohorts: int
    predicted: int
    labelled: tuple[int, ...]

    def share(self, age: int) -> float:
        return self.labelled[min(age, len(self.labelled) - 1)] / self.predicted


@dataclass(frozen=True, kw_only=True)
class Usual:
    """The share of predictions that usually have their label at each age, oldest pool first."""

    pools: tuple[Pool, ...] = ()

    @property
    def known(self) -> bool:
        """Whether there is enough to say what is usual: a full pool, and `MIN_LABELS` labels."""
        return bool(self.full) and self.labels >= MIN_LABELS

    def shares(self, ages: int) -> tuple[float, ...]:
        """By age in buckets, from 0 to `ages`: the medians over the full pools, so that a stall in one or two of them
        does not show.

        Where labels are so few that pools differ by chance it is that of all together.
        """
        pools = self.full
        if self.labels >= MIN_LABELS * len(pools) > 0:
            return tuple(median(pool.share(age) for pool in pools) for age in range(ages + 1))
        predicted = max(1, sum(pool.predicted for pool in pools))
        return tuple(sum(pool.share(age) * pool.predicted for pool in pools) / predicted for age in range(ages + 1))

    def with_cohort(self, cohort: Cohort) -> Usual:
        """With one more complete cohort; one in which labels had stopped is left out."""
        last = len(cohort.path) - 1
        stopped = cohort.labelled <= 0 and self.known and cohort.predicted * self.shares(last)[last] >= EXPECTED
        if cohort.predicted <= 0 or stopped:
            return self
        newest = self.pools[-1] if self.pools else None
        if newest is None or newest.cohorts >= COHORTS_PER_POOL or len(newest.labelled) != len(cohort.path):
            return Usual(
                pools=(*self.pools[-POOLS:], Pool(cohorts=1, predicted=cohort.predicted, labelled=tuple(cohort.path)))
            )
        labelled = tuple(a + b for a, b in zip(newest.labelled, cohort.path, strict=True))
        grown = Pool(cohorts=newest.cohorts + 1, predicted=newest.predicted + cohort.predicted, labelled=labelled)
        return Usual(pools=(*self.pools[:-1], grown))

    @property
    def full(self) -> tuple[Pool, ...]:
        """The pools that have all their cohorts: what is usual comes from these."""
        return tuple(pool for pool in self.pools if pool.cohorts >= COHORTS_PER_POOL)

    @property
    def labels(self) -> int:
        """So many stand behind what is usual."""
        return sum(pool.labelled[-1] for pool in self.full)


def increment(path: list[int]) -> int:
    """How many predictions of a cohort were labelled in the bucket that ended last."""
    return next(iter(b - a for a, b in pairwise(path[-2:])), path[-1] if path else 0)
