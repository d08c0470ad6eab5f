"""The features of every model that has a `drift` trigger, followed beside the rounds, in a thread of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from retrainer.domain.deciding.ledger import Reign
from retrainer.domain.features.drift_windows import DriftReference
from retrainer.domain.judging.order import TrainingResult
from retrainer.domain.triggers.drift import Drift
from retrainer.domain.values import Slot
from retrainer.ports.clock import Stopped
from retrainer.service.control.drifting import Drifting, DriftParts, reference_of
from retrainer.service.dependency import Dependency
from retrainer.service.policy import ModelPolicy

_STEP_SECONDS = 0.2
_TICK_SECONDS = 0.2


class DriftWatch:
    """`run` reads on for all of them; the other calls are the controller's, between rounds."""

    def __init__(self, models: Iterable[ModelPolicy], parts: DriftParts) -> None:
        self._segments = Dependency("segments", parts.logger, parts.clock, parts.telemetry)
        self._followed: dict[str, Drifting] = {}
        for model in models:
            windows = {one.newest for one in model.watch.triggers.values() if isinstance(one, Drift)}
            if windows:
                self._followed[model.name] = Drifting(model.ingest, windows, parts)

    def __contains__(self, name: str) -> bool:
        return name in self._followed

    @property
    def is_needed(self) -> bool:
        return bool(self._followed)

    def follow(
        self, name: str, reign: Reign, job: TrainingResult | None, learnt: DriftReference | None, until: Slot | None
    ) -> DriftReference | None:
        """Watch the champion: what its predictions are compared with, where that was learnt from its traffic.

        Args:
            job: what the champion's own job found.
            learnt: the reference that was learnt before a restart.
            until: slots before this one have been decided about.

        Raises:
            Unreachable: the manifest.
        """
        reference = reference_of(job.profile if job else None, reign.effective_from) or learnt
        self._followed[name].follow(reign.version, reign.effective_from, reference, until)
        return None if job and job.profile else self._followed[name].reference

    def ready(self, name: str, first_open: Slot | None) -> Slot | None:
        """How far slots can be decided about: as far as their predictions have been read, if they can be."""
        one = self._followed[name]
        if first_open is None or one.is_blind:
            return first_open
        return None if one.closed is None else min(first_open, one.closed)

    def at(self, name: str, slot: Slot) -> Mapping[str, Any]:
        """What the features look like at the end of a slot."""
        return self._followed[name].at(slot) if name in self._followed else {}

    def run(self, stop: Stopped) -> None:
        """Read on until told to stop."""
        while not stop.is_set():
            more = False
            if self._segments.due:
                with self._segments:
                    found = [one.run_once(_STEP_SECONDS) for one in self._followed.values()]
                    more = any(found)
            if not more:
                stop.wait(_TICK_SECONDS)
