"""Registered snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from retrainer.domain.events import Partition
from retrainer.domain.values import Micros

SNAPSHOTS_KEPT: Final = 2
"""Of a shard: the newest, and the one before it in case that the newest cannot be read."""


@dataclass(frozen=True, kw_only=True)
class NewSnapshot:
    """A snapshot about to be registered; its bytes are in a file of that `name`."""

    name: str
    positions: Mapping[Partition, int]
    fingerprints: Mapping[str, str]
    """Each model in it with the fingerprint of its mapping."""
    size: int
    """In bytes."""


@dataclass(frozen=True, kw_only=True)
class StoredSnapshot:
    """A registered snapshot. `segment` is the number of the newest part that it includes; 0: none."""

    number: int
    shard: str
    name: str
    segment: int
    positions: Mapping[Partition, int]
    fingerprints: Mapping[str, str]
    size: int
    taken_at: Micros
