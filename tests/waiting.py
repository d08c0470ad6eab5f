"""Waiting for something that another thread or process does, without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], seconds: float = 20, otherwise: Callable[[], str] | None = None) -> T:
    """The first true thing that `look` finds; fails when it finds none in time."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, otherwise() if otherwise else "it never came to pass"
        time.sleep(0.05)
    return found
