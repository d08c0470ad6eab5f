"""Between a row of columns and an entry: everything that is remembered about one id."""

from __future__ import annotations

from typing import Final

from retrainer.domain.events import Label, Origin, Prediction
from retrainer.domain.join.cells import Group
from retrainer.domain.join.codes import Codes
from retrainer.domain.join.rows import DUE, EXTRA, LABELLED, PREDICTED, Extra, JoinRows
from retrainer.domain.join.rules import Entry
from retrainer.domain.values import Micros

RETRACTION: Final = -1
"""The code of a label without a value."""

_OFFSET_BITS: Final = 48


def packed(partition: int, offset: int) -> int:
    """Where an event stands, as one number that orders as partition and offset do."""
    return partition << _OFFSET_BITS | offset


def unpacked(origin: int) -> Origin:
    """What was packed; the topic is that of all events of a side."""
    return Origin("", origin >> _OFFSET_BITS, origin & ((1 << _OFFSET_BITS) - 1))


class Entries:
    """Reads entries from rows and puts them there; `values` and `groups` are the codes in the columns."""

    def __init__(self, rows: JoinRows, values: Codes[str], groups: Codes[Group]) -> None:
        self._rows = rows
        self._values = values
        self._groups = groups

    def of(self, row: int) -> Entry:
        """Everything that is remembered about the id of a row."""
        rows, state = self._rows, int(self._rows.state[row])
        extra = rows.extra[row] if state & EXTRA else Extra(0, ())
        labels = extra.labels
        if state & LABELLED and not labels:
            labels = ((int(rows.labelled_at[row]), int(rows.label_origin[row]), int(rows.truth[row])),)
        return Entry(
            self._prediction(row) if state & PREDICTED else None,
            extra.duplicates,
            tuple(
                Label("", time, unpacked(origin), None if code == RETRACTION else self._values[code])
                for time, origin, code in labels
            ),
        )

    def _prediction(self, row: int) -> Prediction:
        rows = self._rows
        version, slices = self._groups[int(rows.group[row])]
        origin, answer = unpacked(int(rows.prediction_origin[row])), self._values[int(rows.answer[row])]
        return Prediction("", int(rows.predicted_at[row]), origin, answer, version, slices)

    def put(self, row: int, entry: Entry, *, is_due: bool = False) -> None:
        """Put an entry in a row; `is_due` says whether the absence of a label means something for it already."""
        rows, state = self._rows, 0
        if entry.prediction is not None:
            held = entry.prediction
            state |= PREDICTED
            state |= DUE if is_due else 0
            rows.predicted_at[row] = held.time
            rows.prediction_origin[row] = packed(held.origin.partition, held.origin.offset)
            rows.answer[row] = self._values.of(held.value)
            rows.group[row] = self._groups.of((held.version, held.slices))
        labels = tuple(self._coded(label) for label in entry.labels)
        if labels:
            state |= LABELLED
            rows.labelled_at[row], rows.label_origin[row], rows.truth[row] = labels[0]
        rows.extra.pop(row, None)
        if entry.duplicates or len(labels) > 1:
            state |= EXTRA
            rows.extra[row] = Extra(entry.duplicates, labels if len(labels) > 1 else ())
        rows.state[row] = state

    def _coded(self, label: Label) -> tuple[Micros, int, int]:
        code = RETRACTION if label.value is None else self._values.of(label.value)
        return label.time, packed(label.origin.partition, label.origin.offset), code
