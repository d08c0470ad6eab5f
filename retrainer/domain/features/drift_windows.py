"""The newest predictions' features, counted slot by slot in the bins of a reference; and how a reference is learnt.

What a view shows follows from the predictions of closed slots alone, not from when or in which pieces they were read:
one that comes after its slot has closed is left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from retrainer.domain.features.drift import DriftView
from retrainer.domain.features.profiles import Counts, FeatureColumn, Profile, profile_of, values_of
from retrainer.domain.metrics.windows import EVALUATIONS_PER_WINDOW, CountWindow, Window, is_full
from retrainer.domain.values import Micros, Slot, slot_of, slot_start

Features = Mapping[str, object]

LEARNT_WITHOUT_COUNT: Final = 2000
"""Predictions of a reference that is learnt from traffic where no window counts predictions."""

_MOST_STAGED: Final = 20_000
"""Slots that wait to be asked for; beyond it the oldest are taken unasked, so that memory stays bounded."""

_MOST_ASKED: Final = 1000
"""Slots whose answer is kept: a round of deciding that could not be stored is taken again."""


@dataclass(frozen=True, kw_only=True)
class DriftReference:
    """What new predictions are compared with: those of slots from `since` on (None: all). It survives a restart.

    Attributes:
        source: where it comes from, in words: `the rows that the champion learnt from`.
    """

    profile: Profile
    source: str
    since: Micros | None = None


class Learner:
    """Learns a reference from the first predictions: of whole slots, in order, until they are enough.

    Holds little more than so many: what is in later slots is read again once the reference is known.
    """

    def __init__(self, predictions: int, since: Micros | None) -> None:
        self._wanted = predictions
        self._since = since
        self._slots: dict[Slot, list[Features]] = {}
        self._held = 0

    def add(self, slot: Slot, features: Features) -> None:
        """A prediction of a slot that is still open."""
        if self._since is None or slot >= slot_of(self._since):
            self._slots.setdefault(slot, []).append(features)
            self._held += 1
            if self._held > 2 * self._wanted:
                self._forget()

    def fresh(self) -> Learner:
        """One that has seen nothing yet."""
        return Learner(self._wanted, self._since)

    def absorb(self, other: Learner) -> None:
        """Take in what another one has seen."""
        for slot, rows in other._slots.items():
            self._slots.setdefault(slot, []).extend(rows)
        self._forget()

    @property
    def held(self) -> int:
        """Predictions that it holds."""
        return sum(map(len, self._slots.values()))

    def learnt(self, closed: Slot) -> DriftReference | None:
        """The reference, once enough predictions stand in slots before `closed`."""
        kept = list(self._first())
        if sum(len(self._slots[slot]) for slot in kept) < self._wanted or kept[-1] >= closed:
            return None
        rows = [features for slot in kept for features in self._slots[slot]]
        names = sorted({name for row in rows for name in row})
        columns = {name: values_of(row.get(name) for row in rows) for name in names}
        return DriftReference(
            profile=profile_of(columns, len(rows)),
            source=f"the first {len(rows)} predictions that were seen",
            since=slot_start(kept[-1] + 1),
        )

    def _first(self) -> Iterable[Slot]:
        n = 0
        for slot in sorted(self._slots):
            if n >= self._wanted:
                return
            n += len(self._slots[slot])
            yield slot

    def _forget(self) -> None:
        kept = set(self._first())
        self._slots = {slot: rows for slot, rows in self._slots.items() if slot in kept}
        self._held = self.held


class SlotSum(NamedTuple):
    """What one slot holds: how many predictions, and the flat bins that they fell into."""

    n: int
    bins: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]


class Layout:
    """The bins of every feature of a profile, one behind the other."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._names = list(profile.features)
        self._edges = np.cumsum([0, *(len(held.counts) for held in profile.features.values())]).tolist()
        self._bins = [held.bin_of for held in profile.features.values()]

    @property
    def size(self) -> int:
        return int(self._edges[-1])

    def bins(self, features: Features) -> Sequence[int]:
        """One for each feature of the profile."""
        each = zip(self._edges, self._bins, map(features.get, self._names), strict=False)
        return [start + bin_of(value) for start, bin_of, value in each]

    def bins_of_rows(self, columns: Mapping[str, FeatureColumn]) -> npt.NDArray[np.int64]:
        """The same of many rows at once: (rows, features)."""
        places = [held.places(columns[name]) for name, held in self._profile.features.items()]
        found: npt.NDArray[np.int64] = np.stack(places, axis=1) + np.array(self._edges[:-1])
        return found

    def by_feature(self, flat: Counts) -> Mapping[str, Counts]:
        parts = zip(self._names, pairwise(self._edges), strict=True)
        return {name: flat[begin:end].copy() for name, (begin, end) in parts}


