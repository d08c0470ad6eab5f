"""Keeping the roles of one machine running, and stopping them in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from retrainer.errors import ExitCode
from retrainer.service.supervisor import Supervisor
from tests.clock import FakeClock
from tests.entries import Entries

NAMES = ("worker", "controller")


@dataclass
class FakeRole:
    """`Role` that ends when a test says so; it beats whenever it is listened to, unless it hangs."""

    code: int | None = None
    hangs: bool = False
    heard: int = 0
    cpu: float = 0.0
    asked: bool = False
    killed: bool = False
    obeys: bool = True

    def exit_code(self) -> int | None:
        return self.code

    def beats(self) -> int:
        self.heard += not self.hangs
        return self.heard

    def cpu_seconds(self) -> float:
        return self.cpu

    def ask_to_stop(self) -> None:
        self.asked = True
        if self.obeys:
            self.code = 0

    def kill(self) -> None:
        self.killed = True
        self.code = -9


@dataclass
class FakeRoles:
    """`Roles` that remembers when it started what."""

    clock: FakeClock
    started: list[tuple[str, float]] = field(default_factory=list)
    running: dict[str, FakeRole] = field(default_factory=dict)
    make: Callable[[], FakeRole] = FakeRole

    def start(self, name: str) -> FakeRole:
        self.started.append((name, self.clock.monotonic()))
        self.running[name] = self.make()
        return self.running[name]

    def starts_of(self, name: str) -> list[float]:
        return [at for one, at in self.started if one == name]


class Stop:
    """`Stopped` that turns the clock and is set after so many waits."""

    def __init__(self, clock: FakeClock, after: int) -> None:
        self._clock = clock
        self._left = after

    def is_set(self) -> bool:
        return self._left <= 0

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.advance(timeout or 0)
        self._left -= 1
        return self.is_set()


class Machine:
    """A supervisor with everything around it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.entries = Entries()
        self.roles = FakeRoles(self.clock)
        self.supervisor = Supervisor(NAMES, self.roles, self.clock, self.entries.logger)

    def watch(self, seconds: float) -> None:
        """Let time pass, a look every tenth of a second."""
        for _ in range(round(seconds * 10)):
            assert self.supervisor.run_once() is None
            self.clock.advance(0.1)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_every_role_is_started_once(machine: Machine) -> None:
    machine.watch(10)
    assert machine.roles.started == [("worker", 0.0), ("controller", 0.0)]


@pytest.mark.parametrize("code", [1, 0, -9])
def test_a_role_that_ends_is_started_again_and_the_other_left_alone(machine: Machine, code: int) -> None:
    machine.watch(1)
    machine.roles.running["controller"].code = code
    machine.watch(1)
    assert len(machine.roles.starts_of("controller")) == 2
    assert len(machine.roles.starts_of("worker")) == 1
    assert machine.entries.one("role.restarted") == {
        "log_level": "error",
        "role": "controller",
        "exit_code": code,
        "in_seconds": 0.5,
    }


def test_a_role_that_ends_again_and_again_waits_longer_and_longer(machine: Machine) -> None:
    machine.roles.make = lambda: FakeRole(code=1)
    machine.watch(200)
    starts = machine.roles.starts_of("worker")
    waits = [after - before for before, after in pairwise(starts)]
    assert waits[:6] == pytest.approx([0.6, 1.1, 2.1, 4.1, 8.1, 16.1], abs=0.15)
    assert waits[6:] == pytest.approx([30.1] * len(waits[6:]), abs=0.15)
    told = [entry["in_seconds"] for entry in machine.entries.of("role.restarted") if entry["role"] == "worker"]
    assert told[:8] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_role_that_ran_steadily_is_forgiven(machine: Machine) -> None:
    machine.roles.make = lambda: FakeRole(code=1)
    machine.watch(10)
    machine.roles.make = FakeRole
    machine.watch(100)
    machine.roles.running["worker"].code = 1
    machine.entries.clear()
    machine.watch(0.1)
    assert machine.entries.one("role.restarted")["in_seconds"] == 0.5


