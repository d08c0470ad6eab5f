"""`trial`: a candidate is worth a try when what the champion has fallen behind is likely to have cost its price.

Tests on the champion's outcomes see that it has become worse than it was. They do not see what a new model could do: a
champion that was never good, or one that fades among outcomes that depend on each other so much that nobody can tell.
Training and judging a candidate tells, and costs a training. So candidates are tried on no fixed beat.

Each judgement says by how much a candidate that knew m newer labels was better: the champion falls behind at a rate of
g = difference / m a label. After T labels that has cost g T^2 / 2, so with a retraining worth `price` right answers the
best distance between two is T = sqrt(2 price / g): the square-root law of the economic order quantity (Harris, How
many parts to make at once, Factory 10 (1913)). g is what the newest judgements say together, each weighed by its
precision and half as much as the next one, less one and a half standard errors. At first T is a guess, `times` the rows
that the first champion learnt from, and where nothing is left of g it becomes eight times as long. Where nothing can be
gained trainings thus become rare: of L labels about the logarithm of L to the base of eight.

How the champion does by itself counts too, though it proves nothing where outcomes depend on each other: while it looks
no worse than in its first window, four times the price has to be lost. Where it looks clearly worse, one trial in vain
may have been bad luck, and the next one waits an eighth as long, though not less than the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil, inf, sqrt
from typing import Any, ClassVar, Final

from retrainer.domain.metrics.registry import METRICS, Estimate, estimate
from retrainer.domain.metrics.windows import CountWindow, Window
from retrainer.domain.triggers.base import Level, Reading, Scene, State, TriedJob

UNKNOWN_ROWS: Final = 5_000
"""How many rows a champion is taken to have learnt from if that is not known."""

PRICE: Final = 0.005
"""Of the rows that the first champion learnt from, where nobody says what a retraining is worth: with a hundred times
the traffic a hundred times the labels then pass between two trials, and as much time."""

_LONGER: Final = 8.0
_SHORTER: Final = 4.0
"""From one trial to the next the distance becomes so many times as long or as short, at most."""
_AFTER_CHANGE: Final = 2.0
"""After a change so many times the fewest labels that a judgement needs, with which the rows after it have doubled."""
_FADES: Final = 0.5
"""What a trial weighs beside the next one."""
_DOUBT: Final = 4.0
"""So many times the price has to be lost where the champion does not look worse than at first."""
_POINTS: Final = 0.05
_SHARE: Final = 0.2
_ERRORS: Final = 1.5
"""So many standard errors are taken off the rate."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How fast the champion falls behind: by so much of the judging metric for each label, and its standard error."""

    value: float
    error: float

    @property
    def sure(self) -> float:
        """What is left of it without its standard errors; not above 0 where nothing is."""
        return self.value - _ERRORS * self.error


