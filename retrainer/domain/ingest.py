"""One model's share of what is read: mapped, joined, counted. Pure; the worker feeds it and stores what it drains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from retrainer.domain.events import Partition, Side
from retrainer.domain.join import JoinIndex, JoinPolicy, Status
from retrainer.domain.mapping import Envelope, EventMapping, Unusable, label_of, matches, prediction_of
from retrainer.domain.tallies import Tallies
from retrainer.domain.values import Micros, Slot, slot_of
from retrainer.domain.watermark import EventClock


@dataclass(frozen=True, kw_only=True)
class IngestPolicy:
    """Where a model's events stand, and how they are joined."""

    model: str
    predictions: EventMapping
    labels: EventMapping
    join: JoinPolicy

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
    moved_to_open: int = 0
    """Outcomes that came for a closed slot and were counted in the oldest open one."""


class ModelIngest:
    """Takes records in, one model's view of them."""

    def __init__(self, policy: IngestPolicy, partitions: Collection[Partition], progress: Progress) -> None:
        self.policy = policy
        self.index = JoinIndex(policy.join, progress.first_open)
        self.clock = EventClock(partitions, policy.join.lateness)
        self.progress = progress
        self._counts: Counter[Status] = Counter()
        self._sides = {topic: policy.sides_of(topic) for topic in policy.topics}

    def take(self, envelope: Envelope) -> str | None:
        """Take one record in; the reason if it has to be quarantined."""
        reasons = [self._take_side(side, envelope) for side in self._sides.get(envelope.record.partition.topic, ())]
        return "; ".join(reason for reason in reasons if reason) or None

    def refuse(self, topic: str) -> None:
        """Count a record of the topic that could not even be decoded."""
        for side in self._sides.get(topic, ()):
            self._count(side, "quarantined")

    def advance(self, at_end: Collection[Partition]) -> None:
        """Move the watermark as far as what was read allows, closing slots; it never goes back."""
        self.advance_to(self.clock.watermark(at_end))

    def advance_to(self, watermark: Micros | None) -> None:
        """Move the watermark to a known time, closing slots; it never goes back."""
        held = self.progress.watermark
        if watermark is None or (held is not None and watermark <= held):
            return
        self.index.close_before(slot_of(watermark))
        self.progress = Progress(watermark=watermark, first_open=self.index.first_open)

    def drain(self) -> ModelDelta:
        """What has changed since the last call."""
        statuses, cells = self.index.drain()
        counts, self._counts = self._counts, Counter()
        moved, self.index.moved_to_open = self.index.moved_to_open, 0
        counts.update(statuses)
        return ModelDelta(
            model=self.policy.model,
            progress=self.progress,
            tallies=cells,
            counts={status: n for status, n in counts.items() if n},
            moved_to_open=moved,
        )

    def _take_side(self, side: Side, envelope: Envelope) -> str | None:
        mapping = self.policy.predictions if side is Side.PREDICTIONS else self.policy.labels
        if not matches(mapping, envelope):
            self._count(side, "filtered")
            return None
        try:
            self._join(side, mapping, envelope)
        except Unusable as unusable:
            self._count(side, "quarantined")
            return str(unusable)
        self._counts[side, "consumed"] += 1
        return None

    def _join(self, side: Side, mapping: EventMapping, envelope: Envelope) -> None:
        partition = envelope.record.partition
        if side is Side.PREDICTIONS:
            prediction = prediction_of(mapping, envelope)
            self.clock.saw(partition, prediction.time)
            self.index.add_prediction(prediction)
        else:
            label = label_of(mapping, envelope)
            self.clock.saw(partition, label.time)
            self.index.add_label(label)

    def _count(self, side: Side, status: str) -> None:
        self._counts[side, "consumed"] += 1
        self._counts[side, status] += 1


def imbalance(counts: Mapping[Status, int]) -> dict[Side, int]:
    """Conservation: by how much each side's parts differ from what was consumed; empty when all is well."""
    sums: Counter[Side] = Counter()
    for (side, status), n in counts.items():
        sums[side] += -n if status == "consumed" else n
    return {side: n for side, n in sums.items() if n}
