"""The watch over models whose events stop coming: said once, with facts, for a fleet, over restarts and outages."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from retrainer.adapters.memory.manifest import MemoryManifest
from retrainer.adapters.memory.state import MemoryDecisionState, MemoryIngestState
from retrainer.domain.events import Side
from retrainer.domain.join.ingest import ModelDelta, Progress
from retrainer.domain.values import SECOND, Micros, iso
from retrainer.errors import Fenced, Unreachable
from retrainer.ports.manifest.ingest import Flush
from retrainer.service.control.silence import SilencePolicy, SilenceWatch
from tests.clock import FakeClock
from tests.entries import Entries

MINUTE: Micros = 60 * SECOND
FLIGHTS = SilencePolicy(model="flights", expect_every={Side.PREDICTIONS: MINUTE, Side.LABELS: 10 * MINUTE})


class CountingState(MemoryDecisionState):
    """Says how often it was asked."""

    asked = 0

    def side_counts(self) -> Mapping[str, Mapping[Side, int]]:
        self.asked += 1
        return super().side_counts()


class Watched:
    """A watch with the worker's part played by hand."""

    def __init__(self, *policies: SilencePolicy) -> None:
        self.policies = policies or (FLIGHTS,)
        self.manifest = MemoryManifest()
        self.ingest = MemoryIngestState(self.manifest)
        self.lease = self.ingest.claim("ingest", "test", 0)
        self.state = CountingState(self.manifest)
        self.clock = FakeClock()
        self.entries = Entries()
        self._known: set[str] = set()
        self.restart()

    def restart(self) -> None:
        lease = self.state.claim("controller", "test", 0)
        self.watch = SilenceWatch(self.policies, self.state, lease, self.entries.logger)

    def came(self, side: Side, n: int = 1, status: str | None = None, model: str = "flights") -> None:
        """The worker commits events."""
        what = status or ("pending" if side is Side.PREDICTIONS else "waiting")
        delta = ModelDelta(
            model=model, progress=Progress(), tallies={}, counts={(side, "consumed"): n, (side, what): n}
        )
        rebuilt = {} if model in self._known else {model: "print"}
        self._known.add(model)
        self.ingest.commit(Flush(lease=self.lease, at=0, moves={}, segment=None, deltas=[delta], rebuilt=rebuilt))

    def passes(self, seconds: int, *, step: int = 5) -> None:
        """Time, with looks."""
        for _ in range(0, seconds, step):
            self.clock.advance(step)
            self.watch.run_once(self.clock.now())


@pytest.fixture
def watched() -> Watched:
    found = Watched()
    for side in Side:
        found.came(side)
    found.watch.run_once(found.clock.now())
    return found


def test_a_stall_is_told_once_and_so_is_its_end(watched: Watched) -> None:
    began = watched.clock.now()
    watched.passes(300)
    facts = {"log_level": "warning", "model": "flights", "expect_every": 60, "last": iso(began)}
    assert watched.entries.one("predictions.stalled") == {**facts, "seconds": 65}
    assert set(watched.watch.stalled) == {("flights", Side.PREDICTIONS)}
    watched.came(Side.PREDICTIONS)
    watched.passes(30)
    assert watched.entries.one("predictions.resumed") == {**facts, "log_level": "info", "seconds": 305}
    assert watched.watch.stalled == {}


def test_each_side_has_its_own_patience(watched: Watched) -> None:
    for _ in range(20):
        watched.passes(45)
        watched.came(Side.PREDICTIONS)
    assert watched.entries.events == ["labels.stalled"]
    watched.came(Side.LABELS)
    watched.passes(5)
    assert watched.entries.events == ["labels.stalled", "labels.resumed"]


@pytest.mark.parametrize("status", ["filtered", "quarantined"])
def test_records_of_others_and_records_of_no_use_are_no_sign_of_life(watched: Watched, status: str) -> None:
    for _ in range(4):
        watched.came(Side.PREDICTIONS, 100, status)
        watched.passes(20)
    assert watched.entries.events == ["predictions.stalled"]


def test_a_fleet_is_one_question(watched: Watched) -> None:
    fleet = Watched(*(SilencePolicy(model=f"m{n}", expect_every={Side.PREDICTIONS: MINUTE}) for n in range(50)))
    fleet.passes(50)
    fleet.came(Side.PREDICTIONS, model="m7")
    fleet.passes(25)
    assert fleet.state.asked == 15
    assert {entry["model"] for entry in fleet.entries.of("predictions.stalled")} == {f"m{n}" for n in range(50)} - {
        "m7"
    }


def test_whoever_is_not_watched_costs_nothing() -> None:
    nobody = Watched(SilencePolicy(model="flights", expect_every={}))
    nobody.passes(600)
    assert (nobody.state.asked, nobody.entries.events) == (0, [])
    assert nobody.state.memory("\x1fsilence") is None


def test_looks_within_a_second_are_one(watched: Watched) -> None:
    asked = watched.state.asked
    for _ in range(10):
        watched.clock.advance(0.2)
        watched.watch.run_once(watched.clock.now())
    assert watched.state.asked == asked + 2


def test_a_restart_goes_on_and_does_not_tell_again(watched: Watched) -> None:
    watched.passes(40)
    watched.restart()
    watched.passes(90)
    assert watched.entries.events == ["predictions.stalled"]  # else at every restart the watch would begin anew
    watched.restart()
    watched.passes(300)
    assert watched.entries.events == ["predictions.stalled"]
    watched.came(Side.PREDICTIONS)
    watched.restart()
    watched.passes(5)
    assert watched.entries.events == ["predictions.stalled", "predictions.resumed"]


def test_restarts_more_often_than_expected_do_not_hide_a_stall(watched: Watched) -> None:
    for _ in range(12):
        watched.passes(100)
        watched.restart()
    assert watched.entries.events == ["predictions.stalled", "labels.stalled"]


def test_an_outage_of_the_manifest_is_no_silence(watched: Watched) -> None:
    watched.passes(30)
    watched.manifest.go_away()
    with pytest.raises(Unreachable):
        watched.passes(600)
    watched.clock.advance(600)
    watched.manifest.come_back()
    watched.passes(5)
    watched.came(Side.PREDICTIONS)
    watched.passes(5)
    assert watched.entries.events == []


def test_another_controller_has_taken_over(watched: Watched) -> None:
    watched.state.claim("controller", "other", 0)
    with pytest.raises(Fenced):
        watched.passes(120)
