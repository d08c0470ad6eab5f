"""Log entries as tests look at them."""

from __future__ import annotations

from typing import Any, cast

import structlog

from retrainer.logs import Logger


class Entries:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self._capture = structlog.testing.LogCapture()
        wrapped = structlog.wrap_logger(
            None, processors=[self._capture], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        self.logger = cast("Logger", wrapped)

    def __iter__(self) -> Any:
        return iter(self._capture.entries)

    @property
    def events(self) -> list[str]:
        """The names of the events, in order."""
        return [str(entry["event"]) for entry in self._capture.entries]

    def of(self, event: str) -> list[dict[str, Any]]:
        """The facts of every entry of an event, in order, without its name."""
        return [
            {name: fact for name, fact in entry.items() if name != "event"}
            for entry in self._capture.entries
            if entry["event"] == event
        ]

    def one(self, event: str) -> dict[str, Any]:
        """The facts of the only entry of an event."""
        found = self.of(event)
        assert len(found) == 1, f"{event} was logged {len(found)} times, among {self.events}"
        return found[0]

    def clear(self) -> None:
        """Forget what was told so far."""
        self._capture.entries.clear()
