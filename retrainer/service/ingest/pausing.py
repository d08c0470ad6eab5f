"""Which partitions are not read for now: those far ahead, those of halted topics, most if memory is short."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from retrainer.domain.events import Partition
from retrainer.domain.join.alignment import ahead
from retrainer.domain.join.ingest import ModelIngest
from retrainer.domain.values import SECOND, Micros
from retrainer.errors import Refused
from retrainer.logs import Logger
from retrainer.ports.clock import Clock
from retrainer.ports.process import ResidentMemory

_NARROWEST: Final[Micros] = 600 * SECOND
_SHARE_OF_HORIZON: Final = 4
_PATIENCE_SECONDS: Final = 60.0
_MIB: Final = 2**20


class Pausing:
    """Looks at how far a worker's models are, after each poll, and at its memory, after each commit."""

    def __init__(self, limit: int, memory: ResidentMemory, clock: Clock, logger: Logger) -> None:
        """`limit` is how much memory the worker may have, in bytes."""
        self._limit = limit
        self._memory = memory
        self._clock = clock
        self._logger = logger
        self._short_since: float | None = None
        self._waiting: frozenset[Partition] = frozenset()

    def paused(
        self,
        models: Sequence[ModelIngest],
        not_awaited: Collection[Partition],
        halted: Collection[str],
        partitions: Collection[Partition],
    ) -> frozenset[Partition]:
        """The partitions that are not to be read on.

        Args:
            not_awaited: those that no other has to wait for; halted: topics.
        """
        newest = _newest(models)
        paused = {partition for partition in partitions if partition.topic in halted}
        for model in models:
            topics = set(model.policy.topics).difference(halted)  # nobody waits for what is not read on
            own = {at: newest.get(at) for at in partitions if at.topic in topics}
            width = (
                0 if self._short_since is not None else max(_NARROWEST, model.policy.join.horizon // _SHARE_OF_HORIZON)
            )
            paused |= ahead(own, not_awaited, width, self._waiting)
        self._waiting = frozenset(paused)
        return self._waiting

    def look_at_memory(self, models: Sequence[ModelIngest]) -> None:
        """Whether the models take more memory than there is for them; then only the slowest partitions are read.

        Raises:
            Refused: that has not helped for a minute.
        """
        resident = self._memory.resident()
        used = resident - sum(model.table.rows.free_bytes for model in models)
        now = self._clock.monotonic()
        if used <= self._limit:
            if self._short_since is not None:
                self._logger.info("memory.recovered", used_mib=used // _MIB, limit_mib=self._limit // _MIB)
            self._short_since = None
            return
        remembered = {model.policy.model: len(model.table) for model in models}
        if self._short_since is None:
            self._short_since = now
            self._logger.error(
                "memory.short", used_mib=used // _MIB, limit_mib=self._limit // _MIB, remembered=remembered
            )
        elif now - self._short_since > _PATIENCE_SECONDS:
            raise Refused(_too_little(models, used, self._limit))


def _newest(models: Sequence[ModelIngest]) -> Mapping[Partition, Micros]:
    newest: dict[Partition, Micros] = {}
    for model in models:
        for partition, time in model.clock.seen.items():
            newest[partition] = max(time, newest.get(partition, time))
    return newest


def _too_little(models: Sequence[ModelIngest], used: int, limit: int) -> str:
    """What is remembered grows until the first ids reach the end of their horizon: that says how far it would go."""
    needed = used
    for model in models:
        held, span = model.table.rows.predicted_bytes, model.table.span
        if span:
            needed += int(held * max(0.0, model.policy.join.horizon / span - 1))
    return (
        f"state.memory of {limit // _MIB} MiB is too little: {used // _MIB} MiB are in use and about "
        f"{-(-needed // _MIB)} MiB would be needed to remember every id for max_delay + lateness. "
        "Raise state.memory, or lower labels.max_delay."
    )
