"""The ingest worker: poll, decode, join, tally, flush. Knows nothing of training or MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Partition
from retrainer.errors import Fenced, PositionLost, Refused, RetrainerError
from retrainer.ports.clock import Stopped
from retrainer.service.dependency import Dependency
from retrainer.service.ingest.parts import WorkerParts, WorkerPolicy
from retrainer.service.ingest.shard import Shard
from retrainer.service.ingest.space import DiskSpace
from retrainer.service.ingest.start import Recovered, find, recover

_POLL_SECONDS = 0.25
_FRESH_SECONDS = 10.0
"""A snapshot younger than this is good enough for a stop."""


class Worker:
    """`run` is a loop over `run_once`. What matters is in the manifest; the rest can be lost at any moment."""

    def __init__(self, policy: WorkerPolicy, parts: WorkerParts, owner: str) -> None:
        self.policy = policy
        self.parts = parts
        self.owner = owner
        self._broker = Dependency("broker", parts.logger, parts.clock, parts.telemetry)
        self._store = Dependency("database", parts.logger, parts.clock, parts.telemetry)
        self._space = DiskSpace(parts.disk, policy.flush_bytes, parts.clock, parts.logger)
        self._shard: Shard | None = None

    @property
    def assigned(self) -> bool:
        """Whether the worker owns its partitions and is consuming."""
        return self._shard is not None

    def run(self, stop: Stopped) -> None:
        """Work until told to stop; then flush what is in memory, if the manifest takes it."""
        while not stop.is_set():
            if not self.run_once():
                stop.wait(_POLL_SECONDS)
        self.stop()

    def run_once(self) -> bool:
        """One round; False if there was nothing to do but wait."""
        if not (self._broker.due and self._store.due):
            return False
        try:
            return self._work() if self._shard else self._assign()
        except Fenced as error:
            self._drop(error)
            return True
        except PositionLost as error:
            self._refuse(error)

    def stop(self) -> None:
        """Leave in order. What cannot be flushed is dropped: the log still has it."""
        try:
            if self._shard is not None:
                self._flush(self._shard, whole=True)
                self._shard.snapshot(older_than=_FRESH_SECONDS)
        except Fenced as error:
            self._drop(error)
        finally:
            self.parts.background.close()
            self.parts.event_log.close()

    def _work(self) -> bool:
        assert self._shard is not None
        reading = self._store.lost_at is None and self._space.allowed()  # else the log keeps what memory should not
        if reading:
            batches: Sequence[RecordBatch] = ()
            with self._broker:
                batches = self.parts.event_log.poll(_POLL_SECONDS)
                self._shard.watch_partitions()
            self._shard.read(batches)  # what was polled never comes again: an error in here is no outage to wait for
        if self._shard.is_due():
            self._flush(self._shard)
        elif self._shard.is_stored():
            with self._store:
                self._shard.finish_commit()
            self._look_at_space()
        return reading and self._broker.lost_at is None and self._store.lost_at is None

    def _flush(self, shard: Shard, *, whole: bool = False) -> None:
        ends: Mapping[Partition, int] = {}
        with self._broker:
            ends = self.parts.event_log.ends()
        with self._store:
            shard.flush(ends, whole=whole)
        self._look_at_space()

    def _look_at_space(self) -> None:
        """After a commit: the disk may be what it failed for."""
        if self._store.lost_at is not None:
            self._space.failed()

    def _assign(self) -> bool:
        with self._store:
            lease = self.parts.state.claim(self.policy.shard, self.owner, self.parts.clock.now())
            stored, found = self.parts.state.positions(), None
            with self._broker:
                found = find(self.policy, self.parts.event_log, stored)
            if found is not None:
                self._begin(recover(self.policy, self.parts, lease, found))
        return self._shard is not None

    def _begin(self, recovered: Recovered) -> None:
        with self._broker:
            self.parts.event_log.assign(recovered.positions)
            self._shard = Shard(self.policy, self.parts, recovered)

    def _refuse(self, error: PositionLost) -> NoReturn:
        """What was read before the gap is committed first: perhaps nobody can read it again."""
        self.parts.logger.error("offsets.gap", positions=error.positions)
        with suppress(Fenced):
            if self._shard is not None:
                self._flush(self._shard, whole=True)
        raise Refused(f"records were removed before they were read: {error}") from error

    def _drop(self, error: Fenced) -> None:
        self.parts.logger.warning("shard.revoked", reason=str(error))
        if self.parts.background.is_begun:
            with suppress(RetrainerError):
                self.parts.background.finish()
        self._shard = None
