"""What the page draws of answered rows: the metric over time with its interval, slices, labels that have come."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from retrainer.domain.metrics import registry as metrics
from retrainer.domain.metrics.registry import estimate
from retrainer.domain.metrics.windows import CountWindow
from retrainer.domain.tally.measures import Cell
from retrainer.domain.values import iso
from retrainer.replay.table.engine import Played
from retrainer.replay.table.table import MISSING, Codes
from retrainer.service.policy import ModelPolicy

POINTS: Final = 240
"""Points of a line."""

_FEWEST: Final = 50
_MOST_SLICES: Final = 12
_MOST_VALUES: Final = 50

Json = dict[str, Any]
Rows = npt.NDArray[np.int64]


def windows(played: Played) -> list[tuple[int, int]]:
    """The rows of each point: its window's first and end. They overlap unless points are far apart."""
    warm, end = played.table.warm, len(played.table)
    size = min(window_of(played), end - warm)
    ends = np.unique(np.linspace(warm + size, end, POINTS).astype(np.int64))
    return [(int(stop) - size, int(stop)) for stop in ends]


def window_of(played: Played) -> int:
    """Rows in a point's window: the policy's own where it counts outcomes, else a fiftieth of all."""
    window = played.policy.watch.report_window
    if isinstance(window, CountWindow):
        return window.outcomes
    return max(_FEWEST, (len(played.table) - played.table.warm) // 50)


def line(played: Played, answers: Codes) -> list[Json]:
    """The metric that judges, at each point: row, time, value, n, and the interval where one is known."""
    name = played.policy.watch.metrics[0]
    found = []
    for (_, end), cells in zip(windows(played), _cells_of_windows(played, answers), strict=True):
        one = estimate(name, cells, played.policy.watch.positive) if cells else None
        if one is not None:
            found.append({"row": end - 1, "value": one.value, "low": one.low, "high": one.high, "n": one.n})
    return found


def _cells_of_windows(played: Played, answers: Codes) -> Iterator[Mapping[Cell, int]]:
    """The tally of each window. They overlap: each row is counted once as it enters, and taken back as it leaves."""
    labels, found = played.table.labels, windows(played)
    bounds = sorted({bound for window in found for bound in window})
    parts = deque(
        (first, end, played.values.cells(labels[first:end], answers[first:end])) for first, end in pairwise(bounds)
    )
    cells: Counter[Cell] = Counter()
    held: deque[tuple[int, Mapping[Cell, int]]] = deque()
    for first, end in found:
        while parts and parts[0][1] <= end:
            begin, _, part = parts.popleft()
            held.append((begin, part))
            cells.update(part)
        while held and held[0][0] < first:
            cells.subtract(held.popleft()[1])
        yield {cell: n for cell, n in cells.items() if n}


def coverage(played: Played) -> list[Json]:
    """At each point the share of its window's labels that have come by then, and that ever come."""
    table = played.table
    found = []
    for first, end in windows(played):
        arrivals = table.arrivals[first:end]
        come = float((arrivals <= table.times[end - 1]).mean())
        found.append({"row": end - 1, "come": come, "ever": float((table.labels[first:end] != MISSING).mean())})
    return found


def marks(played: Played) -> list[Json]:
    """The time of some rows, for the axis and for what a pointer shows."""
    rows = np.unique(np.linspace(played.table.warm, len(played.table) - 1, 200).astype(np.int64))
    return [{"row": int(row), "time": iso(int(played.table.times[row]))} for row in rows]


def thresholds(policy: ModelPolicy) -> list[Json]:
    """The lines that triggers draw for the metric that judges."""
    name = policy.watch.metrics[0]
    found = []
    for trigger, one in policy.watch.triggers.items():
        if getattr(one, "metric", None) != name:
            continue
        for level in ("below", "above", "warn_below", "warn_above"):
            value = getattr(one, level, None)
            if value is not None:
                found.append({"trigger": trigger, "level": level, "value": value})
    return found


def slices(played: Played) -> list[Json]:
    """The metric in each slice that the configuration names, the largest first, and by quarters of the replay."""
    table = played.table
    bounds = np.linspace(table.warm, len(table), 5).astype(np.int64)
    found = []
    for name, rows in _memberships(played):
        parts = [rows[(rows >= first) & (rows < end)] for first, end in pairwise(bounds.tolist())]
        values = [_value(played, part) for part in parts]
        whole = _value(played, rows)
        if whole is not None:
            found.append({"name": name, "n": len(rows), "value": whole, "quarters": values})
    return found[:_MOST_SLICES]


def _value(played: Played, rows: Rows) -> float | None:
    table, watch = played.table, played.policy.watch
    cells = played.values.cells(table.labels[rows], played.served.answers[rows])
    return metrics.value(watch.metrics[0], cells, watch.positive) if cells else None


def _memberships(played: Played) -> Sequence[tuple[str, Rows]]:
    """The predicted rows of each slice, the largest slices first."""
    table = played.table
    found: list[tuple[str, Rows]] = []
    for policy in played.policy.ingest.predictions.slices:
        known = [name for name in sorted(policy.features) if name in table.features]
        if not known:
            continue
        features = table.features[known].iloc[table.warm :]
        # Rows with the same values are in the same slice: each combination is asked once.
        numbers = features.groupby(known, dropna=False, sort=False).ngroup().to_numpy()
        firsts = np.unique(numbers, return_index=True)[1]
        records: list[Any] = features.iloc[firsts].to_dict("records")
        texts = {number: policy.text_of(one) for number, one in enumerate(records)}
        by_text: dict[str, list[int]] = {}
        for number, text in texts.items():
            if text is not None:
                by_text.setdefault(text, []).append(number)
        members = [
            (text, table.warm + np.flatnonzero(np.isin(numbers, found_in))) for text, found_in in by_text.items()
        ]
        found += sorted(members, key=lambda one: -len(one[1]))[:_MOST_VALUES]
    return sorted(found, key=lambda one: -len(one[1]))
