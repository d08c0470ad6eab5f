"""The topics, read with kafka-python: explicit partitions and positions, no group membership.

Two clients, both connected when first needed. One reads, and commits for lag tools. The other asks: a broker answers
one connection's requests in order, so that on the reading one every question would wait behind a long poll.
Once no broker has answered for some seconds both are thrown away and later made anew from the bootstrap servers:
the positions are ours, so nothing is lost with them, and none is left over that came out of an outage half broken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import OffsetSpec
from kafka.structs import OffsetAndMetadata

from retrainer.adapters.clock import SystemClock
from retrainer.adapters.kafka import client as kafka_client
from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Partition
from retrainer.domain.values import duration, micros
from retrainer.errors import PositionLost, Refused, Unreachable
from retrainer.ports.event_log import Extent, Start

_SLICE_SECONDS: Final = 1.0
"""A longer poll is made of polls of this many seconds, with a look around between them."""
_LOOK_EVERY_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 5.0
"""Seconds without an answer, after which no broker counts as there."""
_STALLED_AFTER_SECONDS: Final = 30.0
"""Seconds without progress in a partition that holds more, after which the reading client is made anew."""
_COMMIT_WITHIN_SECONDS: Final = 10.0
_LAST_COMMIT_WITHIN_SECONDS: Final = 2.0

_COMMON: Final[Mapping[str, object]] = {
    "client_id": "retrainer",
    "bootstrap_timeout_ms": 3000,
    "reconnect_backoff_max_ms": 1000,
}
_READING: Final[Mapping[str, object]] = {
    "auto_offset_reset": "none",
    "enable_auto_commit": False,
    "isolation_level": "read_committed",
    # A session saves bytes where there are hundreds of partitions, and is one more state to get out of step with.
    "enable_incremental_fetch_sessions": False,
    "fetch_min_bytes": 64 * 1024,
    "fetch_max_wait_ms": 250,
    "max_partition_fetch_bytes": 8 * 2**20,
    "max_poll_records": 10_000,
    "metrics_enabled": False,
}
_ASKING: Final[Mapping[str, object]] = {"request_timeout_ms": 3000}
_OURS: Final = frozenset({
    *("allow_auto_create_topics", "auto_offset_reset", "bootstrap_servers", "enable_auto_commit", "group_id"),
    *("group_instance_id", "isolation_level", "kafka_client", "key_deserializer", "value_deserializer"),
})  # fmt: skip
"""Settings that our promises rest on; nobody else sets them."""

_REFUSED: Final = (
    kafka_errors.AuthorizationError,
    kafka_errors.CorruptRecordError,
    kafka_errors.IllegalSaslStateError,
    kafka_errors.InvalidGroupIdError,
    kafka_errors.InvalidTopicError,
    kafka_errors.KafkaConfigurationError,
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedCodecError,
    kafka_errors.UnsupportedCompressionTypeError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.UnsupportedVersionError,
)
"""What waiting does not mend."""


class KafkaLog:
    """`EventLog` over a Kafka cluster."""

    def __init__(self, bootstrap_servers: str, group_id: str, client: Mapping[str, object]) -> None:
        """Connects to nothing yet. `client` holds kafka-python's own settings, for security above all.

        Raises:
            Refused: a setting is unknown or not for others to set, or the C package for checksums is missing.
        """
        kafka_client.require_checksums_in_c()
        _check(client)
        self._servers = bootstrap_servers
        settings = {**_COMMON, **client, "bootstrap_servers": bootstrap_servers}
        self._reading = {**_READING, **settings, "group_id": group_id}
        self._asking = {**{k: v for k, v in settings.items() if k in KafkaAdminClient.DEFAULT_CONFIG}, **_ASKING}
        self._clock = SystemClock()
        self._reader: Any = None
        self._asker: Any = None
        self._positions: dict[Partition, int] = {}
        # kafka-python's partitions are equal to ours, being tuples alike, so that they find ours in here.
        self._same: dict[Partition, Partition] = {}
        self._paused: set[Partition] = set()
        self._rearranged = False
        self._unseeked = True
        self._answered = 0.0
        self._look_at = 0.0
        self._beyond: dict[Partition, int] = {}
        self._progress: dict[Partition, tuple[int, float]] = {}
        self._committing: _Commit | None = None

    def describe(self, topics: Sequence[str]) -> Mapping[Partition, str]:
        described = self._call(lambda: _without_errors(self._ask().describe_topics(list(topics))))
        return {
            Partition(topic["name"], partition["partition_index"]): str(topic.get("topic_id") or "")
            for topic in described
            for partition in topic["partitions"]
        }

    def starting_positions(self, partitions: Sequence[Partition], start: Start) -> Mapping[Partition, int]:
        if start == "earliest":
            return {at: answer.offset for at, answer in self._offsets(partitions, OffsetSpec.EARLIEST).items()}
        if start == "latest":
            return self._ends_of(partitions)
        since = self._milliseconds(start)
        ends = self._ends_of(partitions)  # asked for first, so that no record comes between the answers unseen
        answers = self._offsets(partitions, since)
        # An answer without a time means that no record is that young.
        return {at: answer.offset if answer.timestamp >= 0 else ends[at] for at, answer in answers.items()}

    def extents(self, partitions: Sequence[Partition]) -> Mapping[Partition, Extent]:
        firsts = self._offsets(partitions, OffsetSpec.EARLIEST)
        return {at: Extent(first=firsts[at].offset, end=end) for at, end in self._ends_of(partitions).items()}

    def assign(self, positions: Mapping[Partition, int]) -> None:
        self._positions = dict(positions)
        self._same = {at: at for at in positions}
        self._beyond = {}
        self._paused = set()
        self._unseeked = True
        self._look_at = 0.0

    def poll(self, timeout: float, /) -> Sequence[RecordBatch]:
        deadline = self._clock.monotonic() + timeout
        while True:
            left = max(0.0, deadline - self._clock.monotonic())
            batches = self._read(min(left, _SLICE_SECONDS))
            if batches or self._clock.monotonic() >= deadline:
                return batches

    def pause(self, partitions: Collection[Partition]) -> None:
        self._paused = set(partitions)
        self._rearranged = True

    def ends(self) -> Mapping[Partition, int]:
        """As the port says. What follows the last readable record (the marks of transactions, records of an aborted
        one, what compaction left) is not counted: at a partition's end the caller's position equals this end.

        Raises:
            Unreachable: no broker has answered for some seconds.
        """
        ends = self._known_ends()
        reached = {at: self._reached(at) for at in ends}
        self._watch({at: reached[at] for at, end in ends.items() if reached[at] < end and at not in self._paused})
        # Right after an election a leader may know less of its log than there is: who is past the end it tells is not
        # known to be at the end.
        known = {at: end for at, end in ends.items() if reached[at] <= end}
        return {at: self._positions[at] if reached[at] == end else end for at, end in known.items()}

    def commit_offsets(self, positions: Mapping[Partition, int]) -> None:
        """As the port says. While an earlier commit waits for its answer this one is dropped; the next says more."""
        if self._reader is None or (self._committing and not self._committing.is_over(self._clock.monotonic())):
            return
        offsets = {TopicPartition(*at): OffsetAndMetadata(position, "", -1) for at, position in positions.items()}
        with suppress(Exception):
            self._committing = _Commit(
                self._reader.commit_async(offsets), self._clock.monotonic() + _COMMIT_WITHIN_SECONDS
            )

    def close(self) -> None:
        """As the port says; a commit on its way may take two seconds of these."""
        if self._committing is not None:
            self._committing.wait(_LAST_COMMIT_WITHIN_SECONDS)
        self._drop()

    def _read(self, timeout: float) -> list[RecordBatch]:
        """One poll of kafka-python's."""
        reader = self._seeked_reader()
        if self._paused >= self._positions.keys():
            self._clock.sleep(timeout)
            return []
        fetched = self._call(reader.poll, timeout_ms=int(timeout * 1000))
        if not fetched:
            self._look_around()
            return []
        self._answered = self._clock.monotonic()
        batches = [_batch(self._same[found], records) for found, records in fetched.items()]
        self._positions.update((batch.partition, batch.next_offset) for batch in batches)
        return batches

    def _seeked_reader(self) -> Any:
        if self._reader is None:
            self._reader = self._call(kafka_client.connect, KafkaConsumer, self._reading)
            self._unseeked = True
            self._look_at = 0.0  # an outage is over when the partitions are there, not when somebody answers
            self._progress.clear()
        if self._unseeked or self._rearranged:
            self._seek_free()
        return self._reader

    def _seek_free(self) -> None:
        """Assign what is not paused. A client that pauses a partition may forget it when it is resumed: what it had
        fetched is put aside, and taken up again only if another partition brings nothing in the same moment."""
        free = [TopicPartition(*at) for at in self._positions if at not in self._paused]
        known = set() if self._unseeked else self._reader.assignment()
        if free:  # else nothing is polled
            self._call(self._reader.assign, free)
            for at in free:
                if at not in known:
                    self._call(self._reader.seek, at, self._positions[self._same[at]])
            self._unseeked = False
        self._rearranged = False

    def _look_around(self) -> None:
        """Nothing came: is a broker there, and are the positions?

        kafka-python tells of no outage, and the embedded broker answers a position outside with silence. The second
        look counts: right after an election a leader may know less of its log than there is.
        """
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY_SECONDS
        beyond = {at: self._positions[at] for at, end in self._known_ends().items() if self._positions[at] > end}
        lost = {str(at): position for at, position in beyond.items() if self._beyond.get(at) == position}
        if lost:
            raise PositionLost(lost)
        self._beyond = beyond

    def _known_ends(self) -> dict[Partition, int]:
        """What is known now: nothing, for the first seconds of an outage."""
        try:
            answers = self._offsets(list(self._positions), OffsetSpec.LATEST)
        except Unreachable:
            if self._clock.monotonic() - self._answered < _PATIENCE_SECONDS:
                return {}
            self._drop()
            raise
        self._answered = self._clock.monotonic()
        known = {at: self._end_by(at, answer) for at, answer in answers.items()}
        return {at: end for at, end in known.items() if end is not None}

    def _end_by(self, at: Partition, answer: Any) -> int | None:
        if not _names_last_batch(answer):
            return int(answer.offset)
        highwater = self._reader.highwater(TopicPartition(*at)) if self._is_read(at) else None
        return None if highwater is None else max(highwater, answer.offset)

    def _is_read(self, at: Partition) -> bool:
        """Whether the client reads a partition just now."""
        settled = self._reader is not None and not (self._unseeked or self._rearranged)
        return settled and at not in self._paused

    def _reached(self, at: Partition) -> int:
        """The position up to which the reader has looked; past the caller's where nothing readable was found."""
        if not self._is_read(at):
            return self._positions[at]
        return int(self._call(self._reader.position, TopicPartition(*at), timeout_ms=0))

    def _watch(self, behind: Mapping[Partition, int]) -> None:
        """A partition of a client that is otherwise well has been seen to stay silent (dpkp/kafka-python#3131)."""
        now = self._clock.monotonic()
        still = {at: since for at, (reached, since) in self._progress.items() if behind.get(at) == reached}
        self._progress = {at: (reached, still.get(at, now)) for at, reached in behind.items()}
        if any(now - since > _STALLED_AFTER_SECONDS for since in still.values()):
            self._drop()

    def _ends_of(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        answers = self._offsets(partitions, OffsetSpec.LATEST)
        batches = {at: answer.offset for at, answer in answers.items() if _names_last_batch(answer)}
        ends = {at: answer.offset for at, answer in answers.items()}
        return {**ends, **(self._ends_behind(batches) if batches else {})}

    def _ends_behind(self, positions: Mapping[Partition, int]) -> dict[Partition, int]:
        """The ends that come with the records from these positions on."""
        partitions = {TopicPartition(*at): at for at in positions}
        settings = {**self._reading, "group_id": None, "fetch_min_bytes": 1}
        reader = self._call(kafka_client.connect, KafkaConsumer, settings)
        try:
            self._call(reader.assign, list(partitions))
            for at, ours in partitions.items():
                self._call(reader.seek, at, positions[ours])
            deadline = self._clock.monotonic() + _PATIENCE_SECONDS
            while unknown := [at for at in partitions if reader.highwater(at) is None]:
                if self._clock.monotonic() > deadline:
                    raise Unreachable(f"Kafka at {self._servers} does not say where {unknown} end")
                self._call(reader.poll, timeout_ms=100)
            return {ours: int(reader.highwater(at)) for at, ours in partitions.items()}
        finally:
            kafka_client.close(reader)

    def _offsets(self, partitions: Sequence[Partition], which: OffsetSpec | int) -> dict[Partition, Any]:
        asked = {TopicPartition(*at): which for at in partitions}
        answers = self._call(lambda: self._ask().list_partition_offsets(asked))
        return {at: answers[at] for at in partitions}

    def _milliseconds(self, start: datetime | timedelta) -> int:
        moment = micros(start) if isinstance(start, datetime) else self._clock.now() - duration(start)
        return max(0, moment // 1000)  # below zero Kafka's times mean something else

    def _ask(self) -> Any:
        if self._asker is None:
            self._asker = kafka_client.connect(KafkaAdminClient, self._asking)
        return self._asker

    def _call(self, function: Callable[..., Any], *args: object, **kwargs: object) -> Any:
        """Call kafka-python, and speak of its errors in our words.

        A client that could not make sense of an answer is not called again: with a batch that it cannot read its next
        poll would never end.
        """
        try:
            return function(*args, **kwargs)
        except kafka_errors.OffsetOutOfRangeError as error:
            raise self._lost(error.args[0]) from error
        except kafka_errors.LogTruncationError as error:
            raise self._lost(error.divergent_offsets) from error
        except _REFUSED as error:
            self._drop()
            raise Refused(f"Kafka at {self._servers}: {error}") from error
        except kafka_errors.RetriableError as error:
            raise Unreachable(f"Kafka at {self._servers}: {error}") from error
        except Exception as error:  # a client that hangs or has crashed may raise anything
            self._drop()
            raise Unreachable(f"Kafka at {self._servers}: {error!r}") from error

    def _lost(self, partitions: Iterable[TopicPartition]) -> PositionLost:
        return PositionLost({str(Partition(*at)): self._positions.get(at, -1) for at in partitions})

    def _drop(self) -> None:
        for client in (self._reader, self._asker):
            if client is not None:
                kafka_client.close(client)
        self._reader = self._asker = self._committing = None


class _Commit:
    """A commit on its way."""

    def __init__(self, future: Any, deadline: float) -> None:
        self._deadline = deadline
        self._done = threading.Event()
        future.add_both(lambda _: self._done.set())

    def is_over(self, now: float) -> bool:
        return self._done.is_set() or now > self._deadline

    def wait(self, seconds: float) -> None:
        self._done.wait(seconds)


def _names_last_batch(answer: Any) -> bool:
    """Whether a broker, asked for the end, tells where the last batch begins instead, with its time.

    Kafka answers without a time. The embedded broker (Tansu 0.6) does this.
    """
    return bool(answer.timestamp >= 0)


def _batch(partition: Partition, records: Sequence[Any]) -> RecordBatch:
    columns = dict(zip(records[0]._fields, zip(*records, strict=True), strict=True))
    headers = [_headers(found) for found in columns["headers"]] if any(columns["headers"]) else None
    return RecordBatch(partition, columns["offset"], columns["timestamp"], columns["key"], columns["value"], headers)


def _headers(headers: Sequence[tuple[str, bytes | None]]) -> Sequence[tuple[str, bytes]]:
    """A header without a value is as good as one with an empty value."""
    return tuple((name, value or b"") for name, value in headers) if headers else ()


def _without_errors(topics: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    for topic in topics:
        if topic["error_code"]:
            raise kafka_errors.for_code(topic["error_code"])(f"topic {topic['name']}")
    return topics


def _check(client: Mapping[str, object]) -> None:
    if ours := sorted(_OURS & client.keys()):
        raise Refused(f"these settings of the Kafka client are set by retrainer itself: {', '.join(ours)}")
    if unknown := sorted(client.keys() - KafkaConsumer.DEFAULT_CONFIG.keys()):
        raise Refused(f"the Kafka client knows no such settings: {', '.join(unknown)}")
