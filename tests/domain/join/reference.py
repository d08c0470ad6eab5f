"""The join in slow motion: a dictionary of entries, and `join.standing` before and after each event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from retrainer.domain.events import Label, Prediction
from retrainer.domain.join.counting import WhatIsCounted
from retrainer.domain.join.rules import (
    LATE_LABEL,
    LATE_PREDICTION,
    ORPHANED,
    PENDING,
    UNLABELLED,
    WAITING,
    Entry,
    JoinPolicy,
    Standing,
    Status,
    standing,
    with_label,
    with_prediction,
)
from retrainer.domain.tally.tallies import ARRIVALS, WHOLE, TallyKey
from retrainer.domain.values import Micros, Slot, slot_of

OUTCOMES_ALONE: Final = WhatIsCounted()


class ReferenceIndex:
    """What `JoinTable` is, one id at a time: the ids that can still change, and the effects not drained yet."""

    def __init__(
        self, policy: JoinPolicy, first_open: Slot | None = None, counting: WhatIsCounted = OUTCOMES_ALONE
    ) -> None:
        self.policy = policy
        self.counting = counting
        self.first_open = first_open
        self.moved_to_open = 0
        self._entries: dict[str, Entry] = {}
        self._statuses: Counter[Status] = Counter()
        self._cells: Counter[TallyKey] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def add_prediction(self, prediction: Prediction) -> None:
        """Take in a prediction; beyond the horizon it is counted as late and never applied."""
        if self._is_past(prediction.time + self.policy.horizon):
            self._statuses[LATE_PREDICTION] += 1
            return
        before = self._entries.get(prediction.id, Entry())
        self._replace(prediction.id, before, with_prediction(before, prediction))

    def add_label(self, label: Label) -> None:
        """Take in a label; one that no prediction can meet any more is counted as late and never applied."""
        before = self._entries.get(label.id, Entry())
        if before.prediction is None and self._is_past(self._waits_until(label)):
            self._statuses[LATE_LABEL] += 1
            return
        self._replace(label.id, before, with_label(before, label))

    def close_before(self, first_open: Slot) -> None:
        """Close every slot before this one, and forget the ids that nothing can change any more."""
        if self.first_open is not None and first_open <= self.first_open:
            return
        if self.policy.absent is not None:
            # What absence means is known in slots that are closing, so they are still open to it.
            for entry in self._entries.values():
                self._count(self._standing(entry, self.first_open), self._standing(entry, first_open))
        self.first_open = first_open
        for key, entry in list(self._entries.items()):
            self._forget(key, entry)

    def drain(self) -> Standing:
        """What has changed since the last call."""
        cells: Counter[TallyKey] = Counter()
        for key, n in self._cells.items():
            for (truth, answer), times in self._expanded(key):
                cells[key._replace(truth=truth, answer=answer)] += n * times
        drained = Standing(self._statuses, Counter({key: n for key, n in cells.items() if n}))
        self._statuses, self._cells = Counter(), Counter()
        return drained

    def _expanded(self, key: TallyKey) -> Iterable[tuple[tuple[str, str], int]]:
        if self.counting.expand is None or key.slice == ARRIVALS:
            return [((key.truth, key.answer), 1)]
        return self.counting.expand(key.truth, key.answer)

    def _replace(self, key: str, before: Entry, after: Entry) -> None:
        self._entries[key] = after
        self._count(self._standing(before, self.first_open), self._standing(after, self.first_open))

    def _standing(self, entry: Entry, first_open: Slot | None) -> Standing:
        return standing(self.policy, entry, first_open, self.counting.arriving)

    def _count(self, before: Standing, after: Standing) -> None:
        after.statuses.subtract(before.statuses)
        after.cells.subtract(before.cells)
        for status, n in after.statuses.items():
            self._statuses[status] += n
        for cell, n in after.cells.items():
            if n:
                self._cells[self._into_open(cell, n)] += n

    def _into_open(self, cell: TallyKey, n: int) -> TallyKey:
        """What arrives for a closed slot enters the oldest open one: closed slots never change."""
        if self.first_open is None or cell.slot >= self.first_open:
            return cell
        if cell.slice == WHOLE:
            self.moved_to_open += max(0, n)
        return cell._replace(slot=self.first_open)

    def _forget(self, key: str, entry: Entry) -> None:
        if entry.prediction is None:
            self._orphan(key, entry)
        elif self._is_past(entry.prediction.time + self.policy.horizon):
            del self._entries[key]
            if standing(self.policy, entry, self.first_open).statuses[PENDING]:
                self._statuses[PENDING] -= 1
                self._statuses[UNLABELLED] += 1

    def _orphan(self, key: str, entry: Entry) -> None:
        """Each label waits for itself alone: how long must not depend on others that a restart need not read again."""
        kept = tuple(label for label in entry.labels if not self._is_past(self._waits_until(label)))
        self._statuses[WAITING] -= len(entry.labels) - len(kept)
        self._statuses[ORPHANED] += len(entry.labels) - len(kept)
        if kept:
            self._entries[key] = Entry(labels=kept)
        else:
            del self._entries[key]

    def _waits_until(self, label: Label) -> Micros:
        # A prediction may be one horizon later than its label and may itself arrive one horizon late.
        return label.time + 2 * self.policy.horizon

    def _is_past(self, expiry: Micros) -> bool:
        return self.first_open is not None and slot_of(expiry) < self.first_open
