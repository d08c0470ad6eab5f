"""What every `EventLog` promises about partitions that are told to wait."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from random import Random

import pytest

from retrainer.adapters.kafka import log as kafka_module
from retrainer.domain.events import Partition, Record
from retrainer.ports.event_log import EventLog, Extent
from tests.contract.event_logs import EmbeddedRig, Rig, read
from tests.waiting import eventually


@pytest.fixture
def sipping(rig: Rig) -> Iterator[EventLog]:
    """A reader that has more fetched than a poll brings."""
    yield rig.log(batch=100)
    if isinstance(rig, EmbeddedRig):
        rig.close_logs()


def read_some(log: EventLog) -> list[Record]:
    """What the next poll that finds anything brings."""
    return eventually(lambda: [record for batch in log.poll(0.25) for record in batch.records()])


def fill(rig: Rig, partitions: Sequence[Partition], records: int) -> None:
    """Each record says where it stands."""
    for at in partitions:
        for first in range(0, records, 1000):
            rig.append(at, *(b"%d" % number for number in range(first, min(first + 1000, records))))


def left_and_right(rig: Rig, records: int = 20) -> tuple[Partition, Partition]:
    topic = rig.topic(partitions=2)
    left, right = Partition(topic, 0), Partition(topic, 1)
    fill(rig, [left, right], records)
    return left, right


def test_a_held_partition_waits_while_others_go_on(rig: Rig, log: EventLog) -> None:
    left, right = left_and_right(rig)
    log.assign({left: 5, right: 5})
    log.pause([left])
    assert {record.partition for record in read(log, 15)} == {right}
    rig.append(right, b"more")
    assert [(record.partition, record.value) for record in read(log, 1)] == [(right, b"more")]
    assert log.poll(0.3) == []
    log.pause([])
    assert [(record.partition, record.offset) for record in read(log, 15)] == [(left, n) for n in range(5, 20)]


def test_whoever_is_held_in_the_middle_goes_on_there(rig: Rig, sipping: EventLog) -> None:
    """Also with what the client had fetched of it before."""
    left, right = left_and_right(rig, 300)
    log = sipping
    log.assign({left: 0, right: 0})
    some = [record for _ in range(4) for record in read_some(log)]
    first = some[0].partition
    log.pause([first])
    other = right if first == left else left
    come = sum(record.partition == other for record in some)
    rest = read(log, 300 - come) if come < 300 else []
    assert {record.partition for record in rest} <= {other}
    log.pause([other])
    last = read(log, 300 - sum(record.partition == first for record in some))
    both = [*some, *rest, *last]
    for at in (left, right):
        assert [record.offset for record in both if record.partition == at] == list(range(300))


def test_when_all_are_held_nothing_comes_until_they_are_released(rig: Rig, log: EventLog) -> None:
    left, right = left_and_right(rig)
    log.assign({left: 0, right: 0})
    log.pause([left, right])
    start = time.monotonic()
    assert log.poll(0.5) == []
    assert 0.45 < time.monotonic() - start < 2
    log.pause([right])
    assert {record.partition for record in read(log, 20)} == {left}
    log.pause([left, right])
    assert log.poll(0.3) == []
    log.pause([])
    assert {record.partition for record in read(log, 20)} == {right}


def test_what_is_held_is_what_was_named_last(rig: Rig, log: EventLog) -> None:
    left, right = left_and_right(rig)
    log.assign({left: 0, right: 0})
    log.pause([left])
    log.pause([right])
    log.pause([right])
    assert {record.partition for record in read(log, 20)} == {left}
    assert log.poll(0.3) == []


def test_an_assignment_forgets_what_was_held(rig: Rig, log: EventLog) -> None:
    left, right = left_and_right(rig)
    log.assign({left: 0, right: 0})
    log.pause([left, right])
    log.poll(0)
    log.assign({left: 0, right: 10})
    assert len(read(log, 30)) == 30


def test_what_is_held_has_ends_and_extents(rig: Rig, log: EventLog) -> None:
    left, right = left_and_right(rig)
    log.assign({left: 0, right: 0})
    log.pause([left])
    read(log, 20)
    rig.append(left, b"more")
    # One that was not read yet may have no end that is known; it has none that is wrong.
    assert log.ends() in ({left: 21, right: 20}, {right: 20})
    extents = {left: Extent(first=0, end=21), right: Extent(first=0, end=20)}
    assert log.extents([left, right]) == extents
    log.pause([left, right])
    assert log.ends() in ({left: 21, right: 20}, {left: 21}, {right: 20}, {})
    log.pause([])
    read(log, 21)
    assert log.ends() == {left: 21, right: 20}


def test_a_partition_at_its_end_may_be_held_and_goes_on(rig: Rig, log: EventLog) -> None:
    left, right = left_and_right(rig)
    log.assign({left: 0, right: 0})
    read(log, 40)
    log.pause([left])
    assert log.poll(0.2) == []
    rig.append(left, b"later")
    assert log.poll(0.5) == []
    log.pause([])
    assert [(record.partition, record.offset) for record in read(log, 1)] == [(left, 20)]


def test_a_held_partition_is_not_taken_for_one_that_hangs(
    rig: Rig, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka's adapter makes its client anew where a partition stays silent that has more."""
    monkeypatch.setattr(kafka_module, "_STALLED_AFTER_SECONDS", 0.2)
    left, right = left_and_right(rig)
    log.assign({left: 0, right: 0})
    read(log, 40)
    reader = getattr(log, "_reader", None)
    log.pause([left])
    rig.append(left, b"more")
    rig.append(left, b"more")
    for _ in range(5):
        assert log.poll(0.1) == []
        assert log.ends()[right] == 20
    log.pause([])
    log.ends()  # it has not stood still for as long as it was held
    assert [record.offset for record in read(log, 2)] == [20, 21]
    assert getattr(log, "_reader", None) is reader


def test_whatever_is_held_and_released_nothing_is_lost_and_nothing_comes_twice(rig: Rig, sipping: EventLog) -> None:
    topic = rig.topic(partitions=4)
    partitions = [Partition(topic, number) for number in range(4)]
    fill(rig, partitions, 5000)
    random = Random(4)
    log = sipping
    log.assign(dict.fromkeys(partitions, 0))
    read_to = dict.fromkeys(partitions, 0)
    deadline = time.monotonic() + 60
    held: list[Partition] = []
    while any(position < 5000 for position in read_to.values()):
        assert time.monotonic() < deadline, read_to
        if random.random() < 0.7:
            held = random.sample(partitions, random.choice([0, 0, 1, 2, 3, 4]))
            log.pause(held)
        for batch in log.poll(random.choice([0, 0.01, 0.05])):
            assert batch.partition not in held
            offsets = list(batch.offsets)
            assert offsets == list(range(read_to[batch.partition], read_to[batch.partition] + len(offsets)))
            assert batch.values[0] == b"%d" % offsets[0]
            read_to[batch.partition] = batch.next_offset
        if random.random() < 0.05:
            log.ends()
    assert read_to == dict.fromkeys(partitions, 5000)
