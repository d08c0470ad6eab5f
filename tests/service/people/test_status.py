"""What `status` tells of slices, of a backlog and of what came too late for its slot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from retrainer.domain.deciding.ledger import Reign
from retrainer.domain.join.ingest import ModelDelta, Progress
from retrainer.domain.mapping.slices import SlicePolicy
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.values import slot_start
from retrainer.ports.manifest.ingest import Flush
from retrainer.service.people.status import status
from retrainer.service.people.words import status_in_words
from retrainer.service.policy import ModelPolicy
from tests.service.control.rounds import FIRST, Deciding
from tests.service.controlling import model
from tests.service.world import FLIGHTS

SLICED = (SlicePolicy(name="carrier"), SlicePolicy(name="long_haul", when="distance > 1500"))
Parts = Mapping[str, tuple[int, int]]
"""Of each slice how many outcomes were right and wrong."""


def sliced(slices: tuple[SlicePolicy, ...] = SLICED) -> ModelPolicy:
    return model(ingest=replace(FLIGHTS, predictions=replace(FLIGHTS.predictions, slices=slices)))


def outcomes(deciding: Deciding, minute: int, parts: Parts, version: str = "1") -> None:
    """Outcomes of the whole (named by no text) and of slices, which became known in a minute that has closed."""
    slot = FIRST + minute
    cells: dict[TallyKey, int] = {}
    for part, (right, wrong) in parts.items():
        cells[TallyKey(version, part, slot, "late", "late")] = right
        cells[TallyKey(version, part, slot, "late", "on_time")] = wrong
    deciding.store({key: n for key, n in cells.items() if n}, slot + 1)


def told(deciding: Deciding) -> dict[str, Any]:
    deciding.round()
    return status(deciding.policy, deciding.state, deciding.world.clock.now())


@pytest.fixture
def deciding() -> Deciding:
    return Deciding(sliced())


def test_each_slice_has_the_metrics_of_the_newest_window(deciding: Deciding) -> None:
    outcomes(deciding, 1, {WHOLE: (0, 90), "carrier=AA": (0, 50), "carrier=old": (0, 40)})
    outcomes(deciding, 2, {WHOLE: (4, 1), "carrier=AA": (3, 0), "carrier=UA": (1, 1), "long_haul": (0, 1)})
    outcomes(deciding, 3, {WHOLE: (5, 0), "carrier=AA": (5, 0)})
    slices = told(deciding)["slices"]
    # Ten outcomes make up the window: those of the last two minutes.
    assert {name: (found["accuracy"]["value"], found["accuracy"]["n"]) for name, found in slices.items()} == {
        "carrier=AA": (1.0, 8),
        "carrier=UA": (0.5, 2),
        "long_haul": (0.0, 1),
    }
    assert slices["carrier=AA"]["accuracy"]["low"] == pytest.approx(0.676, abs=0.001)
    assert slices["carrier=AA"]["accuracy"]["high"] == 1.0


def test_the_slice_that_is_surely_worst_is_first(deciding: Deciding) -> None:
    parts = {"carrier=rare": (0, 1), "carrier=bad": (40, 60), "carrier=good": (90, 10)}
    outcomes(deciding, 1, {WHOLE: (130, 71), **parts})
    assert list(told(deciding)["slices"]) == ["carrier=bad", "carrier=rare", "carrier=good"]


def test_slices_are_those_of_the_champion(deciding: Deciding) -> None:
    outcomes(deciding, 1, {WHOLE: (9, 0), "carrier=AA": (9, 0)}, version="0")
    outcomes(deciding, 2, {WHOLE: (0, 10), "carrier=UA": (0, 10)})
    assert list(told(deciding)["slices"]) == ["carrier=UA"]
    deciding.reign = Reign(version="2", effective_from=slot_start(FIRST + 3))
    outcomes(deciding, 3, {WHOLE: (9, 0), "carrier=B6": (9, 0)}, version="2")
    assert told(deciding)["slices"] == {}  # its window is not full
    outcomes(deciding, 4, {WHOLE: (1, 0), "carrier=DL": (1, 0)}, version="")
    assert set(told(deciding)["slices"]) == {"carrier=B6", "carrier=DL"}


def test_no_more_than_fifty_values_are_told_apart(deciding: Deciding) -> None:
    outcomes(deciding, 1, {WHOLE: (60, 0), **{f"carrier={n:02}": (1, 0) for n in range(60)}})
    slices = told(deciding)["slices"]
    assert len(slices) == 51
    assert slices["carrier=other"]["accuracy"]["n"] == 10


def test_without_slices_or_before_anything_has_closed_there_are_none(deciding: Deciding) -> None:
    assert told(deciding)["slices"] == {}
    plain = Deciding(sliced(()))
    outcomes(plain, 1, {WHOLE: (10, 0), "carrier=AA": (10, 0)})
    assert told(plain)["slices"] == {}


def test_in_words_the_ten_worst_slices_are_shown(deciding: Deciding) -> None:
    parts = {f"carrier={n:02}": (n, 20 - n) for n in range(12)}
    outcomes(deciding, 1, {WHOLE: (100, 140), **parts})
    words = status_in_words("flights", told(deciding))
    lines = [line.strip() for line in words.splitlines()]
    start = lines.index("slices       in the newest window, worst first")
    assert lines[start + 1] == "carrier=00  accuracy 0.000 (0.000 to 0.161) over 20 outcomes"
    assert lines[start + 10].startswith("carrier=09  accuracy 0.450 ")
    assert lines[start + 11] == "and 2 more: status --json"


def committed(deciding: Deciding, *, moved: int = 0, catching_up: bool = False) -> dict[str, Any]:
    """The status after a commit of the worker that says so."""
    progress = Progress(watermark=slot_start(FIRST), first_open=FIRST)
    delta = ModelDelta(model="flights", progress=progress, tallies={}, counts={}, moved_to_open=moved)
    lease = deciding.world.state.claim("ingest", "test", 0)
    deciding.world.state.commit(
        Flush(
            lease=lease,
            at=0,
            moves={},
            segment=None,
            deltas=[delta],
            rebuilt={} if deciding.state.model_progress() else {"flights": "print"},
            catching_up=catching_up,
        )
    )
    return told(deciding)


def test_a_backlog_is_told_while_it_lasts(deciding: Deciding) -> None:
    assert told(deciding)["catching_up"] is False
    behind = committed(deciding, catching_up=True)
    assert behind["catching_up"] is True
    assert "catching up" in status_in_words("flights", behind)
    there = committed(deciding)
    assert there["catching_up"] is False
    assert "catching up" not in status_in_words("flights", there)


def test_what_came_for_a_closed_slot_is_counted(deciding: Deciding) -> None:
    none = committed(deciding)
    assert none["moved"] == 0
    assert "moved" not in status_in_words("flights", none)
    committed(deciding, moved=2)
    some = committed(deciding, moved=3)
    assert some["moved"] == 5
    assert "moved        5 outcomes" in status_in_words("flights", some)