class DriftWindows:
    """Windows over the predictions of closed slots, asked slot by slot."""

    def __init__(self, reference: DriftReference, windows: Iterable[Window]) -> None:
        self.reference = reference
        self.layout = Layout(reference.profile)
        self._first = None if reference.since is None else slot_of(reference.since)
        self._newest = {str(window): _Newest(window, self.layout.size) for window in windows}
        self._staged: dict[Slot, tuple[int, Counts]] = {}
        self._taken: Slot | None = None
        self._asked: dict[Slot, Mapping[str, DriftView]] = {}

    def wants(self, slot: Slot) -> bool:
        """Whether predictions of a slot are compared."""
        return (self._first is None or slot >= self._first) and (self._taken is None or slot > self._taken)

    def add(self, slot: Slot, n: int, counts: Counts) -> None:
        """Predictions of a slot, counted in flat bins."""
        if not self.wants(slot):
            return
        held, before = self._staged.get(slot, (0, None))
        self._staged[slot] = (held + n, counts if before is None else before + counts)

    def at(self, slot: Slot) -> Mapping[str, DriftView]:
        """What each window shows at the end of a slot, by the window's text; without those that are not full yet.

        Slots are asked for in order, as what is older is forgotten; the last ones may be asked for again.
        """
        if self._taken is not None and slot <= self._taken:
            return self._asked.get(slot, {})
        self._take([one for one in sorted(self._staged) if one <= slot])
        self._taken = slot
        views = {name: self._view(newest, slot) for name, newest in self._newest.items()}
        self._asked[slot] = {name: view for name, view in views.items() if view is not None}
        if len(self._asked) > _MOST_ASKED:
            del self._asked[next(iter(self._asked))]
        return self._asked[slot]

    def bound(self) -> None:
        """Take the oldest slots unasked where too many wait."""
        if len(self._staged) > _MOST_STAGED:
            oldest = sorted(self._staged)[: len(self._staged) - _MOST_STAGED]
            self._take(oldest)
            self._taken = oldest[-1]

    def _take(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            n, counts = self._staged.pop(slot)
            bins = np.flatnonzero(counts)
            sums = SlotSum(n, bins.astype(np.int32), counts[bins].astype(np.int32))
            for newest in self._newest.values():
                newest.append(slot, sums)

    def _view(self, newest: _Newest, slot: Slot) -> DriftView | None:
        newest.trim(slot)
        if not newest.is_enough:
            return None
        return DriftView(
            reference=self.reference.profile,
            source=self.reference.source,
            counts=self.layout.by_feature(newest.total),
            n=newest.n,
            first=slot_start(newest.first),
            end=slot_start(slot + 1),
            tenth=newest.tenth(slot),
        )


class _Newest:
    """The running sum of one window."""

    def __init__(self, window: Window, bins: int) -> None:
        self.total: Counts = np.zeros(bins, dtype=np.int64)
        self.n = 0
        self._window = window
        self._held: deque[tuple[Slot, SlotSum]] = deque()

    @property
    def first(self) -> Slot:
        return self._held[0][0]

    @property
    def is_enough(self) -> bool:
        return self.n >= (self._window.outcomes if isinstance(self._window, CountWindow) else 1)

    def append(self, slot: Slot, sums: SlotSum) -> None:
        self._held.append((slot, sums))
        self.total[sums.bins] += sums.counts
        self.n += sums.n
        self.trim(slot)

    def trim(self, newest: Slot) -> None:
        """Let go of the slots for which the window that ends with `newest` has no room."""
        while self._held and is_full(self._window, self.n - self._held[0][1].n, newest, self._held[0][0]):
            _, sums = self._held.popleft()
            self.total[sums.bins] -= sums.counts
            self.n -= sums.n

    def tenth(self, newest: Slot) -> Micros:
        """Where the newest tenth of the window begins."""
        if not isinstance(self._window, CountWindow):
            return slot_start(newest + 1) - self._window.span // EVALUATIONS_PER_WINDOW
        n, first = 0, newest
        for slot, sums in reversed(self._held):
            if n * EVALUATIONS_PER_WINDOW >= self._window.outcomes:
                break
            n, first = n + sums.n, slot
        return slot_start(first)
