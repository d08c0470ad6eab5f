"""The join at speed: the ids that can still change, in columns, taken in by the thousand.

What usually happens is done on whole columns: a prediction or a label with a new id, a label that meets its
prediction, a prediction that meets its label, an id whose time is over. Everything else (redeliveries, corrections,
retractions, labels out of range, an id that comes twice in one batch) goes row by row through `join.standing`, which
says what an id's events come to; so the rules stand in one place. The tests compare all of it with the same join in
slow motion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrainer.domain.events import Label, Prediction
from retrainer.domain.join.arrival_columns import OutcomeColumns
from retrainer.domain.join.cells import Group
from retrainer.domain.join.codes import Codes
from retrainer.domain.join.counting import Count, WhatIsCounted
from retrainer.domain.join.entries import RETRACTION, Entries, unpacked
from retrainer.domain.join.event_columns import Dump, Events, Mask, Numbers, Times
from retrainer.domain.join.keytable import Rows, repeats
from retrainer.domain.join.rows import DUE, EXTRA, LABELLED, NEVER, PREDICTED, JoinRows
from retrainer.domain.join.rules import (
    APPLIED,
    IMPLIED,
    JOINED,
    LATE_LABEL,
    LATE_PREDICTION,
    ORPHANED,
    PENDING,
    UNLABELLED,
    WAITING,
    Entry,
    JoinPolicy,
    Standing,
    Status,
    standing,
    with_label,
    with_prediction,
)
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.values import SLOT_WIDTH, Micros, Slot, slot_start

_OUTCOMES_ALONE: Final = WhatIsCounted()
_SPARE_VALUES: Final = 100_000


class JoinTable:
    """The ids that can still change, for one model, and the effects that have not been drained yet."""

    def __init__(
        self, policy: JoinPolicy, first_open: Slot | None = None, counting: WhatIsCounted = _OUTCOMES_ALONE
    ) -> None:
        self.policy = policy
        self.counting = counting
        self.first_open = first_open
        self.moved_to_open = 0
        self.values: Codes[str] = Codes()
        self.groups: Codes[Group] = Codes()
        self.rows = JoinRows()
        self._statuses: Counter[Status] = Counter()
        self._count = Count(counting, self.values, self.groups)
        self._values_kept = 0

    def __len__(self) -> int:
        return len(self.rows)

    def add_predictions(self, events: Events) -> None:
        """Take predictions in; beyond the horizon they are counted as late and never applied."""
        past = self._are_past(events.time + self.policy.horizon)
        self._statuses[LATE_PREDICTION] += _count(past)
        events = events.only(~past)
        found = self.rows.find(events.high, events.low)
        repeated = repeats(events.low)
        is_new = ~repeated & (found < 0) & ~self._are_due(events.time)
        self._insert_predictions(events.only(is_new))
        known = ~repeated & (found >= 0)
        meets = known.copy()
        meets[known] = self._meets_label(events.time[known], found[known])
        self._meet_labels(events.only(meets), found[meets])
        self._one_by_one(events.only(~is_new & ~meets), self._add_prediction)

    def add_labels(self, events: Events) -> None:
        """Take labels in; one that no prediction can meet any more is counted as late and never applied."""
        found = self.rows.find(events.high, events.low)
        past = self._are_past(self._wait_until(events.time))
        past &= (self.rows.state[found] & PREDICTED == 0) | (found < 0)
        repeated = repeats(events.low)
        late = past & ~repeated
        self._statuses[LATE_LABEL] += _count(late)
        is_new = ~repeated & (found < 0) & ~past
        self._insert_labels(events.only(is_new))
        known = ~repeated & (found >= 0)
        meets = known.copy()
        meets[known] = self._meets_prediction(events.time[known], events.value[known], found[known])
        self._meet_predictions(events.only(meets), found[meets])
        self._one_by_one(events.only(~is_new & ~meets & ~late), self._add_label)

    def close_before(self, first_open: Slot) -> None:
        """Close every slot before this one: what is implied in them counts, and what nothing can change any more is
        forgotten."""
        if self.first_open is not None and first_open <= self.first_open:
            return
        due = self.rows.due(slot_start(first_open))
        self._imply(due, first_open)
        self.first_open = first_open
        over = self._expiry(due) < slot_start(first_open)
        self._expire(due[over])
        self._look_at(due[self.rows.state[due] != 0])
        self._forget_values()

    def drain(self) -> Standing:
        """What has changed since the last call."""
        statuses, self._statuses = self._statuses, Counter()
        cells = self._count.drain()
        self._forget_values()
        return Standing(statuses, cells)

    def _forget_values(self) -> None:
        """Give away the codes of values that no row has any more, once they are many: scores and numbers that are all
        different would fill the memory."""
        if len(self.values) <= _SPARE_VALUES + min(2 * self._values_kept, 8 * len(self.rows)):
            return
        self._count.settle()
        self.rows.rename(self.values.keep(self.rows.codes_in_use(len(self.values))))
        self._values_kept = len(self.values)

    @property
    def span(self) -> Micros:
        """How far apart in event time the remembered predictions are."""
        return self.rows.span

    def dump(self) -> Dump:
        """Everything that is remembered; what was not drained is not."""
        return Dump(self.rows.dump(), self.rows.dump_extra(), self.values.values, self.groups.values)

    def restore(self, dump: Dump) -> None:
        """Remember what a dump holds, which is emptied, instead of what is remembered now."""
        self.rows = JoinRows.load(dump.columns, dump.extra)
        self.values, self.groups = Codes(dump.values), Codes(dump.groups)
        self._count = Count(self.counting, self.values, self.groups)

    # New ids, and pairs that meet

    def _insert_predictions(self, events: Events) -> None:
        rows = self.rows.add(events.high, events.low)
        self._put_predictions(rows, events)
        self._count_predictions(events)
        self.rows.state[rows] = PREDICTED
        self._statuses[PENDING] += len(rows)
        self._look_at(rows)

    def _insert_labels(self, events: Events) -> None:
        rows = self.rows.add(events.high, events.low)
        self._put_labels(rows, events)
        self.rows.state[rows] = LABELLED
        self._statuses[WAITING] += len(rows)
        self._look_at(rows)

    def _meets_label(self, times: Times, rows: Rows) -> Mask:
        waiting = self.rows.state[rows] == LABELLED
        usable = (self.rows.truth[rows] >= 0) & self._admitted(times, self.rows.labelled_at[rows])
        meets: Mask = waiting & usable & ~self._are_due(times)
        return meets

    def _meet_labels(self, events: Events, rows: Rows) -> None:
        self._put_predictions(rows, events)
        self._count_predictions(events)
        self._statuses[WAITING] -= len(rows)
        self._join(rows)
        self._statuses[JOINED] += len(rows)
        self._look_at(rows)

    def _meets_prediction(self, times: Times, values: Numbers, rows: Rows) -> Mask:
        pending = self.rows.state[rows] == PREDICTED
        meets: Mask = pending & (values >= 0) & self._admitted(self.rows.predicted_at[rows], times)
        return meets

    def _meet_predictions(self, events: Events, rows: Rows) -> None:
        self._put_labels(rows, events)
        self._statuses[PENDING] -= len(rows)
        self._statuses[JOINED] += len(rows)
        self._join(rows)

    def _join(self, rows: Rows) -> None:
        self.rows.state[rows] = PREDICTED | LABELLED
        self._statuses[APPLIED] += len(rows)
        times = np.maximum(self.rows.predicted_at[rows], self.rows.labelled_at[rows])
        self._count_outcomes(rows, self.rows.truth[rows], times)

    def _count_predictions(self, events: Events) -> None:
        self._count.add_predictions(events, self._open_slots(events.time)[0])

    def _count_outcomes(self, rows: Rows, truth: Numbers, times: Times) -> None:
        slots, moved = self._open_slots(times)
        self.moved_to_open += moved
        held = self.rows
        known = OutcomeColumns(held.group[rows], truth, held.answer[rows], held.predicted_at[rows], times, slots)
        self._count.add_outcomes(known)

    def _open_slots(self, times: Times) -> tuple[Times, int]:
        """The slot that each counts in, the oldest open one for those that come too late, and how many do."""
        slots = times // SLOT_WIDTH
        if self.first_open is None:
            return slots, 0
        return np.maximum(slots, self.first_open), _count(slots < self.first_open)

    def _put_predictions(self, rows: Rows, events: Events) -> None:
        self.rows.predicted_at[rows] = events.time
        self.rows.prediction_origin[rows] = events.origin
        self.rows.answer[rows] = events.value
        self.rows.group[rows] = events.group

    def _put_labels(self, rows: Rows, events: Events) -> None:
        self.rows.labelled_at[rows] = events.time
        self.rows.label_origin[rows] = events.origin
        self.rows.truth[rows] = events.value

    # Everything else, one by one

    def _one_by_one(self, events: Events, add: Callable[[int, Events, int], None]) -> None:
        """A key may come several times, so that each row is looked for when its turn comes."""
        if not len(events.time):
            return
        at = dict(zip(self._names(events), self.rows.find(events.high, events.low).tolist(), strict=True))
        for i, name in enumerate(self._names(events)):
            row = at[name]
            if row < 0:
                found = self.rows.find(events.high[i : i + 1], events.low[i : i + 1])
                row = at[name] = int(found[0])
            add(row, events, i)

    @staticmethod
    def _names(events: Events) -> Iterator[tuple[int, int]]:
        return zip(events.high.tolist(), events.low.tolist(), strict=True)

    def _add_prediction(self, row: int, events: Events, i: int) -> None:
        version, slices = self.groups[int(events.group[i])]
        value = self.values[int(events.value[i])]
        prediction = Prediction("", int(events.time[i]), unpacked(int(events.origin[i])), value, version, slices)
        before = self._entries().of(row) if row >= 0 else None
        self._replace(row, events, i, before, with_prediction(before or Entry(), prediction))

    def _add_label(self, row: int, events: Events, i: int) -> None:
        before = self._entries().of(row) if row >= 0 else None
        time, code = int(events.time[i]), int(events.value[i])
        waits = before is None or before.prediction is None
        if waits and self._are_past(self._wait_until(events.time[i : i + 1]))[0]:
            self._statuses[LATE_LABEL] += 1
            return
        label = Label("", time, unpacked(int(events.origin[i])), None if code == RETRACTION else self.values[code])
        self._replace(row, events, i, before, with_label(before or Entry(), label))

    def _replace(self, row: int, events: Events, i: int, before: Entry | None, after: Entry) -> None:
        if row < 0:
            row = int(self.rows.add(events.high[i : i + 1], events.low[i : i + 1])[0])
        self._change(before, after, self.first_open)
        self._entries().put(row, after, is_due=self._is_due(after))
        self._look_at(np.array([row], np.int32))

    def _change(self, before: Entry | None, after: Entry, first_open: Slot | None) -> None:
        """Count the difference; `first_open` is how far the slots are closed afterwards."""
        change = self._standing(after, first_open)
        if before is not None:
            held = self._standing(before, self.first_open)
            change.statuses.subtract(held.statuses)
            change.cells.subtract(held.cells)
        for status, n in change.statuses.items():
            self._statuses[status] += n
        for cell, n in change.cells.items():
            if n:
                self._count.add(self._into_open(cell, n), n)

    def _standing(self, entry: Entry, first_open: Slot | None) -> Standing:
        return standing(self.policy, entry, first_open, self.counting.arriving)

    def _into_open(self, cell: TallyKey, n: int) -> TallyKey:
        """What arrives for a closed slot enters the oldest open one: closed slots never change."""
        if self.first_open is None or cell.slot >= self.first_open:
            return cell
        if cell.slice == WHOLE:
            self.moved_to_open += max(0, n)
        return cell._replace(slot=self.first_open)

    def _entries(self) -> Entries:
        return Entries(self.rows, self.values, self.groups)

    def _is_due(self, entry: Entry) -> bool:
        """Whether the time has passed from which the absence of a label means something for an id."""
        return entry.prediction is not None and bool(self._are_due(np.array([entry.prediction.time], np.int64))[0])

    # Time

    def _imply(self, rows: Rows, first_open: Slot) -> None:
        """The absence of a label begins to mean something for predictions whose time for one is in closed slots now."""
        if self.policy.absent is None:
            return
        state = self.rows.state[rows]
        by = self.rows.predicted_at[rows] + self.policy.absent.after
        begins = (state & PREDICTED != 0) & (state & DUE == 0) & (by < slot_start(first_open))
        rows, state, by = rows[begins], state[begins], by[begins]
        labelled = state & (LABELLED | EXTRA) != 0
        for row in rows[labelled].tolist():
            entry = self._entries().of(row)
            self._change(entry, entry, first_open)
        absent = np.full(_count(~labelled), self.values.of(self.policy.absent.value), np.int32)
        self._count_outcomes(rows[~labelled], absent, by[~labelled])
        self._statuses[PENDING] -= len(absent)
        self._statuses[IMPLIED] += len(absent)
        self.rows.state[rows] |= DUE

    def _expire(self, rows: Rows) -> None:
        """Forget rows whose time is over. Those with more than one label are asked what becomes of them."""
        state = self.rows.state[rows]
        self._statuses[PENDING] -= (unlabelled := _count(state == PREDICTED))
        self._statuses[UNLABELLED] += unlabelled
        self._statuses[WAITING] -= (orphaned := _count(state == LABELLED))
        self._statuses[ORPHANED] += orphaned
        simple = (state == PREDICTED) | (state == LABELLED) | (state == PREDICTED | DUE) | self._are_joined(rows)
        self.rows.remove(rows[simple])
        for row in rows[~simple].tolist():
            self._expire_one(row)

    def _are_joined(self, rows: Rows) -> Mask:
        """Pairs, and nothing more, whose label counts."""
        pairs = self.rows.state[rows] & (PREDICTED | LABELLED | EXTRA) == PREDICTED | LABELLED
        admitted = self._admitted(self.rows.predicted_at[rows], self.rows.labelled_at[rows])
        joined: Mask = pairs & admitted & (self.rows.truth[rows] >= 0)
        return joined

    def _expire_one(self, row: int) -> None:
        entry = self._entries().of(row)
        kept: tuple[Label, ...] = ()
        if entry.prediction is not None:
            pending = standing(self.policy, entry, self.first_open).statuses[PENDING]
            self._statuses[PENDING] -= pending
            self._statuses[UNLABELLED] += pending
        else:
            # Each label waits for itself alone: how long must not depend on others that a restart need not read.
            times = np.array([label.time for label in entry.labels], np.int64)
            past = self._are_past(self._wait_until(times)).tolist()
            kept = tuple(label for label, is_past in zip(entry.labels, past, strict=True) if not is_past)
            self._statuses[WAITING] -= len(entry.labels) - len(kept)
            self._statuses[ORPHANED] += len(entry.labels) - len(kept)
        if kept:
            self._entries().put(row, Entry(labels=kept))
        else:
            self.rows.remove(np.array([row], np.int32))

    def _look_at(self, rows: Rows) -> None:
        self.rows.look_at(rows, self._next_due(rows))

    def _next_due(self, rows: Rows) -> Times:
        due = self._expiry(rows)
        if self.policy.absent is None:
            return due
        undecided = self.rows.state[rows] & (PREDICTED | DUE) == PREDICTED
        by = self.rows.predicted_at[rows] + self.policy.absent.after
        return np.minimum(due, np.where(undecided, by, NEVER))

    def _expiry(self, rows: Rows) -> Times:
        predicted = self.rows.state[rows] & PREDICTED != 0
        until = self.rows.predicted_at[rows] + self.policy.horizon
        return np.where(predicted, until, self._wait_until(self.rows.labelled_at[rows]))

    def _wait_until(self, times: Times) -> Times:
        # A prediction may be one horizon later than its label and may itself arrive one horizon late.
        return times + 2 * self.policy.horizon

    def _are_past(self, times: Times) -> Mask:
        if self.first_open is None:
            return np.zeros(len(times), np.bool_)
        return times < slot_start(self.first_open)

    def _are_due(self, times: Times) -> Mask:
        """Predictions whose time for a label was over when they came."""
        if self.policy.absent is None:
            return np.zeros(len(times), np.bool_)
        return self._are_past(times + self.policy.absent.after)

    def _admitted(self, predicted: Times, labelled: Times) -> Mask:
        apart = labelled - predicted
        return (-self.policy.horizon <= apart) & (apart <= self.policy.max_delay)


def _count(mask: NDArray[Any]) -> int:
    return int(np.count_nonzero(mask))
