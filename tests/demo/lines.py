"""The lines of one real demo, service and application together, thinned out."""

from __future__ import annotations

from pathlib import Path

from retrainer.demo.children import Entry, parsed
from retrainer.demo.story import Story

_RECORDED = Path(__file__).with_name("data") / "story.jsonl"


def recorded() -> list[Entry]:
    """Every line, in order."""
    entries = [parsed(line) for line in _RECORDED.read_text("utf-8").splitlines()]
    return [entry for entry in entries if entry is not None]


def story_of(*entries: Entry) -> Story:
    """The story that lines tell; all recorded ones if none are given."""
    story = Story()
    for entry in entries or recorded():
        story.observe(entry)
    return story


def only(event: str) -> Entry:
    """The one recorded line with this event."""
    (entry,) = [entry for entry in recorded() if entry["event"] == event]
    return entry
