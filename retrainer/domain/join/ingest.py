"""One model's share of what is read: mapped, joined, counted. Pure; the worker feeds it and stores what it drains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from retrainer.domain.answers import Task
from retrainer.domain.batches import Columns, RecordBatch
from retrainer.domain.events import Label, Partition, Prediction, Side
from retrainer.domain.join.columns import ColumnMapping
from retrainer.domain.join.counting import WhatIsCounted
from retrainer.domain.join.event_columns import Dump, Events
from retrainer.domain.join.rules import JoinPolicy, Status
from retrainer.domain.join.table import JoinTable
from retrainer.domain.join.watermark import EventClock
from retrainer.domain.mapping.mapping import (
    Envelope,
    EventMapping,
    Unusable,
    label_of,
    matches,
    prediction_of,
    reads_scores,
    repeats_delete,
    tells_time,
)
from retrainer.domain.tally.arrivals import ArrivalPolicy, width_of
from retrainer.domain.tally.measures import expansion
from retrainer.domain.tally.tallies import Tallies
from retrainer.domain.values import Micros, Slot, slot_of


@dataclass(frozen=True, kw_only=True)
class IngestPolicy:
    """Where a model's events stand, and how they are joined."""

    model: str
    predictions: EventMapping
    labels: EventMapping
    join: JoinPolicy

    def __post_init__(self) -> None:
        if self.predictions.task != self.labels.task:
            raise ValueError("expected predictions and labels of one task")

    @property
    def task(self) -> Task:
        """What the model does; predictions and labels are of one task."""
        return self.predictions.task

    @property
    def counting(self) -> WhatIsCounted:
        """What is counted of the join."""
        mapping = self.predictions
        scores = mapping.scores if reads_scores(mapping) else "none"
        # A score that was rounded is that of the answered class.
        positive = mapping.positive if scores == "exact" else None
        return WhatIsCounted(
            expand=expansion(self.task, scores=scores, positive=mapping.positive),
            arriving=ArrivalPolicy(width=width_of(self.join.max_delay), positive=positive, task=self.task),
        )

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(sorted({self.predictions.topic, self.labels.topic}))

    def sides_of(self, topic: str) -> tuple[Side, ...]:
        """Which kinds of event the topic carries for this model."""
        sides = ((Side.PREDICTIONS, self.predictions), (Side.LABELS, self.labels))
        return tuple(side for side, mapping in sides if mapping.topic == topic)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a model's event time has come. Slots before `first_open` are closed for good."""

    watermark: Micros | None = None
    first_open: Slot | None = None


@dataclass(frozen=True, kw_only=True)
class ModelDelta:
    """What some records changed for one model, to be stored together with their positions."""

    model: str
    progress: Progress
    tallies: Tallies
    counts: Mapping[Status, int]
    newest: Micros | None = None
    """The newest time of an event among them; a retraction may be newer than what the watermark knows of."""
    moved_to_open: int = 0
    """Outcomes that came for a closed slot and were counted in the oldest open one."""


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """One model's memory at a commit: what a snapshot holds of it. `newest` is the newest event time by partition."""

    progress: Progress
    newest: Mapping[Partition, Micros]
    table: Dump


EnvelopeOf = Callable[[int], Envelope]
"""The decoded record of a row; raises `Unusable`."""


