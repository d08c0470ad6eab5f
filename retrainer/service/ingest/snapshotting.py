"""Snapshots of what a worker remembers, every few minutes and at a stop: they make the next start short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from retrainer.domain.events import Partition
from retrainer.domain.join.ingest import ModelIngest
from retrainer.errors import Unreachable
from retrainer.ports.manifest.snapshots import NewSnapshot
from retrainer.service.ingest.parts import WorkerParts, WorkerPolicy
from retrainer.service.ingest.start import Recovered

_MANY_RECORDS = 2_000_000
_SELDOM_ENOUGH_SECONDS = 20.0
_MUCH_TO_REPLAY = 100_000
"""A start that had to read so many records again is followed by a snapshot: the next one need not."""


class Snapshotting:
    """Saves the models of one assignment, now and then."""

    def __init__(self, policy: WorkerPolicy, parts: WorkerParts, recovered: Recovered) -> None:
        self._every = policy.snapshot_every.total_seconds()
        self._parts = parts
        self._lease = recovered.lease
        self._fingerprints = recovered.fingerprints
        self._is_overdue = recovered.replayed >= _MUCH_TO_REPLAY
        self._saved_at = parts.clock.monotonic()
        self._saved = 0
        self._records = 0

    def is_due(self, every: float | None = None) -> bool:
        """Whether the last one is older than usual, or than so many seconds, or so much has been read since."""
        age = self._parts.clock.monotonic() - self._saved_at
        much = self._records >= _MANY_RECORDS and age >= _SELDOM_ENOUGH_SECONDS
        return self._is_overdue or much or age >= (self._every if every is None else every)

    def count(self, records: int) -> None:
        """So many more were committed: a start without another snapshot would read them again."""
        self._records += records

    def save(self, models: Sequence[ModelIngest], positions: Mapping[Partition, int]) -> None:
        """Save models of which everything is committed, up to these positions.

        Where that cannot be written it is said, and tried again when the next one is due.

        Raises:
            Fenced: another owns the shard now.
        """
        self._saved_at, self._records, self._is_overdue = self._parts.clock.monotonic(), 0, False
        try:
            self._save(models, positions)
        except Unreachable as error:
            self._parts.logger.warning("snapshot.failed", error=str(error))

    def _save(self, models: Sequence[ModelIngest], positions: Mapping[Partition, int]) -> None:
        self._sweep()  # what could not be registered must not pile up; and none is written where none can be
        self._saved += 1
        name = f"{self._lease.epoch:06d}-{self._saved:08d}.snapshot"  # nobody else has this epoch
        size = self._parts.snapshots.write(name, {model.policy.model: model.remember() for model in models})
        saved = NewSnapshot(name=name, positions=positions, fingerprints=self._fingerprints, size=size)
        self._parts.state.register_snapshot(self._lease, saved, self._parts.clock.now())
        self._sweep()
        self._parts.logger.info(
            "snapshot.taken",
            name=name,
            bytes=size,
            remembered={model.policy.model: len(model.table) for model in models},
            seconds=round(self._parts.clock.monotonic() - self._saved_at, 3),
        )

    def _sweep(self) -> None:
        self._parts.snapshots.sweep(self._parts.state.snapshot_files(), epoch=self._lease.epoch)
