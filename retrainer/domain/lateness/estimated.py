"""Accuracy estimated from the model's own scores, while the labels of the newest predictions are missing.

Confidence-based performance estimation: if of the predictions scored 0.8 so many turn out right, then of new ones
scored 0.8 as many will. The scores are calibrated by bin on the predictions that have matured, the newest weighing
most, and the calibrated chances of the newest predictions are averaged: the binned relative of the "average
confidence" of Guillory et al. 2021 (arXiv 2107.03315, "Predicting with Confidence on Unseen Distributions"), of Garg et
al. 2022 (arXiv 2201.04234), which sets a threshold instead, and of what NannyML describes as CBPE. It sees a shift of
what is asked, not of what is right: where the relation of features to labels changes, scores keep their face. So
every estimate is kept, and compared once the labels have come; the error so far is told beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Final

from retrainer.domain.frozen import changed
from retrainer.domain.lateness.cohorts import Rows
from retrainer.domain.lateness.coverage import CoveragePolicy, Maturity
from retrainer.domain.tally.arrivals import BINS, HIT, MISS, PREDICTED
from retrainer.domain.values import Slot

ENOUGH: Final = 200
"""The estimate is made over the newest buckets of prediction time that hold so many predictions."""

MIN_CALIBRATION: Final = 100
"""With fewer matured outcomes nothing is estimated."""

MIN_COMPARED: Final = 30
"""A cohort with fewer labels says little about the accuracy that came, and is not compared."""

PRIOR: Final = 2.0
"""A bin counts as if so many outcomes had been as right as its score says."""

FADING: Final = 0.95
"""What a matured cohort weighs after the next one."""

Z: Final = 1.959964


@dataclass(frozen=True, kw_only=True)
class EstimatedReport:
    """The accuracy that the newest predictions are estimated to have, with a 95 % interval.

    Attributes:
        n: predictions that it is about.
        calibrated_on: matured outcomes behind it (the effective number: old ones weigh less).
        error_so_far: the mean absolute error of the estimates that could be `compared`; None: none yet. The interval
            is at least as wide to either side.
    """

    value: float
    low: float
    high: float
    n: int
    calibrated_on: int
    error_so_far: float | None
    compared: int


@dataclass(frozen=True, kw_only=True)
class EstimatedState:
    """What must be stored; cohorts are found again in the arrivals.

    Attributes:
        right, seen: matured outcomes by bin of confidence.
        made: the estimate of each cohort that has not matured.
        errors: the sum of the absolute errors of `compared` estimates, both fading.
    """

    right: tuple[float, ...] = (0.0,) * BINS
    seen: tuple[float, ...] = (0.0,) * BINS
    made: Mapping[int, float] = field(default_factory=dict)
    errors: float = 0.0
    weight: float = 0.0
    compared: int = 0
    report: EstimatedReport | None = None
    ended: int | None = None
    """Buckets before this one have ended, and ..."""
    matured: int | None = None
    """... cohorts before this one have been learned from."""


@dataclass(slots=True)
class _Bins:
    """One cohort's predictions by bin of confidence."""

    predicted: list[int] = field(default_factory=lambda: [0] * BINS)
    right: list[int] = field(default_factory=lambda: [0] * BINS)
    wrong: list[int] = field(default_factory=lambda: [0] * BINS)


