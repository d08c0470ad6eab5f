"""When a topic brings nothing but records that cannot be used, reading on would only fill the quarantine."""

from __future__ import annotations

from collections.abc import Set as AbstractSet


class PoisonLimit:
    """Counts, by topic, how many records in a row no model could use. Remembers nothing across a start.

    A record that a model could use, or that its `where` left out, ends the row.
    """

    def __init__(self, limit: int = 1000) -> None:
        """A topic is halted at `limit` such records in a row (at least 1), over all its partitions."""
        self._limit = limit
        self._rows: dict[str, int] = {}
        self._halted: set[str] = set()

    @property
    def halted(self) -> AbstractSet[str]:
        """The topics that are not to be read on."""
        return self._halted

    def count(self, topic: str, *, good: int, bad: int) -> int | None:
        """What a batch of a topic held; the length of the row, once, when the topic has to be halted now.

        A batch with any good record ends the row, wherever in it the record stood.
        """
        row = 0 if good else self._rows.get(topic, 0) + bad
        self._rows[topic] = row
        if row < self._limit or topic in self._halted:
            return None
        self._halted.add(topic)
        return row
