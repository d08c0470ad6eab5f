"""Policies in one short call each. Without changes they are what an empty section of the configuration means.

Thresholds and drops are simpler than that: one breach fires, and nobody asks for confidence.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from retrainer.config.training import GuardSettings, JudgeSettings, LimitSettings, PromotionSettings
from retrainer.domain.deciding.situation import DecisionPolicy, Guards
from retrainer.domain.judging.verdicts import JudgePolicy
from retrainer.domain.metrics.windows import CountWindow
from retrainer.domain.triggers.change import Change
from retrainer.domain.triggers.drift import Drift
from retrainer.domain.triggers.drop import Drop
from retrainer.domain.triggers.threshold import Threshold
from retrainer.domain.triggers.trial import Trial
from retrainer.policies import guards_of, judge_of, limits_of, promotion_of
from retrainer.ports.training import Limits
from retrainer.service.policy import PromotionPolicy


def plain_guards(**changes: Any) -> Guards:
    return replace(guards_of(GuardSettings()), **changes)


def plain_deciding(**changes: Any) -> DecisionPolicy:
    plain = DecisionPolicy(model="m", guards=plain_guards(), holdout=0.25, min_holdout=300)
    return replace(plain, **changes)


def plain_judge(**changes: Any) -> JudgePolicy:
    return replace(judge_of(JudgeSettings()), **changes)


def plain_promotion(registered_model: str, **changes: Any) -> PromotionPolicy:
    return replace(promotion_of(registered_model, PromotionSettings(), JudgeSettings()), **changes)


def plain_limits(**changes: Any) -> Limits:
    return replace(limits_of(LimitSettings()), **changes)


def plain_threshold(**given: Any) -> Threshold:
    return Threshold(**dict[str, Any]({"breaches": (1, 1), "confident": False} | given))


def plain_drop(**given: Any) -> Drop:
    return Drop(**dict[str, Any]({"breaches": (1, 1), "confident": False, "min_labels": 500} | given))


def plain_change(**given: Any) -> Change:
    return Change(**dict[str, Any]({"metric": "accuracy", "confidence": 0.95} | given))


def plain_drift(**given: Any) -> Drift:
    plain = {"newest": CountWindow(outcomes=2000), "confidence": 0.95, "launches": False}
    return Drift(**dict[str, Any](plain | given))


def plain_trial(**given: Any) -> Trial:
    return Trial(**dict[str, Any]({"times": 1.0, "least": 1200, "metric": "accuracy"} | given))
