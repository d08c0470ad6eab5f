"""Windows over the closed slots of one champion's outcomes, by count or by time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from retrainer.domain.metrics.registry import size
from retrainer.domain.tally.measures import settled
from retrainer.domain.values import SLOT_WIDTH, Micros, Slot, iso, slot_start, span_text

EVALUATIONS_PER_WINDOW: Final = 10
"""A window is looked at each time that a tenth of it is new."""


@dataclass(frozen=True, kw_only=True)
class CountWindow:
    """The newest whole slots that hold at least `outcomes`."""

    outcomes: int

    def __str__(self) -> str:
        return f"{self.outcomes} outcomes"


@dataclass(frozen=True, kw_only=True)
class TimeWindow:
    """The newest slots that make up `span` of event time."""

    span: Micros

    def __str__(self) -> str:
        return span_text(self.span)


Window = CountWindow | TimeWindow


@dataclass(frozen=True, kw_only=True)
class View:
    """The outcomes in a window that ends with a closed slot."""

    cells: Mapping[tuple[str, str], int]
    n: int
    first: Slot
    end: Micros

    @property
    def evidence(self) -> dict[str, object]:
        return {"n": self.n, "from": iso(slot_start(self.first)), "to": iso(self.end)}


class History:
    """One champion's outcomes since its promotion, slot by slot; remembers as much as any of its windows needs."""

    def __init__(self, *windows: Window, seen: int = 0) -> None:
        self.seen = seen
        self._windows = windows
        self._slots: deque[tuple[Slot, Counter[tuple[str, str]], int]] = deque()
        self._held = 0

    @property
    def newest(self) -> tuple[Slot, Mapping[tuple[str, str], int]]:
        """The slot that closed last, with its outcomes."""
        slot, cells, _ = self._slots[-1]
        return slot, cells

    def add(self, slot: Slot, cells: Counter[tuple[str, str]], *, remembered: bool = False) -> None:
        """Append a closed slot; one that `seen` counts already is only remembered."""
        n = size(cells)
        self._slots.append((slot, cells, n))
        self._held += n
        self.seen += 0 if remembered else n
        self._forget()

    def view(self, window: Window) -> View | None:
        """What the window holds at the newest slot; None while a count window is not full."""
        if not self._slots:
            return None
        newest = self._slots[-1][0]
        cells, n, first = Counter[tuple[str, str]](), 0, newest
        for slot, held, added in reversed(self._slots):
            if is_full(window, n, newest, slot):
                break
            for cell, count in held.items():  # a slot has few, for which Counter.update is slow
                cells[cell] = cells.get(cell, 0) + count
            n, first = n + added, slot
        if isinstance(window, CountWindow) and n < window.outcomes:
            return None
        counted = settled(cells)  # a correction may take back an outcome from before the window
        return View(cells=counted, n=max(0, size(counted)), first=first, end=slot_start(newest + 1))

    def beat(self, window: Window) -> int:
        """A number that grows by one with every tenth of the window; a new number means a new evaluation."""
        if isinstance(window, CountWindow):
            return self.seen * EVALUATIONS_PER_WINDOW // window.outcomes
        end = slot_start(self._slots[-1][0] + 1) if self._slots else 0
        return end * EVALUATIONS_PER_WINDOW // window.span

    def _forget(self) -> None:
        newest = self._slots[-1][0]
        while len(self._slots) > 1:
            slot, _, n = self._slots[0]
            if not all(is_full(window, self._held - n, newest, slot) for window in self._windows):
                return
            self._slots.popleft()
            self._held -= n


def is_full(window: Window, n: int, newest: Slot, older: Slot) -> bool:
    """Whether a window that holds `n` outcomes up to `newest` has no room for the older slot."""
    if isinstance(window, CountWindow):
        return n >= window.outcomes
    return (newest + 1 - older) * SLOT_WIDTH > window.span
