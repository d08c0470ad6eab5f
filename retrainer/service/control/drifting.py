"""Following the features of live predictions, for models with a `drift` trigger: stored parts read as they come.

It works in steps of bounded time, in a thread of its own or between rounds. What it answers for a slot follows from
the stored events alone, provided that it has come so far (`closed`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

import numpy as np

from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Side
from retrainer.domain.features.drift import DriftView
from retrainer.domain.features.drift_windows import LEARNT_WITHOUT_COUNT, DriftReference, DriftWindows, Learner
from retrainer.domain.features.profiles import Counts, Profile
from retrainer.domain.join.ingest import IngestPolicy
from retrainer.domain.mapping.mapping import Envelope, Unusable, features_of, matches, prediction_of
from retrainer.domain.metrics.windows import CountWindow, TimeWindow, Window
from retrainer.domain.tally.arrivals import PREDICTED, ArrivalKey
from retrainer.domain.values import Micros, Slot, slot_of, slot_start
from retrainer.errors import Refused
from retrainer.logs import Logger
from retrainer.ports.clock import Clock
from retrainer.ports.decoder import Decoders
from retrainer.ports.manifest.progress import StoredProgress
from retrainer.ports.manifest.segments import StoredPart, StoredSegment
from retrainer.ports.segments import Segments
from retrainer.ports.telemetry import Telemetry
from retrainer.service.intake import document_of
from retrainer.service.reading import read_parts

CHAMPIONS_ROWS = "the rows that the champion learnt from"

_RECORDS_A_STEP = 200
_RETRY_SECONDS = 60.0
_FIRST_REACH = 60
"""Slots."""


class DriftState(Protocol):
    """The part of the manifest that is read here; `DecisionState` has it."""

    def model_progress(self) -> Mapping[str, StoredProgress]: ...

    def segments(self, *, after: int = 0, reaching: Micros | None = None) -> Iterator[StoredSegment]: ...

    def arrivals(self, model: str, first: Slot | None, before: Slot) -> Sequence[tuple[ArrivalKey, int]]: ...


@dataclass(frozen=True, kw_only=True)
class DriftParts:
    """The worlds that it works with."""

    state: DriftState
    segments: Segments
    decoders: Decoders
    clock: Clock
    logger: Logger
    telemetry: Telemetry


def reference_of(profile: Profile | None, since: Micros | None) -> DriftReference | None:
    """The reference that a champion's job has left; `since` is when the champion took over."""
    return None if profile is None else DriftReference(profile=profile, source=CHAMPIONS_ROWS, since=since)


