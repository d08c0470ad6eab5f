"""How much is still to be read: where the topics end, and whether that is far away."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from retrainer.domain.events import Partition
from retrainer.logs import Logger

_FEW_RECORDS = 1000
_FEW_FLUSHES = 5


class TopicBacklog:
    """What lies between the positions and the ends of the partitions.

    Attributes:
        is_far: whether the end is far away.
        ends: of every partition, as last known; `ends_now` of those of which it was known at the last look.
    """

    def __init__(self, logger: Logger, *, is_far: bool) -> None:
        """`is_far` is what was stored last."""
        self._logger = logger
        self.is_far = is_far
        self.ends: Mapping[Partition, int] = {}
        self.ends_now: Mapping[Partition, int] = {}

    def learn(self, ends: Mapping[Partition, int]) -> None:
        """Note where partitions end. A partition that is not named ends where it did when it last was."""
        self.ends_now = dict(ends)
        self.ends = {**self.ends, **ends}

    def ended(self, positions: Mapping[Partition, int]) -> list[Partition]:
        """The partitions that are known to have been read to their end."""
        return [at for at, end in self.ends_now.items() if positions.get(at, -1) >= end]

    def not_awaited(self, positions: Mapping[Partition, int]) -> set[Partition]:
        """The partitions that no other has to wait for: they are read to the end, or their end is not known."""
        return {at for at, position in positions.items() if position >= self.ends.get(at, 0)}

    def look(self, positions: Mapping[Partition, int], halted: Collection[str], flushed: int) -> None:
        """See whether what is to be read would take more than a few flushes of so many records.

        Halted topics are not read on: to wait for their end would be to wait for ever.
        """
        if not self.ends:
            return
        read = {at: to for at, to in positions.items() if at.topic not in halted}
        behind = sum(max(0, self.ends.get(at, 0) - to) for at, to in read.items())
        is_far = behind > max(_FEW_RECORDS, _FEW_FLUSHES * flushed)
        if is_far != self.is_far:
            self._logger.info("catch_up.began" if is_far else "catch_up.ended", behind=behind)
        self.is_far = is_far
