"""What every `Snapshots` promises."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrainer.adapters.files.snapshots import LocalSnapshots
from retrainer.adapters.memory.segments import MemorySnapshots
from retrainer.domain.events import Label, Origin, Partition
from retrainer.domain.join.ingest import ModelIngest, Progress, Remembered
from retrainer.domain.join.rows import Extra
from retrainer.domain.join.table import JoinTable
from retrainer.errors import Refused, Unreachable
from retrainer.ports.snapshots import Snapshots
from tests.contract.saved import JOIN, NAME, large, remembered, restored, some, table, ways_on
from tests.domain.join.reference import ReferenceIndex
from tests.domain.join.test_table import STEPS, Fed, Step, feed
from tests.effort import much
from tests.service.world import EPOCH, FLIGHTS, LABELLED, MINUTE, PREDICTED


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "snapshots"


@pytest.fixture(params=["memory", "local"])
def snapshots(request: pytest.FixtureRequest, folder: Path) -> Snapshots:
    return MemorySnapshots() if request.param == "memory" else LocalSnapshots(folder)


# What comes back


def test_models_come_back_each_with_its_own(snapshots: Snapshots) -> None:
    tables = {
        "flights": table(some(1), some(2, "b"), Label("2", MINUTE, Origin("labels", 0, 1), "a")),
        "trains": table(Label("1", MINUTE, Origin("labels", 0, 1), "late")),
        "": table(5, some(9, "c", ("7", ("x", "y=1")))),
    }
    size = snapshots.write(NAME, {name: remembered(one, 7, labels=3) for name, one in tables.items()})
    assert size > 0
    found = snapshots.read(NAME)
    assert list(found) == list(tables)
    for name, one in tables.items():
        assert found[name].progress == Progress(watermark=7, first_open=one.first_open)
        assert found[name].newest == {Partition("labels", 3): 3}
        assert type(next(iter(found[name].newest))) is Partition
        assert ways_on(restored(found[name])) == ways_on(one)


@pytest.mark.parametrize("models", [{}, {"flights": table()}, {"a": table(), "b": table(some(1)), "c": table()}])
def test_what_is_empty_comes_back_empty(snapshots: Snapshots, models: Mapping[str, JoinTable]) -> None:
    snapshots.write(NAME, {name: remembered(one) for name, one in models.items()})
    found = snapshots.read(NAME)
    assert {name: len(restored(one)) for name, one in found.items()} == {name: len(one) for name, one in models.items()}


def test_a_table_that_forgot_everything(snapshots: Snapshots) -> None:
    forgotten = table(some(1), some(2))
    forgotten.close_before(100)
    forgotten.drain()
    snapshots.write(NAME, {"flights": remembered(forgotten)})
    assert len(again := restored(snapshots.read(NAME)["flights"])) == 0
    assert again.first_open == 100


@pytest.mark.parametrize("watermark", [None, 0, -1, 2**62])
@pytest.mark.parametrize("first_open", [None, 0, -(2**40), 2**40])
def test_progress_comes_back(snapshots: Snapshots, watermark: int | None, first_open: int | None) -> None:
    progress = Progress(watermark=watermark, first_open=first_open)
    snapshots.write(NAME, {"flights": Remembered(progress=progress, newest={}, table=table().dump())})
    found = snapshots.read(NAME)["flights"]
    assert (found.progress, found.newest) == (progress, {})


def test_newest_times_come_back(snapshots: Snapshots) -> None:
    newest = {Partition("a", 0): 5, Partition("a", 2**31 - 1): -5, Partition("söme.töpic", 0): 2**62}
    snapshots.write(NAME, {"flights": Remembered(progress=Progress(), newest=newest, table=table().dump())})
    assert snapshots.read(NAME)["flights"].newest == newest


def test_redeliveries_corrections_and_retractions_come_back(snapshots: Snapshots) -> None:
    origin = Origin("labels", 1, 2**47)
    held = table(
        some(1),
        some(1),
        some(1),
        Label("1", 3 * MINUTE, origin, "a"),
        Label("1", 4 * MINUTE, origin, "b"),
        Label("1", 5 * MINUTE, origin, None),
        Label("2", 5 * MINUTE, origin, None),
        Label("3", 5 * MINUTE, origin, "a"),
        Label("3", 5 * MINUTE, origin, "a"),
        some(4),
    )
    snapshots.write(NAME, {"flights": remembered(held)})
    assert ways_on(restored(snapshots.read(NAME)["flights"])) == ways_on(held)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=much(100), deadline=None)
@given(
    values=st.lists(st.text(max_size=8), max_size=5, unique=True),
    groups=st.lists(
        st.tuples(st.text(max_size=5), st.lists(st.text(max_size=5), max_size=3).map(tuple)), max_size=4, unique=True
    ),
    model=st.text(max_size=5),
)
def test_text_of_any_kind_comes_back(
    snapshots: Snapshots, values: list[str], groups: list[tuple[str, tuple[str, ...]]], model: str
) -> None:
    """Among them quotation marks, control characters and whatever lies beyond 16 bits."""
    events = [some(key, value, group) for key, (value, group) in enumerate((v, g) for v in values for g in groups)]
    held = table(*events)
    snapshots.write(NAME, {model: remembered(held)})
    again = restored(snapshots.read(NAME)[model])
    assert (again.values.values, again.groups.values) == (held.values.values, held.groups.values)
    labels = [Label(one.id, 2 * MINUTE, Origin("labels", 0, 0), one.value) for one in events]
    assert ways_on(again, labels) == ways_on(held, labels)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=much(60), deadline=None)
@given(before=STEPS, after=STEPS)
def test_a_table_goes_on_as_if_nothing_had_been(snapshots: Snapshots, before: list[Step], after: list[Step]) -> None:
    fed = Fed(JoinTable(JOIN))
    feed(fed, ReferenceIndex(JOIN), before, [5])
    fed.table.drain()
    fed.table.moved_to_open = 0
    snapshots.write(NAME, {"flights": remembered(fed.table)})
    assert ways_on(restored(snapshots.read(NAME)["flights"]), after) == ways_on(fed.table, after)


def model_of(found: Remembered | None = None) -> ModelIngest:
    return ModelIngest(FLIGHTS, [PREDICTED, LABELLED], Progress(), found)


def test_a_model_goes_on_with_its_clock(snapshots: Snapshots) -> None:
    model = model_of()
    model.clock.saw(PREDICTED, EPOCH + 100 * MINUTE)
    model.clock.saw(LABELLED, EPOCH + 90 * MINUTE)
    model.advance([])
    model.take_delta()
    snapshots.write(NAME, {"flights": model.remember()})
    again = model_of(snapshots.read(NAME)["flights"])
    assert again.progress == model.progress != Progress()
    assert again.clock.seen == model.clock.seen
    for one in (model, again):
        one.clock.saw(LABELLED, EPOCH + 95 * MINUTE)
        one.advance([])
    assert again.progress == model.progress


# Keeping


def test_what_was_read_is_the_readers_own(snapshots: Snapshots) -> None:
    snapshots.write(NAME, {"flights": remembered(table(some(1)))})
    ways_on(restored(snapshots.read(NAME)["flights"]))
    assert len(restored(snapshots.read(NAME)["flights"])) == 1


def test_what_was_written_stays_as_it_was(snapshots: Snapshots) -> None:
    held = table(some(1), some(1))
    snapshots.write(NAME, {"flights": remembered(held)})
    ways_on(held)
    again = restored(snapshots.read(NAME)["flights"])
    assert ways_on(again) == ways_on(table(some(1), some(1)))


def test_a_snapshot_that_is_not_there_is_refused(snapshots: Snapshots) -> None:
    with pytest.raises(Refused, match=r"000001-00000001\.snapshot"):
        snapshots.read(NAME)


def test_a_sweep_takes_what_nobody_knows_of_this_owner_and_those_before(snapshots: Snapshots) -> None:
    names = ["000001-1.snapshot", "000001-2.snapshot", "000002-1.snapshot", "000003-1.snapshot", "notes.txt"]
    for name in names:
        snapshots.write(name, {"flights": remembered(table(some(1)))})
    known = {"000001-2.snapshot", "000001-9.snapshot"}
    assert list(snapshots.sweep(known, epoch=2)) == ["000001-1.snapshot", "000002-1.snapshot"]
    assert list(snapshots.sweep(known, epoch=2)) == []
    for name in ("000001-2.snapshot", "000003-1.snapshot", "notes.txt"):
        assert list(snapshots.read(name)) == ["flights"]
    for name in ("000001-1.snapshot", "000002-1.snapshot"):
        with pytest.raises(Refused):
            snapshots.read(name)


def test_a_sweep_before_anything_was_written(snapshots: Snapshots) -> None:
    assert list(snapshots.sweep(set(), epoch=9)) == []


def peak_of(act: Callable[[], object]) -> int:
    """How much more memory it takes meanwhile, in bytes."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        act()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


