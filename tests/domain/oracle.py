"""What a join must come to, told from the set of events alone. Slow and obviously right; other suites use it too.

    found = expected(policy, [*predictions, *labels])
    found.counts        # {(Side.PREDICTIONS, "joined"): 3, ...} as in `status --json`, without zeros
    found.tallies       # {TallyKey(version, "", slot, truth, answer): n}, without zeros
    found.outcomes      # {id: (the prediction that counts, the label that counts)}

It speaks of events within the horizon: those of an id lie at most `policy.horizon` after its earliest prediction, and
none came after its slot was closed. What came later than that enters the oldest open slot; compare `unslotted(tallies)`
then. With `forgotten=True` every horizon has passed: nothing is pending or waiting any more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from retrainer.domain.events import Label, Prediction, Side
from retrainer.domain.join import JoinPolicy, Status
from retrainer.domain.tallies import WHOLE, TallyKey
from retrainer.domain.values import slot_of

T = TypeVar("T")


@dataclass(frozen=True)
class Expected:
    """What the events come to."""

    counts: Counter[Status] = field(default_factory=Counter)
    tallies: Counter[TallyKey] = field(default_factory=Counter)
    outcomes: dict[str, tuple[Prediction, Label]] = field(default_factory=dict)


def expected(policy: JoinPolicy, events: Iterable[Prediction | Label], *, forgotten: bool = False) -> Expected:
    """The counts, tallies and outcomes of these events, in whatever order they came."""
    found = Expected()
    ids: dict[str, tuple[list[Prediction], list[Label]]] = defaultdict(lambda: ([], []))
    for event in sorted(events, key=lambda event: (event.time, event.origin)):
        predictions, labels = ids[event.id]
        predictions.append(event) if isinstance(event, Prediction) else labels.append(event)
    for predictions, labels in ids.values():
        found.counts[Side.PREDICTIONS, "consumed"] += len(predictions)
        found.counts[Side.LABELS, "consumed"] += len(labels)
        if predictions:
            _add_predicted(found, policy, predictions, labels, forgotten=forgotten)
        else:
            found.counts[Side.LABELS, "orphaned" if forgotten else "waiting"] += len(labels)
    return Expected(+found.counts, nonzero(found.tallies), found.outcomes)


def _add_predicted(
    found: Expected, policy: JoinPolicy, predictions: list[Prediction], labels: list[Label], *, forgotten: bool
) -> None:
    first, *duplicates = predictions
    early = [label for label in labels if label.time < first.time - policy.max_delay - policy.lateness]
    late = [label for label in labels if label.time > first.time + policy.max_delay]
    fitting = labels[len(early) : len(labels) - len(late)]
    unmet = "unlabelled" if forgotten else "pending"
    found.counts[Side.PREDICTIONS, "duplicate"] += len(duplicates)
    found.counts[Side.PREDICTIONS, "joined" if fitting else unmet] += 1
    found.counts[Side.LABELS, "orphaned"] += len(early)
    found.counts[Side.LABELS, "late"] += len(late)
    found.counts[Side.LABELS, "applied"] += len(fitting[:1])
    found.counts[Side.LABELS, "superseded"] += len(fitting[1:])
    counting = fitting[:1] if policy.corrections == "first" else fitting
    known_by = {slot_of(max(first.time, label.time)): label for label in counting}  # the newest of each slot stays
    before: Label | None = None
    for slot, label in known_by.items():
        if before is not None:
            found.tallies[TallyKey(first.version, WHOLE, slot, before.value, first.value)] -= 1
        found.tallies[TallyKey(first.version, WHOLE, slot, label.value, first.value)] += 1
        before = label
    if before is not None:
        found.outcomes[first.id] = (first, before)


def unslotted(tallies: Mapping[TallyKey, int]) -> Counter[tuple[str, str, str]]:
    """How many outcomes had (version, truth, answer), whenever they became known."""
    merged: Counter[tuple[str, str, str]] = Counter()
    for key, n in tallies.items():
        merged[key.version, key.truth, key.answer] += n
    return nonzero(merged)


def nonzero(counts: Mapping[T, int]) -> Counter[T]:
    """The counts without those that are zero; negative ones stay."""
    return Counter({key: n for key, n in counts.items() if n})