def rate_of(trials: Iterable[TriedJob]) -> Rate | None:
    """What the trials, oldest first, say together: the weighted least squares of differences on labels, through 0."""
    covered = weight = 0.0
    for one in trials:
        covered, weight = covered * _FADES, weight * _FADES
        if one.tells:
            precision = 1 / one.error**2
            covered += precision * one.difference * one.ahead
            weight += precision * one.ahead**2
    return Rate(value=covered / weight, error=1 / sqrt(weight)) if weight else None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Fires when it is time for a trial, until the next job starts.

    Attributes:
        times: so many times the rows that the first champion learnt from have to come before the first trial.
        price: what a retraining is worth: so many right answers; of an error, so many times the champion's own. None:
            `PRICE` of the rows that the first champion learnt from.
        least: labels between two jobs at least: fewer could not be judged on.
        metric: by which the champion is looked at; positive: the class that precision, recall and f1 speak of.
        window: of outcomes, the first and the newest of which are compared.
    """

    kind: ClassVar[str] = "trial"
    every_slot: ClassVar[bool] = True
    due: ClassVar[bool] = True

    times: float
    price: float | None = None
    least: int
    metric: str
    positive: str | None = None
    window: Window = field(default_factory=lambda: CountWindow(outcomes=1000))

    def evaluate(self, state: State, scene: Scene) -> tuple[State, Reading]:
        """Labels since the last job and what came of jobs are in the scene; it remembers how the champion began."""
        state = self._looked(state, scene)
        looks_worse = bool(state.get("worse"))
        needed = self.needed(scene.first_rows, scene.tried, looks_worse=looks_worse)
        fired = scene.since_job >= needed
        evidence: dict[str, Any] = {"labels": scene.since_job, "needed": needed, "jobs": len(scene.tried)}
        if looks_worse:
            evidence |= {"metric": self.metric, "first": state["first"]["value"], "newest": state["newest"]}
        rate = rate_of(_since_change(scene.tried)) if fired else None
        if rate is not None:
            evidence |= {
                "falls_behind": rate.value,
                "standard_error": rate.error,
                "price": self._price(scene.first_rows),
            }
        return state, Reading(level=Level.FIRED if fired else Level.QUIET, evidence=evidence)

    def needed(self, first_rows: int, tried: tuple[TriedJob, ...], *, looks_worse: bool = False) -> int:
        """How many labels have to come after the last of these jobs, oldest first, before the next trial."""
        first = max(self.least, self.times * first_rows)
        price = self._price(first_rows) * (1 if looks_worse else _DOUBT)
        distance = _distance(first, self.least, price, tried)
        return ceil(min(distance, max(first, distance / _LONGER)) if looks_worse else distance)

    def _looked(self, state: State, scene: Scene) -> State:
        """With every tenth of a window: how the newest outcomes compare with the champion's first ones."""
        beat = scene.history.beat(self.window)
        if beat == state.get("beat", 0):
            return state
        view = scene.history.view(self.window)
        found = estimate(self.metric, view.cells, self.positive) if view else None
        if found is None:
            return {**state, "beat": beat}
        if "first" not in state:
            return {"beat": beat, "first": {"value": found.value, "low": found.low, "high": found.high}}
        first = Estimate(metric=self.metric, n=0, **state["first"])
        return {**state, "beat": beat, "newest": found.value, "worse": clearly_worse(self.metric, found, first)}

    def _price(self, first_rows: int) -> float:
        return PRICE * first_rows if self.price is None else self.price


@lru_cache(maxsize=4096)  # asked in every slot, and another answer comes with a job alone
def _distance(first: float, least: float, price: float, tried: tuple[TriedJob, ...]) -> float:
    """In labels, from the last job to the next trial.

    A job that a change has asked for says nothing about the rate. If its candidate was taken, what came before says
    nothing any more either, and more may be gained soon: it has learnt from the first rows after the change.
    """
    distance, seen = first, list[TriedJob]()
    for one in tried:
        if not one.after_change:
            seen.append(one)
            wanted = _wanted(rate_of(seen), price) if one.tells else (0.5 if one.taken else _LONGER) * distance
            distance = max(least, min(max(wanted, distance / _SHORTER), distance * _LONGER))
        elif one.taken:
            distance, seen = _AFTER_CHANGE * least, []
    return distance


def _wanted(rate: Rate | None, price: float) -> float:
    return sqrt(2 * price / rate.sure) if rate is not None and rate.sure > 0 else inf


def clearly_worse(metric: str, found: Estimate, first: Estimate) -> bool:
    """Their intervals lie apart, and their values by five points; those of an error by a fifth."""
    if METRICS[metric].higher_is_better:
        apart = None not in (found.high, first.low) and found.high < first.low  # type: ignore[operator]  # not None
        return apart and found.value <= first.value - _POINTS
    apart = None not in (found.low, first.high) and found.low > first.high  # type: ignore[operator]  # not None
    return apart and found.value >= first.value * (1 + _SHARE)


def _since_change(tried: Iterable[TriedJob]) -> Iterable[TriedJob]:
    """Those that speak of how things are now."""
    found: list[TriedJob] = []
    for one in tried:
        if not one.after_change:
            found.append(one)
        elif one.taken:
            found = []
    return found


def words(evidence: Mapping[str, Any]) -> str:
    """What the trigger saw, in a sentence."""
    told = f"{evidence['labels']:,} labels have come since the last job; {evidence['needed']:,} are worth a try"
    if "newest" in evidence:
        seen = "{metric} is {newest:.4g} over the newest outcomes and was {first:.4g} over its first".format(**evidence)
        told = f"{told}, sooner as its {seen}"
    if "falls_behind" not in evidence:
        return told
    behind, error = (1000 * evidence[name] for name in ("falls_behind", "standard_error"))
    return f"{told}, as in the trials so far the champion fell behind by {behind:.2g} (± {error:.2g}) in 1,000 labels"
