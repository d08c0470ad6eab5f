"""The twin of the topics, in memory."""

from __future__ import annotations

import threading
import uuid
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from retrainer.adapters.clock import SystemClock
from retrainer.domain.batches import RecordBatch, batches_of
from retrainer.domain.events import Partition, Record
from retrainer.domain.values import duration, micros
from retrainer.errors import PositionLost, Unreachable
from retrainer.ports.event_log import Extent, Start


class MemoryLog:
    """`EventLog` without a broker. Tests may write to it from another thread while it is read."""

    def __init__(self, topics: Mapping[str, int] | None = None, *, batch: int = 10_000) -> None:
        """Start with these topics and their numbers of partitions; a poll hands out at most `batch` records."""
        self.committed: dict[Partition, int] = {}
        self._batch = batch
        self._clock = SystemClock()
        self._ids: dict[str, str] = {}
        self._held: dict[Partition, _Held] = {}
        self._positions: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._away = False
        self._changed = threading.Condition()
        for topic, partitions in (topics or {}).items():
            self.create_topic(topic, partitions)

    def create_topic(self, topic: str, partitions: int = 1) -> None:
        """A new topic; more partitions where it exists."""
        with self._changed:
            self._ids.setdefault(topic, str(uuid.uuid4()))
            for number in range(partitions):
                self._held.setdefault(Partition(topic, number), _Held())

    def delete_topic(self, topic: str) -> None:
        """Gone with its records; created again it has another id."""
        with self._changed:
            del self._ids[topic]
            self._held = {at: held for at, held in self._held.items() if at.topic != topic}

    def append(
        self,
        at: Partition | str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        timestamp: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> int:
        """Write one record, to the first partition where only a topic is named, as of now; its offset."""
        at = Partition(at, 0) if isinstance(at, str) else at
        timestamp = self._clock.now() // 1000 if timestamp is None else timestamp
        with self._changed:
            held = self._held[at]
            held.records.append(Record(at, held.end, timestamp, key, value, tuple(headers)))
            held.end += 1
            self._changed.notify_all()
            return held.end - 1

    def leave_gap(self, at: Partition, offsets: int = 1) -> None:
        """Use up offsets without records, as the marks of transactions do."""
        with self._changed:
            self._held[at].end += offsets

    def truncate_before(self, at: Partition, offset: int) -> None:
        """Forget the records before an offset, as retention does."""
        with self._changed:
            held = self._held[at]
            del held.records[: held.index(offset)]
            held.first = max(held.first, min(offset, held.end))

    def go_away(self) -> None:
        """From now on no broker answers."""
        with self._changed:
            self._away = True
            self._changed.notify_all()

    def come_back(self) -> None:
        """The outage is over; nothing was lost in it."""
        with self._changed:
            self._away = False

    def describe(self, topics: Sequence[str]) -> Mapping[Partition, str]:
        with self._changed:
            self._reach()
            if missing := sorted(set(topics) - self._ids.keys()):
                raise Unreachable(f"no such topic in memory: {', '.join(missing)}")
            return {at: self._ids[at.topic] for at in sorted(self._held) if at.topic in topics}

    def starting_positions(self, partitions: Sequence[Partition], start: Start) -> Mapping[Partition, int]:
        with self._changed:
            self._reach(partitions)
            return {at: self._start_of(self._held[at], start) for at in partitions}

    def extents(self, partitions: Sequence[Partition]) -> Mapping[Partition, Extent]:
        with self._changed:
            self._reach(partitions)
            return {at: Extent(first=self._held[at].first, end=self._held[at].end) for at in partitions}

    def assign(self, positions: Mapping[Partition, int]) -> None:
        self._positions = dict(positions)
        self._paused = set()

    @property
    def paused(self) -> frozenset[Partition]:
        """The partitions that are not read for now."""
        return frozenset(self._paused)

    def pause(self, partitions: Collection[Partition]) -> None:
        self._paused = set(partitions)

    def poll(self, timeout: float, /) -> Sequence[RecordBatch]:
        deadline = self._clock.monotonic() + timeout
        with self._changed:
            while True:
                self._reach(self._positions)
                records = self._take()
                left = deadline - self._clock.monotonic()
                if records or left <= 0:
                    return batches_of(records)
                self._changed.wait(left)

    def ends(self) -> Mapping[Partition, int]:
        with self._changed:
            self._reach(self._positions)
            return {at: self._end_for(position, self._held[at]) for at, position in self._positions.items()}

    def commit_offsets(self, positions: Mapping[Partition, int]) -> None:
        if not self._away:
            self.committed.update(positions)

    def close(self) -> None:
        self._positions = {}

    def _reach(self, partitions: Iterable[Partition] = ()) -> None:
        if self._away:
            raise Unreachable("the broker in memory is away")
        if missing := sorted(set(partitions) - self._held.keys()):
            raise Unreachable(f"no such partition in memory: {', '.join(map(str, missing))}")

    def _start_of(self, held: _Held, start: Start) -> int:
        if start == "earliest":
            return held.first
        if start == "latest":
            return held.end
        moment = micros(start) if isinstance(start, datetime) else self._clock.now() - duration(start)
        return next((record.offset for record in held.records if record.timestamp >= moment // 1000), held.end)

    def _take(self) -> list[Record]:
        lost = {
            str(at): to for at, to in self._positions.items() if not self._held[at].first <= to <= self._held[at].end
        }
        if lost:
            raise PositionLost(lost)
        records: list[Record] = []
        for at, position in self._positions.items():
            if at in self._paused:
                continue
            held = self._held[at]
            start = held.index(position)
            taken = held.records[start : start + self._batch - len(records)]
            if taken:
                self._positions[at] = taken[-1].offset + 1
                records += taken
        return records

    @staticmethod
    def _end_for(position: int, held: _Held) -> int:
        """Where nothing readable follows, the end is the caller's position, as it is with Kafka's adapter."""
        return position if held.index(position) == len(held.records) and position <= held.end else held.end


@dataclass
class _Held:
    """What one partition holds: offsets from `first` to `end`, some of them without a record."""

    records: list[Record] = field(default_factory=list)
    first: int = 0
    end: int = 0

    def index(self, offset: int) -> int:
        """Where the first record at or after an offset stands."""
        return bisect_left(self.records, offset, key=lambda record: record.offset)
