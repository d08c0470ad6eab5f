"""A reader of the join index: feeds it, stores what it drains, and checks at every commit what must always hold."""

from __future__ import annotations

from collections import Counter
from typing import Final

from retrainer.domain.events import Label, Prediction, Side
from retrainer.domain.join.ingest import imbalance
from retrainer.domain.join.rules import JoinPolicy, Status
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.values import Slot
from tests.domain.join.reference import ReferenceIndex
from tests.domain.making import MINUTE
from tests.domain.oracle import nonzero

Event = Prediction | Label
HOUR: Final = JoinPolicy(max_delay=60 * MINUTE, lateness=MINUTE)
THE_END: Final[Slot] = 10**6


class Reader:
    """Feeds an index and keeps the running totals, as the worker and the manifest do together."""

    def __init__(self, policy: JoinPolicy) -> None:
        self.index = ReferenceIndex(policy)
        self.counts: Counter[Status] = Counter()
        self.tallies: Counter[TallyKey] = Counter()
        self._stored_until: Slot | None = None

    def take(self, event: Event) -> None:
        if isinstance(event, Prediction):
            self.counts[Side.PREDICTIONS, "consumed"] += 1
            self.index.add_prediction(event)
        else:
            self.counts[Side.LABELS, "consumed"] += 1
            self.index.add_label(event)

    def drain(self) -> None:
        """Store what has changed; a slot that was closed when last stored must not be among it."""
        change = self.index.drain()
        assert all(self._stored_until is None or cell.slot >= self._stored_until for cell in change.cells)
        assert all(change.cells.values())
        self._stored_until = self.index.first_open
        self.counts.update(change.statuses)
        self.tallies.update(change.cells)
        assert imbalance(self.counts) == {}
        assert all(n >= 0 for n in self.counts.values())

    def close(self, first_open: Slot) -> None:
        self.index.close_before(first_open)
        self.drain()

    @property
    def found(self) -> tuple[Counter[Status], Counter[TallyKey]]:
        self.drain()
        return nonzero(self.counts), nonzero(self.tallies)


def read(policy: JoinPolicy, *events: Event) -> tuple[Counter[Status], Counter[TallyKey]]:
    """What the events come to while every slot is open."""
    reader = Reader(policy)
    for event in events:
        reader.take(event)
    return reader.found


def cell(slot: Slot, truth: str, answer: str = "x", version: str = "1", part: str = WHOLE) -> TallyKey:
    return TallyKey(version, part, slot, truth, answer)
