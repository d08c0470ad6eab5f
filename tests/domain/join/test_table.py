"""The join in columns is the join of the reference, event for event, whatever comes in whichever batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128_intdigest

from retrainer.domain.events import Label, Origin, Prediction
from retrainer.domain.join import cells as cells_module
from retrainer.domain.join import table as index_module
from retrainer.domain.join.counting import WhatIsCounted
from retrainer.domain.join.entries import RETRACTION, packed
from retrainer.domain.join.event_columns import Events
from retrainer.domain.join.rules import Absent, JoinPolicy
from retrainer.domain.join.table import JoinTable
from retrainer.domain.tally.arrivals import ArrivalPolicy
from retrainer.domain.tally.measures import expansion
from retrainer.domain.values import SLOT_WIDTH
from tests.domain.join.reference import ReferenceIndex
from tests.effort import much

MINUTE = SLOT_WIDTH
Event = Prediction | Label
Step = Event | int
"""An event, or the slot before which all are closed."""

POLICIES = [
    JoinPolicy(max_delay=6 * MINUTE, lateness=2 * MINUTE),
    JoinPolicy(max_delay=6 * MINUTE, lateness=2 * MINUTE, corrections="first"),
    JoinPolicy(max_delay=6 * MINUTE, lateness=2 * MINUTE, absent=Absent(after=3 * MINUTE, value="none")),
    JoinPolicy(max_delay=6 * MINUTE, lateness=0, absent=Absent(after=6 * MINUTE, value="a"), corrections="first"),
]


COUNTING = [
    WhatIsCounted(),
    WhatIsCounted(arriving=ArrivalPolicy(width=2)),
    WhatIsCounted(
        expand=expansion("classification", scores="exact", positive="a"),
        arriving=ArrivalPolicy(width=1, positive="a"),
    ),
    WhatIsCounted(
        expand=expansion("regression", scores="none", positive=None), arriving=ArrivalPolicy(width=5, task="regression")
    ),
]
ANSWERS = ["a", "b", "a\x1f0.5", "b\x1f0.5", "b\x1f0.93", 'a\x1f{"a":1,"b":0}', 'b\x1f{"a":1}', "1", "2.5"]
TRUTHS = ["a", "b", "1", None]


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    key, offset = draw(st.integers(0, 7)), draw(st.integers(0, 10**6))
    return Prediction(
        str(key),
        (2 * key + draw(st.integers(0, 3))) * MINUTE + draw(st.sampled_from([0, 1, MINUTE - 1])),
        Origin("predictions", draw(st.integers(0, 2)), offset),
        draw(st.sampled_from(ANSWERS)),
        draw(st.sampled_from(["1", "2"])),
        draw(st.sampled_from([(), ("x",), ("x", "y=1")])),
    )


@st.composite
def labels(draw: st.DrawFn) -> Label:
    key, offset = draw(st.integers(0, 7)), draw(st.integers(0, 10**6))
    time = (2 * key + draw(st.integers(-9, 11))) * MINUTE + draw(st.sampled_from([0, 1, MINUTE - 1]))
    origin = Origin("labels", draw(st.integers(0, 2)), offset)
    return Label(str(key), time, origin, draw(st.sampled_from(TRUTHS)))


CLOSES = st.integers(-5, 40)
STEPS = st.lists(st.one_of(predictions(), labels(), labels(), CLOSES), max_size=60)


@dataclass
class Fed:
    """A table that takes events as the reference does."""

    table: JoinTable

    def take(self, batch: Sequence[Prediction | Label]) -> None:
        for kind, some in groupby(batch, key=type):
            events = self._columns(list(some))
            (self.table.add_predictions if kind is Prediction else self.table.add_labels)(events)

    def _columns(self, batch: Sequence[Prediction | Label]) -> Events:
        keys = [xxh3_128_intdigest(one.id.encode()) for one in batch]
        groups = [
            self.table.groups.of((one.version, one.slices)) if isinstance(one, Prediction) else -1 for one in batch
        ]
        return Events(
            np.array([key >> 64 for key in keys], np.uint64),
            np.array([key % 2**64 for key in keys], np.uint64),
            np.array([one.time for one in batch], np.int64),
            np.array([packed(one.origin.partition, one.origin.offset) for one in batch], np.uint64),
            np.array([RETRACTION if one.value is None else self.table.values.of(one.value) for one in batch], np.int32),
            np.array(groups, np.int32),
        )


def feed(fed: Fed, reference: ReferenceIndex, steps: Sequence[Step], sizes: Sequence[int]) -> None:
    """The same to both; the table in batches of these sizes, again and again."""
    waiting: list[Prediction | Label] = []
    size = 0
    for step in steps:
        if isinstance(step, int):
            fed.take(waiting)
            waiting = []
            fed.table.close_before(step)
            reference.close_before(step)
            continue
        waiting.append(step)
        (reference.add_prediction if isinstance(step, Prediction) else reference.add_label)(step)  # type: ignore[arg-type]  # one each
        if len(waiting) >= sizes[size % len(sizes)]:
            fed.take(waiting)
            waiting = []
            size += 1
    fed.take(waiting)


def facts(join: ReferenceIndex | JoinTable) -> tuple[object, ...]:
    drained = join.drain()
    statuses = {status: n for status, n in drained.statuses.items() if n}
    return statuses, dict(drained.cells), len(join), join.moved_to_open


@settings(max_examples=much(1500), deadline=None)
@given(
    policy=st.sampled_from(POLICIES),
    counting=st.sampled_from(COUNTING),
    steps=STEPS,
    sizes=st.lists(st.integers(1, 20), min_size=1),
    spare=st.sampled_from([0, 0, 3, 100]),
)
def test_it_is_the_reference_in_columns(
    policy: JoinPolicy, counting: WhatIsCounted, steps: list[Step], sizes: list[int], spare: int
) -> None:
    fed, reference = Fed(JoinTable(policy, counting=counting)), ReferenceIndex(policy, counting=counting)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(index_module, "_SPARE_VALUES", spare)
        patched.setattr(cells_module, "_AT_ONCE", 3)
        feed(fed, reference, steps, sizes)
        found = facts(reference)
        note(f"moved: {found[3] != 0}, values forgotten: {fed.table.values.generation > 0}")
        assert facts(fed.table) == found


@settings(max_examples=much(300), deadline=None)
@given(policy=st.sampled_from(POLICIES), before=STEPS, after=STEPS)
def test_it_goes_on_from_its_dump(policy: JoinPolicy, before: list[Step], after: list[Step]) -> None:
    fed, reference = Fed(JoinTable(policy)), ReferenceIndex(policy)
    feed(fed, reference, before, [7])
    assert facts(fed.table) == facts(reference)
    again = JoinTable(policy, fed.table.first_open, fed.table.counting)
    again.restore(fed.table.dump())
    again.moved_to_open = fed.table.moved_to_open
    feed(Fed(again), reference, after, [7])
    assert facts(again) == facts(reference)
