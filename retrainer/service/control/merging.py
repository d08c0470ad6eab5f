"""Which segments to merge into one, and which to forget. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from retrainer.domain.values import Micros
from retrainer.ports.manifest.housekeeping import SegmentOutline

FAN_IN: Final = 100
"""So many segments of a size become one of the next: each record is written again two times at most."""
TARGET_BYTES: Final = 64 * 2**20
TARGET_RECORDS: Final = 250_000
"""All of them are in memory at once while they are merged."""
NEWEST_KEPT: Final = 100
"""So many of the newest commits are left alone: the worker is at work there."""


def run_to_merge(outlines: Sequence[SegmentOutline], unreadable: Collection[int] = ()) -> Sequence[SegmentOutline]:
    """The first run of neighbours that are small, of one size and enough; empty if there is none."""
    run: list[SegmentOutline] = []
    for one in outlines:
        if _is_full(one) or one.number in unreadable:
            run = []
            continue
        if run and _tier(one) != _tier(run[-1]):
            run = []
        run.append(one)
        if len(run) == FAN_IN or _size(run) >= TARGET_BYTES or sum(each.records for each in run) >= TARGET_RECORDS:
            return run
    return []


def outdated(outlines: Sequence[SegmentOutline], older_than: Micros, up_to: int) -> Sequence[SegmentOutline]:
    """The oldest segments with a number up to `up_to` in which every event is older than a time.

    One that nothing usable had been read by says nothing of its age: it goes with those after it.
    """
    found = 0
    for index, one in enumerate(outlines, 1):
        if one.number > up_to or (one.newest is not None and one.newest >= older_than):
            break
        if one.newest is not None:
            found = index
    return outlines[:found]


def _is_full(one: SegmentOutline) -> bool:
    """Two of half the target make a whole, so that no run of one is ever large enough."""
    return (
        one.size is None
        or one.size >= TARGET_BYTES // 2
        or one.records >= TARGET_RECORDS // 2
        or _parts(one) >= FAN_IN**2
    )


def _tier(one: SegmentOutline) -> int:
    return 0 if _parts(one) < FAN_IN else 1


def _parts(one: SegmentOutline) -> int:
    return one.number - one.first + 1


def _size(run: Sequence[SegmentOutline]) -> int:
    return sum(one.size or 0 for one in run)
