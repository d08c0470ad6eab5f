"""What a worker remembered, rebuilt: from the newest snapshot and the segments after it.

Without a snapshot every segment is read that there is. To begin in the middle would not do: what was remembered when a
label came, and so whether it was late, depends on predictions of any age.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Partition
from retrainer.domain.join.fingerprints import fingerprint
from retrainer.domain.join.ingest import IngestPolicy, ModelIngest, Progress, Remembered
from retrainer.errors import Refused
from retrainer.ports.manifest.progress import StoredProgress
from retrainer.ports.manifest.segments import StoredPart
from retrainer.ports.manifest.snapshots import StoredSnapshot
from retrainer.service.ingest.parts import WorkerParts, WorkerPolicy
from retrainer.service.intake import Intake
from retrainer.service.reading import read_parts


class Replay:
    """Rebuilds every model's memory; the tallies too of one that is new or whose mapping has changed.

    Attributes:
        fingerprints: each model's mapping, as it is now.
        rebuilt: those of the models that are computed anew from every segment there is.
        snapshot: the name of the snapshot that was used; None if there was none that could be.
        catching_up: whether any model's progress was stored while reading was far behind.
        models: what was rebuilt, complete after `run`.
        last: the number of the last part that was read.
        records: how many were read.
    """

    def __init__(self, policy: WorkerPolicy, parts: WorkerParts, partitions: Collection[Partition]) -> None:
        self._parts = parts
        self._stored = parts.state.model_progress()
        self.fingerprints = {model.model: fingerprint(model) for model in policy.models}
        self.rebuilt = {
            name: found for name, found in self.fingerprints.items() if found != _fingerprint(self._stored.get(name))
        }
        self.snapshot: str | None = None
        self.catching_up = any(stored.catching_up for name, stored in self._stored.items() if name in self.fingerprints)
        self.last = self._from = self.records = 0
        remembered = self._remembered(policy)
        self.models = tuple(_begun(model, partitions, remembered.get(model.model)) for model in policy.models)
        self._late = [model for model in self.models if model.policy.model not in remembered]
        self._intake = Intake(parts.decoders, self.models)
        self._intake_of_late = Intake(parts.decoders, self._late)

    def run(self) -> int:
        """Replay; how many commits that took."""
        replayed = 0
        after = 0 if self._late else self._from
        for part, batches in read_parts(self._parts.state, self._parts.segments, after=after):
            self._apply(part, batches)
            self.last = part.number
            self.records += part.records
            replayed += 1
        for model in self.models:
            self._resume(model)
        return replayed

    def _remembered(self, policy: WorkerPolicy) -> Mapping[str, Remembered]:
        """What the newest snapshot that can be read holds of models whose mapping is still the same."""
        for snapshot in self._parts.state.snapshots(policy.shard):
            usable = {
                name
                for name, found in self.fingerprints.items()
                if name not in self.rebuilt
                and snapshot.fingerprints.get(name) == found
                and snapshot.segment > self._stored[name].rebuilt_to  # else it may be older than that
            }
            if usable and (models := self._read(snapshot)) is not None:
                self.snapshot, self._from = snapshot.name, snapshot.segment
                return {name: models[name] for name in usable}
        return {}

    def _read(self, snapshot: StoredSnapshot) -> Mapping[str, Remembered] | None:
        try:
            return self._parts.snapshots.read(snapshot.name)
        except Refused as refused:
            self._parts.logger.warning("snapshot.unreadable", name=snapshot.name, error=str(refused))
            return None

    def _apply(self, part: StoredPart, batches: Sequence[RecordBatch]) -> None:
        is_remembered = part.number <= self._from
        for model in self._late if is_remembered else self.models:
            if part.number > self._rebuilt_to(model):
                model.advance_to(part.watermarks.get(model.policy.model))
        for batch in batches:
            (self._intake_of_late if is_remembered else self._intake).ingest(batch)

    def _rebuilt_to(self, model: ModelIngest) -> float:
        """A rebuilt model is computed from all that there is at once: what was late for it before is not late now."""
        name = model.policy.model
        return math.inf if name in self.rebuilt else self._stored[name].rebuilt_to

    def _resume(self, model: ModelIngest) -> None:
        """A known model goes on from its stored progress; what its replay changed is stored already."""
        stored = self._stored.get(model.policy.model)
        if stored is not None:
            model.advance_to(stored.progress.watermark)
        if model.policy.model not in self.rebuilt:
            model.take_delta()


def _begun(policy: IngestPolicy, partitions: Collection[Partition], remembered: Remembered | None) -> ModelIngest:
    own = [at for at in partitions if at.topic in policy.topics]
    return ModelIngest(policy, own, Progress(), remembered)


def _fingerprint(stored: StoredProgress | None) -> str | None:
    return stored.fingerprint if stored else None
