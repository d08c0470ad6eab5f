"""What was read since the last cut, in memory alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import RecordQuarantined


@dataclass
class Unflushed:
    """Records, and those among them that no model can use. `size` in bytes."""

    batches: list[RecordBatch] = field(default_factory=list)
    quarantined: list[RecordQuarantined] = field(default_factory=list)
    records: int = 0
    size: int = 0

    def add(self, batch: RecordBatch, reasons: Mapping[int, str]) -> list[RecordQuarantined]:
        """Another batch, and row to reason of what cannot be used; that as it will be kept."""
        quarantined = [RecordQuarantined(record=batch.record(row), reason=reason) for row, reason in reasons.items()]
        self.batches.append(batch)
        self.quarantined += quarantined
        self.records += len(batch.offsets)
        self.size += batch.size
        return quarantined
