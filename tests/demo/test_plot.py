"""The picture."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from retrainer.demo import plot
from retrainer.demo.plan import UPSTREAM_CHANGE
from retrainer.demo.story import Story
from tests.demo.lines import only, story_of


def drawn(story: Story, path: Path) -> Image.Image:
    plot.draw(story, path, title="Flights", below=0.84, warn_below=0.86, change=UPSTREAM_CHANGE)
    return Image.open(path)


def colors(image: Image.Image) -> set[tuple[int, ...]]:
    """The colours that at least a line's worth of pixels has."""
    found = image.convert("RGB").getcolors(maxcolors=2**20) or []
    return {color for count, color in found if count > 200 and isinstance(color, tuple)}


def rgb(text: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(text.removeprefix("#")))


def test_it_shows_versions_lines_and_moments(tmp_path: Path) -> None:
    with drawn(story_of(), tmp_path / "accuracy.png") as image:
        assert image.format == "PNG"
        assert image.size == (1650, 840)
        shown = colors(image)

    assert (tmp_path / "accuracy.png").stat().st_size > 40_000
    for color in ("#1f5fa8", "#2a8a57", "#c0392b", "#6b4c9a"):  # both versions, threshold and breach, the change
        assert rgb(color) in shown


def test_a_story_cut_short_can_be_drawn(tmp_path: Path) -> None:
    with drawn(story_of(only("retrain.decided"), only("job.started")), tmp_path / "accuracy.png") as image:
        assert image.size == (1650, 840)
