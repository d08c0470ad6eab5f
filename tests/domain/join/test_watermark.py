"""How far event time has come, by what has been read of each partition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.events import Partition
from retrainer.domain.join.ingest import IngestPolicy, ModelIngest, Progress
from retrainer.domain.join.rules import JoinPolicy
from retrainer.domain.join.watermark import EventClock
from retrainer.domain.mapping.mapping import EventMapping, Field
from retrainer.domain.values import slot_of
from tests.domain.making import MINUTE, thorough

A, B, C = (Partition("t", number) for number in range(3))
LATENESS = 10


def clock(**newest: int) -> EventClock:
    found = EventClock([A, B], LATENESS)
    for partition, time in newest.items():
        found.saw({"a": A, "b": B, "c": C}[partition], time)
    return found


class TestWatermark:
    def test_is_the_slowest_partitions_newest_time_less_the_lateness(self) -> None:
        assert clock(a=100, b=50).watermark(at_end=[]) == 50 - LATENESS

    def test_a_partition_at_its_end_does_not_hold_it_back(self) -> None:
        assert clock(a=100, b=50).watermark(at_end=[B]) == 100 - LATENESS

    def test_one_that_is_ahead_and_at_its_end_does_not_pull_it_on(self) -> None:
        assert clock(a=100, b=50).watermark(at_end=[A]) == 50 - LATENESS

    def test_when_all_are_at_their_end_it_stands_at_the_newest(self) -> None:
        found = clock(a=100, b=50)
        assert found.watermark(at_end=[A, B]) == 100 - LATENESS
        assert found.watermark(at_end=[A, B]) == 100 - LATENESS

    def test_nothing_can_be_said_while_a_partition_with_more_to_read_has_shown_nothing(self) -> None:
        assert clock(a=100).watermark(at_end=[]) is None
        assert clock(a=100).watermark(at_end=[A]) is None

    def test_an_empty_partition_at_its_end_is_no_hindrance(self) -> None:
        assert clock(a=100).watermark(at_end=[B]) == 100 - LATENESS

    def test_nothing_can_be_said_before_anything_was_read(self) -> None:
        assert clock().watermark(at_end=[A, B]) is None
        assert clock().newest is None

    def test_an_older_event_does_not_take_it_back(self) -> None:
        found = clock(a=100, b=100)
        found.saw(A, 20)
        assert found.watermark(at_end=[]) == 100 - LATENESS

    def test_times_before_1970_are_times(self) -> None:
        found = clock(a=-100, b=-50)
        found.saw(A, 0)
        assert found.watermark(at_end=[]) == -50 - LATENESS
        assert found.newest == 0

    def test_a_partition_that_was_added_holds_it_back_until_it_shows_something(self) -> None:
        found = clock(a=100, b=100)
        found.watch([B, C])
        assert found.watermark(at_end=[]) is None
        found.saw(C, 40)
        assert found.watermark(at_end=[]) == 40 - LATENESS


_MAPPING = EventMapping(topic="t", id=(Field(paths=("id",)),), time=Field(paths=("t",)), value=Field(paths=("v",)))
_POLICY = IngestPolicy(
    model="m", predictions=_MAPPING, labels=_MAPPING, join=JoinPolicy(max_delay=MINUTE, lateness=MINUTE)
)
_reads = st.tuples(st.sampled_from([A, B, C]), st.integers(-10, 60))


@thorough
@given(st.lists(st.tuples(st.lists(_reads, max_size=4), st.sets(st.sampled_from([A, B, C])))))
def test_a_models_watermark_never_goes_back_and_never_passes_what_was_seen(
    rounds: list[tuple[list[tuple[Partition, int]], set[Partition]]],
) -> None:
    model = ModelIngest(_POLICY, [A, B, C], Progress())
    newest, before = None, None
    for reads, at_end in rounds:
        for partition, minute in reads:
            model.clock.saw(partition, minute * MINUTE)
            newest = max(minute * MINUTE, newest if newest is not None else minute * MINUTE)
        model.advance(at_end)
        watermark, first_open = model.progress.watermark, model.progress.first_open
        assert model.clock.newest == newest
        if watermark is None:
            assert before is None
            continue
        assert newest is not None
        assert before is None or watermark >= before
        assert watermark <= newest - MINUTE
        assert first_open == model.table.first_open == slot_of(watermark)
        before = watermark