class Estimated:
    """One champion's estimate: scores of another version are calibrated otherwise."""

    def __init__(self, policy: CoveragePolicy, state: EstimatedState | None = None) -> None:
        self.state = state or EstimatedState()
        self._policy = policy
        self._cohorts: dict[int, _Bins] = {}

    def remember(self, slot: Slot, own: Rows) -> None:
        """Put a slot that was taken before back: those from `Coverage.needs_from` on, in order."""
        self._add(slot, own)

    def count(self, slot: Slot, own: Rows, maturity: Maturity | None) -> None:
        """Take in what arrived about the champion's predictions in a slot that has closed.

        Args:
            maturity: None: nobody can know; or nobody asks (`asks`).
        """
        self._add(slot, own)
        ended = (slot + 1) // self._policy.width
        before = self.state.ended
        if ended != before and not self._cohorts and not self.state.made:
            self._pass(ended, maturity)
        elif ended != before:
            self.state = changed(self.state, ended=ended)
            if maturity is not None:
                self._learn(ended - self._policy.buckets(maturity.mature))
            self._note(ended - 1 if before is None else before, ended)
            self._forget(ended)
            self.state = changed(self.state, report=self._newest(ended))

    def asks(self, slot: Slot) -> bool:
        """Whether it asks for the maturity when this slot has closed."""
        return (slot + 1) // self._policy.width != self.state.ended

    def _pass(self, ended: int, maturity: Maturity | None) -> None:
        """There is nothing to learn from, and nothing to estimate: no prediction has had a score for long."""
        matured = self.state.matured
        if maturity is not None:
            before = ended - self._policy.buckets(maturity.mature)
            matured = before if matured is None else max(before, matured)
        self.state = changed(self.state, ended=ended, matured=matured, report=None)

    @property
    def report(self) -> EstimatedReport | None:
        """About the newest whole buckets; None where there are no scores, or too few labels came for them yet."""
        return self.state.report

    def _newest(self, ended: int) -> EstimatedReport | None:
        predicted = [0] * BINS
        for born in sorted(self._cohorts, reverse=True):
            if born < ended and sum(predicted) < ENOUGH:
                predicted = [a + b for a, b in zip(predicted, self._cohorts[born].predicted, strict=True)]
        return self._report(predicted)

    def _report(self, predicted: list[int]) -> EstimatedReport | None:
        n, calibrated_on = sum(predicted), sum(self.state.seen)
        if n <= 0 or calibrated_on < MIN_CALIBRATION:
            return None
        value = variance = 0.0
        for k, count in enumerate(predicted):
            chance, share = self._chance(k), max(0, count) / n
            value += share * chance
            variance += chance * (1 - chance) * (share / n + share * share / (self.state.seen[k] + PRIOR))
        error = self.state.errors / self.state.weight if self.state.weight else None
        margin = max(Z * sqrt(variance), error or 0.0)
        return EstimatedReport(
            value=value,
            low=max(0.0, value - margin),
            high=min(1.0, value + margin),
            n=n,
            calibrated_on=round(calibrated_on),
            error_so_far=error,
            compared=self.state.compared,
        )

    def _chance(self, k: int) -> float:
        """That a prediction in a bin of confidence is right."""
        middle = (k + 0.5) / BINS
        return (self.state.right[k] + PRIOR * middle) / (self.state.seen[k] + PRIOR)

    def _add(self, slot: Slot, own: Rows) -> None:
        oldest = slot // self._policy.width - self._policy.ages
        for key, n in own:
            if key.kind not in (PREDICTED, HIT, MISS) or key.bin < 0 or key.born < oldest:
                continue
            bins = self._cohorts.setdefault(key.born, _Bins())
            counts = bins.predicted if key.kind == PREDICTED else bins.right if key.kind == HIT else bins.wrong
            counts[key.bin] += n

    def _learn(self, before: int) -> None:
        """Calibrate on the cohorts that have matured, after each one's estimate was compared with what came."""
        first = self.state.matured
        for born in sorted(self._cohorts):
            if born < before and (first is None or born >= first):
                cohort = self._cohorts[born]
                self._compare(born, cohort)
                fading = FADING if sum(cohort.right) + sum(cohort.wrong) > 0 else 1.0
                right = tuple(a * fading + b for a, b in zip(self.state.right, cohort.right, strict=True))
                came = (b + c for b, c in zip(cohort.right, cohort.wrong, strict=True))
                seen = tuple(a * fading + b for a, b in zip(self.state.seen, came, strict=True))
                self.state = changed(self.state, right=right, seen=seen)
        self.state = changed(self.state, matured=max(before, first if first is not None else before))

    def _compare(self, born: int, cohort: _Bins) -> None:
        made = dict(self.state.made)
        estimate = made.pop(born, None)
        right, n = sum(cohort.right), sum(cohort.right) + sum(cohort.wrong)
        self.state = changed(self.state, made=made)
        if estimate is not None and n >= MIN_COMPARED:
            self.state = changed(
                self.state,
                errors=self.state.errors * FADING + abs(estimate - right / n),
                weight=self.state.weight * FADING + 1,
                compared=self.state.compared + 1,
            )

    def _note(self, first: int, before: int) -> None:
        """Keep the estimate of each cohort whose bucket has ended now."""
        made = dict(self.state.made)
        for born in sorted(self._cohorts):
            found = self._report(self._cohorts[born].predicted) if first <= born < before else None
            if found is not None:
                made[born] = found.value
        self.state = changed(self.state, made=made)

    def _forget(self, ended: int) -> None:
        oldest = ended - self._policy.ages - 1
        self._cohorts = {born: bins for born, bins in self._cohorts.items() if born >= oldest}
        made = {born: value for born, value in self.state.made.items() if born >= oldest}
        self.state = changed(self.state, made=made)


def estimated_facts(report: EstimatedReport | None) -> dict[str, Any] | None:
    """For `status --json`; None: nothing can be estimated."""
    if report is None:
        return None
    return {
        "metric": "accuracy",
        "value": round(report.value, 4),
        "low": round(report.low, 4),
        "high": round(report.high, 4),
        "n": report.n,
        "calibrated_on": report.calibrated_on,
        "error_so_far": None if report.error_so_far is None else round(report.error_so_far, 4),
        "compared": report.compared,
    }
