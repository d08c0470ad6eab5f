"""From the bytes of records to documents and columns, topic by topic."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from retrainer.domain.batches import Columns


class Decoder(Protocol):
    """From the bytes of records to documents, or to columns of what stands at certain paths in them."""

    def decode(self, value: bytes, /) -> object:
        """The document.

        Raises:
            Unusable: the bytes are no document; the message says why.
        """
        ...

    def columns(self, paths: Sequence[str], /) -> Callable[[Sequence[bytes | None]], tuple[Columns, Collection[int]]]:
        """A reader of many values at once: path to column, and which values the columns say nothing of.

        A column holds what `decode` would have found at its path, and None where it would have found nothing. The empty
        path is the whole document. Values that `decode` refuses are among those that the columns say nothing of.
        """
        ...


class Decoders(Protocol):
    """Says how the records of each topic are encoded."""

    def of(self, topic: str, /) -> Decoder:
        """The decoder of a topic's records; the same one each time."""
        ...
