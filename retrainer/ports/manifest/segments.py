"""Registered segments and their parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from retrainer.domain.events import Partition
from retrainer.domain.values import Micros


@dataclass(frozen=True, kw_only=True)
class NewSegment:
    """A segment about to be registered; its bytes are `inline`, or in a file of that `name`."""

    name: str
    inline: bytes | None
    ranges: Mapping[Partition, tuple[int, int]]
    """Offsets that it covers: first, and one past the last."""
    records: int
    newest: Micros | None
    """The newest event time in it."""
    watermarks: Mapping[str, Micros]
    """Each model's watermark while it was read: what was late then is late in a replay too."""
    size: int | None = None
    """Bytes of its file; None if that is not known, which keeps it from being merged. Inline bytes are counted."""


@dataclass(frozen=True, kw_only=True)
class StoredPart:
    """What one commit put into a segment. Numbers follow the order of the commits and are never given again.

    `newest` is the newest time of an event in it, `watermarks` each model's while it was read.
    """

    number: int
    records: int
    newest: Micros | None
    watermarks: Mapping[str, Micros]


@dataclass(frozen=True, kw_only=True)
class StoredSegment:
    """A registered segment: the records of its parts, one after the other.

    Attributes:
        number: that of its last part.
        content: None where its bytes are in the file of that `name`.
        skip: so many records at its beginning belong to parts that the reader has had already.
    """

    number: int
    name: str
    content: bytes | None
    parts: tuple[StoredPart, ...]
    skip: int = 0
