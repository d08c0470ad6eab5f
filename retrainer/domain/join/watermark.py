"""How far event time has come, judged from what has been read of each partition."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from retrainer.domain.events import Partition
from retrainer.domain.values import Micros


class EventClock:
    """The newest event time read from each partition of a model's topics."""

    def __init__(self, partitions: Collection[Partition], lateness: Micros) -> None:
        self._newest: dict[Partition, Micros | None] = dict.fromkeys(partitions)
        self._lateness = lateness

    @property
    def newest(self) -> Micros | None:
        """The newest event time of all."""
        return max((time for time in self._newest.values() if time is not None), default=None)

    @property
    def seen(self) -> Mapping[Partition, Micros]:
        """The newest event time of each partition that had any."""
        return {partition: time for partition, time in self._newest.items() if time is not None}

    def saw(self, partition: Partition, time: Micros) -> None:
        """An event of this time was read."""
        newest = self._newest.get(partition)
        if newest is None or time > newest:
            self._newest[partition] = time

    def watch(self, partitions: Collection[Partition]) -> None:
        """Partitions were added to the topics."""
        for partition in partitions:
            self._newest.setdefault(partition, None)

    def watermark(self, at_end: Collection[Partition]) -> Micros | None:
        """The time before which every event is taken to have come.

        A partition with more to read holds it back; one read to its end does not while others advance, and when all
        are at their end it stands still. None while nothing can be said.
        """
        seen = [time for time in self._newest.values() if time is not None]
        behind = [time for partition, time in self._newest.items() if partition not in at_end]
        if not seen or None in behind:
            return None
        return min([max(seen), *(time for time in behind if time is not None)]) - self._lateness
