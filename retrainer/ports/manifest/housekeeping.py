"""What housekeeping needs of the manifest."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from retrainer.domain.values import Micros
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.progress import StoredProgress
from retrainer.ports.manifest.segments import StoredSegment


@dataclass(frozen=True, kw_only=True)
class SegmentOutline:
    """A registered segment without its content.

    Attributes:
        first: the number of its first part.
        size: in bytes; None if that is not known.
        newest: the newest time of an event in it; None where it holds none.
    """

    number: int
    first: int
    name: str
    size: int | None
    records: int
    newest: Micros | None


@dataclass(frozen=True, kw_only=True)
class MergedSegment:
    """One file, of `size` bytes, in the place of consecutive segments, whose numbers are `replaces`, with all parts."""

    name: str
    size: int
    replaces: Sequence[int]


class HousekeepingState(Protocol):
    """What housekeeping needs. Any call may raise `Unreachable`."""

    def model_progress(self) -> Mapping[str, StoredProgress]: ...

    def segments(self, *, after: int = 0, reaching: Micros | None = None) -> Iterator[StoredSegment]: ...

    def segment_files(self) -> Collection[str]: ...

    def outlines(self, *, after: int, limit: int) -> Sequence[SegmentOutline]:
        """The first segments with a number greater than `after`, in order."""
        ...

    def last_part(self) -> int:
        """The number of the newest part; 0: there is none."""
        ...

    def oldest_snapshot(self) -> int | None:
        """The part from which the oldest snapshot goes on; None: there is no snapshot."""
        ...

    def merge_segments(self, lease: Lease, merged: MergedSegment) -> Sequence[str]:
        """Put one segment in the place of several; the names of the files that are not needed any more.

        Raises:
            Fenced: another controller is active now.
            Refused: one of the segments is not there any more, or another lies between them.
        """
        ...

    def remove_segments(self, lease: Lease, numbers: Sequence[int], models: Collection[str]) -> Sequence[str] | None:
        """Forget segments; the names of their files. None, and nothing is forgotten, while a model's job is unfinished.

        Raises:
            Fenced: another controller is active now.
        """
        ...

    def shrink(self) -> bool:
        """Give room that is not needed any more back to the disk, as much as takes no long time; is there more?"""
        ...
