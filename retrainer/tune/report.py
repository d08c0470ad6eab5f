"""What a tuning found: tune.json, comments in the configuration, and a few lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retrainer.replay.report.report import Json
from retrainer.tune.folds import Fold, PlayedFolds
from retrainer.tune.options import TuneOptions
from retrainer.tune.plays import Plays, Scored, Stretch, rounded
from retrainer.tune.search import Studied, TriedPoint
from retrainer.tune.space import SearchSpace, told
from retrainer.tune.weighing import Reason, Weighed
from retrainer.tune.writing import yaml_of


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """All that came of a tuning. `seconds` is how long it took."""

    model: str
    metric: str
    space: SearchSpace
    plays: Plays
    options: TuneOptions
    walked: PlayedFolds
    weighed: Weighed
    seconds: float

    @property
    def outcome(self) -> str:
        """What was done, and why."""
        walked = self.walked
        found, before = amount(walked.tuned_cost), amount(walked.present_cost)
        never = walked.never.cost(self.options.price, first=1)
        less = f" Never retraining would have cost less, {amount(never)}."
        unseen = less if never < min(walked.tuned_cost, walked.present_cost) else ""
        if not walked.helps:
            told = "nothing is changed. On rows that the search had not seen, what it found cost"
            return f"{told} {found}, and the settings as they are {before}.{unseen}"
        if not self.weighed.reasons:
            told = "nothing is changed: over all rows nothing that was tried costs less than the settings as they are."
            return told + unseen
        return (
            f"at {amount(self.options.price)} a retraining the settings below cost {amount(self.weighed.cost)} over "
            f"{self.plays.rows(len(self.plays.bounds) - 1):,} rows, those before {amount(self.present_cost)}. On rows "
            f"that the search had not seen, what it found cost {found} instead of {before}.{unseen}"
        )

    @property
    def present_cost(self) -> float:
        """Of the settings as they are, over all rows."""
        return self.walked.present.cost(self.options.price)


def report_of(tuned: Tuned) -> Json:
    """The report; all but `seconds` is the same each time, unless `--minutes` ends a search."""
    space, walked, weighed, price = tuned.space, tuned.walked, tuned.weighed, tuned.options.price
    best = min([weighed.cost, walked.last.cost, walked.never.cost(price)])
    return {
        "model": tuned.model,
        "metric": tuned.metric,
        "price": price,
        "seed": tuned.options.seed,
        "warm": tuned.plays.table.warm,
        "rows": tuned.plays.rows(len(tuned.plays.bounds) - 1),
        "changed": bool(weighed.reasons),
        "outcome": tuned.outcome,
        "settings": told(space.changed(weighed.point)),
        "reasons": [_reason(one) for one in weighed.reasons],
        "all_rows": {
            "tuned": _sums(tuned.plays.score(weighed.point, len(tuned.plays.bounds) - 1), price, best),
            "present": _sums(walked.present, price, best),
            "never": _sums(walked.never, price, best),
        },
        "walk_forward": _walk_forward(tuned),
        "present": told(space.values(space.present)),
        "choices": {knob.key: [told({knob.key: one})[knob.key] for one in knob.choices] for knob in space.knobs},
        "trials": [_trial(space, one, price, best) for one in walked.last.tried],
        "seconds": round(tuned.seconds, 3),
    }


def reasons_in_words(reasons: Sequence[Reason]) -> dict[str, str]:
    """Key to the comment beside its value."""
    return {one.key: f"was {_value(one.key, one.was)}, {_costs(one)}" for one in reasons}


def words(tuned: Tuned) -> str:
    """The outcome in a few lines, for a terminal."""
    walked, price = tuned.walked, tuned.options.price
    compared = (
        f"found {amount(walked.tuned_cost)}, as it is {amount(walked.present_cost)}, "
        f"never retrained {amount(walked.never.cost(price, first=1))}, "
        f"the best in hindsight {amount(walked.best_cost)}"
    )
    lines = [
        f"{tuned.model}: {tuned.outcome}",
        f"  cost of unseen rows, {_count(len(walked.folds), 'fold')}: {compared}",
        f"  over all rows, as it is: {_told(walked.present, tuned)}",
    ]
    if tuned.weighed.reasons:
        found = tuned.plays.score(tuned.weighed.point, len(tuned.plays.bounds) - 1)
        lines.append(f"  over all rows, tuned: {_told(found, tuned)}")
    comments = reasons_in_words(tuned.weighed.reasons)
    lines += [f"  {one.key}: {_value(one.key, one.now)}, {comments[one.key]}" for one in tuned.weighed.reasons]
    return "\n".join(lines)


def amount(number: float) -> str:
    """A cost, short."""
    return f"{number:,.0f}" if abs(number) >= 1000 or number == int(number) else f"{number:.3g}"


def _told(scored: Scored, tuned: Tuned) -> str:
    value = "-" if scored.metric is None else f"{scored.metric:.4f}"
    price = tuned.options.price
    jobs = _count(scored.jobs(), "retraining")
    return f"{tuned.metric} {value}, {jobs}, cost {amount(scored.cost(price))}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _costs(reason: Reason) -> str:
    if reason.more is None:
        return "which does not go with the rest"
    share = "" if reason.share is None else f" ({100 * reason.share:.1f} %)"
    return f"which costs {amount(reason.more)} more{share}"


def _value(key: str, value: Any) -> str:
    return yaml_of(told({key: value})[key])


def _reason(reason: Reason) -> Json:
    was, now = (told({reason.key: value})[reason.key] for value in (reason.was, reason.now))
    return {"key": reason.key, "was": was, "now": now, "more": reason.more, "share": reason.share}


def _sums(scored: Scored, price: float, best: float) -> Json:
    cost = scored.cost(price)
    return {
        "cost": cost,
        "regret": rounded(cost - best),
        "loss": scored.loss(),
        "jobs": scored.jobs(),
        "metric": scored.metric,
    }


def _walk_forward(tuned: Tuned) -> Json:
    walked, price = tuned.walked, tuned.options.price
    best = walked.best_cost
    costs = {
        "tuned": walked.tuned_cost,
        "present": walked.present_cost,
        "never": walked.never.cost(price, first=1),
    }
    return {
        "helps": walked.helps,
        **{name: {"cost": cost, "regret": rounded(cost - best)} for name, cost in costs.items()},
        "best": best,
        "folds": [_fold(tuned, fold) for fold in walked.folds],
    }


def _fold(tuned: Tuned, fold: Fold) -> Json:
    walked, price, bounds = tuned.walked, tuned.options.price, tuned.plays.bounds
    return {
        "searched": [bounds[0], bounds[fold.number]],
        "rows": [bounds[fold.number], bounds[fold.number + 1]],
        "settings": told(tuned.space.changed(fold.studied.best)),
        "searched_cost": fold.studied.cost,
        "tuned": _stretch(fold.tuned, price),
        "present": _stretch(walked.present.stretches[fold.number], price),
        "never": _stretch(walked.never.stretches[fold.number], price),
        "trials": _trials(tuned.space, fold.studied, price),
    }


def _stretch(stretch: Stretch, price: float) -> Json:
    return {"cost": stretch.cost(price), "loss": stretch.loss, "jobs": stretch.jobs, "rows": stretch.rows}


def _trials(space: SearchSpace, studied: Studied, price: float) -> list[Json]:
    return [_trial(space, one, price, studied.cost) for one in studied.tried]


def _trial(space: SearchSpace, tried: TriedPoint, price: float, best: float) -> Json:
    settings = told(space.changed(tried.point))
    if tried.scored is None:
        return {"settings": settings, "unplayable": tried.why}
    return {"settings": settings, **_sums(tried.scored, price, best)}
