"""What every `EventLog` promises."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from retrainer.domain.events import Partition, Record
from retrainer.errors import PositionLost, Unreachable
from retrainer.ports.event_log import EventLog, Extent
from tests.contract.event_logs import Rig, read
from tests.waiting import eventually


@pytest.fixture
def at(rig: Rig) -> Partition:
    """The only partition of a new topic."""
    return Partition(rig.topic(), 0)


# Reading


def test_records_come_in_the_order_of_their_offsets(rig: Rig, log: EventLog, at: Partition) -> None:
    rig.append(at, *(b"%d" % number for number in range(500)))
    rig.append(at, b"last")
    log.assign({at: 0})
    records = read(log, 501)
    assert [record.offset for record in records] == list(range(501))
    assert [record.value for record in records] == [*(b"%d" % number for number in range(500)), b"last"]


def test_reading_begins_at_exactly_the_position(rig: Rig, log: EventLog, at: Partition) -> None:
    rig.append(at, *(b"%d" % number for number in range(10)))  # the position lies within a batch
    log.assign({at: 7})
    assert [record.value for record in read(log, 3)] == [b"7", b"8", b"9"]


def test_an_earlier_position_is_read_again(rig: Rig, log: EventLog, at: Partition) -> None:
    rig.append(at, *(b"%d" % number for number in range(10)))
    log.assign({at: 0})
    once = read(log, 10)
    log.assign({at: 4})
    assert read(log, 6) == once[4:]


def test_what_is_written_later_follows(rig: Rig, log: EventLog, at: Partition) -> None:
    log.assign({at: 0})
    assert log.poll(0) == []
    rig.append(at, b"first")
    assert [record.value for record in read(log, 1)] == [b"first"]
    rig.append(at, b"second")
    assert [(record.offset, record.value) for record in read(log, 1)] == [(1, b"second")]


def test_a_poll_without_records_lasts_its_timeout(rig: Rig, log: EventLog, at: Partition) -> None:
    log.assign({at: 0})
    log.poll(0)
    start = time.monotonic()
    assert log.poll(0.5) == []
    assert 0.45 < time.monotonic() - start < 2


def test_polling_without_partitions_finds_nothing(log: EventLog) -> None:
    log.assign({})
    assert log.poll(0.05) == []
    assert log.ends() == {}


def test_records_are_as_they_were_written(rig: Rig, log: EventLog, at: Partition) -> None:
    now = time.time_ns() // 1_000_000
    headers = [("trace", b"\x00\xff"), ("trace", b"again"), ("empty", b"")]
    large = bytes(range(256)) * 4000  # about as large as Kafka takes them by default
    rig.append(at, b"value", key=b"key", timestamp=now, headers=headers)
    rig.append(at, None, key=b"removed")
    rig.append(at, b"")
    rig.append(at, large)
    log.assign({at: 0})
    full, tombstone, empty, big = read(log, 4)
    assert full == Record(at, 0, now, b"key", b"value", tuple(headers))
    assert (tombstone.key, tombstone.value, tombstone.headers) == (b"removed", None, ())
    assert (empty.key, empty.value) == (None, b"")
    assert big.value == large
    assert all(type(record.partition) is Partition for record in (full, tombstone, empty, big))


def test_every_partition_is_read_in_its_own_order(rig: Rig, log: EventLog) -> None:
    topic, other = rig.topic(partitions=3), rig.topic()
    partitions = [*(Partition(topic, number) for number in range(3)), Partition(other, 0)]
    for at in partitions:
        rig.append(at, *(str(at).encode() for _ in range(20)))
    log.assign(dict.fromkeys(partitions, 5))
    records = read(log, 60)
    assert {record.partition for record in records} == set(partitions)
    assert all(record.value == str(record.partition).encode() for record in records)


def test_only_what_is_assigned_now_is_read(rig: Rig, log: EventLog) -> None:
    topic = rig.topic(partitions=2)
    left, right = Partition(topic, 0), Partition(topic, 1)
    rig.append(left, b"left", b"left")
    rig.append(right, b"right")
    log.assign({left: 0, right: 0})
    read(log, 3)
    rig.append(left, b"more")
    log.assign({right: 0})
    assert [record.value for record in read(log, 1)] == [b"right"]
    assert log.poll(0.5) == []
    assert set(log.ends()) == {right}


def test_offsets_without_a_record_are_passed_over(rig: Rig, log: EventLog, at: Partition) -> None:
    rig.append(at, b"first")
    rig.leave_gap(at)
    rig.append(at, b"second")
    rig.leave_gap(at)
    log.assign({at: 0})
    first, second = read(log, 2)
    assert (first.offset, first.value) == (0, b"first")
    assert (second.offset, second.value) == (3, b"second")
    # Nothing readable follows: the reader is at the end, though the log's own end lies further on.
    eventually(lambda: log.poll(0.1) == [] and log.ends() == {at: 4})
    assert log.extents([at]) == {at: Extent(first=0, end=6)}


def test_a_position_beyond_the_end_is_lost(rig: Rig, log: EventLog, at: Partition) -> None:
    rig.append(at, b"only")
    log.assign({at: 100})
    with pytest.raises(PositionLost) as lost:
        read(log, 1)
    assert lost.value.positions == {str(at): 100}


def test_a_position_before_the_first_is_lost(rig: Rig, log: EventLog, at: Partition) -> None:
    rig.append(at, b"0", b"1", b"2")
    rig.truncate_before(at, 2)
    log.assign({at: 1})
    with pytest.raises(PositionLost) as lost:
        read(log, 1)
    assert lost.value.positions == {str(at): 1}
    log.assign({at: 2})
    assert [record.value for record in read(log, 1)] == [b"2"]


def test_a_position_at_the_end_is_not_lost(rig: Rig, log: EventLog, at: Partition) -> None:
    rig.append(at, b"0", b"1")
    log.assign({at: 2})
    assert log.poll(0.5) == []
    rig.append(at, b"2")
    assert [record.value for record in read(log, 1)] == [b"2"]


# Asking


def test_topics_are_described_with_their_partitions_and_ids(rig: Rig, log: EventLog) -> None:
    one, two = rig.topic(), rig.topic(partitions=2)
    described = log.describe([one, two])
    assert set(described) == {Partition(one, 0), Partition(two, 0), Partition(two, 1)}
    assert all(described.values())
    assert described[Partition(two, 0)] == described[Partition(two, 1)] != described[Partition(one, 0)]
    assert log.describe([two, one]) == described


def test_a_topic_that_does_not_exist_is_named(rig: Rig, log: EventLog) -> None:
    with pytest.raises(Unreachable, match="nothing-here"):
        log.describe([rig.topic(), "nothing-here"])
    with pytest.raises(Unreachable, match="nothing-here"):
        log.extents([Partition("nothing-here", 0)])


def test_a_topic_that_has_grown_shows_it(rig: Rig, log: EventLog) -> None:
    topic = rig.topic(partitions=1)
    rig.append(Partition(topic, 0), b"old")
    log.assign({Partition(topic, 0): 0})
    read(log, 1)
    before = log.describe([topic])
    rig.grow(topic, 3)
    after = log.describe([topic])
    assert set(after) == {Partition(topic, number) for number in range(3)}
    assert set(after.values()) == set(before.values())
    rig.append(Partition(topic, 2), b"new")
    log.assign({Partition(topic, 0): 1, Partition(topic, 2): 0})
    assert [record.value for record in read(log, 1)] == [b"new"]


def test_extents_say_what_a_partition_holds(rig: Rig, log: EventLog) -> None:
    topic = rig.topic(partitions=2)
    filled, empty = Partition(topic, 0), Partition(topic, 1)
    rig.append(filled, b"0", b"1", b"2")
    rig.append(filled, b"3", b"4", b"5")
    expected = {filled: Extent(first=0, end=6), empty: Extent(first=0, end=0)}
    assert log.extents([filled, empty]) == expected


def test_extents_shrink_with_retention(rig: Rig, log: EventLog, at: Partition) -> None:
    rig.append(at, b"0", b"1", b"2")
    rig.truncate_before(at, 2)
    assert log.extents([at]) == {at: Extent(first=2, end=3)}


def test_ends_grow_with_the_log(rig: Rig, log: EventLog, at: Partition) -> None:
    rig.append(at, b"0", b"1")
    log.assign({at: 0})
    read(log, 2)
    assert log.ends() == {at: 2}
    rig.append(at, b"2")
    rig.append(at, b"3")
    assert log.ends()[at] >= 3  # the embedded broker may not have told of the last batch yet
    read(log, 2)
    assert log.ends() == {at: 4}


def test_earliest_and_latest(rig: Rig, log: EventLog) -> None:
    topic = rig.topic(partitions=2)
    filled, empty = Partition(topic, 0), Partition(topic, 1)
    rig.append(filled, b"0", b"1", b"2")
    assert log.starting_positions([filled, empty], "earliest") == {filled: 0, empty: 0}
    assert log.starting_positions([filled, empty], "latest") == {filled: 3, empty: 0}


def test_the_earliest_position_follows_retention(rig: Rig, log: EventLog, at: Partition) -> None:
    rig.append(at, b"0", b"1", b"2")
    rig.truncate_before(at, 1)
    assert log.starting_positions([at], "earliest") == {at: 1}


def test_a_start_by_time(rig: Rig, log: EventLog) -> None:
    topic = rig.topic(partitions=2)
    filled, empty = Partition(topic, 0), Partition(topic, 1)
    before = datetime.now(UTC)
    rig.append(filled, b"0", b"1")
    wait_a_millisecond()
    between = datetime.now(UTC)
    wait_a_millisecond()
    rig.append(filled, b"2", b"3")
    wait_a_millisecond()

    def start(moment: datetime | timedelta) -> int:
        positions = log.starting_positions([filled, empty], moment)
        assert positions[empty] == 0
        return positions[filled]

    assert start(before) == 0
    assert start(between) == 2
    assert start(datetime.now(UTC)) == 4
    assert start(datetime.now(UTC) + timedelta(hours=1)) == 4
    assert start(timedelta(days=1)) == 0
    assert start(timedelta()) == 4


def test_a_start_before_all_time(rig: Rig, log: EventLog, at: Partition) -> None:
    rig.append(at, b"0")
    assert log.starting_positions([at], datetime(1969, 12, 31, tzinfo=UTC)) == {at: 0}
    assert log.starting_positions([at], timedelta(days=365 * 100)) == {at: 0}


# Committing and closing


def test_commits_are_seen_by_lag_tools(rig: Rig, log: EventLog, at: Partition) -> None:
    rig.append(at, b"0", b"1")
    log.assign({at: 0})
    read(log, 2)
    log.commit_offsets({at: 1})
    eventually(lambda: rig.committed(log, at) == 1)
    log.commit_offsets({at: 2})
    log.close()
    assert rig.committed(log, at) == 2


def test_a_commit_does_not_move_the_reader(rig: Rig, log: EventLog, at: Partition) -> None:
    rig.append(at, b"0", b"1")
    log.assign({at: 0})
    log.commit_offsets({at: 2})
    assert [record.value for record in read(log, 2)] == [b"0", b"1"]


def test_closing_is_quick_and_needs_no_opening(log: EventLog) -> None:
    start = time.monotonic()
    log.close()
    assert time.monotonic() - start < 3


def wait_a_millisecond() -> None:
    """Times of records have no finer grain."""
    start = time.time_ns() // 1_000_000
    eventually(lambda: time.time_ns() // 1_000_000 > start + 1)
