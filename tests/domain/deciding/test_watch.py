"""Watching a champion: whose outcomes count, what is told, and that restarts and rounds change nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.deciding.memory import ModelMemory
from retrainer.domain.deciding.watch import (
    DEFAULT_WINDOW,
    Fact,
    MetricUpdated,
    TriggerChanged,
    Watch,
    WatchPolicy,
)
from retrainer.domain.metrics.registry import Estimate, estimate
from retrainer.domain.metrics.windows import CountWindow, History, TimeWindow, Window
from retrainer.domain.tally.tallies import WHOLE, TallyKey, by_slot
from retrainer.domain.triggers.base import Level, Reading, Trigger
from retrainer.domain.triggers.threshold import Threshold
from retrainer.domain.values import Slot
from tests.domain.making import MINUTE, quick, restored, thorough
from tests.plain import plain_change, plain_threshold

Cells = Counter[tuple[str, str]]
TEN = CountWindow(outcomes=10)
LOW = plain_threshold(metric="accuracy", window=TEN, below=0.5, warn_below=0.8)
CHAMPION = ModelMemory().for_champion("3", 0)


def outcomes(hits: int, misses: int = 0) -> Cells:
    return Cells({("x", "x"): hits, ("x", "y"): misses})


class Watched:
    """A watch, and the memory that belongs to it."""

    def __init__(self, policy: WatchPolicy, memory: ModelMemory) -> None:
        self.policy = policy
        self.memory = memory
        self.watch = Watch(policy, memory.seen)

    def remember(self, slot: Slot, cells: Cells, *, counted: bool) -> None:
        self.memory = self.watch.remember(self.memory, slot, cells, counted=counted)

    def close(self, slot: Slot, cells: Cells) -> list[Fact]:
        self.memory, facts = self.watch.close_slot(self.memory, slot, cells)
        return list(facts)


def watch(memory: ModelMemory = CHAMPION, *metrics: str, **triggers: Trigger) -> Watched:
    return Watched(WatchPolicy(metrics=metrics or ("accuracy",), triggers=triggers or {"low": LOW}), memory)


def told(found: Watched, *slots: Cells) -> list[Fact]:
    return [fact for slot, cells in enumerate(slots) for fact in found.close(slot, cells)]


def key(version: str = "3", *, slot: Slot = 0, part: str = WHOLE) -> TallyKey:
    return TallyKey(version, part, slot, "x", "x")


class TestWhoseOutcomes:
    def test_those_of_the_champions_version(self) -> None:
        assert CHAMPION.is_champions(key("3"))
        assert not CHAMPION.is_champions(key("2"))

    def test_without_a_version_those_from_its_promotion_on(self) -> None:
        found = ModelMemory().for_champion("3", 5 * MINUTE + 1)
        assert [slot for slot in range(10) if found.is_champions(key("", slot=slot))] == [5, 6, 7, 8, 9]
        assert found.is_champions(key("3", slot=0))

    def test_without_a_version_all_where_the_champion_was_there_from_the_beginning(self) -> None:
        assert ModelMemory().for_champion("3", None).is_champions(key("", slot=-9))

    def test_all_where_there_is_no_champion(self) -> None:
        found = ModelMemory().for_champion(None, None)
        assert all(found.is_champions(key(version)) for version in ("", "2", "3"))

    @pytest.mark.parametrize("champion", ["3", None])
    def test_a_slice_counts_for_nobody_as_the_whole_does_already(self, champion: str | None) -> None:
        assert not ModelMemory().for_champion(champion, None).is_champions(key("3", part="carrier=AA"))


class TestFacts:
    def test_a_metric_is_told_at_every_tenth_of_a_full_window(self) -> None:
        found = told(
            watch(CHAMPION, quiet=replace(LOW, window=CountWindow(outcomes=20), below=-1.0)), *[outcomes(1)] * 30
        )
        updates = [fact for fact in found if isinstance(fact, MetricUpdated)]
        assert [fact.slot_end // MINUTE for fact in updates] == [20, 22, 24, 26, 28, 30]
        assert updates[0] == MetricUpdated(
            estimate=Estimate(metric="accuracy", value=1.0, n=20, low=updates[0].estimate.low, high=1.0),
            version="3",
            slot_end=20 * MINUTE,
            window="20 outcomes",
        )

    def test_every_metric_that_has_a_value_is_told_and_remembered(self) -> None:
        policy = WatchPolicy(metrics=("f1_macro", "accuracy", "recall"), triggers={"low": LOW}, positive="fraud")
        found = Watched(policy, CHAMPION)
        names = [fact.estimate.metric for fact in found.close(0, outcomes(10)) if isinstance(fact, MetricUpdated)]
        assert names == list(found.memory.metrics) == ["f1_macro", "accuracy"]
        assert found.memory.metric_window == "10 outcomes"

    def test_without_triggers_the_default_window_is_told(self) -> None:
        found = Watched(WatchPolicy(), CHAMPION)
        assert found.close(0, outcomes(999)) == []
        assert [fact.estimate.n for fact in found.close(1, outcomes(1)) if isinstance(fact, MetricUpdated)] == [1000]
        assert found.memory.metric_window == str(DEFAULT_WINDOW)

    def test_a_trigger_is_told_when_it_says_something_else(self) -> None:
        slots = [outcomes(9, 1), outcomes(7, 3), outcomes(6, 4), outcomes(1, 9), outcomes(2, 8), outcomes(10)]
        changes = [
            (fact.name, fact.kind, fact.reading.level, fact.reading.evidence["value"])
            for fact in told(watch(), *slots)
            if isinstance(fact, TriggerChanged)
        ]
        assert changes == [
            ("low", "threshold", Level.WARNED, 0.7),
            ("low", "threshold", Level.FIRED, 0.1),
            ("low", "threshold", Level.QUIET, 1.0),
        ]

    def test_each_trigger_keeps_its_own_state(self) -> None:
        two = replace(LOW, breaches=(2, 2), warn_below=None)
        found = watch(CHAMPION, once=LOW, twice=two)
        told(found, outcomes(1, 9))
        assert {name: reading.level for name, reading in found.memory.readings.items()} == {
            "once": Level.FIRED,
            "twice": Level.WARNED,
        }
        assert [found.memory.level_of(name) for name in ("once", "twice", "unheard_of")] == [
            Level.FIRED,
            Level.WARNED,
            Level.QUIET,
        ]

    def test_a_schedule_that_waits_for_its_job_has_fired(self) -> None:
        assert ModelMemory(latched={"nightly": Reading(level=Level.FIRED)}).level_of("nightly") is Level.FIRED


class TestPromotion:
    def test_the_watch_starts_anew(self) -> None:
        old = watch()
        told(old, outcomes(1, 9), outcomes(1, 9))
        new = Watched(old.policy, old.memory.for_champion("4", 2 * MINUTE))
        assert new.memory == replace(
            ModelMemory().for_champion("4", 2 * MINUTE), metric_window="10 outcomes", total=old.memory.total
        )
        assert new.close(2, outcomes(9)) == []
        assert new.memory.seen == 9

    def test_what_the_model_has_been_through_stays(self) -> None:
        before = ModelMemory(
            champion="3",
            evaluated_until=7,
            total=99,
            latched={"nightly": Reading(level=Level.FIRED)},
            fired_at={"nightly": 5},
            paused="holiday",
            last_decision="hold",
        )
        assert before.for_champion("4", 9) == replace(before, champion="4", known=True, since=9)

    def test_what_the_new_champion_did_before_counts_as_seen(self) -> None:
        found = watch()
        found.remember(0, outcomes(6, 0), counted=False)
        assert found.memory.seen == 6
        facts = found.close(1, outcomes(4))
        assert [fact.estimate.n for fact in facts if isinstance(fact, MetricUpdated)] == [10]


class TestRestart:
    def test_what_was_seen_before_is_not_seen_again(self) -> None:
        memory = replace(CHAMPION, seen=6)
        found = watch(memory)
        found.remember(0, outcomes(6), counted=True)
        assert found.memory.seen == 6
        assert [fact.estimate.n for fact in found.close(1, outcomes(4)) if isinstance(fact, MetricUpdated)] == [10]

    def test_an_empty_slot_is_not_remembered(self) -> None:
        found = watch()
        found.remember(0, Cells(), counted=False)
        assert found.memory == CHAMPION
        assert [fact.estimate.n for fact in told(found, outcomes(10)) if isinstance(fact, MetricUpdated)] == [10]


@pytest.mark.parametrize(("hits", "misses", "like"), [(7, -2, (5, 0)), (-2, 7, (0, 5))])
def test_corrections_of_what_came_before_the_promotion_do_not_stop_the_watch(
    hits: int, misses: int, like: tuple[int, int]
) -> None:
    found, plain = (watch(CHAMPION, shift=plain_change(reference=5)) for _ in range(2))
    found.close(0, outcomes(hits, misses))
    plain.close(0, outcomes(*like))
    learned, expected = (one.memory.triggers["shift"]["sums"] for one in (found, plain))
    assert learned[0] == expected[0] == 5


windows: st.SearchStrategy[Window] = st.builds(CountWindow, outcomes=st.integers(1, 30)) | st.builds(
    lambda minutes: TimeWindow(span=minutes * MINUTE), st.integers(1, 30)
)
quality: st.SearchStrategy[Trigger] = st.one_of(
    st.builds(
        Threshold,
        metric=st.sampled_from(["accuracy", "recall"]),
        window=windows,
        below=st.just(0.6),
        breaches=st.sampled_from([(1, 1), (2, 3)]),
        confident=st.booleans(),
    ),
    st.builds(plain_change, reference=st.integers(5, 20), window=windows),
)
policies = st.builds(
    WatchPolicy,
    metrics=st.just(("accuracy", "f1_macro")),
    triggers=st.dictionaries(st.sampled_from("abc"), quality, max_size=3),
)
Step = tuple[int, int, int]
"""How far a slot is from the one before, its hits and its misses."""
fresh: st.SearchStrategy[Step] = st.tuples(st.integers(1, 3), st.integers(0, 9), st.integers(0, 9)).filter(
    lambda step: step[1] + step[2] > 0
)
corrected: st.SearchStrategy[Step] = st.tuples(st.integers(1, 3), st.integers(-2, 9), st.integers(-2, 9))


def closed(steps: Sequence[Step]) -> list[tuple[Slot, Cells]]:
    slot, found = 0, []
    for step, hits, misses in steps:
        slot += step
        found.append((slot, outcomes(hits, misses)))
    return found


@thorough
@given(policies, st.lists(fresh | corrected, min_size=1, max_size=15), st.data())
def test_facts_are_the_same_however_slots_are_grouped_into_rounds(
    policy: WatchPolicy, steps: list[Step], data: st.DataObject
) -> None:
    whole, parted = Watched(policy, CHAMPION), Watched(policy, CHAMPION)
    before: list[tuple[Slot, Cells]] = []
    for slot, cells in closed(steps):
        if data.draw(st.booleans()):  # the controller is restarted between two rounds
            memory = restored(parted.memory)
            assert memory == parted.memory
            parted = Watched(policy, memory)
            for one in before:
                parted.remember(*one, counted=True)
        assert parted.close(slot, cells) == whole.close(slot, cells)
        assert parted.memory == whole.memory
        before.append((slot, cells))


@quick
@given(st.lists(windows, max_size=3), st.lists(fresh, min_size=1, max_size=15))
def test_no_window_forgets_what_another_needs(wanted: list[Window], steps: list[Step]) -> None:
    policy = WatchPolicy(triggers={str(n): replace(LOW, window=window) for n, window in enumerate(wanted)})
    kept, everything = History(*policy.windows), History(TimeWindow(span=10**9 * MINUTE))
    for slot, cells in closed(steps):
        kept.add(slot, cells)
        everything.add(slot, cells)
        for window in (policy.report_window, *wanted):
            assert kept.view(window) == everything.view(window)


def test_the_first_triggers_window_is_reported() -> None:
    policy = WatchPolicy(triggers={"b": replace(LOW, window=CountWindow(outcomes=7)), "a": LOW})
    assert policy.report_window == CountWindow(outcomes=7)
    assert WatchPolicy().report_window == DEFAULT_WINDOW


def test_tallies_are_told_by_slot_in_order_with_versions_merged() -> None:
    tallies = [(key("3", slot=2), 1), (key("3", slot=1), 4), (key("", slot=2), 2)]
    assert list(by_slot(tallies).items()) == [(1, {("x", "x"): 4}), (2, {("x", "x"): 3})]


def test_an_estimate_that_is_remembered_is_the_one_that_was_told() -> None:
    found = watch()
    told(found, outcomes(7, 3))
    assert found.memory.metrics == {"accuracy": estimate("accuracy", outcomes(7, 3))}
