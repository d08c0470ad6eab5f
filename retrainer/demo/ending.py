"""When the demo is over, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from retrainer.demo.story import Story

EVALUATIONS: Final = 4
"""Of the new champion, each on a full window of its own outcomes: one good value could be luck."""


class Ending(StrEnum):
    """Why the demo is over."""

    RECOVERED = "recovered"
    STOPPED = "stopped"
    PROCESS_ENDED = "process ended"
    OUT_OF_FLIGHTS = "out of flights"
    OUT_OF_TIME = "out of time"


@dataclass(frozen=True, kw_only=True)
class DemoThreshold:
    """The threshold's settings, as the configuration file has them."""

    below: float
    warn_below: float
    window: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """From the parsed file of the demo."""
        threshold = config["models"]["flights"]["triggers"]["low_accuracy"]["threshold"]
        return cls(**{name: threshold[name] for name in ("below", "warn_below", "window")})


def has_recovered(story: Story, line: float, outcomes: int) -> bool:
    """Whether the promoted version stands at or above a line, several times over enough outcomes of its own."""
    own = [one for one in story.evaluations if one.version == story.champion and one.n >= outcomes]
    return len(own) >= EVALUATIONS and own[-1].value >= line


def ending(
    story: Story, lines: DemoThreshold, *, stopped: bool, seconds_left: float, exit_codes: Mapping[str, int | None]
) -> Ending | None:
    """How it ended; None while it goes on.

    Args:
        exit_codes: None while a process runs. The service should never end by itself.
    """
    if has_recovered(story, lines.warn_below, lines.window):
        return Ending.RECOVERED
    if stopped:
        return Ending.STOPPED
    if any(exit_codes.values()) or exit_codes.get("retrainer") is not None:
        return Ending.PROCESS_ENDED
    if exit_codes.get("application") == 0:
        return Ending.OUT_OF_FLIGHTS
    return Ending.OUT_OF_TIME if seconds_left <= 0 else None


def is_good(how: Ending, story: Story, lines: DemoThreshold) -> bool:
    """Whether accuracy has recovered: well above the line, or when it had to end, at least above it."""
    if how is Ending.PROCESS_ENDED:
        return False
    return how is Ending.RECOVERED or has_recovered(story, lines.below, lines.window)
