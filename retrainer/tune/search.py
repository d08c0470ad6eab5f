"""One search for the point that costs least, by Optuna."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from retrainer.replay.table.engine import Tell
from retrainer.tune.edits import Unplayable
from retrainer.tune.plays import Plays, Scored
from retrainer.tune.space import TRIGGERS, Knob, Point, SearchSpace

if TYPE_CHECKING:
    from optuna import Trial

_NEAR: Final = 10
_TURNED: Final = 3

Clock = Callable[[], float]
"""Seconds, from any beginning."""


class Teller:
    """Adds up what many plays have played."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._rows = 0
        self._retrains = 0

    def during(self, rows: int, retrains: int) -> None:
        """A play has come so far."""
        self._tell(self._rows + rows, self._retrains + retrains)

    def after(self, rows: int, retrains: int) -> None:
        """A play is over, or was known already."""
        self._rows, self._retrains = self._rows + rows, self._retrains + retrains
        self._tell(self._rows, self._retrains)


@dataclass(frozen=True, kw_only=True)
class TriedPoint:
    """A point that was tried, and what it came to; or why it could not be played."""

    point: Point
    scored: Scored | None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Studied:
    """What a search tried, in order, and the best of it: of several that cost the same the one that came first."""

    tried: tuple[TriedPoint, ...]
    best: Point
    cost: float


@dataclass(frozen=True, kw_only=True)
class Searching:
    """What all searches of a tuning share.

    Attributes:
        price: of a retraining, in the unit of losses.
        trials: of each search.
        clock: read for the limit on time alone.
        teller: told of each play.
    """

    space: SearchSpace
    plays: Plays
    price: float
    trials: int
    seed: int
    clock: Clock
    teller: Teller

    def search(self, stretches: int, first: Sequence[Point], until: float) -> Studied:
        """Search on the rows of the first stretches alone.

        Args:
            first: what is tried before anything else; the first of them in any case.
            until: the time after which no other trial begins.

        Raises:
            Refused: the first one cannot be played.
        """
        from optuna import create_study
        from optuna.logging import CRITICAL, set_verbosity
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        set_verbosity(CRITICAL)
        sampler = TPESampler(seed=self.seed, n_startup_trials=_NEAR, multivariate=False, constant_liar=False)
        study = create_study(sampler=sampler, direction="minimize")
        for point in [*first, *self._near(stretches)]:
            study.enqueue_trial({knob.key: place for knob, place in zip(self.space.knobs, point, strict=True)})
        tried: list[TriedPoint] = []
        while len(tried) < self.trials and (not tried or self.clock() < until):
            trial = study.ask()
            one = self._try(self._point(trial), stretches)
            tried.append(one)
            if one.scored is None:
                study.tell(trial, state=TrialState.PRUNED)
            else:
                study.tell(trial, one.scored.cost(self.price))
        return self._studied(tried)

    def _near(self, stretches: int) -> Iterator[Point]:
        """Points that differ from the present one in a few knobs: where most of a configuration is sensible, they tell
        more than points from anywhere, and the sampler begins with them."""
        random = np.random.default_rng([self.seed, stretches])
        knobs = self.space.knobs
        for number in range(_NEAR):
            turned = random.choice(len(knobs), size=min(len(knobs), 1 + number % _TURNED), replace=False)
            yield tuple(
                int(random.choice([at for at in range(len(knob.choices)) if at != knob.present]))
                if at in turned
                else knob.present
                for at, knob in enumerate(knobs)
            )

    def _point(self, trial: Trial) -> Point:
        """What the sampler suggests; numbers of triggers that are off are not asked for."""
        places = {knob.key: knob.present for knob in self.space.knobs}
        for knob in sorted(self.space.knobs, key=lambda knob: knob.key != TRIGGERS):
            if not knob.trigger or knob.trigger in self.space.on(tuple(places.values())):
                places[knob.key] = _place(trial, knob)
        return self.space.fitting(tuple(places.values()))

    def _try(self, point: Point, stretches: int) -> TriedPoint:
        try:
            tried = TriedPoint(point=point, scored=self.plays.score(point, stretches, self.teller.during))
        except Unplayable as error:
            tried = TriedPoint(point=point, scored=None, why=str(error))
        self.teller.after(self.plays.rows(stretches), tried.scored.jobs() if tried.scored else 0)
        return tried

    def _studied(self, tried: Sequence[TriedPoint]) -> Studied:
        costs = [(one.scored.cost(self.price), one.point) for one in tried if one.scored is not None]
        cost, best = min(costs, key=lambda found: found[0])
        return Studied(tried=tuple(tried), best=best, cost=cost)


def _place(trial: Trial, knob: Knob) -> int:
    if knob.ordered:
        return trial.suggest_int(knob.key, 0, len(knob.choices) - 1)
    place: Any = trial.suggest_categorical(knob.key, range(len(knob.choices)))
    return int(place)
