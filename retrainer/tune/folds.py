"""Whether tuning helps on rows that it has not seen: search up to a stretch, play what was found on the next one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from retrainer.tune.plays import Scored, Stretch, rounded
from retrainer.tune.search import Searching, Studied
from retrainer.tune.space import Point


@dataclass(frozen=True, kw_only=True)
class Fold:
    """What was found on the stretches before one, and what it comes to on that one."""

    number: int
    studied: Studied
    tuned: Stretch


@dataclass(frozen=True, kw_only=True)
class PlayedFolds:
    """Every fold, and a last search over all rows.

    Attributes:
        present: the configuration's own settings over all rows; never: never retraining.
    """

    folds: tuple[Fold, ...]
    last: Studied
    present: Scored
    never: Scored
    price: float

    @property
    def tuned_cost(self) -> float:
        """Of what was found, on stretches that the search for it had not seen."""
        return rounded(sum(fold.tuned.cost(self.price) for fold in self.folds))

    @property
    def present_cost(self) -> float:
        """Of the settings as they are, on the same stretches."""
        return self.present.cost(self.price, first=1)

    @property
    def best_cost(self) -> float:
        """Of the best that is known in hindsight, on the same stretches."""
        tried = [one.scored.cost(self.price, first=1) for one in self.last.tried if one.scored is not None]
        return min(*tried, self.present_cost, self.tuned_cost, self.never.cost(self.price, first=1))

    @property
    def helps(self) -> bool:
        """Whether tuning costs less than leaving things as they are."""
        return self.tuned_cost < self.present_cost


def walk(searching: Searching, folds: int, seconds: float) -> PlayedFolds:
    """Search fold by fold, each with what the earlier ones found, and at last over all rows.

    Args:
        seconds: for all searches together, in shares by how many rows each plays.

    Raises:
        Refused: the present settings cannot be played.
    """
    plays, space = searching.plays, searching.space
    ends = iter(_ends(searching, folds + 1, seconds))
    found: list[Fold] = []
    first: list[Point] = [space.present]
    for number in range(1, folds + 1):
        studied = searching.search(number, first, next(ends))
        if studied.best not in first:
            first.append(studied.best)
        tuned = plays.score(studied.best, number + 1).stretches[-1]
        found.append(Fold(number=number, studied=studied, tuned=tuned))
    last = searching.search(folds + 1, first, next(ends))
    never = plays.never
    assert never is not None
    present = plays.score(space.present, folds + 1)
    return PlayedFolds(folds=tuple(found), last=last, present=present, never=never, price=searching.price)


def _ends(searching: Searching, searches: int, seconds: float) -> Iterator[float]:
    """When each search has to be over; what one leaves is for those that follow."""
    stop = searching.clock() + seconds
    weights: Sequence[int] = [searching.plays.rows(number) for number in range(1, searches + 1)]
    for number in range(searches):
        now = searching.clock()
        yield now + (stop - now) * weights[number] / sum(weights[number:])
