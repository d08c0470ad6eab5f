"""Outcomes in columns against the rules of the join, asked row by row; and when slots close."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrainer.domain.answers import with_score
from retrainer.domain.events import Label, Origin, Partition, Prediction
from retrainer.domain.join.cells import CellSum
from retrainer.domain.join.codes import Codes
from retrainer.domain.join.rules import Absent, Entry, JoinPolicy, outcome_of, standing
from retrainer.domain.join.watermark import EventClock
from retrainer.domain.tally.arrivals import ArrivalPolicy
from retrainer.domain.tally.tallies import TallyKey
from retrainer.domain.values import SECOND, SLOT_WIDTH, slot_of
from retrainer.replay.table.counting import SlotCounter
from retrainer.replay.table.flow import Flow, SlotsClosed, known_outcomes, known_since, rounds
from retrainer.replay.table.learning import Served
from retrainer.replay.table.table import MISSING, Classes, Table
from retrainer.replay.table.times import NEVER
from retrainer.replay.table.values import LabelCodes
from retrainer.training.form import Form
from tests.effort import much

HERE = Partition("t", 0)
START = 1_000 * SLOT_WIDTH


def table_of(gaps: list[int], delays: list[int | None], labels: list[int], warm: int = 1) -> Table:
    times = START + SECOND * np.cumsum(np.array(gaps, dtype=np.int64))
    late = np.array([NEVER if delay is None else delay * SECOND for delay in delays], dtype=np.int64)
    return Table(
        name="table",
        features=pd.DataFrame({"a": range(len(gaps))}),
        classes=Classes(texts=("no", "yes"), values=pa.array(["no", "yes"])),
        labels=np.where(late == NEVER, MISSING, np.array(labels)).astype(np.int32),
        times=times,
        arrivals=np.where(late == NEVER, NEVER, times + np.where(late == NEVER, 0, late)),
        warm=warm,
    )


def entry_of(table: Table, row: int, answer: str, version: str) -> Entry:
    """The row as the events that the service would have got."""
    time, due = int(table.times[row]), int(table.arrivals[row])
    prediction = Prediction(id=str(row), time=time, value=answer, version=version, origin=Origin("t", 0, row))
    if due == NEVER:
        return Entry(prediction=prediction)
    label = Label(id=str(row), time=due, value=table.classes.texts[table.labels[row]], origin=Origin("t", 0, row))
    return Entry(prediction=prediction, labels=(label,))


ROWS = st.lists(
    st.tuples(st.integers(0, 90), st.none() | st.integers(0, 700), st.integers(0, 1), st.integers(0, 1)),
    min_size=2,
    max_size=12,
)
ABSENT = st.none() | st.builds(Absent, after=st.integers(0, 400).map(lambda s: s * SECOND), value=st.just("no"))


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What labels can be, and what models answer."""

    form: Form = field(default_factory=Form)
    texts: tuple[str, ...] = ("no", "yes")
    answers: tuple[str, ...] = ("no", "yes")

    def of(self, table: Table) -> Table:
        classes = Classes(texts=self.texts, values=pa.array(self.texts))
        return replace(table, classes=classes, task=self.form.task)

    def absent(self, policy: Absent | None) -> Absent | None:
        return None if policy is None else replace(policy, value=self.texts[0])


SURE = tuple(with_score(*one) for one in (("no", 0.31), ("yes", 0.77), ("yes", 1.0), ("no", 0.000123)))
SHARES = tuple(with_score("yes" if p > 0.5 else "no", {"no": 1 - p, "yes": p}) for p in (0.5, 0.51, 1.0, 0.0))
KINDS = (
    Kind(),
    Kind(form=Form(scores="if_given", positive="yes"), answers=SURE),
    Kind(form=Form(scores="if_given"), answers=SHARES),
    Kind(form=Form(task="regression"), texts=("2", "3.5"), answers=("2", "-1", "3.25", "400")),
)


