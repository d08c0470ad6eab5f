"""Judging a candidate against the champion on the same held-out rows: gates, and the verdict over them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import erfc, exp, fsum, lgamma, log, sqrt
from typing import Any, Final

from retrainer.domain import metrics


@dataclass(frozen=True, kw_only=True)
class JudgePolicy:
    """What a candidate must show before it may take over.

    Attributes:
        min_rows: fewest held-out rows on which a judgement counts.
        improvement: by how much it must be better, in the metric's unit; positive means better.
        confidence: over all judgements against the same champion.
        floors: metric name to the least value that the candidate must reach.
    """

    min_rows: int = 300
    improvement: float = 0.0
    confidence: float = 0.95
    floors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One condition of a verdict, with the evidence for its answer."""

    name: str
    passed: bool
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer about a candidate; it is accepted when every gate has passed."""

    gates: tuple[Gate, ...]

    @property
    def accepted(self) -> bool:
        return all(gate.passed for gate in self.gates)

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


Answers = Sequence[str]
"""One class for each held-out row, in the rows' order."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The labels of the held-out rows, in time order, and what each contestant answered. All of one length.

    Attributes:
        champion: None where there is no champion: the candidate is then judged against the baselines alone.
        majority: the commonest class of the training rows, on every row.
        last_class: the label that was last known when each row was predicted.
    """

    labels: Answers
    candidate: Answers
    champion: Answers | None
    majority: Answers
    last_class: Answers

    def __post_init__(self) -> None:
        sides = (self.candidate, self.champion, self.majority, self.last_class)
        if any(side is not None and len(side) != len(self.labels) for side in sides):
            raise ValueError("every contestant must answer every held-out row")


def cells_of(labels: Answers, answers: Answers) -> metrics.Cells:
    """How many rows had (label, answer)."""
    return Counter(zip(labels, answers, strict=True))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A one-sided paired test of "the candidate beats the other by more than `margin`" on the same rows.

    `words` says what was counted, as a sentence about `the candidate` and `{other}`; `p` is the chance of a result
    at least as good for the candidate if it were not better by more than the margin.
    """

    test: str
    candidate: float
    other: float
    margin: float
    p: float
    words: str
    counts: Mapping[str, float]


Compare = Callable[[Answers, Answers, Answers, float], Comparison | None]
"""(labels, candidate's answers, the other's answers, margin) to their comparison; None where there is no value."""


# Paired tests of accuracy


def compare_accuracy(labels: Answers, candidate: Answers, other: Answers, margin: float) -> Comparison | None:
    """Accuracy compared row by row: McNemar's exact test, or Tango's score test where a margin is asked for."""
    n = len(labels)
    if not n:
        return None
    rows = zip(labels, candidate, other, strict=True)
    right = Counter((label == ours, label == theirs) for label, ours, theirs in rows)
    wins, losses = right[True, False], right[False, True]
    return Comparison(
        test="tango" if margin else "mcnemar",
        candidate=(right[True, True] + wins) / n,
        other=(right[True, True] + losses) / n,
        margin=margin,
        p=score_p(wins, losses, n, margin) if margin else exact_p(wins, losses),
        words=f"the candidate right on {wins} rows where {{other}} was wrong, wrong on {losses} where it was right",
        counts={"b": wins, "c": losses, "n": n},
    )


def exact_p(wins: int, losses: int) -> float:
    """One-sided exact McNemar test: the chance of so many wins among wins + losses tosses of a fair coin.

    McNemar, Note on the sampling error of the difference between correlated proportions, Psychometrika 12 (1947),
    doi 10.1007/BF02295996; here in its exact conditional form, P(X >= wins), X ~ Binomial(wins + losses, 1/2).
    """
    tosses = wins + losses
    if wins <= tosses - wins:  # the shorter tail is summed, so that small chances keep their digits
        return 1.0 - fsum(_binomial_tail(tosses, tosses - wins + 1))
    return min(1.0, fsum(_binomial_tail(tosses, wins)))


def _binomial_tail(tosses: int, least: int) -> Iterator[float]:
    """P(X = k) of a fair coin for k = least, least + 1, ... where least is beyond the middle: a falling series."""
    if least > tosses:
        return
    start = lgamma(tosses + 1) - lgamma(least + 1) - lgamma(tosses - least + 1) - tosses * log(2)
    chance = exp(start)
    for heads in range(least, tosses + 1):
        yield chance
        chance *= (tosses - heads) / (heads + 1)
        if not chance:
            return


def score_p(wins: int, losses: int, n: int, margin: float) -> float:
    """One-sided score test that the difference of two paired proportions is above a margin.

    Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample design,
    Statistics in Medicine 17 (1998), 891-908: the difference over its standard error at the maximum likelihood
    under the hypothesis, against the normal distribution. With a margin of 0 it is McNemar's approximate test.
    """
    spread = n * (2 * _losing_chance(wins, losses, n, margin) + margin * (1 - margin))
    excess = wins - losses - n * margin
    if spread <= 0:
        return 0.0 if excess > 0 else 1.0
    return 0.5 * erfc(excess / sqrt(2 * spread))


