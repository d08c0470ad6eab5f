"""Judging a candidate against the champion on the same held-out rows: gates, and the verdict over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from retrainer.domain.answers import Task
from retrainer.domain.judging.paired import Answers, Compare, compare_accuracy
from retrainer.domain.metrics import registry as metrics
from retrainer.domain.tally.measures import Expand, cells_from

Answer = Literal["accept", "reject", "inconclusive"]


@dataclass(frozen=True, kw_only=True)
class JudgePolicy:
    """What a candidate must show before it may take over.

    Attributes:
        min_rows: fewest held-out rows on which a judgement counts.
        improvement: by how much it must be better, in the metric's unit; positive means better.
        confidence: over all judgements against the same champion.
        floors: metric name to the least value that the candidate must reach; of an error the greatest.
        max_slice_loss: by how much it may be worse in a slice, in the metric's unit; None where slices do not judge.
    """

    min_rows: int
    improvement: float
    confidence: float
    floors: Mapping[str, float] = field(default_factory=dict)
    max_slice_loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One condition of a verdict, with the evidence for its answer.

    Attributes:
        undecided: it has not passed, but more rows could still show that it does.
    """

    name: str
    passed: bool
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    undecided: bool = False


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer about a candidate; it is accepted when every gate has passed."""

    gates: tuple[Gate, ...]

    @property
    def accepted(self) -> bool:
        return all(gate.passed for gate in self.gates)

    @property
    def answer(self) -> Answer:
        """Inconclusive where nothing speaks against it but that too little speaks for it: it is to be judged on."""
        failed = [gate for gate in self.gates if not gate.passed]
        if not failed:
            return "accept"
        return "inconclusive" if all(gate.undecided for gate in failed) else "reject"

    @property
    def reason(self) -> str:
        """In words: the failed gates, or every gate where none has failed."""
        failed = [gate.reason for gate in self.gates if not gate.passed]
        return "; ".join(failed or [gate.reason for gate in self.gates])


def verdict_of(gates: Sequence[Gate]) -> Verdict:
    """The verdict over gates; without any gate nothing is accepted."""
    if not gates:
        raise ValueError("a verdict needs at least one gate")
    return Verdict(gates=tuple(gates))


# What is compared


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The labels of the held-out rows, in time order, and what each contestant answered. All of one length.

    Attributes:
        champion: None where there is no champion: the candidate is then judged against the baselines alone.
        usual: the commonest class of the training rows, on every row; of a regression their mean.
        last: the label that was last known when each row was predicted.
    """

    labels: Answers
    candidate: Answers
    champion: Answers | None
    usual: Answers
    last: Answers

    def __post_init__(self) -> None:
        sides = (self.candidate, self.champion, self.usual, self.last)
        if any(side is not None and len(side) != len(self.labels) for side in sides):
            raise ValueError("every contestant must answer every held-out row")


# The error rate


FIRST_LOOK: Final = 0.8
"""How much of a judgement's share of the error the held-out rows may take; the rest is for judging on.

Most candidates are decided at once, so most of it is for that; judging on has as many new labels as it needs, and a
smaller share costs it rows with its logarithm alone.
"""


def error_share(confidence: float, judgement: int) -> float:
    """The chance of a false acceptance that the k-th judgement may take: (1 - confidence) / (k (k + 1)).

    Summed over every k it is 1 - confidence, however often the same champion is challenged.

    Raises:
        ValueError: a judgement below 1.
    """
    if judgement < 1:
        raise ValueError(f"expected a judgement from 1, got {judgement}")
    return (1 - confidence) / (judgement * (judgement + 1))


def judging_on_share(confidence: float, judgement: int) -> float:
    """What is left of the k-th judgement's share for judging on, however often that looks at new labels."""
    return (1 - FIRST_LOOK) * error_share(confidence, judgement)


# Gates


