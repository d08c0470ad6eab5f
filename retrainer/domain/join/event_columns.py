"""Predictions and labels in columns, and what a join of them is made of when it is put down."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrainer.domain.join.cells import Group
from retrainer.domain.join.keytable import Keys
from retrainer.domain.join.rows import Blocks, Extra

Mask = NDArray[np.bool_]
Times = NDArray[np.int64]
Numbers = NDArray[np.int32]


class Events(NamedTuple):
    """Predictions or labels in columns, equally long.

    `value` holds codes; `group`, of predictions alone, codes of version and slices.
    """

    high: Keys
    low: Keys
    time: Times
    origin: NDArray[np.uint64]
    value: Numbers
    group: Numbers

    def only(self, which: Mask) -> Events:
        """Some of them."""
        high, low, time, origin, value, group = self
        return Events(high[which], low[which], time[which], origin[which], value[which], group[which])


class Dump(NamedTuple):
    """A join's memory: its columns, what they refer to, and what does not fit into them, by place."""

    columns: MutableMapping[str, Blocks]
    extra: Mapping[int, Extra]
    values: Sequence[str]
    groups: Sequence[Group]