def _losing_chance(wins: int, losses: int, n: int, margin: float) -> float:
    """The likeliest chance of a loss, given that the chance of a win is higher by the margin (Tango 1998, eq. 6)."""
    a = 2 * n
    b = -wins - losses + (2 * n - wins + losses) * margin
    c = -losses * margin * (1 - margin)
    return (sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)


# Gates


def error_share(confidence: float, judgement: int) -> float:
    """The chance of a false acceptance that the k-th judgement may take: (1 - confidence) / (k (k + 1)).

    Summed over every k it is 1 - confidence, however often the same champion is challenged.

    Raises:
        ValueError: a judgement below 1.
    """
    if judgement < 1:
        raise ValueError(f"expected a judgement from 1, got {judgement}")
    return (1 - confidence) / (judgement * (judgement + 1))


@dataclass(frozen=True, kw_only=True)
class Bench:
    """How the rows are judged.

    Attributes:
        metric: the one that judges; positive: the class that precision, recall and f1 speak of.
        judgement: the how-manieth against this champion, from 1.
        compare: the paired test for the metric.
    """

    policy: JudgePolicy
    metric: str
    positive: str | None
    judgement: int
    compare: Compare = compare_accuracy

    @property
    def error_share(self) -> float:
        return error_share(self.policy.confidence, self.judgement)

    def value(self, metric: str, labels: Answers, answers: Answers) -> float | None:
        return metrics.value(metric, cells_of(labels, answers), self.positive)


def judge(bench: Bench, rows: HeldOut) -> tuple[Gate, ...]:
    """Every gate of a classifier's candidate.

    Against a champion: enough rows, better than the champion by the improvement asked for, not below the majority.
    Without one: enough rows, significantly better than the majority, not below the last class. Then the floors.
    """
    return (
        enough_rows(len(rows.labels), bench.policy.min_rows),
        *_contests(bench, rows),
        *_floors(bench, rows),
    )


def _contests(bench: Bench, rows: HeldOut) -> Iterator[Gate]:
    if rows.champion is None:
        yield _beats(bench, rows, _MAJORITY, rows.majority, margin=0.0)
        yield _above(bench, rows, _LAST_CLASS, rows.last_class)
    else:
        yield _beats(bench, rows, _CHAMPION, rows.champion, margin=bench.policy.improvement)
        yield _above(bench, rows, _MAJORITY, rows.majority)


@dataclass(frozen=True)
class _Other:
    name: str
    words: str


ENOUGH_ROWS: Final = "enough_rows"
BETTER_THAN_CHAMPION: Final = "better_than_champion"
_CHAMPION: Final = _Other(BETTER_THAN_CHAMPION, "the champion")
_MAJORITY: Final = _Other("better_than_majority", "always saying the commonest class")
_LAST_CLASS: Final = _Other("better_than_last_class", "repeating the last class seen")


def enough_rows(rows: int, least: int) -> Gate:
    """Whether a judgement on so many held-out rows counts."""
    passed = rows >= least
    reason = f"{rows} held-out rows {'>=' if passed else '<'} {least}"
    return Gate(name=ENOUGH_ROWS, passed=passed, reason=reason, evidence={"n": rows, "min_rows": least})


def _beats(bench: Bench, rows: HeldOut, other: _Other, answers: Answers, *, margin: float) -> Gate:
    """Significantly better than the other, on the same rows."""
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
        reason=f"{found.words.format(other=other.words)}{by}: {answer}",
        evidence={
            **found.counts,
            "metric": bench.metric,
            "candidate": found.candidate,
            "other": found.other,
            "difference": found.candidate - found.other,
            "improvement": margin,
            "p": found.p,
            "alpha": alpha,
            "judgement": bench.judgement,
            "test": found.test,
        },
    )


def _above(bench: Bench, rows: HeldOut, other: _Other, answers: Answers) -> Gate:
    """Higher than the other, as a floor: the values alone are compared."""
    ours = bench.value(bench.metric, rows.labels, rows.candidate)
    theirs = bench.value(bench.metric, rows.labels, answers)
    if ours is None or theirs is None:
        return _undefined(other.name, bench.metric, len(rows.labels))
    return Gate(
        name=other.name,
        passed=ours > theirs,
        reason=f"{bench.metric} {ours:.4f} {'>' if ours > theirs else '<='} {theirs:.4f} of {other.words}",
        evidence={"metric": bench.metric, "candidate": ours, "other": theirs, "n": len(rows.labels)},
    )


def _floors(bench: Bench, rows: HeldOut) -> Iterator[Gate]:
    for metric, least in bench.policy.floors.items():
        name = f"floor_{metric}"
        found = bench.value(metric, rows.labels, rows.candidate)
        if found is None:
            yield _undefined(name, metric, len(rows.labels))
            continue
        passed = found >= least
        reason = f"{metric} {found:.4f} {'>=' if passed else '<'} {least:g}, its floor"
        evidence = {"metric": metric, "candidate": found, "floor": least}
        yield Gate(name=name, passed=passed, reason=reason, evidence=evidence)


def _undefined(name: str, metric: str, rows: int) -> Gate:
    reason = f"{metric} has no value on {rows} held-out rows"
    return Gate(name=name, passed=False, reason=reason, evidence={"metric": metric, "n": rows})
