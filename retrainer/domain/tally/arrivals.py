"""When predictions were made, and when their outcomes became known: what coverage and estimated quality stand on.

Each prediction is counted once, as PREDICTED, in the slot of its own time. When its outcome becomes known, it is
counted as HIT or MISS (as HIT, where there is no right or wrong) and its delay as DELAY, in the slot in which that
happened; an outcome that is taken back takes these counts back in the slot in which that happened, and one that is
corrected moves from HIT to MISS. A label that is implied counts as any other. What comes for a closed slot enters the
oldest open one. So it is that, over all slots, HIT and MISS are the predictions that are joined or implied, and
PREDICTED those and the pending and unlabelled ones.

These counts lie in the tallies, in place of a slice: `ArrivalKey` reads them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isqrt
from typing import Final, NamedTuple

from retrainer.domain.answers import Task, answer_of, confidence_of
from retrainer.domain.events import Prediction
from retrainer.domain.tally.tallies import ARRIVALS, TallyKey
from retrainer.domain.values import SECOND, SLOT_WIDTH, Micros, Slot, slot_of

PREDICTED: Final = "predicted"
HIT: Final = "hit"
MISS: Final = "miss"
DELAY: Final = "delay"

BINS: Final = 20
"""Bins of the answered class's confidence, equally wide, from 0 on."""
NO_SCORE: Final = -1
"""In place of a bin."""

_BUCKETS_A_DELAY: Final = 60
_LONGEST: Final = 40
"""Octaves of seconds: more than there are between the years 1 and 9999."""


class ArrivalKey(NamedTuple):
    """What is counted: `born` is the number of the bucket of prediction time, or, of a DELAY, that of the delay."""

    version: str
    slot: Slot
    kind: str
    born: int
    bin: int = NO_SCORE

    @property
    def in_tallies(self) -> TallyKey:
        """Where it lies."""
        return TallyKey(self.version, ARRIVALS, self.slot, self.kind, f"{self.born}:{self.bin}")

    @classmethod
    def of(cls, key: TallyKey) -> ArrivalKey:
        """The key at a place in the tallies.

        Raises:
            ValueError: an outcome is counted there.
        """
        if key.slice != ARRIVALS:
            raise ValueError(f"expected a key of arrivals, got {key}")
        born, _, bin_ = key.answer.partition(":")
        return cls(key.version, key.slot, key.truth, int(born), int(bin_))


@dataclass(frozen=True, kw_only=True)
class ArrivalPolicy:
    """How predictions are told apart.

    Attributes:
        width: of a bucket of prediction time, in slots.
        positive: the class that a single score speaks of; None: it speaks of the answered one.
        task: a regression has hits alone.
    """

    width: int
    positive: str | None = None
    task: Task = "classification"

    def born(self, time: Micros) -> int:
        """The bucket of a prediction's time."""
        return slot_of(time) // self.width

    def bin_of(self, value: str) -> int:
        """The bin of the answered class's confidence; `NO_SCORE` where it has none."""
        confidence = None if self.task == "regression" else confidence_of(value, self.positive)
        return NO_SCORE if confidence is None else min(BINS - 1, int(confidence * BINS))

    def kind_of(self, truth: str, value: str) -> str:
        """HIT or MISS."""
        return HIT if self.task == "regression" or truth == answer_of(value) else MISS


def width_of(max_delay: Micros) -> int:
    """The width of the buckets of prediction time, in slots: a sixtieth of the longest delay."""
    return max(1, -(-max_delay // (_BUCKETS_A_DELAY * SLOT_WIDTH)))


def arrivals(
    policy: ArrivalPolicy, prediction: Prediction, outcomes: Sequence[tuple[Micros, str | None]]
) -> Counter[TallyKey]:
    """What a prediction adds to the counts: with its outcomes in order, each with the time at which it was known.

    The first is that of the prediction itself, which has no value.
    """
    version, bin_ = prediction.version, policy.bin_of(prediction.value)
    born = policy.born(prediction.time)
    found = Counter({ArrivalKey(version, slot_of(prediction.time), PREDICTED, born, bin_): 1})
    delay = 0
    for (_, old), (time, new) in pairwise(outcomes):
        slot = slot_of(time)
        if old is None:
            delay = delay_bucket(time - prediction.time)
        for value, n in ((old, -1), (new, 1)):
            if value is not None:
                found[ArrivalKey(version, slot, policy.kind_of(value, prediction.value), born, bin_)] += n
                found[ArrivalKey(version, slot, DELAY, delay)] += n
    return Counter({key.in_tallies: n for key, n in found.items() if n})


def delay_bucket(delay: Micros) -> int:
    """The number of a delay's bucket: 0 for less than a second, then four to each doubling."""
    return bisect_right(EDGES, delay)


def delay_of(bucket: int) -> Micros:
    """The upper edge of a delay's bucket: every delay in it is shorter."""
    return EDGES[min(bucket, len(EDGES) - 1)]


def _fourth_root(n: int) -> int:
    """Rounded up."""
    return isqrt(isqrt(n - 1)) + 1


EDGES: Final = tuple(_fourth_root(2**quarter * SECOND**4) for quarter in range(4 * _LONGEST))
"""Where the buckets of delays from 1 on begin: whole microseconds, as 1 + floor(4 log2(seconds)) would have them."""
