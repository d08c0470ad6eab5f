"""Predictions meet their labels.

Within the horizon the result is a pure function of the *sets* of events, never of the order in which they came:
`standing` computes from everything known about one id, and from how far the slots are closed, how its events count and
what it adds to the tallies. The index emits the difference between the standing before and after each event, and before
and after slots close.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from retrainer.domain.events import Label, Prediction, Side
from retrainer.domain.tally.arrivals import ArrivalPolicy, arrivals
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.values import Micros, Slot, slot_of


@dataclass(frozen=True, kw_only=True)
class Absent:
    """What it means when a prediction has no label by some time after it; at most `max_delay` after."""

    after: Micros
    value: str


@dataclass(frozen=True, kw_only=True)
class JoinPolicy:
    """How far apart in event time a prediction and its label may be, which of several labels counts, and what the
    absence of any means."""

    max_delay: Micros
    lateness: Micros
    corrections: Literal["last", "first"] = "last"
    absent: Absent | None = None

    @property
    def horizon(self) -> Micros:
        """How long after a prediction its id is remembered, in event time."""
        return self.max_delay + self.lateness

    @property
    def reach(self) -> Micros:
        """How far before the oldest open slot an event may lie that still matters to what is remembered.

        A label may wait for two horizons, and one that joined or was late is recognised only beside its prediction.
        That was remembered for a horizon, and for the lateness by which the slots are behind what has been read.
        """
        return 3 * self.horizon + self.lateness

    def mature_after(self, delay: Micros | None) -> Micros:
        """At which age outcomes are mature, where labels have come by `delay`; None: none has come.

        Never later than the longest delay that joins; and not before the absence of a label means something, as the
        younger outcomes would be those that came with a label.
        """
        least = self.absent.after if self.absent is not None else 0
        return least if delay is None else max(least, min(delay, self.max_delay))

    def admits(self, prediction: Prediction, label: Label) -> bool:
        """Whether the label's time lets it join: at most `max_delay` after, at most the horizon before."""
        return -self.horizon <= label.time - prediction.time <= self.max_delay


Status = tuple[Side, str]
"""A side and what became of an event of it; the names are those of `status --json`."""

PENDING: Status = (Side.PREDICTIONS, "pending")
JOINED: Status = (Side.PREDICTIONS, "joined")
IMPLIED: Status = (Side.PREDICTIONS, "implied")
DUPLICATE: Status = (Side.PREDICTIONS, "duplicate")
LATE_PREDICTION: Status = (Side.PREDICTIONS, "late")
UNLABELLED: Status = (Side.PREDICTIONS, "unlabelled")
WAITING: Status = (Side.LABELS, "waiting")
APPLIED: Status = (Side.LABELS, "applied")
SUPERSEDED: Status = (Side.LABELS, "superseded")
RETRACTING: Status = (Side.LABELS, "retracting")
LATE_LABEL: Status = (Side.LABELS, "late")
ORPHANED: Status = (Side.LABELS, "orphaned")


class Entry(NamedTuple):
    """Everything remembered about one id. `labels` are in order of time, then origin."""

    prediction: Prediction | None = None
    duplicates: int = 0
    labels: tuple[Label, ...] = ()


class Standing(NamedTuple):
    """How an id's events count, and what it adds to the tallies."""

    statuses: Counter[Status]
    cells: Counter[TallyKey]


class Outcome(NamedTuple):
    """What an id's outcome is from the time on at which it is known; without a value there is none.

    A value comes with the label that says so, or without any where it is implied.
    """

    known_at: Micros
    value: str | None
    label: Label | None = None


