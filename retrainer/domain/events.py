"""What comes out of the topics: records as Kafka holds them, and the predictions and labels in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from retrainer.domain.values import Micros


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.number}"


class Record(NamedTuple):
    """One record exactly as the log holds it. `timestamp` is Kafka's own, in milliseconds."""

    partition: Partition
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class Origin(NamedTuple):
    """Where an event stands in the log; breaks ties between events of the same time."""

    topic: str
    partition: int
    offset: int


class Side(StrEnum):
    """The two kinds of event."""

    PREDICTIONS = "predictions"
    LABELS = "labels"


class Prediction(NamedTuple):
    """A model's answer for one id.

    `version` is empty where the producer does not say who answered. `slices` are the parts of the traffic that the
    prediction belongs to, each once, beside the whole: texts such as `carrier=AA` or `long_haul`.
    """

    id: str
    time: Micros
    origin: Origin
    value: str
    version: str = ""
    slices: tuple[str, ...] = ()


class Label(NamedTuple):
    """The truth for one id; without a value it is a retraction, which takes back what stood."""

    id: str
    time: Micros
    origin: Origin
    value: str | None


@dataclass(frozen=True, kw_only=True)
class RecordQuarantined:
    """A record that could not be used, with its bytes and the reason."""

    record: Record
    reason: str
