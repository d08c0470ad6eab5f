"""`drop`: the metric over a window is worse than the champion's own baseline by more than is allowed.

The baseline is the lower limit of the champion's evaluation by its verdict, or, without one, of its first outcomes
(the upper limit of an error). A breach is one closed evaluation beyond it by more than `by`; N of the last M fire.

The promise is that of `change`, for metrics that are means over outcomes: while the conditional mean is never below
the baseline by more than `by`, the chance of any firing within a million outcomes is at most 5 %. Windows alone would
not keep it, for they are looked at again and again; so a sequential test against the same line must be through too.
Half of the chance goes to the limit of the baseline, half to the test. For other metrics (AUC, F1, R2, ...) there is no
such test: N of M breaches of the window is all, and the promise does not hold; ask for `confident`, which counts a
breach only if the whole interval is beyond the line. Dependence between outcomes is handled as in `change`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import exp, log, sqrt
from typing import Any, ClassVar, Final

import numpy as np

from retrainer.domain.metrics.registry import METRICS, Cells, Estimate, estimate, size, worse
from retrainer.domain.metrics.windows import Window
from retrainer.domain.triggers.base import Level, Reading, Scene, State
from retrainer.domain.triggers.change import losses
from retrainer.domain.triggers.sequential import (
    EFFECTS,
    Blocks,
    Sums,
    advanced,
    begun,
    log_bets_against,
    log_mixed,
    starting,
)

_NEEDED: Final = 40.0
"""One over half of 5 %: the other half is the chance that the baseline's limit is wrong."""
_Z: Final = 1.96


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Fires when the value stands so far below the baseline in `breaches[0]` of `breaches[1]` evaluations.

    Attributes:
        by: in the metric's unit, not below 0.
        confident: a breach needs the whole interval beyond the line, not just the value.
        min_labels: how many first outcomes make the baseline where the verdict gives none.
    """

    kind: ClassVar[str] = "drop"

    metric: str
    by: float
    window: Window
    breaches: tuple[int, int]
    confident: bool
    positive: str | None = None
    min_labels: int

    def evaluate(self, state: State, scene: Scene) -> tuple[State, Reading]:
        """Between evaluations the last answer stands."""
        slot_cells = scene.history.newest[1]
        if "baseline" not in state:
            return self._learn(state, scene, slot_cells)
        state = self._tested(state, slot_cells)
        beat = scene.history.beat(self.window)
        if beat == state.get("beat"):
            return state, _kept(state)
        view = scene.history.view(self.window)
        found = estimate(self.metric, view.cells, self.positive) if view else None
        if view is None or found is None:
            return {**state, "beat": beat}, _kept(state)
        return self._evaluated({**state, "beat": beat}, found, view.evidence)

    def _learn(self, state: State, scene: Scene, cells: Cells) -> tuple[State, Reading]:
        """The verdict's evaluation where there is one; its slot is tested already."""
        given = scene.baseline.get(self.metric)
        if given is not None:
            return self.evaluate(_with_baseline(given, "verdict"), scene)
        first = Counter({(truth, answer): n for truth, answer, n in state.get("first", ())})
        first.update(cells)
        found = estimate(self.metric, first, self.positive) if size(first) >= self.min_labels else None
        if found is None:
            learned = {"first": [[truth, answer, n] for (truth, answer), n in first.items()]}
            return learned, Reading(evidence={"baseline": f"{size(first)} of {self.min_labels} outcomes"})
        return _with_baseline(found, "first outcomes"), Reading(evidence={"baseline": found.value})

    def _line(self, baseline: Estimate) -> float:
        if METRICS[self.metric].higher_is_better:
            return (baseline.value if baseline.low is None else baseline.low) - self.by
        return (baseline.value if baseline.high is None else baseline.high) + self.by

    def _tested(self, state: State, cells: Cells) -> dict[str, Any]:
        """The sequential test against the line, a slot further. Metrics that are no means have none."""
        seen = losses(self.metric, cells) if METRICS[self.metric].moments else None
        if seen is None or seen.n <= 0:
            return dict(state)
        baseline = Estimate(**state["baseline"])
        sums, blocks = Sums(**state["sums"]), Blocks.of(state["blocks"])
        spread = _spread(self.metric, baseline)
        bets = log_bets_against(
            max(self._loss(self._line(baseline)), 1e-9), spread, seen, binary=self.metric == "accuracy"
        )
        inflation = blocks.inflation((sums + seen).variance)
        stakes = advanced(_stakes(state), bets / inflation, begun(sums.n, seen.n))
        return {
            **state,
            "stakes": np.round(stakes, 5).ravel().tolist(),
            "sums": asdict(sums + seen),
            "blocks": blocks.add(seen).plain,
        }

    def _loss(self, value: float) -> float:
        return _loss(self.metric, value)

    def _evaluated(self, state: dict[str, Any], found: Estimate, view: Mapping[str, Any]) -> tuple[State, Reading]:
        needed, of = self.breaches
        baseline = Estimate(**state["baseline"])
        line = self._line(baseline)
        breach = worse(self.metric, self._compared(found), than=line)
        recent = [*state.get("recent", ()), breach][-of:]
        strength = float(log_mixed(_stakes(state))[0]) if METRICS[self.metric].moments else None
        proven = strength is None or strength >= log(_NEEDED)
        level = Level.FIRED if sum(recent) >= needed and proven else Level.WARNED if breach else Level.QUIET
        evidence = {
            "metric": self.metric,
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "baseline": baseline.value,
            "baseline_n": baseline.n,
            "baseline_from": state["source"],
            "by": self.by,
            "line": line,
            "window": str(self.window),
            "needed": "{} of {}".format(*self.breaches),
            **view,
            "breaches": f"{sum(recent)} of {len(recent)}",
        }
        if strength is not None:
            evidence |= {"e_value": float(f"{exp(min(strength, 600.0)):.4g}"), "e_needed": _NEEDED}
        remembered = {**state, "recent": recent, "level": level.value, "evidence": evidence}
        return remembered, Reading(level=level, evidence=evidence)

    def _compared(self, found: Estimate) -> float:
        """The side of the interval that a breach needs beyond the line, or the value."""
        best = found.high if METRICS[self.metric].higher_is_better else found.low
        return found.value if best is None or not self.confident else best