def standing(
    policy: JoinPolicy, entry: Entry, first_open: Slot | None, arriving: ArrivalPolicy | None = None
) -> Standing:
    """The pure function at the heart of the join: from the set of an id's events to their effect.

    `first_open` says how far the slots are closed (None: none is): absence means nothing before. With `arriving` the
    cells have the arrivals among them.
    """
    statuses: Counter[Status] = Counter()
    if entry.prediction is None:
        statuses[WAITING] = len(entry.labels)
        return Standing(statuses, Counter())
    admitted = [label for label in entry.labels if policy.admits(entry.prediction, label)]
    for label in entry.labels:
        if not policy.admits(entry.prediction, label):
            statuses[LATE_LABEL if label.time > entry.prediction.time else ORPHANED] += 1
    outcomes = _outcomes(policy, entry.prediction, admitted, first_open)
    now = outcomes[-1]
    statuses[DUPLICATE] = entry.duplicates
    statuses[PENDING if now.value is None else JOINED if now.label else IMPLIED] = 1
    statuses[APPLIED] = 1 if now.label else 0
    statuses[RETRACTING] = sum(label.value is None for label in admitted)
    statuses[SUPERSEDED] = len(admitted) - statuses[APPLIED] - statuses[RETRACTING]
    cells = _cells(entry.prediction, outcomes)
    if arriving is not None:
        cells.update(arrivals(arriving, entry.prediction, [(one.known_at, one.value) for one in outcomes]))
    return Standing(statuses, cells)


def _outcomes(
    policy: JoinPolicy, prediction: Prediction, admitted: Sequence[Label], first_open: Slot | None
) -> list[Outcome]:
    """What the outcome has been, one after the other; at first there is none."""
    told = [Outcome(prediction.time, None), *_told(policy, prediction, admitted)]
    implied = _implied(policy, prediction, first_open)
    if implied is None:
        return told
    before = [one for one in told if one.known_at <= implied.known_at]
    after = [one for one in told if one.known_at > implied.known_at]
    if before[-1].value is None:
        before.append(implied)
    return before + [one if one.label else implied._replace(known_at=one.known_at) for one in after]


def _implied(policy: JoinPolicy, prediction: Prediction, first_open: Slot | None) -> Outcome | None:
    """The outcome of a prediction without a label; None before the slot of its time is closed."""
    if policy.absent is None or first_open is None:
        return None
    time = prediction.time + policy.absent.after
    return Outcome(time, policy.absent.value) if slot_of(time) < first_open else None


def _told(policy: JoinPolicy, prediction: Prediction, admitted: Sequence[Label]) -> list[Outcome]:
    """What the labels alone say: one that counts stands until the next, or until it is taken back."""
    told: list[Outcome] = []
    stands = False
    for label in admitted:
        takes_back = label.value is None
        counts = stands if takes_back else not stands or policy.corrections == "last"
        if counts:
            told.append(Outcome(known_at(prediction, label), label.value, None if takes_back else label))
        stands = not takes_back
    return told


def _cells(prediction: Prediction, outcomes: Sequence[Outcome]) -> Counter[TallyKey]:
    """Each change takes the old outcome back and adds the new one, in the slot in which it was known."""
    cells: Counter[TallyKey] = Counter()
    for old, new in pairwise(outcomes):
        for part in (WHOLE, *prediction.slices):
            for value, n in ((old.value, -1), (new.value, 1)):
                if value is not None:
                    cells[TallyKey(prediction.version, part, slot_of(new.known_at), value, prediction.value)] += n
    return cells


def known_at(prediction: Prediction, label: Label) -> Micros:
    """The event time at which the outcome could be known."""
    return max(prediction.time, label.time)


def outcome_of(policy: JoinPolicy, entry: Entry, first_open: Slot | None) -> Outcome | None:
    """What counts for an id once every slot before `first_open` is closed; None if it has no outcome."""
    if entry.prediction is None:
        return None
    admitted = [label for label in entry.labels if policy.admits(entry.prediction, label)]
    now = _outcomes(policy, entry.prediction, admitted, first_open)[-1]
    return None if now.value is None else now


def with_prediction(entry: Entry, prediction: Prediction) -> Entry:
    """The entry with one more prediction: of several the earliest counts, then the lowest partition and offset."""
    held = entry.prediction
    if held is None:
        return entry._replace(prediction=prediction)
    first = min(held, prediction, key=lambda one: (one.time, one.origin))
    return entry._replace(prediction=first, duplicates=entry.duplicates + 1)


def with_label(entry: Entry, label: Label) -> Entry:
    """The entry with one more label."""
    labels = sorted((*entry.labels, label), key=lambda one: (one.time, one.origin))
    return entry._replace(labels=tuple(labels))
