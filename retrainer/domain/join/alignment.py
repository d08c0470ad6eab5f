"""Partitions that are far ahead of the slowest in event time wait for it, so that little has to be remembered.

Labels of one partition can only meet predictions of another that was read about as far; what is read too early fills
the memory and frees nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from retrainer.domain.events import Partition
from retrainer.domain.values import Micros


def ahead(
    newest: Mapping[Partition, Micros | None],
    at_end: Collection[Partition],
    width: Micros,
    waiting: Collection[Partition] = (),
) -> set[Partition]:
    """The partitions whose newest event is more than `width` later than that of the slowest.

    Those that are `waiting` already go on doing so until half of that: to stop and to go on costs something. One that
    was read to its end is waited for by nobody. While one with more to read has shown no event yet, nobody can say.
    """
    behind = [time for partition, time in newest.items() if partition not in at_end]
    times = [time for time in behind if time is not None]
    if not times or len(times) < len(behind):
        return set()
    slowest = min(times)
    return {
        partition
        for partition, time in newest.items()
        if time is not None and time - slowest > (width // 2 if partition in waiting else width)
    }
