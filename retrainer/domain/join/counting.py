"""What a join counts, on its way into the tallies: outcomes, and when predictions and outcomes arrived."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from retrainer.domain.join.arrival_columns import ArrivalSum, OutcomeColumns
from retrainer.domain.join.cells import Cells, CellSum, Group
from retrainer.domain.join.codes import Codes
from retrainer.domain.join.event_columns import Events, Times
from retrainer.domain.tally.arrivals import ArrivalPolicy
from retrainer.domain.tally.measures import Expand
from retrainer.domain.tally.tallies import TallyKey


@dataclass(frozen=True, kw_only=True)
class WhatIsCounted:
    """What is counted.

    Attributes:
        expand: the cells that an outcome adds to; None: that of its label and its prediction.
        arriving: how arrivals are counted; None: they are not.
    """

    expand: Expand | None = None
    arriving: ArrivalPolicy | None = None


class Count:
    """Adds up what is counted. `values` and `groups` are the codes in the columns."""

    def __init__(self, counting: WhatIsCounted, values: Codes[str], groups: Codes[Group]) -> None:
        self._values = values
        self._groups = groups
        self._cells = CellSum(counting.expand)
        self._arrivals = None if counting.arriving is None else ArrivalSum(counting.arriving, values)

    def add(self, key: TallyKey, n: int) -> None:
        """Of an outcome as it is, or of an arrival."""
        self._cells.add(key, n)

    def add_predictions(self, events: Events, slots: Times) -> None:
        """Predictions of new ids, each counted in a slot."""
        if self._arrivals is not None:
            self._arrivals.add_predicted(events, slots)

    def add_outcomes(self, known: OutcomeColumns) -> None:
        """Outcomes of predictions that had none."""
        ones = np.ones(len(known.slots), np.int64)
        self._cells.add_many(Cells(known.groups, known.truth, known.answers, known.slots, ones))
        if self._arrivals is not None:
            self._arrivals.add_known(known)

    def settle(self) -> None:
        """Read the codes of values of everything that was added: they may be given away."""
        self._cells.settle(self._groups, self._values)

    def drain(self) -> Counter[TallyKey]:
        """Every count that is not zero; it begins anew."""
        cells = self._cells.drain(self._groups, self._values)
        if self._arrivals is not None:
            cells.update(self._arrivals.drain(self._groups))
        return Counter({cell: n for cell, n in cells.items() if n})