def words(evidence: Mapping[str, Any]) -> str:
    """What it saw, as one sentence."""
    if "line" not in evidence:
        return f"its baseline is not known yet ({evidence.get('baseline', 'no outcomes yet')})"
    seen = "{metric} is {value:.4g} over {n} outcomes; the line is {line:.4g}".format(**evidence)
    origin = "{by:g} from the limit of {baseline:.4g} ({baseline_from}, {baseline_n} outcomes)".format(**evidence)
    tested = "; evidence {e_value:g}, {e_needed:g} needed".format(**evidence) if "e_value" in evidence else ""
    return f"{seen}, {origin}; {evidence['breaches']} breaches, {evidence['needed']} needed{tested}"


def _with_baseline(found: Estimate, source: str) -> dict[str, Any]:
    return {
        "baseline": asdict(found),
        "source": source,
        "stakes": starting(1).ravel().tolist(),
        "sums": asdict(Sums()),
        "blocks": Blocks().plain,
    }


def _stakes(state: State) -> Any:
    return np.array(state["stakes"]).reshape(1, len(EFFECTS))


def _loss(metric: str, value: float) -> float:
    """On the scale of one outcome's loss."""
    if metric == "rmse":
        return value * value
    return 1 - value if METRICS[metric].higher_is_better else value


def _spread(metric: str, baseline: Estimate) -> float:
    """The variance of one outcome's loss, from the interval of the baseline; it only guides the bets."""
    if baseline.low is None or baseline.high is None or baseline.n < 2:
        return max(_loss(metric, baseline.value) ** 2, 1e-12)
    width = abs(_loss(metric, baseline.high) - _loss(metric, baseline.low)) / 2
    return max((width / _Z * sqrt(baseline.n)) ** 2, 1e-12)


def _kept(state: State) -> Reading:
    return Reading(level=Level(state.get("level", Level.QUIET)), evidence=state.get("evidence", {}))
