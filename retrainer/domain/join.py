"""Predictions meet their labels.

Within the horizon the result is a pure function of the *sets* of events, never of the order in which they came:
`standing` computes from everything known about one id how its events count and what it adds to the tallies, and the
index emits the difference between the standing before and after each event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Literal, NamedTuple

from retrainer.domain.events import Label, Prediction, Side
from retrainer.domain.tallies import WHOLE, TallyKey
from retrainer.domain.values import Micros, Slot, slot_of


@dataclass(frozen=True, kw_only=True)
class JoinPolicy:
    """How far apart in event time a prediction and its label may be, and which of several labels counts."""

    max_delay: Micros
    lateness: Micros
    corrections: Literal["last", "first"] = "last"

    @property
    def horizon(self) -> Micros:
        """How long after a prediction its id is remembered, in event time."""
        return self.max_delay + self.lateness

    def admits(self, prediction: Prediction, label: Label) -> bool:
        """Whether the label's time lets it join: at most `max_delay` after, at most the horizon before."""
        return -self.horizon <= label.time - prediction.time <= self.max_delay


Status = tuple[Side, str]
"""A side and what became of an event of it; the names are those of `status --json`."""

_PENDING: Status = (Side.PREDICTIONS, "pending")
_JOINED: Status = (Side.PREDICTIONS, "joined")
_DUPLICATE: Status = (Side.PREDICTIONS, "duplicate")
_LATE_PREDICTION: Status = (Side.PREDICTIONS, "late")
_UNLABELLED: Status = (Side.PREDICTIONS, "unlabelled")
_WAITING: Status = (Side.LABELS, "waiting")
_APPLIED: Status = (Side.LABELS, "applied")
_SUPERSEDED: Status = (Side.LABELS, "superseded")
_LATE_LABEL: Status = (Side.LABELS, "late")
_ORPHANED: Status = (Side.LABELS, "orphaned")


class Entry(NamedTuple):
    """Everything remembered about one id. `labels` are in order of time, then origin."""

    prediction: Prediction | None = None
    duplicates: int = 0
    labels: tuple[Label, ...] = ()


class Standing(NamedTuple):
    """How an id's events count, and what it adds to the tallies."""

    statuses: Counter[Status]
    cells: Counter[TallyKey]


def standing(policy: JoinPolicy, entry: Entry) -> Standing:
    """The pure function at the heart of the join: from the set of an id's events to their effect."""
    statuses: Counter[Status] = Counter()
    if entry.prediction is None:
        statuses[_WAITING] = len(entry.labels)
        return Standing(statuses, Counter())
    admitted = [label for label in entry.labels if policy.admits(entry.prediction, label)]
    statuses[_DUPLICATE] = entry.duplicates
    statuses[_JOINED if admitted else _PENDING] = 1
    if admitted:
        statuses[_APPLIED] = 1
        statuses[_SUPERSEDED] = len(admitted) - 1
    for label in entry.labels:
        if not policy.admits(entry.prediction, label):
            statuses[_LATE_LABEL if label.time > entry.prediction.time else _ORPHANED] += 1
    return Standing(statuses, _cells(policy, entry.prediction, admitted))


def _cells(policy: JoinPolicy, prediction: Prediction, admitted: Sequence[Label]) -> Counter[TallyKey]:
    """The first label adds its outcome when it is known; each later one, at its own time, replaces it."""
    cells: Counter[TallyKey] = Counter()
    counted: Label | None = None
    for label in admitted[:1] if policy.corrections == "first" else admitted:
        if counted is not None and counted.value == label.value:
            continue
        slot = slot_of(known_at(prediction, label))
        if counted is not None:
            cells[_cell(prediction, counted.value, slot)] -= 1
        cells[_cell(prediction, label.value, slot)] += 1
        counted = label
    return cells


def known_at(prediction: Prediction, label: Label) -> Micros:
    """The event time at which the outcome could be known."""
    return max(prediction.time, label.time)


def outcome_label(policy: JoinPolicy, entry: Entry) -> Label | None:
    """The label that counts for an id now; None without a prediction or an admitted label."""
    if entry.prediction is None:
        return None
    admitted = [label for label in entry.labels if policy.admits(entry.prediction, label)]
    if not admitted:
        return None
    return admitted[0] if policy.corrections == "first" else admitted[-1]


def _cell(prediction: Prediction, truth: str, slot: Slot) -> TallyKey:
    return TallyKey(prediction.version, WHOLE, slot, truth, prediction.value)


def with_prediction(entry: Entry, prediction: Prediction) -> Entry:
    """The entry with one more prediction: of several the earliest counts, then the lowest partition and offset."""
    held = entry.prediction
    if held is None:
        return entry._replace(prediction=prediction)
    first = min(held, prediction, key=lambda one: (one.time, one.origin))
    return entry._replace(prediction=first, duplicates=entry.duplicates + 1)


