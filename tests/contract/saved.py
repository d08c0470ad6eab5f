"""Tables for snapshots to hold, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrainer.domain.events import Label, Origin, Partition, Prediction
from retrainer.domain.join.ingest import Progress, Remembered
from retrainer.domain.join.rules import JoinPolicy
from retrainer.domain.join.table import JoinTable
from tests.domain.join.test_table import Fed, Step, facts
from tests.service.world import MINUTE

NAME = "000001-00000001.snapshot"
JOIN = JoinPolicy(max_delay=6 * MINUTE, lateness=2 * MINUTE)
AFTER: Sequence[Step] = [
    Label("1", 3 * MINUTE, Origin("labels", 0, 50), "b"),
    Prediction("2", 4 * MINUTE, Origin("predictions", 0, 51), "b", "2", ("x",)),
    9,
    Label("3", 8 * MINUTE, Origin("labels", 0, 52), None),
    30,
]


def table(*steps: Step, join: JoinPolicy = JOIN) -> JoinTable:
    """A table that took these in, drained."""
    one = JoinTable(join)
    ways_on(one, steps)
    return one


def some(key: int, value: str = "a", group: tuple[str, tuple[str, ...]] = ("1", ())) -> Prediction:
    return Prediction(str(key), 2 * MINUTE, Origin("predictions", 0, key), value, *group)


def remembered(table: JoinTable, watermark: int | None = None, **newest: int) -> Remembered:
    return Remembered(
        progress=Progress(watermark=watermark, first_open=table.first_open),
        newest={Partition(topic, 3): time for topic, time in newest.items()},
        table=table.dump(),
    )


def restored(found: Remembered, join: JoinPolicy = JOIN) -> JoinTable:
    again = JoinTable(join, found.progress.first_open)
    again.restore(found.table)
    return again


def ways_on(one: JoinTable, after: Sequence[Step] = AFTER) -> tuple[object, ...]:
    """What becomes of a table as it goes on."""
    fed = Fed(one)
    seen: list[object] = []
    for step in after:
        if isinstance(step, int):
            one.close_before(step)
        else:
            fed.take([step])
        seen.append(facts(one))
    return tuple(seen)


def large(rows: int) -> JoinTable:
    """So many predictions of some versions, a few of them redelivered."""
    held = JoinTable(JOIN)
    numbers = np.arange(rows, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    added = held.rows.add(numbers[::-1], numbers)
    held.rows.state[added] = 1
    for name in ("predicted_at", "answer", "group"):
        getattr(held.rows, name)[added] = 0
    held.values.of("a")
    held.groups.of(("1", ()))
    return held