class ModelIngest:
    """Takes records in, one model's view of them."""

    def __init__(
        self,
        policy: IngestPolicy,
        partitions: Collection[Partition],
        progress: Progress,
        remembered: Remembered | None = None,
    ) -> None:
        """Begin with nothing but `progress`, or with all that is `remembered`."""
        self.policy = policy
        self.progress = remembered.progress if remembered else progress
        self.clock = EventClock(partitions, policy.join.lateness)
        self.table = JoinTable(policy.join, self.progress.first_open, policy.counting)
        if remembered:
            self.table.restore(remembered.table)
            for partition, time in remembered.newest.items():
                self.clock.saw(partition, time)
        self._counts: Counter[Status] = Counter()
        self._newest: Micros | None = None
        self._sides = {topic: policy.sides_of(topic) for topic in policy.topics}
        self._mappings = {
            Side.PREDICTIONS: ColumnMapping(policy.predictions, self.table.values, self.table.groups, Side.PREDICTIONS),
            Side.LABELS: ColumnMapping(policy.labels, self.table.values, self.table.groups, Side.LABELS),
        }

    def paths(self, topic: str) -> frozenset[str]:
        """The paths into the documents of a topic whose columns `ingest` needs."""
        return frozenset(path for side in self._sides.get(topic, ()) for path in self._mappings[side].paths)

    def ingest(
        self, batch: RecordBatch, columns: Columns, unread: Collection[int], envelope: EnvelopeOf
    ) -> Mapping[int, str]:
        """Take records in; row to reason of those that have to be quarantined. `unread` rows have no columns."""
        reasons: dict[int, str] = {}
        for side in self._sides.get(batch.partition.topic, ()):
            for row, reason in self._take_side(side, batch, columns, unread, envelope).items():
                reasons[row] = f"{reasons[row]}; {reason}" if reasons.get(row, reason) != reason else reason
        return reasons

    def advance(self, at_end: Collection[Partition]) -> None:
        """Move the watermark as far as what was read allows, closing slots; it never goes back."""
        self.advance_to(self.clock.watermark(at_end))

    def advance_to(self, watermark: Micros | None) -> None:
        """Move the watermark to a known time, closing slots; it never goes back."""
        held = self.progress.watermark
        if watermark is None or (held is not None and watermark <= held):
            return
        self.table.close_before(slot_of(watermark))
        self.progress = Progress(watermark=watermark, first_open=self.table.first_open)

    def take_delta(self) -> ModelDelta:
        """What has changed since the last call."""
        statuses, cells = self.table.drain()
        counts, self._counts = self._counts, Counter()
        moved, self.table.moved_to_open = self.table.moved_to_open, 0
        newest, self._newest = self._newest, None
        counts.update(statuses)
        return ModelDelta(
            model=self.policy.model,
            progress=self.progress,
            tallies=cells,
            counts={status: n for status, n in counts.items() if n},
            newest=newest,
            moved_to_open=moved,
        )

    def remember(self) -> Remembered:
        """All that `ModelIngest` would need to go on from here; only what was drained is complete."""
        return Remembered(progress=self.progress, newest=self.clock.seen, table=self.table.dump())

    def _take_side(
        self, side: Side, batch: RecordBatch, columns: Columns, unread: Collection[int], envelope: EnvelopeOf
    ) -> Mapping[int, str]:
        mapped = self._mappings[side].events(batch, columns, unread)
        self._counts[side, "consumed"] += len(batch.offsets)
        self._counts[side, "filtered"] += mapped.filtered
        if len(mapped.events.time):
            self.clock.saw(batch.partition, int(mapped.events.time.max()))
            self._join(side, mapped.events)
        singles: list[Prediction | Label] = []
        reasons: dict[int, str] = {}
        for row in mapped.odd:
            try:
                singles += self._single(side, envelope(row))
            except Unusable as unusable:
                self._counts[side, "quarantined"] += 1
                reasons[row] = str(unusable)
        if singles:
            self._join(side, self._mappings[side].single(singles))
        return reasons

    def _single(self, side: Side, envelope: Envelope) -> Sequence[Prediction | Label]:
        """The event in a record that is not like most; none if it does not belong to the model."""
        mapping = self.policy.predictions if side is Side.PREDICTIONS else self.policy.labels
        if not self._concerns(side, mapping, envelope) or not matches(mapping, envelope):
            self._counts[side, "filtered"] += 1
            return ()
        partition = envelope.record.partition
        if side is Side.PREDICTIONS:
            prediction = prediction_of(mapping, envelope)
            self.clock.saw(partition, prediction.time)
            return (prediction,)
        label = label_of(mapping, envelope)
        if label.value is not None or tells_time(mapping, envelope):
            self.clock.saw(partition, label.time)
        return (label,)

    def _concerns(self, side: Side, mapping: EventMapping, envelope: Envelope) -> bool:
        """Tombstones are another matter on a topic of both kinds, where they can only be meant for labels, and behind
        the deletes of change data capture, which they repeat for the log's compaction."""
        if not envelope.is_tombstone:
            return True
        shared = len(self._sides[envelope.record.partition.topic]) > 1
        return not (shared and side is Side.PREDICTIONS) and not repeats_delete(mapping)

    def _join(self, side: Side, events: Events) -> None:
        newest = int(events.time.max())
        self._newest = newest if self._newest is None else max(self._newest, newest)
        if side is Side.PREDICTIONS:
            self.table.add_predictions(events)
        else:
            self.table.add_labels(events)


def imbalance(counts: Mapping[Status, int]) -> dict[Side, int]:
    """Conservation: by how much each side's parts differ from what was consumed; empty when all is well."""
    sums: Counter[Side] = Counter()
    for (side, status), n in counts.items():
        sums[side] += -n if status == "consumed" else n
    return {side: n for side, n in sums.items() if n}
