"""How far consuming has come."""

from __future__ import annotations

from dataclasses import dataclass

from retrainer.domain.join.ingest import Progress


@dataclass(frozen=True, kw_only=True)
class StoredPosition:
    """How far a partition has been consumed, and which topic that was (a recreated one has another id)."""

    position: int
    topic_id: str


@dataclass(frozen=True, kw_only=True)
class StoredProgress:
    """A model's progress, and the fingerprint of the mapping that it was computed with.

    Attributes:
        catching_up: the worker was far behind the end of the topics when it stored this.
        rebuilt_to: the number of the last part from which the model was computed anew, when its mapping changed.
        moved: outcomes that came for a closed slot and were counted in a later one.
    """

    progress: Progress
    fingerprint: str
    catching_up: bool = False
    rebuilt_to: int = 0
    moved: int = 0