class Drifting:
    """One model. `follow` names the champion, `run_once` reads on, `at` answers; the two may be in two threads."""

    def __init__(self, policy: IngestPolicy, windows: Iterable[Window], parts: DriftParts) -> None:
        self._policy = policy
        self._windows = tuple(windows)
        self._parts = parts
        self._lock = Lock()
        self._champion: tuple[str | None, Micros | None] | None = None
        self._learner: Learner | None = None
        self._counted: DriftWindows | None = None
        self._reaching: Micros | None = None
        self._done = 0
        self._closed: Slot | None = None
        self._steps: Iterator[None] | None = None
        self._blind_until: float | None = None

    @property
    def reference(self) -> DriftReference | None:
        """What predictions are compared with; for the caller to keep, as one that was learnt is not found again."""
        with self._lock:
            return self._counted.reference if self._counted else None

    @property
    def closed(self) -> Slot | None:
        """Slots before this one are complete; None while nothing can be said of any."""
        with self._lock:
            return self._closed

    @property
    def is_blind(self) -> bool:
        """Whether the stored records cannot be read, so that nobody should wait for `closed`."""
        return self._blind_until is not None

    def follow(
        self, champion: str | None, since: Micros | None, reference: DriftReference | None, until: Slot | None
    ) -> None:
        """Watch this champion from now on; nothing happens where it is the one that is watched.

        Args:
            since: when it took over, in event time; None: from the beginning.
            reference: of its job, or what `reference` said before a restart; None: it is learnt from its traffic.
            until: slots before this one have been asked for already; None: no slot has.

        Raises:
            Unreachable: the manifest.
        """
        if self._champion == (champion, since):
            return
        reaching = since if reference is None else self._oldest_needed(reference, until)
        with self._lock:
            self._champion = (champion, since)
            self._closed, self._reaching = None, reaching
            self._learner = Learner(self._to_learn, since) if reference is None else None
            self._counted = None if reference is None else DriftWindows(reference, self._windows)
            self._start_over()

    def run_once(self, seconds: float) -> bool:
        """Read on for about so long; whether there may be more to read at once.

        Raises:
            Unreachable: the manifest or a segment; the part is read again.
        """
        clock = self._parts.clock
        if self._champion is None or (self._blind_until is not None and clock.monotonic() < self._blind_until):
            return False
        ends = clock.monotonic() + seconds
        try:
            return self._read_until(ends)
        except Refused as refused:
            if self._blind_until is None:
                self._parts.logger.error("segments.unreadable", model=self._policy.model, error=str(refused))
            self._blind_until = clock.monotonic() + _RETRY_SECONDS
            self._steps = None
            return False
        except BaseException:
            self._steps = None
            raise

    def at(self, slot: Slot) -> Mapping[str, DriftView]:
        """What the windows show at the end of a slot, by their text: `Scene.drift`. Slots are asked for in order."""
        with self._lock:
            return self._counted.at(slot) if self._counted else {}

    def _start_over(self) -> None:
        self._steps, self._done = None, 0

    def _oldest_needed(self, reference: DriftReference, until: Slot | None) -> Micros | None:
        """From when on predictions may still be in a window; None: from the beginning."""
        reaches = [None if until is None else self._reach(window, until) for window in self._windows]
        known = [reach for reach in reaches if reach is not None]
        if len(known) < len(reaches) or not known:
            return reference.since
        return min(known) if reference.since is None else max(min(known), reference.since)

    @property
    def _to_learn(self) -> int:
        counts = [window.outcomes for window in self._windows if isinstance(window, CountWindow)]
        return max(counts, default=LEARNT_WITHOUT_COUNT)

    def _reach(self, window: Window, until: Slot) -> Micros | None:
        """From when on predictions may be in a window that ends at a slot; None if that is not known."""
        if isinstance(window, TimeWindow):
            return slot_start(until) - window.span
        reach = _FIRST_REACH
        while reach <= until:
            arrivals = self._parts.state.arrivals(self._policy.model, until - reach, until)
            if sum(n for key, n in arrivals if key.kind == PREDICTED) >= window.outcomes:
                return slot_start(until - reach)
            reach *= 4
        return None

    # Reading

    def _read_until(self, ends: float) -> bool:
        steps = self._steps = self._steps or self._read()
        for _ in steps:
            if self._parts.clock.monotonic() >= ends:
                return True
        with self._lock:
            was_started_over = self._steps is not steps
            if not was_started_over:
                self._steps = None
        return was_started_over

    def _read(self) -> Iterator[None]:
        """Every part that is new, in steps; a part counts once all of it has been read."""
        with self._lock:
            into, after, reaching = (self._learner, self._counted), self._done, self._reaching
        progress = self._parts.state.model_progress().get(self._policy.model)
        for part, batches in read_parts(self._parts.state, self._parts.segments, after=after, reaching=reaching):
            found = _PartFound(self._policy, self._parts.decoders, part)
            for _ in found.read(batches, *into):
                yield
            with self._lock:
                if (self._learner, self._counted) != into:
                    return  # another champion is followed now
                self._take(part, found)
                if (self._learner, self._counted) != into:
                    return  # a reference has been learnt: what came after it is read again
        self._blind_until = None
        if progress is not None and progress.progress.first_open is not None:
            with self._lock:
                if (self._learner, self._counted) == into:
                    self._close(progress.progress.first_open)

    def _take(self, part: StoredPart, found: _PartFound) -> None:
        self._done = part.number
        if self._counted is not None:
            for slot, (n, counts) in found.counted.items():
                self._counted.add(slot, n, counts)
            self._counted.bound()
        elif self._learner is not None and found.learnt is not None:
            self._learner.absorb(found.learnt)
        if found.first_open is not None:
            self._close(found.first_open)

    def _close(self, first_open: Slot) -> None:
        """Slots before this one are complete. While a reference is learnt there is nothing to see in them."""
        reference = self._learner.learnt(first_open) if self._learner is not None else None
        if reference is not None:
            self._learner, self._counted = None, DriftWindows(reference, self._windows)
            self._reaching = reference.since
            self._start_over()
        elif self._closed is None or first_open > self._closed:
            self._closed = first_open


class _PartFound:
    """What one part holds of a model's predictions."""

    def __init__(self, policy: IngestPolicy, decoders: Decoders, part: StoredPart) -> None:
        self._policy = policy
        self._decoders = decoders
        watermark = part.watermarks.get(policy.model)
        self.first_open = None if watermark is None else slot_of(watermark)
        self.counted: dict[Slot, tuple[int, Counts]] = {}
        self.learnt: Learner | None = None

    def read(
        self, batches: Sequence[RecordBatch], learner: Learner | None, windows: DriftWindows | None
    ) -> Iterator[None]:
        """Read it in steps."""
        self.learnt = learner.fresh() if learner is not None else None
        for batch in batches:
            if Side.PREDICTIONS not in self._policy.sides_of(batch.partition.topic):
                continue
            decoder = self._decoders.of(batch.partition.topic)
            for row, record in enumerate(batch.records()):
                if row % _RECORDS_A_STEP == 0:
                    yield
                try:
                    envelope = Envelope(record=record, document=document_of(record, decoder))
                    self._add(envelope, windows)
                except Unusable:
                    continue  # it is in quarantine

    def _add(self, envelope: Envelope, windows: DriftWindows | None) -> None:
        mapping = self._policy.predictions
        if not matches(mapping, envelope):
            return
        slot = slot_of(prediction_of(mapping, envelope).time)
        if self.first_open is not None and slot < self.first_open:
            return
        if windows is not None and windows.wants(slot):
            n, counts = self.counted.get(slot) or (0, np.zeros(windows.layout.size, dtype=np.int64))
            counts[windows.layout.bins(features_of(mapping, envelope))] += 1
            self.counted[slot] = (n + 1, counts)
        elif self.learnt is not None:
            self.learnt.add(slot, features_of(mapping, envelope))
