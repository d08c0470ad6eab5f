"""What a join must come to, told from the set of events alone. Slow and obviously right; other suites use it too.

    found = expected(policy, [*predictions, *labels], first_open=slot)
    found.counts        # {(Side.PREDICTIONS, "joined"): 3, ...} as in `status --json`, without zeros
    found.tallies       # {TallyKey(version, slice, slot, truth, answer): n}, without zeros
    found.outcomes      # {id: (the prediction that counts, the label that counts)}

A label without a value is a retraction. Where absence means something it does so in the slots before `first_open`; the
label that then counts is one made up for the time from which it is implied.

It speaks of events within the horizon: those of an id lie at most `policy.horizon` after its earliest prediction, and
none came after its slot was closed. What came later than that enters the oldest open slot; compare `unslotted(tallies)`
then. With `forgotten=True` every horizon has passed: nothing is pending or waiting any more.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from retrainer.domain.events import Label, Prediction, Side
from retrainer.domain.join.rules import JoinPolicy, Status
from retrainer.domain.tally.tallies import ARRIVALS, WHOLE, TallyKey
from retrainer.domain.values import Micros, Slot, slot_of

T = TypeVar("T")
_Truth = Label | str | None


@dataclass(frozen=True)
class Expected:
    """What the events come to."""

    counts: Counter[Status] = field(default_factory=Counter)
    tallies: Counter[TallyKey] = field(default_factory=Counter)
    outcomes: dict[str, tuple[Prediction, Label]] = field(default_factory=dict)


def expected(
    policy: JoinPolicy,
    events: Iterable[Prediction | Label],
    *,
    first_open: Slot | None = None,
    forgotten: bool = False,
) -> Expected:
    """The counts, tallies and outcomes of these events, in whatever order they came."""
    found = Expected()
    closed_to = math.inf if forgotten else -math.inf if first_open is None else first_open
    ids: dict[str, tuple[list[Prediction], list[Label]]] = defaultdict(lambda: ([], []))
    for event in sorted(events, key=lambda event: (event.time, event.origin)):
        predictions, labels = ids[event.id]
        predictions.append(event) if isinstance(event, Prediction) else labels.append(event)
    for predictions, labels in ids.values():
        found.counts[Side.PREDICTIONS, "consumed"] += len(predictions)
        found.counts[Side.LABELS, "consumed"] += len(labels)
        if predictions:
            found.counts[Side.PREDICTIONS, "duplicate"] += len(predictions) - 1
            fitting = _fitting(found, policy, predictions[0], labels)
            told = _told(policy, predictions[0], fitting, closed_to)
            _count(found, predictions[0], fitting, told, "unlabelled" if forgotten else "pending")
        else:
            found.counts[Side.LABELS, "orphaned" if forgotten else "waiting"] += len(labels)
    return Expected(+found.counts, nonzero(found.tallies), found.outcomes)


def _fitting(found: Expected, policy: JoinPolicy, first: Prediction, labels: list[Label]) -> list[Label]:
    early = [label for label in labels if label.time < first.time - policy.max_delay - policy.lateness]
    late = [label for label in labels if label.time > first.time + policy.max_delay]
    found.counts[Side.LABELS, "orphaned"] += len(early)
    found.counts[Side.LABELS, "late"] += len(late)
    return labels[len(early) : len(labels) - len(late)]


def _told(policy: JoinPolicy, first: Prediction, fitting: list[Label], closed_to: float) -> list[tuple[Micros, _Truth]]:
    """What is held to be true from when on: a label, the text that absence implies, or nothing."""
    moments: list[tuple[Micros, Label | None]] = [(label.time, label) for label in fitting]
    if policy.absent and slot_of(first.time + policy.absent.after) < closed_to:
        moments.append((first.time + policy.absent.after, None))
    told: list[tuple[Micros, _Truth]] = []
    said: Label | None = None
    implied: str | None = None
    for time, label in sorted(moments, key=lambda moment: (moment[0], moment[1] is None)):
        if label is None:
            implied = policy.absent.value if policy.absent else None
        elif label.value is None:
            said = None
        elif said is None or policy.corrections == "last":
            said = label
        told.append((max(first.time, time), said or implied))
    return told


def _count(
    found: Expected, first: Prediction, fitting: list[Label], told: list[tuple[Micros, _Truth]], unmet: str
) -> None:
    now = told[-1][1] if told else None
    retracting = sum(label.value is None for label in fitting)
    applied = isinstance(now, Label)
    found.counts[Side.PREDICTIONS, "joined" if applied else "implied" if now else unmet] += 1
    found.counts[Side.LABELS, "applied"] += applied
    found.counts[Side.LABELS, "retracting"] += retracting
    found.counts[Side.LABELS, "superseded"] += len(fitting) - retracting - applied
    before: str | None = None
    for slot, truth in {slot_of(time): truth for time, truth in told}.items():  # the newest of each slot stays
        value = truth.value if isinstance(truth, Label) else truth
        for part in (WHOLE, *first.slices):
            found.tallies[TallyKey(first.version, part, slot, str(before), first.value)] -= before is not None
            found.tallies[TallyKey(first.version, part, slot, str(value), first.value)] += value is not None
        before = value
    if isinstance(now, Label):
        found.outcomes[first.id] = (first, now)
    elif now is not None:
        since = next(time for n, (time, truth) in enumerate(told) if all(other == now for _, other in told[n:]))
        found.outcomes[first.id] = (first, Label(first.id, since, first.origin, now))


def unslotted(tallies: Mapping[TallyKey, int]) -> Counter[tuple[str, str, str, str]]:
    """How many outcomes had (version, slice, truth, answer), whenever they became known."""
    merged: Counter[tuple[str, str, str, str]] = Counter()
    for key, n in tallies.items():
        merged[key.version, key.slice, key.truth, key.answer] += n
    return nonzero(merged)


def outcomes_in(tallies: Mapping[TallyKey, int]) -> Counter[TallyKey]:
    """The tallies of outcomes, without the arrivals that lie beside them."""
    return Counter({key: n for key, n in tallies.items() if key.slice != ARRIVALS})


def nonzero(counts: Mapping[T, int]) -> Counter[T]:
    """The counts without those that are zero; negative ones stay."""
    return Counter({key: n for key, n in counts.items() if n})
