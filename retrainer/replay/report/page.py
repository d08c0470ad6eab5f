"""report.html: one file that needs nothing else, with everything that a replay found drawn."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from retrainer.domain.values import iso
from retrainer.replay.report import series
from retrainer.replay.report.report import Replayed
from retrainer.replay.table.baselines import never, no_change

Json = dict[str, Any]

_MOST_DECISIONS: Final = 400
"""Decisions that are drawn of a policy; all of them are in report.json."""


def page(model: str, report: Json, replays: Sequence[Replayed]) -> str:
    """The page of a report.

    Args:
        report: as `report_of` made it.
        replays: what it was made of.
    """
    drawn = {replayed.name: _drawn(replayed, report) for replayed in replays}
    first = replays[0].played
    data = {
        "model": model,
        "table": first.table.name,
        "metric": report["metric"]["name"],
        "rows": report["rows"],
        "warm": report["warm"],
        "from": iso(int(first.table.times[first.table.warm])),
        "to": iso(int(first.table.times[-1])),
        "marks": series.marks(first),
        "coverage": series.coverage(first),
        "policies": drawn,
    }
    return rendered(model, data)


def rendered(model: str, data: Json) -> str:
    """The page with that drawn in it."""
    folder = files("retrainer.replay.report")
    template = (folder / "page.html").read_text("utf-8")
    # In a script element `</` alone could end it early.
    told = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("</", "<\\/")
    parts = {
        "{{title}}": html.escape(f"Replay of {model}"),
        "{{style}}": (folder / "page.css").read_text("utf-8"),
        "{{script}}": (folder / "page.js").read_text("utf-8"),
        "{{data}}": told,
    }
    for name, content in parts.items():
        template = template.replace(name, content)
    return template


def _drawn(replayed: Replayed, report: Json) -> Json:
    played = replayed.played
    own = report["policies"][replayed.name] if "policies" in report else report
    return {
        "summary": {name: own[name] for name in ("metric", "retrains", "promotions", "rollbacks", "baselines", "cost")},
        "window": min(series.window_of(played), own["rows"]),
        "line": series.line(played, played.served.answers),
        "never": series.line(played, never(played)),
        "no_change": series.line(played, no_change(played.table, played.values)),
        "thresholds": series.thresholds(played.policy),
        "decisions": [without_evidence(one) for one in own["decisions"][:_MOST_DECISIONS]],
        "decided": len(own["decisions"]),
        "changes": [
            {"row": row, "trigger": change.name, "level": change.reading.level.value} for row, change in played.changes
        ],
        "promotions": [{"row": one.row, "version": one.version, "time": iso(one.at)} for one in played.promotions],
        "jobs": own["jobs"],
        "notes": own["notes"],
        "slices": series.slices(played),
    }


def without_evidence(decision: Json) -> Json:
    """A decision in a line of its own."""
    return {name: value for name, value in decision.items() if name != "evidence"}
