"""The story told on the terminal, as it happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from retrainer.demo.sentences import Entry, Sentence, day, sentences
from retrainer.demo.story import METRIC, time_of

_METRIC_EVERY: Final = timedelta(days=2)
"""Of event time: the values in between tell a reader nothing new."""


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
        """One line: seconds since the start, a label, the event time, and a sentence."""
        line = Table.grid(padding=(0, 1))
        line.add_column(width=6, justify="right", style="dim", no_wrap=True)
        line.add_column(width=11, style=f"bold {style}".strip(), no_wrap=True)
        line.add_column()
        sentence = Text(f"{day(when)}  ", style="cyan") if when else Text()
        line.add_row(f"{self._seconds():.1f}s" if label else "", label, sentence.append(text, style=style or None))
        self._console.print(line)

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
