"""The gate on slices: a candidate that is better over all may still be much worse for some of the traffic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from retrainer.domain.judging.paired import Answers, better_by
from retrainer.domain.judging.verdicts import Bench, Gate, HeldOut
from retrainer.domain.mapping.slices import MOST_KEPT, SlicePolicy, slices_of
from retrainer.training.comparing import chance_worse
from retrainer.training.dataset import TrainingRows

FEWEST: Final = 50
"""Held-out rows of a slice below which nothing is said about it."""

ERROR: Final = 0.05
"""The chance that a candidate which is as good as the champion in every slice is held back by this gate."""

SLICES: Final = "no_slice_worse"


@dataclass(frozen=True, kw_only=True)
class _Slice:
    name: str
    rows: int
    candidate: float
    champion: float
    loss: float
    p: float

    @property
    def words(self) -> str:
        return (
            f"in {self.name} {self.candidate:.4g} against {self.champion:.4g} of the champion on {self.rows} rows"
            f" (p={self.p:.2g})"
        )


def slices_gate(bench: Bench, slices: Mapping[str, str | None], held: TrainingRows, rows: HeldOut) -> Gate | None:
    """That the candidate is in no slice worse than the champion by more than `max_slice_loss`, beyond chance.

    Chance is what a paired test of being worse at all says, at an error that is shared among the slices (Bonferroni).
    A slice needs 50 rows to be looked at; of a feature's values the commonest are.

    Args:
        slices: name to condition, or to None where the name is a feature.
        held: the judged rows with their features.

    Returns:
        None where there is nothing to look at: no champion, no slices or no limit.
    """
    limit = bench.policy.max_slice_loss
    if limit is None or rows.champion is None or not slices:
        return None
    found = list(_compared(bench, _members(slices, held), rows, rows.champion))
    bad = [one for one in found if one.loss > limit and one.p <= ERROR / len(found)]
    worst = max(found, key=lambda one: one.loss, default=None)
    if bad:
        reason = f"worse by more than {limit:g} " + ", ".join(one.words for one in bad)
    else:
        reason = f"in none of {len(found)} slices worse by more than {limit:g} beyond chance"
    evidence: dict[str, Any] = {"slices": len(found), "max_loss": limit, "worse_in": [one.name for one in bad]}
    if worst is not None:
        evidence |= {"worst": worst.name, "worst_loss": worst.loss, "worst_n": worst.rows, "worst_p": worst.p}
    return Gate(name=SLICES, passed=not bad, reason=reason, evidence=evidence)


def _members(slices: Mapping[str, str | None], held: TrainingRows) -> dict[str, npt.NDArray[np.int64]]:
    """The positions of each slice's rows, of those that are large enough."""
    policies = [SlicePolicy(name=name, when=when) for name, when in slices.items()]
    wanted = [name for name in held.features if _is_read(policies, str(name))]
    records: list[dict[Any, Any]] = held.features[wanted].to_dict("records")
    places: dict[str, list[int]] = {}
    for place, features in enumerate(records):
        for text in slices_of(policies, features):
            places.setdefault(text, []).append(place)
    sizes = Counter({text: len(found) for text, found in places.items() if len(found) >= FEWEST})
    return {text: np.array(places[text]) for text, _ in sizes.most_common(MOST_KEPT)}


def _is_read(policies: Sequence[SlicePolicy], name: str) -> bool:
    return any(name == read or read.startswith(f"{name}.") for policy in policies for read in policy.features)


def _compared(
    bench: Bench, members: Mapping[str, npt.NDArray[np.int64]], rows: HeldOut, champion: Answers
) -> Iterator[_Slice]:
    for name, places in members.items():
        labels, ours, theirs = ([side[at] for at in places] for side in (rows.labels, rows.candidate, champion))
        values = bench.value(bench.metric, labels, ours), bench.value(bench.metric, labels, theirs)
        if values[0] is None or values[1] is None:
            continue
        yield _Slice(
            name=name,
            rows=len(places),
            candidate=values[0],
            champion=values[1],
            loss=better_by(bench.metric, values[1], values[0]),
            p=chance_worse(bench, labels, ours, theirs),
        )
