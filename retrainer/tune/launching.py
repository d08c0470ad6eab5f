"""The two triggers that are turned on and off: `shift`, a sequential test, and `trial`. Those of the user's own stay.

A model without triggers has both by default. Where the configuration has a `retrain_when` of its own, it says who
launches, and only numbers are searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress, product
from typing import Any, Final

from retrainer.config.model import ModelSettings
from retrainer.domain.triggers.change import Change
from retrainer.domain.triggers.trial import Trial
from retrainer.policies import DEFAULT_TRIAL, DEFAULT_TRIGGER, model_policy

KINDS: Final = ("change", "trial")


@dataclass(frozen=True, kw_only=True)
class Launching:
    """Who launches, and who could.

    Attributes:
        given: the names of the triggers that the configuration has; none where it leaves them to the defaults.
        shift, trial: the names of the two; empty where the name is taken by another kind.
        on: which of them launch now.
        choices: which of them may launch together, that one among them.
        metric: what the sequential test looks at.
        confidence, times: their numbers now, or by default.
    """

    given: tuple[str, ...]
    shift: str
    trial: str
    on: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]
    metric: str
    confidence: float
    times: float

    def section(self, name: str, confidence: float, times: float) -> dict[str, Any]:
        """One of the two as the configuration writes it."""
        if name == self.shift:
            return {"change": {"metric": self.metric, "confidence": confidence}}
        return {"trial": {"times": times}}


def launching_of(model: ModelSettings) -> Launching:
    """What a model's settings say about it."""
    given = tuple(model.triggers)
    shift, trial = (_named(model, kind) for kind in KINDS)
    both = tuple(name for name in (shift, trial) if name)
    on = tuple(name for name in both if name in given) if given else both
    test, least = _defaults(model)
    change = model.triggers[shift].change if shift in given else None
    due = model.triggers[trial].trial if trial in given else None
    return Launching(
        given=given,
        shift=shift if model.retrain_when is None or shift in given else "",
        trial=trial if model.retrain_when is None or trial in given else "",
        on=on,
        choices=(on,) if model.retrain_when is not None else _together(both, on, others=set(given) - set(both)),
        metric=change.metric if change else test.metric,
        confidence=change.confidence if change else test.confidence,
        times=due.times if due else least.times,
    )


def _named(model: ModelSettings, kind: str) -> str:
    """The first trigger of a kind, else the name that a new one would have."""
    found = next((name for name, trigger in model.triggers.items() if trigger.kind == kind), None)
    new = DEFAULT_TRIGGER if kind == "change" else DEFAULT_TRIAL
    return found or ("" if new in model.triggers else new)


def _together(both: Sequence[str], on: tuple[str, ...], others: set[str]) -> tuple[tuple[str, ...], ...]:
    """Without others at least one of the two launches."""
    sets = [tuple(compress(both, which)) for which in product((True, False), repeat=len(both))]
    return tuple(one for one in sets if one or others or one == on)


def _defaults(model: ModelSettings) -> tuple[Change, Trial]:
    """The triggers that the model would have if it named none."""
    policy = model_policy(model.model_copy(update={"triggers": {}, "retrain_when": None}))
    shift, trial = policy.watch.triggers[DEFAULT_TRIGGER], policy.watch.triggers[DEFAULT_TRIAL]
    assert isinstance(shift, Change)
    assert isinstance(trial, Trial)
    return shift, trial