@settings(max_examples=much(250), deadline=None)
@given(rows=ROWS, absent=ABSENT, ahead=st.integers(0, 30), kind=st.sampled_from(KINDS))
def test_what_a_table_tallies_is_what_the_join_would(
    rows: list[tuple[int, int | None, int, int]], absent: Absent | None, ahead: int, kind: Kind
) -> None:
    join = JoinPolicy(max_delay=600 * SECOND, lateness=60 * SECOND, absent=kind.absent(absent))
    table = table_of([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
    table = kind.of(table.within(join.max_delay))
    values = LabelCodes(kind.form, table)
    given_ = [kind.answers[(row[0] + row[3]) % len(kind.answers)] for row in rows]
    served = Served(versions=np.ones(len(rows), np.int32), answers=values.codes_of(given_))
    served.versions[: table.warm] = 0
    first_open = slot_of(int(table.times[-1])) + ahead
    arriving = ArrivalPolicy(width=3, positive=kind.form.positive, task=kind.form.task)

    found: Counter[TallyKey] = Counter()
    counting = SlotCounter(table=table, flow=Flow.of(table, join), served=served, values=values, width=arriving.width)
    for slot, closed in counting.slots(0, first_open, len(table)):
        tallies = [*closed.outcomes, *((key.in_tallies, n) for key, n in closed.arrived)]
        assert all(key.slot == slot for key, _ in tallies)
        assert not found.keys() & dict(tallies).keys()
        found.update(dict(tallies))

    cells = CellSum(kind.form.expand)
    for row in range(len(rows)):
        entry = entry_of(table, row, given_[row], str(served.versions[row]))
        predicted = row >= table.warm
        for key, n in standing(join, entry, first_open, arriving if predicted else None).cells.items():
            cells.add(key, n)
    wanted = cells.drain(Codes(), Codes())
    assert {key: n for key, n in found.items() if n} == {
        key: n for key, n in wanted.items() if n and key.slot < first_open
    }


@settings(max_examples=much(150), deadline=None)
@given(rows=ROWS, absent=ABSENT, later=st.integers(0, 20))
def test_what_can_be_learned_from_is_what_the_join_knows(
    rows: list[tuple[int, int | None, int, int]], absent: Absent | None, later: int
) -> None:
    join = JoinPolicy(max_delay=600 * SECOND, lateness=60 * SECOND, absent=absent)
    table = table_of([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
    table = table.within(join.max_delay)
    known_by = START + later * SLOT_WIDTH
    wanted = []
    for row in range(len(table)):
        entry = entry_of(table, row, "no", "1")
        known = tuple(label for label in entry.labels if label.time < known_by)
        outcome = outcome_of(join, entry._replace(labels=known), slot_of(known_by))
        if table.times[row] < known_by and outcome is not None:
            wanted.append((row, outcome.value, outcome.known_at))
    at, truth = known_outcomes(table, join, known_by)
    since = known_since(table, join, at, known_by)
    texts = [table.classes.texts[code] for code in truth]
    assert list(zip(at.tolist(), texts, since.tolist(), strict=True)) == wanted


@settings(max_examples=much(100), deadline=None)
@given(rows=ROWS, lateness=st.integers(0, 200))
def test_slots_close_as_they_would_behind_the_watermark(
    rows: list[tuple[int, int | None, int, int]], lateness: int
) -> None:
    table = table_of([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
    begin, end = int(table.times[table.warm]), int(table.times[-1])
    events = sorted(
        time for time in (*table.times[table.warm :].tolist(), *table.arrivals.tolist()) if begin <= time <= end
    )
    clock = EventClock([HERE], lateness * SECOND)
    wanted: list[SlotsClosed] = []
    for time in events:
        clock.saw(HERE, time)
        watermark = clock.watermark([])
        assert watermark is not None
        if not wanted or slot_of(watermark) > wanted[-1].first_open:
            wanted.append(SlotsClosed(now=time, first_open=slot_of(watermark), rows=int((table.times <= time).sum())))
    assert list(rounds(table, lateness * SECOND)) == wanted


def test_what_absence_means_has_to_be_a_class_of_the_table() -> None:
    join = JoinPolicy(max_delay=600 * SECOND, lateness=0, absent=Absent(after=SECOND, value="never"))
    with pytest.raises(Exception, match=r"labels\.absent says never, but the labels are no, yes"):
        Flow.of(table_of([1, 1], [None, 0], [0, 1]), join)


def test_what_absence_means_may_be_a_number_that_no_label_is() -> None:
    join = JoinPolicy(max_delay=600 * SECOND, lateness=0, absent=Absent(after=60 * SECOND, value="0"))
    numbers = Kind(form=Form(task="regression"), texts=("2", "3.5"))
    table = numbers.of(table_of([1, 1], [None, 0], [0, 1])).with_number("0")
    flow = Flow.of(table, join)
    assert [table.classes.texts[code] for code in flow.truth] == ["3.5", "0"]
    assert table.classes.column(table.labels).to_pylist() == [None, "3.5"]


def test_a_label_that_is_too_late_does_not_count() -> None:
    join = JoinPolicy(max_delay=600 * SECOND, lateness=0)
    table = table_of([1, 1, 1], [600, 601, 0], [0, 1, 1])
    assert len(Flow.of(table.within(join.max_delay), join).at) == 2
    assert replace(table, warm=0).within(join.max_delay).arrivals[1] == NEVER
