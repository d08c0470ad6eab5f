"""Arrivals in columns: what `arrivals` says of one prediction, of thousands at once."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrainer.domain.answers import answer_of
from retrainer.domain.join.cells import Group
from retrainer.domain.join.codes import Codes
from retrainer.domain.join.column_sums import ColumnSum, summed
from retrainer.domain.join.event_columns import Events, Numbers, Times
from retrainer.domain.tally.arrivals import DELAY, EDGES, HIT, MISS, NO_SCORE, PREDICTED, ArrivalKey, ArrivalPolicy
from retrainer.domain.tally.tallies import TallyKey
from retrainer.domain.values import SLOT_WIDTH

_KINDS: Final = (PREDICTED, HIT, MISS, DELAY)
_EDGES: Final = np.array(EDGES, np.int64)


class OutcomeColumns(NamedTuple):
    """Outcomes in columns: codes of group, label and answer, times of prediction and outcome, the slot to count in."""

    groups: Numbers
    truth: Numbers
    answers: Numbers
    predicted_at: Times
    known_at: Times
    slots: Times


class ArrivalSum:
    """Adds up arrivals; those of predictions that were looked at one by one are none of its business."""

    def __init__(self, policy: ArrivalPolicy, values: Codes[str]) -> None:
        self._policy = policy
        self._answers = _AnswerCodes(policy, values)
        self._sum = ColumnSum()

    def add_predicted(self, events: Events, slots: Times) -> None:
        """Predictions, each counted in a slot."""
        bins = self._answers.bins_of(events.value)
        self._add(events.group, _of_kind(PREDICTED, len(slots)), slots, self._born(events.time), bins)

    def add_known(self, known: OutcomeColumns) -> None:
        """Outcomes of predictions that had none."""
        is_hit = self._answers.are_hit(known.truth, known.answers)
        kinds = np.where(is_hit, _KINDS.index(HIT), _KINDS.index(MISS)).astype(np.int8)
        bins = self._answers.bins_of(known.answers)
        self._add(known.groups, kinds, known.slots, self._born(known.predicted_at), bins)
        delays = np.searchsorted(_EDGES, known.known_at - known.predicted_at, side="right")
        none = np.full(len(delays), NO_SCORE, np.int8)
        self._add(known.groups, _of_kind(DELAY, len(delays)), known.slots, delays, none)

    def drain(self, groups: Codes[Group]) -> Counter[TallyKey]:
        """Every count that is not zero; the sum begins anew."""
        columns, sums = self._sum.take()
        if not columns:
            return Counter()
        versions: Codes[str] = Codes()
        of_group = np.array([versions.of(groups[group][0]) for group in range(len(groups))], np.int32)
        columns, sums = summed([of_group[columns[0]], *columns[1:]], sums)
        found: Counter[TallyKey] = Counter()
        for version, kind, slot, born, bin_, n in zip(*(column.tolist() for column in (*columns, sums)), strict=True):
            found[ArrivalKey(versions[version], slot, _KINDS[kind], born, bin_).in_tallies] = n
        return found

    def _add(self, *columns: NDArray[Any]) -> None:
        """Summed up at once: of thousands of rows few are different."""
        if len(columns[0]):
            self._sum.add(*summed(columns, np.ones(len(columns[0]), np.int64)))

    def _born(self, times: Times) -> Times:
        return times // SLOT_WIDTH // self._policy.width


def _of_kind(kind: str, n: int) -> NDArray[np.int8]:
    return np.full(n, _KINDS.index(kind), np.int8)


class _AnswerCodes:
    """What is known of each code of an answer: its bin, and the code of its class."""

    def __init__(self, policy: ArrivalPolicy, values: Codes[str]) -> None:
        self._policy = policy
        self._values = values
        self._forget()

    def bins_of(self, answers: Numbers) -> NDArray[np.int8]:
        if self._policy.task == "regression":
            return np.full(len(answers), NO_SCORE, np.int8)
        self._learn()
        return self._bins[answers]

    def are_hit(self, truth: Numbers, answers: Numbers) -> NDArray[np.bool_]:
        if self._policy.task == "regression":
            return np.ones(len(answers), np.bool_)
        self._learn()
        hit: NDArray[np.bool_] = self._classes[answers] == truth
        return hit

    def _forget(self) -> None:
        self._generation, self._known = self._values.generation, 0
        self._bins, self._classes = np.empty(64, np.int8), np.empty(64, np.int32)

    def _learn(self) -> None:
        """Look at the codes that have come since."""
        if self._generation != self._values.generation:
            self._forget()
        while self._known < len(self._values):  # a class may become one more
            code, value = self._known, self._values[self._known]
            if code == len(self._bins):
                self._bins, self._classes = np.resize(self._bins, 2 * code), np.resize(self._classes, 2 * code)
            answer = answer_of(value)
            self._bins[code] = self._policy.bin_of(value)
            self._classes[code] = code if answer == value else self._values.of(answer)
            self._known += 1
