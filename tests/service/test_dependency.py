"""Something outside that is away: said once, tried again and again, at growing intervals."""

from __future__ import annotations

from itertools import pairwise

import pytest

from retrainer.adapters.memory.telemetry import MemoryTelemetry
from retrainer.errors import Refused, Unreachable
from retrainer.ports.telemetry import DependencyLost, DependencyRecovered
from retrainer.service.dependency import _LONGEST_WAIT_SECONDS, Dependency
from tests.clock import FakeClock
from tests.entries import Entries


class Attempts:
    """Tries something that is away until a time, whenever it is due."""

    def __init__(self, *, back_at: float) -> None:
        self.clock, self.entries = FakeClock(), Entries()
        self.telemetry = MemoryTelemetry()
        self.dependency = Dependency("broker", self.entries.logger, self.clock, self.telemetry)
        self.tried_at: list[float] = []
        self._back_at = back_at

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            if self.dependency.due:
                self.attempt()
            self.clock.advance(0.1)

    def attempt(self) -> None:
        self.tried_at.append(self.clock.monotonic())
        with self.dependency:
            if self.clock.monotonic() < self._back_at:
                raise Unreachable("nobody answers")


def test_attempts_grow_apart_up_to_a_limit() -> None:
    attempts = Attempts(back_at=1000)
    attempts.run(100)
    waits = [after - before for before, after in pairwise(attempts.tried_at)]
    assert waits[:4] == pytest.approx([0.5, 1, 2, 4], abs=0.25)
    assert waits[4:] == pytest.approx([_LONGEST_WAIT_SECONDS] * len(waits[4:]), abs=0.25)


def test_an_outage_is_told_once_and_its_end_too() -> None:
    attempts = Attempts(back_at=20)
    attempts.run(40)
    assert attempts.entries.events == ["dependency.lost", "dependency.recovered"]
    assert attempts.entries.one("dependency.lost")["error"] == "nobody answers"
    assert 20 <= attempts.entries.one("dependency.recovered")["after_seconds"] < 36
    assert attempts.dependency.lost_at is None
    (recovered,) = attempts.telemetry.of(DependencyRecovered)
    assert attempts.telemetry.happenings == [DependencyLost(name="broker"), recovered]
    assert (recovered.name, 20 <= recovered.seconds < 36) == ("broker", True)


def test_the_next_outage_begins_with_short_waits_again() -> None:
    attempts = Attempts(back_at=20)
    attempts.run(40)
    attempts._back_at = 1000
    attempts.tried_at.clear()
    attempts.run(2)
    first, second = attempts.tried_at[:2]
    assert second - first == pytest.approx(0.5, abs=0.25)


@pytest.mark.parametrize("error", [Refused("no"), ZeroDivisionError(), KeyboardInterrupt()])
def test_other_errors_are_no_outage(error: BaseException) -> None:
    dependency = Attempts(back_at=0).dependency
    with pytest.raises(type(error)), dependency:
        raise error
    assert dependency.due
