"""A model whose predictions are labelled as they are in life: late, each class at its own pace, with stalls."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from retrainer.domain.lateness.coverage import Coverage, CoveragePolicy
from retrainer.domain.lateness.fairness import Fairness
from retrainer.domain.tally.arrivals import DELAY, HIT, MISS, PREDICTED, ArrivalKey, delay_bucket, width_of
from retrainer.domain.values import Micros, Slot, slot_of
from tests.domain.making import MINUTE

HOUR: Final[Micros] = 60 * MINUTE
DAY: Final[Micros] = 24 * HOUR
START: Final[Micros] = 28_000_000 * MINUTE

Cells = Counter[tuple[str, str]]
Move = Callable[[Micros, str, Micros], Micros | None]
"""When a label really comes, by when it would have (since the start), its class, and when the prediction was made."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One class: how common, how often the model is right about it, and when its label comes."""

    share: float
    right: float
    delays: tuple[Micros, Micros]


QUICK_AND_HARD: Final = {
    "hard": Kind(share=0.3, right=0.6, delays=(2 * MINUTE, 20 * MINUTE)),
    "easy": Kind(share=0.7, right=0.95, delays=(8 * HOUR, 12 * HOUR)),
}
TRUE: Final = 0.3 * 0.6 + 0.7 * 0.95
"""The accuracy of a model of these."""


@dataclass(kw_only=True)
class Life:
    """Draws a model's events. `times` count from the start; `rate` is in predictions a minute."""

    kinds: dict[str, Kind] = field(default_factory=lambda: dict(QUICK_AND_HARD))
    rate: Callable[[Micros], float] = lambda _: 2.0
    reviewed: Callable[[Micros], float] = lambda _: 1.0
    right: Callable[[Micros, str, float], float] = lambda _, __, right: right
    version: Callable[[Micros], str] = lambda _: "1"
    move: Move = lambda due, _, __: due
    max_delay: Micros = DAY
    seed: int = 1
    _lived: dict[Micros, list[tuple[Slot, list[tuple[ArrivalKey, int]]]]] = field(default_factory=dict)

    @property
    def policy(self) -> CoveragePolicy:
        return CoveragePolicy(width=width_of(self.max_delay), max_delay=self.max_delay)

    def slots(self, length: Micros) -> list[tuple[Slot, list[tuple[ArrivalKey, int]]]]:
        """What arrives in each slot of a life, in order."""
        if length not in self._lived:
            self._lived[length] = self._live(length)
        return self._lived[length]

    def _live(self, length: Micros) -> list[tuple[Slot, list[tuple[ArrivalKey, int]]]]:
        draw = Random(self.seed).random
        slots: dict[Slot, dict[ArrivalKey, int]] = defaultdict(lambda: defaultdict(int))
        for minute in range(length // MINUTE):
            rate = self.rate(minute * MINUTE)
            for _ in range(int(rate) + (draw() < rate % 1)):
                self._predict(draw, minute * MINUTE + int(draw() * MINUTE), length, slots)
        return [(slot, list(rows.items())) for slot, rows in sorted(slots.items())]

    def _predict(
        self,
        draw: Callable[[], float],
        made: Micros,
        length: Micros,
        slots: dict[Slot, dict[ArrivalKey, int]],
    ) -> None:
        pick, (first, last) = draw(), (0.0, next(reversed(self.kinds)))
        name = next((name for name, kind in self.kinds.items() if pick < (first := first + kind.share)), last)
        kind, version = self.kinds[name], self.version(made)
        is_right = draw() < self.right(made, name, kind.right)
        is_reviewed = draw() < self.reviewed(made)
        due = made + kind.delays[0] + int(draw() * (kind.delays[1] - kind.delays[0] + 1))
        at = self.move(due, name, made) if is_reviewed else None
        slot, born = slot_of(START + made), slot_of(START + made) // width_of(self.max_delay)
        slots[slot][ArrivalKey(version, slot, PREDICTED, born)] += 1
        if at is not None and at < length and at - made <= self.max_delay:
            slot = slot_of(START + at)
            slots[slot][ArrivalKey(version, slot, HIT if is_right else MISS, born)] += 1
            slots[slot][ArrivalKey(version, slot, DELAY, delay_bucket(at - made))] += 1


def cells_of(rows: Sequence[tuple[ArrivalKey, int]], version: str | None = None) -> Cells:
    """The outcomes that became known in a slot."""
    cells = Cells()
    for key, n in rows:
        if key.kind in (HIT, MISS) and version in (None, key.version):
            cells["x", "x" if key.kind == HIT else "y"] += n
    return cells


def gated(life: Life, length: Micros, version: str = "1") -> Iterator[tuple[Micros, Cells, Fairness, Coverage]]:
    """A champion's life behind the gate: the end of each slot (since the start), what is shown, and who says so."""
    coverage = Coverage(life.policy)
    fairness = Fairness(coverage)
    for slot, rows in life.slots(length):
        ended = coverage.count(slot, rows)
        own = [(key, n) for key, n in rows if key.version == version]
        shown = fairness.close_slot(slot, cells_of(own), own, bucket_ended=ended)
        yield (slot + 1) * MINUTE - START, shown, fairness, coverage
