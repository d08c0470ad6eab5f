"""Judging: the baselines, the paired test for metrics that have none of their own, and the gates over all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt

from retrainer.domain import metrics, verdicts
from retrainer.domain.training import TrainingSpec
from retrainer.domain.verdicts import Answers, Bench, Comparison, Gate, HeldOut
from retrainer.training.champion import ChampionSide
from retrainer.training.dataset import Rows

FEWEST_RESAMPLES: Final = 2_000
MOST_RESAMPLES: Final = 50_000

_Triple = tuple[str, str, str]
"""(label, candidate's answer, the other's answer)."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a judgement found: its gates, and both sides' metrics on the rows that were judged."""

    gates: tuple[Gate, ...]
    candidate: dict[str, float]
    champion: dict[str, float]


def judge(spec: TrainingSpec, learnt: Rows, held: Rows, candidate: Sequence[str], champion: ChampionSide) -> Judged:
    """Judge the candidate's answers to the held-out rows.

    Args:
        learnt: the rows that the candidate was fitted on; the baselines know them too.
        held: the held-out rows, which follow them.
        candidate: its answer to each held-out row.
        champion: the champion's answers, and the rows on which the judgement is made.
    """
    bench = bench_of(spec)
    rows = _contestants(learnt, held, candidate, champion)
    gates = verdicts.judge(bench, rows)
    return Judged(
        gates=tuple(_with_source(gate, champion) for gate in gates),
        candidate=_metrics(spec, rows.labels, rows.candidate),
        champion={} if rows.champion is None else _metrics(spec, rows.labels, rows.champion),
    )


def bench_of(spec: TrainingSpec) -> Bench:
    """How this order wants its candidate judged: the first metric judges."""
    bench = Bench(policy=spec.judge, metric=spec.metrics[0], positive=spec.positive, judgement=spec.judgement)
    if bench.metric == "accuracy":
        return bench
    bootstrap = Bootstrap(metric=bench.metric, positive=spec.positive, alpha=bench.error_share, seed=spec.recipe.seed)
    return replace(bench, compare=bootstrap.compare)


def _contestants(learnt: Rows, held: Rows, candidate: Sequence[str], champion: ChampionSide) -> HeldOut:
    kept = champion.kept
    majority = Counter(learnt.labels.tolist()).most_common(1)[0][0]
    return HeldOut(
        labels=held.labels[kept].tolist(),
        candidate=np.asarray(candidate, dtype=np.str_)[kept].tolist(),
        champion=champion.answers,
        majority=[majority] * int(kept.sum()),
        last_class=np.asarray(last_classes(learnt, held, majority), dtype=np.str_)[kept].tolist(),
    )


def last_classes(learnt: Rows, held: Rows, default: str) -> list[str]:
    """For each held-out row the label that was the last to be known when it was predicted; else the default."""
    known_at = np.concatenate([learnt.known_at, held.known_at])
    labels = np.concatenate([learnt.labels, held.labels])
    order = np.argsort(known_at, kind="stable")
    last = np.searchsorted(known_at[order], held.predicted_at, side="right") - 1
    return [str(labels[order[at]]) if at >= 0 else default for at in last.tolist()]


def _with_source(gate: Gate, champion: ChampionSide) -> Gate:
    """The gates against the champion and about the rows it answered also say where its answers came from."""
    if gate.name == verdicts.BETTER_THAN_CHAMPION:
        source = {"champion_by": champion.by, **({"champion_error": champion.why} if champion.why else {})}
        return replace(gate, evidence={**gate.evidence, **source})
    if gate.name == verdicts.ENOUGH_ROWS and champion.by == "events":
        told = f"with a live prediction of the champion, whose model cannot be asked: {champion.why}"
        return replace(gate, reason=f"{gate.reason} ({told})")
    return gate


def _metrics(spec: TrainingSpec, labels: Answers, answers: Answers) -> dict[str, float]:
    """Every metric of the order that counts can give and that has a value on these rows."""
    cells = verdicts.cells_of(labels, answers)
    wanted = [name for name in spec.metrics if name in metrics.CLASSIFICATION]
    found = {name: metrics.value(name, cells, spec.positive) for name in wanted}
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """The paired bootstrap on a metric's difference, for metrics without a test of their own.

    Held-out rows are drawn anew with replacement, each with both answers, and the difference is computed again:
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 (percentile intervals) and 16. The
    chance is (1 + resamples at or below the margin) / (1 + resamples) (Davison and Hinkley, Bootstrap Methods and
    Their Application (1997), section 4.2), which is at most alpha only where the percentile interval's lower limit
    at 1 - alpha lies above the margin. A metric of counts needs no single rows: the counts of (label, candidate,
    other) are drawn from a multinomial distribution.
    """

    metric: str
    positive: str | None
    alpha: float
    seed: int
    fewest: int = FEWEST_RESAMPLES

    @property
    def resamples(self) -> int:
        """So many that the tail beyond alpha holds about ten of them."""
        return min(MOST_RESAMPLES, max(self.fewest, ceil(10 / self.alpha)))

    def compare(self, labels: Answers, candidate: Answers, other: Answers, margin: float) -> Comparison | None:
        """The candidate against the other; None where the metric has no value on these rows."""
        triples = Counter(zip(labels, candidate, other, strict=True))
        names = sorted(triples)
        counts = np.array([triples[name] for name in names])
        ours, theirs = self._both(names, counts)
        if ours is None or theirs is None:
            return None
        differences = self._differences(names, counts)
        p = (1 + int((differences <= margin).sum())) / (1 + len(differences))
        lower = float(np.quantile(differences, self.alpha, method="lower"))
        return Comparison(
            test="paired_bootstrap",
            candidate=ours,
            other=theirs,
            margin=margin,
            p=p,
            words=f"{self.metric} {ours:.4f} against {theirs:.4f} of {{other}}, in {len(differences)} resamples a"
            f" difference of at least {lower:+.4f}",
            counts={"n": len(labels), "lower": lower, "resamples": len(differences)},
        )

    def _differences(self, names: list[_Triple], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        random, n = np.random.default_rng(self.seed), counts.sum()
        pairs = (self._both(names, random.multinomial(n, counts / n)) for _ in range(self.resamples))
        return np.array([ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None])

    def _both(self, names: list[_Triple], counts: npt.NDArray[np.int64]) -> tuple[float | None, float | None]:
        ours, theirs = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        for (label, candidate, other), count in zip(names, counts.tolist(), strict=True):
            ours[label, candidate] += count
            theirs[label, other] += count
        return metrics.value(self.metric, ours, self.positive), metrics.value(self.metric, theirs, self.positive)
