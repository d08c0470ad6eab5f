"""Twins that can do more harm than those of other tests: they tear, delay and refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from retrainer.adapters.memory.segments import MemorySnapshots
from retrainer.domain.events import Partition
from retrainer.domain.join.ingest import Remembered
from retrainer.errors import Refused, RetrainerError
from tests.service.world import Log


class Snapshots(MemorySnapshots):
    """Snapshots that may be damaged."""

    def __init__(self) -> None:
        super().__init__()
        self.damaged: set[str] = set()

    def read(self, name: str) -> Mapping[str, Remembered]:
        if name in self.damaged:
            raise Refused(f"snapshot {name} cannot be read")
        return super().read(name)


class Reader(Log):
    """A process's own view of the topics, with one boundary more: `assign`."""

    def assign(self, positions: Mapping[Partition, int]) -> None:
        self.fail_at("assign")
        super().assign(positions)


class Later:
    """`Background` that does its work only after it was asked a few times whether it is done, or at the finish.

    So work lies between its beginning and its end while the worker reads on, is killed, or is succeeded.
    """

    def __init__(self, patience: int) -> None:
        self.is_begun = False
        self._patience = patience
        self._asked = 0
        self._work: Callable[[], None] | None = None
        self._error: RetrainerError | None = None

    @property
    def is_done(self) -> bool:
        if self._work is not None:
            self._asked += 1
            if self._asked > self._patience:
                self.work()
        return self.is_begun and self._work is None

    def start(self, work: Callable[[], None], /) -> None:
        assert not self.is_begun, "one piece of work at a time"
        self.is_begun, self._work, self._asked, self._error = True, work, 0, None

    def finish(self) -> None:
        assert self.is_begun, "nothing was begun"
        self.work()
        self.is_begun = False
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.work()
        self.is_begun = False

    def work(self) -> None:
        """Do what was begun, if it was not done yet."""
        work, self._work = self._work, None
        if work is not None:
            try:
                work()
            except RetrainerError as error:
                self._error = error
