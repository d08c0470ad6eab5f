"""What every `Background` promises."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from retrainer.adapters.background import InlineBackground, ThreadBackground
from retrainer.errors import Fenced, Refused, Unreachable
from retrainer.ports.process import Background
from tests.waiting import eventually


@pytest.fixture(params=["inline", "thread"])
def background(request: pytest.FixtureRequest) -> Iterator[Background]:
    one: Background = InlineBackground() if request.param == "inline" else ThreadBackground()
    yield one
    one.close()


@pytest.fixture
def thread() -> Iterator[ThreadBackground]:
    one = ThreadBackground()
    yield one
    one.close()


class Gate:
    """Work that waits until it is let through, and then may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()
        self.passed = False
        self._error = error

    def __call__(self) -> None:
        self.begun.set()
        assert self.open.wait(20)
        self.passed = True
        if self._error:
            raise self._error


def failing(error: Exception) -> Gate:
    gate = Gate(error)
    gate.open.set()
    return gate


def test_work_is_begun_done_and_finished(background: Background) -> None:
    done: list[int] = []
    assert (background.is_begun, background.is_done) == (False, False)
    background.start(lambda: done.append(1))
    assert background.is_begun
    eventually(lambda: background.is_done)
    assert background.is_begun  # until it is finished
    background.finish()
    assert (background.is_begun, background.is_done) == (False, False)
    assert done == [1]


def test_one_after_the_other(background: Background) -> None:
    done: list[int] = []
    for number in range(100):
        background.start(lambda number=number: done.append(number))  # type: ignore[misc]  # the default binds it
        background.finish()
    assert done == list(range(100))


@pytest.mark.parametrize("error", [Unreachable("away"), Fenced("another"), Refused("no")])
def test_finishing_raises_what_the_work_raised(background: Background, error: Exception) -> None:
    background.start(failing(error))
    eventually(lambda: background.is_done)
    assert background.is_begun
    with pytest.raises(type(error)) as raised:
        background.finish()
    assert raised.value is error
    assert (background.is_begun, background.is_done) == (False, False)


def test_after_an_error_it_works_again(background: Background) -> None:
    background.start(failing(Unreachable("away")))
    with pytest.raises(Unreachable):
        background.finish()
    done: list[int] = []
    background.start(lambda: done.append(1))
    background.finish()
    assert done == [1]


def test_an_error_is_told_once(background: Background) -> None:
    background.start(failing(Unreachable("away")))
    with pytest.raises(Unreachable):
        background.finish()
    background.start(lambda: None)
    background.finish()


def test_a_second_work_is_not_begun_beside_the_first(background: Background) -> None:
    background.start(lambda: None)
    with pytest.raises(AssertionError):
        background.start(lambda: None)
    background.finish()
    with pytest.raises(AssertionError):
        background.finish()


def test_closing_swallows_a_failure(background: Background) -> None:
    background.start(failing(Unreachable("away")))
    background.close()
    assert not background.is_begun


def test_closing_what_was_never_used(background: Background) -> None:
    background.close()
    assert not background.is_begun


# In a thread


def test_the_work_runs_beside_the_caller(thread: ThreadBackground) -> None:
    gate = Gate()
    thread.start(gate)
    assert gate.begun.wait(20)
    assert (thread.is_begun, thread.is_done, gate.passed) == (True, False, False)
    gate.open.set()
    eventually(lambda: thread.is_done)
    thread.finish()


@pytest.mark.parametrize("act", ["finish", "close"])
def test_finishing_and_closing_wait_for_the_end(thread: ThreadBackground, act: str) -> None:
    gate = Gate()
    thread.start(gate)
    assert gate.begun.wait(20)
    waiter = threading.Thread(target=getattr(thread, act))
    waiter.start()
    waiter.join(0.1)
    assert waiter.is_alive()
    gate.open.set()
    waiter.join(20)
    assert not waiter.is_alive()
    assert gate.passed


def test_after_closing_no_thread_is_left() -> None:
    before = set(threading.enumerate())
    for error in (Unreachable("away"), ZeroDivisionError()):
        one = ThreadBackground()
        one.start(failing(error))
        try:
            one.close()
        except ZeroDivisionError:
            assert isinstance(error, ZeroDivisionError)  # a mistake of ours is not hushed up
        assert set(threading.enumerate()) == before