def test_a_role_that_refuses_ends_the_service(machine: Machine) -> None:
    machine.watch(1)
    machine.roles.running["worker"].code = ExitCode.OUTSIDE
    assert machine.supervisor.run(Stop(machine.clock, 1000)) == 3
    assert machine.roles.running["controller"].asked
    assert len(machine.roles.started) == 2
    assert machine.entries.of("role.restarted") == []


def test_a_stop_asks_and_waits(machine: Machine) -> None:
    assert machine.supervisor.run(Stop(machine.clock, 20)) == 0
    assert all(role.asked and not role.killed for role in machine.roles.running.values())
    assert machine.entries.events == []


def test_whoever_does_not_listen_is_killed_in_time(machine: Machine) -> None:
    machine.roles.make = lambda: FakeRole(obeys=False)
    machine.watch(1)
    before = machine.clock.monotonic()
    machine.supervisor.stop()
    assert all(role.asked and role.killed for role in machine.roles.running.values())
    assert machine.clock.monotonic() - before < 10
    assert [entry["role"] for entry in machine.entries.of("role.killed")] == ["worker", "controller"]


def test_whoever_has_ended_already_is_not_asked(machine: Machine) -> None:
    machine.watch(1)
    machine.roles.running["worker"].code = 1
    machine.supervisor.stop()
    assert not machine.roles.running["worker"].asked
    assert machine.roles.running["controller"].asked


def test_a_stop_before_anything_was_started(machine: Machine) -> None:
    assert machine.supervisor.run(Stop(machine.clock, 0)) == 0
    assert machine.roles.started == []


# Roles that hang


def test_a_role_that_hangs_is_killed_and_started_again_and_the_other_left_alone(machine: Machine) -> None:
    machine.watch(5)
    machine.roles.running["worker"].hangs = True
    machine.watch(59)
    assert "role.hung" not in machine.entries.events
    hung = machine.roles.running["worker"]
    machine.watch(3)
    assert hung.killed
    assert machine.entries.events == ["role.hung", "role.restarted"]
    assert machine.entries.one("role.hung") == {
        "log_level": "error",
        "role": "worker",
        "seconds": pytest.approx(60, abs=0.2),
        "cpu_seconds": 0.0,
    }
    assert machine.entries.one("role.restarted")["exit_code"] == -9
    assert [len(machine.roles.starts_of(name)) for name in NAMES] == [2, 1]


def test_a_role_that_hangs_in_its_start_is_killed_too(machine: Machine) -> None:
    machine.roles.make = lambda: FakeRole(hangs=True)
    machine.watch(61)
    assert [entry["role"] for entry in machine.entries.of("role.hung")] == ["worker", "controller"]


def test_a_silent_role_that_works_is_given_longer_but_not_for_ever(machine: Machine) -> None:
    machine.watch(5)
    busy = machine.roles.running["controller"]
    busy.hangs = True
    for _ in range(890):
        busy.cpu += 0.5
        machine.watch(1)
    assert machine.entries.events == []
    machine.watch(15)
    assert machine.entries.one("role.hung")["cpu_seconds"] == 445


def test_the_threads_of_an_idle_client_are_no_work(machine: Machine) -> None:
    machine.watch(5)
    idle = machine.roles.running["worker"]
    idle.hangs = True
    for _ in range(61):
        idle.cpu += 0.02
        machine.watch(1)
    assert idle.killed


def test_a_supervisor_that_was_paused_itself_takes_no_silence_for_a_hang(machine: Machine) -> None:
    machine.watch(5)
    for role in machine.roles.running.values():
        role.hangs = True
    machine.clock.advance(3600)
    machine.watch(30)
    assert machine.entries.events == []
    machine.watch(31)
    assert machine.entries.events.count("role.hung") == 2


def test_a_hung_role_that_cannot_even_be_killed_is_not_started_beside_itself(machine: Machine) -> None:
    """A process deep in the kernel outlives SIGKILL; two workers at once would only fence each other."""
    machine.watch(5)
    stuck = machine.roles.running["worker"]
    stuck.hangs = True
    stuck.kill = lambda: None  # type: ignore[method-assign]  # the kernel does not answer
    machine.watch(70)
    assert len(machine.roles.starts_of("worker")) == 1
    stuck.code = -9
    machine.watch(1)
    assert len(machine.roles.starts_of("worker")) == 2
