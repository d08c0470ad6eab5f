"""Judging on: a challenger against the champion on labels that come in after an inconclusive judgement.

The test may be looked at after every batch of new rows, for as long as one likes, and still errs as rarely as it
promises. Its evidence is the wealth of a player who bets on the claim and can win only if the claim is true: where it
is not, the wealth is a supermartingale that starts at 1, and the chance that it ever reaches 1/alpha is at most alpha
(Ville 1939; Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 49 (2021), doi 10.1214/20-AOS1991). The
player bets the fraction b of the wealth on each row: it grows by the factor 1 + b (x - m), where x in [-1, 1] is how
much better the challenger did on the row and m the improvement asked for (Waudby-Smith and Ramdas, Estimating means
of bounded random variables by betting, JRSS B 86 (2024), doi 10.1093/jrsssb/qkad009). As nobody knows the best b,
the wealth is shared among several from the beginning: the method of mixtures (Robbins, Annals of Mathematical
Statistics 41 (1970), doi 10.1214/aoms/1177696786). A row on which both did alike changes nothing where m is 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, fsum, log, log1p
from typing import Final, Literal

from retrainer.domain.judging.verdicts import JudgePolicy, judging_on_share

_BETS: Final = tuple(0.005 * 180 ** (place / 15) for place in range(16))
"""From half a percent to nine tenths of the wealth that a row could take, by equal ratios; each has an even share."""
_CUT: Final = 0.99


@dataclass(frozen=True, kw_only=True)
class RowLoss:
    """By what single rows are compared, settled before the first of them is seen.

    Attributes:
        kind: `wrong` is 1 for a wrong class; brier and log_loss need scores; the others are errors of a number.
        scale: the difference between two losses that counts as a whole one; larger ones are cut to it.
        weights: what a row of each class counts; 1 where a class is not named. Only with `wrong`.
        exact: the mean of it is the judging metric itself, rather than the nearest thing to it that rows have.
    """

    kind: Literal["wrong", "brier", "log_loss", "absolute", "squared", "relative"] = "wrong"
    scale: float = 1.0
    weights: Mapping[str, float] = field(default_factory=dict)
    exact: bool = True


@dataclass(frozen=True, kw_only=True)
class Differences:
    """How two models fared on the same rows, in the rows' order.

    Attributes:
        values: for each row how much better the challenger did: the champion's loss less the challenger's, over the
            scale, cut to [-1, 1]. With right and wrong as the loss it is 1, 0 or -1.
    """

    values: tuple[float, ...] = ()

    @property
    def wins(self) -> int:
        return sum(value > 0 for value in self.values)

    @property
    def losses(self) -> int:
        return sum(value < 0 for value in self.values)

    @property
    def ties(self) -> int:
        return len(self.values) - self.wins - self.losses


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """What judging on has found so far. It is a small value to be stored; `update` makes the next one.

    Attributes:
        alpha: the chance that a challenger which is not better by more than the margin is ever found to be, and also
            that one which is better is ever found not to be.
        margin: the improvement that is asked for, in the unit of the differences.
        better, worse: the logarithm of each bet's wealth, on the claim and against it; empty before the first row.
        answer: None until either is decided; the first decision stays.
    """

    alpha: float
    margin: float = 0.0
    rows: int = 0
    wins: int = 0
    losses: int = 0
    total: float = 0.0
    better: tuple[float, ...] = ()
    worse: tuple[float, ...] = ()
    answer: Literal["better", "worse"] | None = None

    def update(self, new: Differences) -> PairedTest:
        """With the rows of another batch, which were in none before it."""
        values = Counter(min(1.0, max(-1.0, value)) - self.margin for value in new.values)
        found = replace(
            self,
            rows=self.rows + len(new.values),
            wins=self.wins + new.wins,
            losses=self.losses + new.losses,
            total=self.total + float(sum(new.values)),
            better=_grown(self.better, values, 1 + self.margin),
            worse=_grown(self.worse, {-value: n for value, n in values.items()}, 1 - self.margin),
        )
        return found if self.answer is not None else replace(found, answer=found._decided())  # noqa: SLF001 - its own

    @property
    def for_better(self) -> float:
        """The evidence (e-value) that the challenger is better by more than the margin; 1 is none."""
        return _wealth(self.better)

    @property
    def for_worse(self) -> float:
        """The evidence (e-value) that it is not."""
        return _wealth(self.worse)

    @property
    def words(self) -> str:
        """What was seen, as a colleague would say it."""
        told = {"better": "it is better", "worse": "it is not better", None: "undecided"}[self.answer]
        line = 1 / self.alpha
        return (
            f"on {self.rows} new rows the challenger did better on {self.wins} and worse on {self.losses}: {told}"
            f" (evidence for it {self.for_better:.3g}, against it {self.for_worse:.3g}, decided at {line:.3g})"
        )

    def _decided(self) -> Literal["better", "worse"] | None:
        if self.for_better >= 1 / self.alpha:
            return "better"
        return "worse" if self.for_worse >= 1 / self.alpha else None


def judging_on(policy: JudgePolicy, judgement: int, loss: RowLoss) -> PairedTest:
    """The test that an inconclusive judgement goes on with.

    It has what the first look has left of the judgement's share of the error, so that both together, and every other
    judgement against the same champion, err as rarely as the confidence says. The improvement is asked for where rows
    have the metric's unit; where they only have the nearest thing to it, being better at all is.
    """
    margin = policy.improvement / loss.scale if loss.exact else 0.0
    return PairedTest(alpha=judging_on_share(policy.confidence, judgement), margin=min(_CUT, max(-_CUT, margin)))


def _grown(wealth: Sequence[float], gains: Mapping[float, int], most: float) -> tuple[float, ...]:
    """Each bet's wealth after more rows, as logarithms; a row takes at most `most` times the bet."""
    return tuple(
        before + fsum(n * log1p(bet / most * gain) for gain, n in gains.items())
        for bet, before in zip(_BETS, wealth or [0.0] * len(_BETS), strict=True)
    )


def _wealth(logs: Sequence[float]) -> float:
    """The mean over the bets; it overflows to a number that is large enough for any decision."""
    if not logs:
        return 1.0
    highest = max(logs)
    return exp(min(700.0, highest + log(sum(exp(one - highest) for one in logs) / len(logs))))
