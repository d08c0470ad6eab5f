"""Two contestants' answers to the same rows compared: what a comparison says, and the paired tests of accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import erfc, exp, fsum, lgamma, log, sqrt

from retrainer.domain.answers import answer_of
from retrainer.domain.metrics import registry as metrics

Answers = Sequence[str]
"""One answer for each held-out row, in the rows' order, in the form that predictions are kept in."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A one-sided paired test of "the candidate beats the other by more than `margin`" on the same rows.

    Attributes:
        candidate, other: both sides' values of the metric; difference: positive where the candidate is better.
        p: the chance of a result at least as good for the candidate if it were not better by more than the margin.
        p_worse: the same of a result at least as bad if it were better by at least the margin.
        error: the standard error of the difference.
        words: what was counted, as a sentence about `the candidate` and `{other}`.
    """

    test: str
    candidate: float
    other: float
    difference: float
    margin: float
    p: float
    p_worse: float
    words: str
    counts: Mapping[str, float]
    error: float


Compare = Callable[[Answers, Answers, Answers, float], Comparison | None]
"""(labels, candidate's answers, the other's answers, margin) to their comparison; None where there is no value."""


def better_by(metric: str, ours: float, theirs: float) -> float:
    """The difference of two values of a metric; positive where the first is better, of errors too."""
    return ours - theirs if metrics.METRICS[metric].higher_is_better else theirs - ours


def compare_accuracy(labels: Answers, candidate: Answers, other: Answers, margin: float) -> Comparison | None:
    """Accuracy compared row by row: McNemar's exact test, or Tango's score test where a margin is asked for."""
    n = len(labels)
    if not n:
        return None
    rows = zip(labels, map(answer_of, candidate), map(answer_of, other), strict=True)
    right = Counter((label == ours, label == theirs) for label, ours, theirs in rows)
    wins, losses = right[True, False], right[False, True]
    return Comparison(
        test="tango" if margin else "mcnemar",
        candidate=(right[True, True] + wins) / n,
        other=(right[True, True] + losses) / n,
        difference=(right[True, True] + wins) / n - (right[True, True] + losses) / n,
        margin=margin,
        p=score_p(wins, losses, n, margin) if margin else exact_p(wins, losses),
        p_worse=score_p(losses, wins, n, -margin) if margin else exact_p(losses, wins),
        words=f"the candidate right on {wins} rows where {{other}} was wrong, wrong on {losses} where it was right",
        counts={"b": wins, "c": losses, "n": n},
        error=sqrt(max(1, wins + losses)) / n,
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