def with_label(entry: Entry, label: Label) -> Entry:
    """The entry with one more label."""
    labels = sorted((*entry.labels, label), key=lambda one: (one.time, one.origin))
    return entry._replace(labels=tuple(labels))


class JoinIndex:
    """The ids that can still change, for one model, and the effects that have not been drained yet."""

    def __init__(self, policy: JoinPolicy, first_open: Slot | None = None) -> None:
        self.policy = policy
        self.first_open = first_open
        self.moved_to_open = 0
        self._entries: dict[str, Entry] = {}
        self._expiring: dict[Slot, list[str]] = {}
        self._expiry_slots: list[Slot] = []
        self._statuses: Counter[Status] = Counter()
        self._cells: Counter[TallyKey] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def add_prediction(self, prediction: Prediction) -> None:
        """Take in a prediction; beyond the horizon it is counted as late and never applied."""
        if self._is_past(prediction.time + self.policy.horizon):
            self._statuses[_LATE_PREDICTION] += 1
            return
        before = self._entries.get(prediction.id)
        self._replace(prediction.id, before, with_prediction(before or Entry(), prediction))

    def add_label(self, label: Label) -> None:
        """Take in a label; one that no prediction can meet any more is counted as late and never applied."""
        before = self._entries.get(label.id)
        if (before is None or before.prediction is None) and self._is_past(self._waits_until(label)):
            self._statuses[_LATE_LABEL] += 1
            return
        self._replace(label.id, before, with_label(before or Entry(), label))

    def close_before(self, first_open: Slot) -> None:
        """Close every slot before this one, and forget the ids that nothing can change any more."""
        if self.first_open is not None and first_open <= self.first_open:
            return
        self.first_open = first_open
        while self._expiry_slots and self._expiry_slots[0] < first_open:
            slot = heappop(self._expiry_slots)
            for key in self._expiring.pop(slot):
                self._expire(key, slot)

    def drain(self) -> Standing:
        """What has changed since the last call."""
        drained = Standing(self._statuses, Counter({key: n for key, n in self._cells.items() if n}))
        self._statuses, self._cells = Counter(), Counter()
        return drained

    def _replace(self, key: str, before: Entry | None, after: Entry) -> None:
        self._entries[key] = after
        change = standing(self.policy, after)
        if before is not None:
            held = standing(self.policy, before)
            change.statuses.subtract(held.statuses)
            change.cells.subtract(held.cells)
        self._count(change)
        if before is None or self._expiry(before) != self._expiry(after):
            self._schedule(key, after)

    def _count(self, change: Standing) -> None:
        for status, n in change.statuses.items():
            self._statuses[status] += n
        for cell, n in change.cells.items():
            if n:
                self._cells[self._into_open(cell, n)] += n

    def _into_open(self, cell: TallyKey, n: int) -> TallyKey:
        """What arrives for a closed slot enters the oldest open one: closed slots never change."""
        if self.first_open is None or cell.slot >= self.first_open:
            return cell
        self.moved_to_open += max(0, n)
        return cell._replace(slot=self.first_open)

    def _schedule(self, key: str, entry: Entry) -> None:
        slot = self._expiry(entry)
        if slot not in self._expiring:
            self._expiring[slot] = []
            heappush(self._expiry_slots, slot)
        self._expiring[slot].append(key)

    def _expiry(self, entry: Entry) -> Slot:
        if entry.prediction is not None:
            return slot_of(entry.prediction.time + self.policy.horizon)
        return slot_of(self._waits_until(entry.labels[0]))

    def _waits_until(self, label: Label) -> Micros:
        # A prediction may be one horizon later than its label and may itself arrive one horizon late.
        return label.time + 2 * self.policy.horizon

    def _expire(self, key: str, slot: Slot) -> None:
        entry = self._entries.get(key)
        if entry is None or self._expiry(entry) != slot:
            return
        del self._entries[key]
        if entry.prediction is None:
            self._orphan(key, entry, slot)
        elif outcome_label(self.policy, entry) is None:
            self._statuses[_PENDING] -= 1
            self._statuses[_UNLABELLED] += 1

    def _orphan(self, key: str, entry: Entry, slot: Slot) -> None:
        """Each label waits for itself alone: how long must not depend on others that a restart need not read again."""
        kept = tuple(label for label in entry.labels if slot_of(self._waits_until(label)) > slot)
        self._statuses[_WAITING] -= len(entry.labels) - len(kept)
        self._statuses[_ORPHANED] += len(entry.labels) - len(kept)
        if kept:
            self._entries[key] = Entry(labels=kept)
            self._schedule(key, self._entries[key])

    def _is_past(self, expiry: Micros) -> bool:
        return self.first_open is not None and slot_of(expiry) < self.first_open
