"""Judging: the contestants on the held-out rows, the baselines among them, and the gates over all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from retrainer.domain.judging import verdicts
from retrainer.domain.judging.challenge import RowLoss
from retrainer.domain.judging.order import TrainingSpec
from retrainer.domain.judging.paired import Answers
from retrainer.domain.judging.verdicts import Bench, Gate, HeldOut
from retrainer.domain.metrics import registry as metrics
from retrainer.domain.metrics.registry import Estimate
from retrainer.domain.values import canonical, iso
from retrainer.training.champion import ChampionSide
from retrainer.training.comparing import comparison_for
from retrainer.training.dataset import TrainingRows
from retrainer.training.form import Form, form_of
from retrainer.training.losses import row_loss
from retrainer.training.slicing import slices_gate


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a judgement found: its gates, both sides' metrics on the rows that were judged, and how to judge on."""

    gates: tuple[Gate, ...]
    candidate: dict[str, float]
    champion: dict[str, float]
    evaluation: dict[str, Estimate]
    loss: RowLoss | None


def judge(
    spec: TrainingSpec, learnt: TrainingRows, held: TrainingRows, candidate: Sequence[str], champion: ChampionSide
) -> Judgement:
    """Judge the candidate's answers to the held-out rows.

    Args:
        learnt: the rows that the candidate was fitted on; the baselines know them too.
        held: the held-out rows, which follow them.
        candidate: its answer to each held-out row.
        champion: the champion's answers, and the rows on which the judgement is made.
    """
    bench = bench_of(spec)
    rows = _contestants(form_of(spec), learnt, held, candidate, champion)
    of_slices = slices_gate(bench, spec.slices, held.where(champion.kept), rows)
    gates = (*verdicts.judge(bench, rows), *([of_slices] if of_slices else []))
    evaluation = metrics_of(bench, spec.metrics, rows.labels, rows.candidate)
    theirs = {} if rows.champion is None else metrics_of(bench, spec.metrics, rows.labels, rows.champion)
    return Judgement(
        gates=tuple(_with_source(gate, spec, champion) for gate in gates),
        candidate={name: found.value for name, found in evaluation.items()},
        champion={name: found.value for name, found in theirs.items()},
        evaluation=evaluation,
        loss=None if rows.champion is None else row_loss(bench, rows.labels, rows.candidate, rows.champion),
    )


def bench_of(spec: TrainingSpec) -> Bench:
    """How this order wants its candidate judged: the first metric judges."""
    bench = Bench(
        policy=spec.judge,
        metric=spec.metrics[0],
        positive=spec.positive,
        judgement=spec.judgement,
        task=spec.task,
        expand=form_of(spec).expand,
    )
    return replace(bench, compare=comparison_for(bench, spec.recipe.seed))


def _contestants(
    form: Form, learnt: TrainingRows, held: TrainingRows, candidate: Sequence[str], champion: ChampionSide
) -> HeldOut:
    kept = champion.kept
    usual, shares = _usual(form, learnt)
    lasts = [form.certain(label) for label in last_labels(learnt, held, usual)]
    return HeldOut(
        labels=held.labels[kept].tolist(),
        candidate=_those(candidate, kept),
        champion=champion.answers,
        usual=[form.certain(usual, shares)] * int(kept.sum()),
        last=_those(lasts, kept),
    )


def _those(answers: Sequence[str], kept: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[str]:
    return [answer for answer, wanted in zip(answers, kept.tolist(), strict=True) if wanted]


def _usual(form: Form, learnt: TrainingRows) -> tuple[str, dict[str, float]]:
    """What one would say of every row: the commonest class, with every class's share, or the mean."""
    if form.task == "regression":
        return canonical(float(learnt.numbers.mean())), {}
    counts = Counter(learnt.labels.tolist())
    return counts.most_common(1)[0][0], {name: count / len(learnt) for name, count in counts.items()}


def last_labels(learnt: TrainingRows, held: TrainingRows, default: str) -> list[str]:
    """For each held-out row the label that was the last to be known when it was predicted; else the default."""
    known_at = np.concatenate([learnt.known_at, held.known_at])
    labels = np.concatenate([learnt.labels, held.labels])
    order = np.argsort(known_at, kind="stable")
    last = np.searchsorted(known_at[order], held.predicted_at, side="right") - 1
    return [str(labels[order[at]]) if at >= 0 else default for at in last.tolist()]


def _with_source(gate: Gate, spec: TrainingSpec, champion: ChampionSide) -> Gate:
    """The gates against the champion and about the rows it answered also say where its answers came from."""
    if gate.name == verdicts.BETTER_THAN_CHAMPION:
        told = f" ({champion.seen} of the rows are among those that the champion was fitted on)"
        return replace(
            gate,
            reason=gate.reason + (told if champion.seen else ""),
            evidence={**gate.evidence, **_source(spec, champion)},
        )
    if gate.name == verdicts.ENOUGH_ROWS and champion.by == "events":
        told = f"with a live prediction of the champion, whose model cannot be asked: {champion.why}"
        return replace(gate, reason=f"{gate.reason} ({told})")
    return gate


def _source(spec: TrainingSpec, champion: ChampionSide) -> dict[str, object]:
    found: dict[str, object] = {"champion_by": champion.by}
    if champion.why:
        found["champion_error"] = champion.why
    if spec.champion_trained_to is not None:
        found["champion_trained_to"] = iso(spec.champion_trained_to)
        found["champion_has_seen"] = champion.seen
        found["left_out_as_seen"] = champion.left_out
        found["ahead"], found["unseen"] = champion.ahead, champion.unseen
    return found


def metrics_of(bench: Bench, names: Sequence[str], labels: Answers, answers: Answers) -> dict[str, Estimate]:
    """Every metric of the order that has a value on these rows, with its size and interval."""
    cells = bench.cells(labels, answers)
    wanted = [name for name in names if name in metrics.METRICS and metrics.METRICS[name].task == bench.task]
    found = {name: metrics.estimate(name, cells, bench.positive) for name in wanted}
    return {name: one for name, one in found.items() if one is not None}
