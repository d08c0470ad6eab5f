"""Processes: this one, its memory and its work beside the main loop, and those that it starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class ResidentMemory(Protocol):
    """The memory of this process."""

    def resident(self) -> int:
        """Bytes that are resident now; 0 where nobody can say."""
        ...


class Background(Protocol):
    """One piece of work at a time, beside the caller's own."""

    @property
    def is_begun(self) -> bool:
        """Whether there is work that was not finished yet with `finish`."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether that work has come to its end."""
        ...

    def start(self, work: Callable[[], None], /) -> None:
        """Begin; nothing else may be begun."""
        ...

    def finish(self) -> None:
        """Wait for its end; raises what it raised."""
        ...

    def close(self) -> None:
        """No call may follow. Waits for what is under way, and swallows its failure."""
        ...


class Heart(Protocol):
    """Tells whoever watches this process from outside that its main loop still goes round."""

    def beat(self) -> None:
        """Never waits and never fails; cheap enough for every round."""
        ...


class Role(Protocol):
    """A running process of the service."""

    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that killed it."""
        ...

    def beats(self) -> int:
        """How many heartbeats its main loop has given so far."""
        ...

    def cpu_seconds(self) -> float:
        """The processor time that it has used so far; 0 once it has ended."""
        ...

    def ask_to_stop(self) -> None: ...

    def kill(self) -> None:
        """End it at once, even if it is stopped or hangs."""
        ...


class Roles(Protocol):
    """Starts the service's own processes. One whose starter dies, by any signal, stops by itself."""

    def start(self, name: str) -> Role: ...
