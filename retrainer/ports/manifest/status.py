"""What people are shown of the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from retrainer.domain.events import Partition
from retrainer.domain.join.rules import Status
from retrainer.ports.manifest.progress import StoredPosition


@dataclass(frozen=True, kw_only=True)
class IngestView:
    """What has been consumed, for people; `moved` are each model's outcomes that came for a closed slot."""

    counts: Mapping[str, Mapping[Status, int]]
    positions: Mapping[Partition, StoredPosition]
    ends: Mapping[Partition, int]
    quarantined: int
    moved: Mapping[str, int] = field(default_factory=dict)


class StatusState(Protocol):
    """What `status` and `explain` read."""

    def ingest_view(self) -> IngestView: ...