HOPELESS: Final = 0.16
"""A candidate that was found to be worse at this level, which is by one standard error, is not judged on: it rarely
turns out to be better, and a better one may be waiting to be trained."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """How the rows are judged.

    Attributes:
        metric: the one that judges; positive: the class that precision, recall and f1 speak of.
        judgement: its number among those against this champion, from 1.
        compare: the paired test for the metric.
        expand: what each row adds to a tally; None where that is one to its cell of (label, answer).
    """

    policy: JudgePolicy
    metric: str
    positive: str | None
    judgement: int
    compare: Compare = compare_accuracy
    task: Task = "classification"
    expand: Expand | None = None

    @property
    def error_share(self) -> float:
        """Of this look at the held-out rows."""
        return FIRST_LOOK * error_share(self.policy.confidence, self.judgement)

    def cells(self, labels: Answers, answers: Answers) -> metrics.Cells:
        return cells_from(self.task, labels, answers, self.expand)

    def value(self, metric: str, labels: Answers, answers: Answers) -> float | None:
        return metrics.value(metric, self.cells(labels, answers), self.positive)


def judge(bench: Bench, rows: HeldOut) -> tuple[Gate, ...]:
    """Every gate of a candidate.

    Against a champion: enough rows, better than the champion by the improvement asked for, not below what is usual.
    Without one: enough rows, significantly better than what is usual, not below the last label. Then the floors.
    """
    return (
        enough_rows(len(rows.labels), bench.policy.min_rows),
        *_contests(bench, rows),
        *_floors(bench, rows),
    )


@dataclass(frozen=True)
class _Other:
    name: str
    words: str


ENOUGH_ROWS: Final = "enough_rows"
BETTER_THAN_CHAMPION: Final = "better_than_champion"
_CHAMPION: Final = _Other(BETTER_THAN_CHAMPION, "the champion")
_USUAL: Final[Mapping[Task, _Other]] = {
    "classification": _Other("better_than_majority", "always saying the commonest class"),
    "regression": _Other("better_than_mean", "always saying the mean"),
}
_LAST: Final[Mapping[Task, _Other]] = {
    "classification": _Other("better_than_last_class", "repeating the last class seen"),
    "regression": _Other("better_than_last_value", "repeating the last value seen"),
}


def _contests(bench: Bench, rows: HeldOut) -> Iterator[Gate]:
    usual, last = _USUAL[bench.task], _LAST[bench.task]
    if rows.champion is None:
        yield _beats(bench, rows, usual, rows.usual, margin=0.0)
        yield _above(bench, rows, last, rows.last)
    else:
        yield _beats(bench, rows, _CHAMPION, rows.champion, margin=bench.policy.improvement)
        yield _above(bench, rows, usual, rows.usual)


def enough_rows(rows: int, least: int) -> Gate:
    """Whether a judgement on so many held-out rows counts."""
    passed = rows >= least
    reason = f"{rows} held-out rows {'>=' if passed else '<'} {least}"
    return Gate(name=ENOUGH_ROWS, passed=passed, reason=reason, evidence={"n": rows, "min_rows": least})


def _beats(bench: Bench, rows: HeldOut, other: _Other, answers: Answers, *, margin: float) -> Gate:
    """Significantly better than the other, on the same rows. Only against a champion may it remain open."""
    found = bench.compare(rows.labels, rows.candidate, answers, margin)
    if found is None:
        return _undefined(other.name, bench.metric, len(rows.labels))
    alpha = bench.error_share
    passed = found.p <= alpha
    by = f", to be better by more than {margin:g}" if margin else ""
    answer = f"p={found.p:.2g} {'<=' if passed else '>'} {alpha:.2g}"
    return Gate(
        name=other.name,
        passed=passed,
        undecided=not passed and other is _CHAMPION and found.p_worse > HOPELESS,
        reason=f"{found.words.format(other=other.words)}{by}: {answer}",
        evidence={
            **found.counts,
            "metric": bench.metric,
            "candidate": found.candidate,
            "other": found.other,
            "difference": found.difference,
            "standard_error": found.error,
            "improvement": margin,
            "p": found.p,
            "p_worse": found.p_worse,
            "alpha": alpha,
            "judgement": bench.judgement,
            "test": found.test,
        },
    )


def _above(bench: Bench, rows: HeldOut, other: _Other, answers: Answers) -> Gate:
    """Better than the other, as a floor: the values alone are compared."""
    ours = bench.value(bench.metric, rows.labels, rows.candidate)
    theirs = bench.value(bench.metric, rows.labels, answers)
    if ours is None or theirs is None:
        return _undefined(other.name, bench.metric, len(rows.labels))
    passed = metrics.worse(bench.metric, theirs, than=ours)
    return Gate(
        name=other.name,
        passed=passed,
        reason=f"{bench.metric} {ours:.4f} {_sign(ours, theirs)} {theirs:.4f} of {other.words}",
        evidence={"metric": bench.metric, "candidate": ours, "other": theirs, "n": len(rows.labels)},
    )


def _sign(ours: float, theirs: float) -> str:
    return ">" if ours > theirs else "<" if ours < theirs else "="


_FLOOR_SIGNS: Final = {(True, True): ">=", (True, False): "<", (False, True): "<=", (False, False): ">"}


def _floors(bench: Bench, rows: HeldOut) -> Iterator[Gate]:
    for metric, limit in bench.policy.floors.items():
        name = f"floor_{metric}"
        found = bench.value(metric, rows.labels, rows.candidate)
        if found is None:
            yield _undefined(name, metric, len(rows.labels))
            continue
        passed = not metrics.worse(metric, found, than=limit)
        sign = _FLOOR_SIGNS[metrics.METRICS[metric].higher_is_better, passed]
        reason = f"{metric} {found:.4f} {sign} {limit:g}, its floor"
        evidence = {"metric": metric, "candidate": found, "floor": limit}
        yield Gate(name=name, passed=passed, reason=reason, evidence=evidence)


def _undefined(name: str, metric: str, rows: int) -> Gate:
    reason = f"{metric} has no value on {rows} held-out rows"
    return Gate(name=name, passed=False, reason=reason, evidence={"metric": metric, "n": rows})
