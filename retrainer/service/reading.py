"""Records read back from segments, commit by commit, whatever is merged meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from retrainer.domain.batches import RecordBatch, cut
from retrainer.domain.values import Micros
from retrainer.errors import Refused
from retrainer.ports.manifest.segments import StoredPart, StoredSegment
from retrainer.ports.segments import Segments


class SegmentRows(Protocol):
    """The part of a store that lists segments."""

    def segments(self, *, after: int = 0, reaching: Micros | None = None) -> Iterator[StoredSegment]: ...


def read_parts(
    state: SegmentRows, segments: Segments, *, after: int = 0, reaching: Micros | None = None
) -> Iterator[tuple[StoredPart, Sequence[RecordBatch]]]:
    """The parts after a number, oldest first, each with its records; with `reaching` only those with an event as new.

    Raises:
        Refused: a file is gone or cannot be read.
    """
    lost: str | None = None
    while True:
        try:
            for segment in state.segments(after=after, reaching=reaching):
                batches = segments.unpack(_content_of(segment, segments, lost))
                for part, share in _shares(segment, batches):
                    if part.number > after and _reaches(part, reaching):
                        yield part, share
                after, lost = segment.number, None
        except _Gone as gone:
            lost = gone.name  # a merge may have taken it: where it has, the manifest names another
        else:
            return


def _content_of(segment: StoredSegment, segments: Segments, lost: str | None = None) -> bytes:
    """A segment's bytes; one whose file was `lost` before is not looked for twice in vain."""
    if segment.content is not None:
        return segment.content
    try:
        return segments.read(segment.name)
    except Refused as refused:
        if segment.name == lost:
            raise
        raise _Gone(segment.name, str(refused)) from refused


def _shares(
    segment: StoredSegment, batches: Sequence[RecordBatch]
) -> Iterator[tuple[StoredPart, Sequence[RecordBatch]]]:
    held = sum(len(batch.offsets) for batch in batches)
    if sum(part.records for part in segment.parts) != held:
        raise Refused(f"segment {segment.name} cannot be read: it holds {held} records, the manifest says else")
    yield from zip(segment.parts, cut(batches, [part.records for part in segment.parts]), strict=True)


def _reaches(part: StoredPart, reaching: Micros | None) -> bool:
    return reaching is None or (part.newest is not None and part.newest >= reaching)


class _Gone(Refused):
    """A segment's file is not there any more."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        super().__init__(message)