ROWS = 500_000
ONE_COPY = 61 * ROWS
"""About 30 MB."""


def test_writing_takes_no_second_copy_in_memory(folder: Path) -> None:
    held = large(ROWS)
    held.rows.extra[ROWS - 1] = held.rows.extra[7] = Extra(1, ())
    held.rows.state[[7, ROWS - 1]] |= 4
    assert peak_of(lambda: LocalSnapshots(folder).write(NAME, {"flights": remembered(held)})) < ONE_COPY / 10
    assert (folder / NAME).stat().st_size > ONE_COPY


def test_reading_takes_one_copy_and_no_second(folder: Path) -> None:
    LocalSnapshots(folder).write(NAME, {"flights": remembered(large(ROWS))})
    as_large = peak_of(lambda: large(ROWS))
    read = peak_of(lambda: restored(LocalSnapshots(folder).read(NAME)["flights"]))
    assert read < as_large + ONE_COPY / 2


# The twin


def test_the_twin_can_be_away() -> None:
    twin = MemorySnapshots()
    twin.write(NAME, {})
    twin.go_away()
    with pytest.raises(Unreachable):
        twin.write("000001-2.snapshot", {})
    with pytest.raises(Unreachable):
        twin.sweep(set(), epoch=9)
    with pytest.raises(Refused):
        twin.read(NAME)
    twin.come_back()
    assert twin.read(NAME) == {}


@pytest.mark.parametrize(("place", "there"), [("snapshot.write", False), ("snapshot.written", True)])
def test_the_twin_can_crash_before_and_after(place: str, there: bool) -> None:
    def fail_at(reached: str) -> None:
        if reached == place:
            raise ZeroDivisionError

    twin = MemorySnapshots(fail_at)
    with pytest.raises(ZeroDivisionError):
        twin.write(NAME, {})
    assert (NAME in twin.files) is there
