"""Predictions by the time at which they were made, and how many of them were labelled by each age. Pure, incremental.

A cohort holds the predictions of one bucket of prediction time. Its age is counted in whole buckets since its own end;
at each end of a bucket every open cohort notes how many of its predictions are labelled. At the age by which the last
label may come it is complete, and goes into what is usual.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from retrainer.domain.tally.arrivals import HIT, MISS, PREDICTED, ArrivalKey
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

_COUNTED: Final = frozenset({PREDICTED, HIT, MISS})


@dataclass(slots=True)
class Cohort:
    """One bucket's predictions. `path[a]` of them were labelled at the end of the bucket `a` later.

    While it is open its path ends where labels last came; `seen_from` are the buckets that had ended before it was
    known of.
    """

    predicted: int = 0
    labelled: int = 0
    path: list[int] = field(default_factory=list)
    seen_from: int = field(default=0, compare=False)

    def by(self, age: int) -> int:
        """How many were labelled at an age that it has reached."""
        return self.path[age] if age < len(self.path) else self.labelled

    def lasts(self, ages: int) -> None:
        """Nothing has changed for so many buckets since its own, that one included."""
        self.path += [self.labelled] * (ages - len(self.path))


Aged = tuple[int, int, int, int]
"""An open cohort whose bucket has ended: bucket, age, predictions, and how many were labelled when the newest ended."""


class Cohorts:
    """The cohorts that still wait for labels, by bucket of prediction time."""

    def __init__(self, width: int, ages: int) -> None:
        """`width` in slots; a cohort is complete at the age of so many buckets."""
        self._width = width
        self._ages = ages
        self._open: dict[int, Cohort] = {}
        self._order: list[int] = []
        """The open ones, oldest first."""
        self._closed: int | None = None
        self._aged: Sequence[Aged] | None = None

    @property
    def closed(self) -> int | None:
        """Buckets before this one have ended; None: nothing has been seen."""
        return self._closed

    def add(self, slot: Slot, rows: Rows) -> None:
        """Take in what arrived in a slot; what is about complete cohorts comes too late."""
        oldest = slot // self._width - self._ages
        if self._closed is None:
            self._closed = slot // self._width
        self._aged = None
        for key, n in rows:
            if key.born < oldest or key.kind not in _COUNTED:
                continue
            cohort = self._open.get(key.born)
            if cohort is None:
                cohort = self._open[key.born] = Cohort(seen_from=self._closed)
                insort(self._order, key.born)
            if key.kind == PREDICTED:
                cohort.predicted += n
            else:
                cohort.lasts(self._closed - key.born)
                cohort.labelled += n

    def close_before(self, before: Slot) -> tuple[int, Sequence[Cohort]]:
        """End every bucket that lies before a slot: how many they are, and the cohorts that are complete by then.

        Once no cohort is open, the rest is passed over and not counted.
        """
        end = before // self._width
        if self._closed is None or self._closed >= end:
            return 0, ()
        first, self._closed, self._aged = self._closed, end, None
        complete, last = [], first - 1
        for born in self._order[: bisect_right(self._order, end - 1 - self._ages)]:
            last = max(first, born + self._ages)
            cohort = self._open.pop(born)
            cohort.lasts(last - born + 1)
            complete.append(cohort)
        del self._order[: len(complete)]
        return (end if self._open else last + 1) - first, complete

    def aged(self) -> Sequence[Aged]:
        """The cohorts that were there when the newest bucket ended, youngest first."""
        if self._aged is None:
            self._aged = aged = list[Aged]()
            closed, cohorts = self._closed or 0, self._open
            for born in reversed(self._order):
                cohort, age = cohorts[born], closed - 1 - born
                if age >= 0 and cohort.seen_from < closed:
                    path = cohort.path
                    aged.append((born, age, cohort.predicted, path[age] if age < len(path) else cohort.labelled))
        return self._aged

    def came(self, born: int) -> int:
        """How many predictions of a cohort were labelled in the bucket that ended last."""
        cohort, age = self._open[born], (self._closed or 0) - 1 - born
        return cohort.by(age) - (cohort.by(age - 1) if age else 0)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Complete cohorts in a row: how many predictions, and how many of them were labelled by each age."""

    cohorts: int
    predicted: int
    labelled: tuple[int, ...]

    def shares(self, ages: int) -> list[float]:
        """By age, from 0 to `ages`."""
        found = [labelled / self.predicted for labelled in self.labelled[: ages + 1]]
        return found + found[-1:] * (ages + 1 - len(found))


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
            return _by_column(median, [pool.shares(ages) for pool in pools])
        predicted = max(1, sum(pool.predicted for pool in pools))
        labelled = ([share * pool.predicted for share in pool.shares(ages)] for pool in pools)
        return _by_column(lambda column: sum(column) / predicted, labelled) or (0.0,) * (ages + 1)

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


def _by_column(of: Callable[[Sequence[float]], float], rows: Iterable[Sequence[float]]) -> tuple[float, ...]:
    """Of each column; asked once where neighbours are the same: most labels come soon, and nothing changes then."""
    found: list[float] = []
    before: tuple[float, ...] = ()
    for column in zip(*rows, strict=True):
        found.append(found[-1] if column == before else of(column))
        before = column
    return tuple(found)
