"""The story told on the terminal, as it happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from textwrap import wrap
from typing import Final

from rich.console import Console
from rich.text import Text

from retrainer.demo.sentences import Entry, Sentence, day, sentences
from retrainer.demo.story import METRIC, time_of

_METRIC_EVERY: Final = timedelta(days=2)
"""Of event time: the values in between tell a reader nothing new."""

_MARGIN: Final = 19
"""What stands before each sentence."""
_NARROWEST: Final = 40


class Narrator:
    """Chooses what is worth telling, and tells it."""

    def __init__(self, console: Console, seconds: Callable[[], float], announcement: Sentence) -> None:
        """
        Args:
            seconds: since the demo began.
            announcement: told once event time has reached its `when`.
        """
        self._console = console
        self._seconds = seconds
        self._announcement: Sentence | None = announcement
        self._next_metric: dict[object, datetime] = {}

    def tell(self, entry: Entry) -> None:
        """Say what a line means, if it means anything to a reader."""
        self._announce(time_of(entry, "event_time"))
        for sentence in sentences(entry):
            if sentence.label != METRIC or self._is_due(sentence, entry.get("version")):
                self.say(*sentence)

    def say(self, label: str, text: str, style: str = "", when: datetime | None = None) -> None:
        """Seconds since the start, a label, the event time, and a sentence that keeps clear of them when it wraps."""
        seconds = f"{self._seconds():.1f}s" if label else ""
        time = f"{day(when)}  " if when else ""
        room = max(_NARROWEST, self._console.width - _MARGIN)
        for place, part in enumerate(wrap(time + text, room) or [""]):
            line = Text(f"{seconds:>6} " if place == 0 else " " * 7, "dim")
            line.append(f"{label if place == 0 else '':<11} ", f"bold {style}".strip())
            shown = len(time) if place == 0 else 0
            line.append(part[:shown], "cyan").append(part[shown:], style or None)
            self._console.print(line, soft_wrap=True)

    def _announce(self, now: datetime | None) -> None:
        coming = self._announcement
        if now and coming and coming.when and now >= coming.when:
            self._announcement = None
            self.say(*coming)

    def _is_due(self, sentence: Sentence, version: object) -> bool:
        if sentence.when is None or sentence.when < self._next_metric.get(version, sentence.when):
            return False
        self._next_metric[version] = sentence.when + _METRIC_EVERY
        return True
