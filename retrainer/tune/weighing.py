"""What a point needs: changes that save nothing are left out, of the others it is said what they save."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from retrainer.replay.table.engine import Tell
from retrainer.tune.edits import Unplayable
from retrainer.tune.plays import Plays, rounded
from retrainer.tune.space import Point, SearchSpace


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a value was changed.

    Attributes:
        more: what putting it back alone would cost; None where the rest cannot be played without it.
        share: the same beside the cost as it is; None too where that is nothing.
    """

    key: str
    was: Any
    now: Any
    more: float | None
    share: float | None


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """The simplest point that costs no more, and why it is as it is."""

    point: Point
    cost: float
    reasons: tuple[Reason, ...]


def weigh(space: SearchSpace, plays: Plays, point: Point, price: float, tell: Tell) -> Weighed:
    """Put values back, one after the other, as long as that costs no more over all rows."""
    weighing = _Weighing(space=space, plays=plays, price=price, tell=tell)
    cost = weighing.cost(point)
    assert cost is not None
    keys = list(space.changed(point))
    while keys:
        key = keys.pop(0)
        simpler = space.put_back(point, key)
        without = weighing.cost(simpler)
        if without is not None and without <= cost:
            point, cost = simpler, without
            keys = list(space.changed(point))  # what was needed beside it may not be any more
    now, was = space.changed(point), space.values(space.present)
    reasons = []
    for key, value in now.items():
        without = weighing.cost(space.put_back(point, key))
        more = None if without is None else rounded(without - cost)
        share = None if more is None or not cost else rounded(more / cost)
        reasons.append(Reason(key=key, was=was[key], now=value, more=more, share=share))
    return Weighed(point=point, cost=cost, reasons=tuple(reasons))


@dataclass(frozen=True, kw_only=True)
class _Weighing:
    space: SearchSpace
    plays: Plays
    price: float
    tell: Tell

    def cost(self, point: Point) -> float | None:
        """Over all rows; None if it cannot be played."""
        try:
            return self.plays.score(point, len(self.plays.bounds) - 1, self.tell).cost(self.price)
        except Unplayable:
            return None
