"""The picture at the end: accuracy over event time, with everything that happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from retrainer.demo.sentences import number
from retrainer.demo.story import Evaluation, Story

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_VERSIONS: Final = ("#1f5fa8", "#2a8a57", "#7a4fa3", "#b26a00")
_INK, _FAINT, _BREACH, _WARNING, _CHANGE = "#22303c", "#8a97a3", "#c0392b", "#d98e04", "#6b4c9a"
_INCHES: Final = (11.0, 5.6)
_DOTS: Final = 150
_DAY: Final = 86_400
_PLACED: Final = ("data", "axes fraction")


def draw(story: Story, path: Path, *, title: str, below: float, warn_below: float, change: datetime) -> None:
    """Write the picture as a PNG.

    Args:
        below: the line of the threshold.
        warn_below: the line above it at which the trigger warns.
        change: when upstream changed.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with plt.rc_context({"font.size": 10, "axes.edgecolor": _FAINT, "text.color": _INK, "axes.labelcolor": _INK}):
        figure, axes = plt.subplots(figsize=_INCHES, layout="constrained")
        _draw_lines(axes, below, warn_below)
        _draw_jobs(axes, story)
        _draw_accuracy(axes, story.evaluations)
        _draw_moments(axes, story, change)
        _dress(axes, title)
        figure.savefig(path, dpi=_DOTS)
        plt.close(figure)


def _draw_lines(axes: Axes, below: float, warn_below: float) -> None:
    axes.axhline(below, color=_BREACH, linewidth=1.3, linestyle="--", label=f"threshold {number(below)}")
    axes.axhline(warn_below, color=_WARNING, linewidth=1.1, linestyle=":", label=f"warning {number(warn_below)}")


def _draw_accuracy(axes: Axes, evaluations: Sequence[Evaluation]) -> None:
    for place, (version, held) in enumerate(groupby(evaluations, key=lambda one: one.version)):
        points = list(held)
        color = _VERSIONS[place % len(_VERSIONS)]
        bands = [(_x(point.at), point.low, point.high) for point in points if point.low and point.high]
        if bands:
            x, low, high = zip(*bands, strict=True)
            axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
        at, values = [_x(point.at) for point in points], [point.value for point in points]
        axes.plot(at, values, color=color, linewidth=2, marker=".", markersize=5, zorder=3, label=f"version {version}")


def _draw_jobs(axes: Axes, story: Story) -> None:
    """Each job as a band from its decision to its verdict, named at the foot."""
    for job in story.jobs.values():
        if job.decided is None:
            continue
        ended = job.ended or story.now or job.decided
        color = "#2a8a57" if job.verdict == "accepted" else _FAINT
        axes.axvspan(_x(job.decided), _x(ended), color=color, alpha=0.10, linewidth=0)
        words = f"job: {job.verdict or 'under way'}"
        if job.candidate is not None and job.champion is not None:
            words += f"\ncandidate {number(job.candidate)}\nchampion {number(job.champion)}"
        middle = (_x(job.decided) + _x(ended)) / 2
        axes.annotate(words, (middle, 0.02), xycoords=_PLACED, ha="center", va="bottom", fontsize=9)


def _draw_moments(axes: Axes, story: Story, change: datetime) -> None:
    """Vertical lines, each with its name above the picture."""
    moments = [(change, "dep_delay: minutes\nbecome seconds", _CHANGE)]
    if story.breach is not None:
        moments.append((story.breach.at, f"breach\n{number(story.breach.value)}", _BREACH))
    moments += [(one.at, f"version {one.version}\npromoted", "#2a8a57") for one in story.promotions if one.at]
    moments.sort(key=lambda moment: moment[0])
    sides = _sides([at for at, _, _ in moments])
    for (at, words, color), side in zip(moments, sides, strict=True):
        axes.axvline(_x(at), color=color, linewidth=1.4)
        axes.annotate(words, (_x(at), 1.015), xycoords=_PLACED, ha=side, va="bottom", fontsize=9, color=color)


def _sides(times: Sequence[datetime]) -> list[Literal["left", "center", "right"]]:
    """On which side of its line each name hangs: neighbours that are close turn away from each other."""
    sides: list[Literal["left", "center", "right"]] = ["center"] * len(times)
    for place in range(1, len(times)):
        if times[place] - times[place - 1] < timedelta(days=4):
            sides[place - 1], sides[place] = "right", "left"
    return sides


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", pad=44)
    axes.set_ylabel("accuracy over the newest joined outcomes (95 % shaded)")
    axes.set_xlabel("event time (2013)")
    axes.locator_params(axis="x", nbins=11, integer=True)
    axes.xaxis.set_major_formatter(lambda x, _: f"{datetime.fromtimestamp(x * _DAY, UTC):%d %b}")
    axes.grid(axis="y", color="#e4e8ec", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)
    low, high = axes.get_ylim()
    axes.set_ylim(low - (high - low) * 0.18, high)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=4, frameon=False, fontsize=9)


def _x(moment: datetime) -> float:
    """Where matplotlib's axis of dates has a moment: in days since 1970."""
    return moment.timestamp() / _DAY
