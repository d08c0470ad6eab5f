"""Alarms when a model's predictions or labels stop coming: `predictions.stalled`, `labels.stalled`.

The wall clock raises them and nothing else follows from them: decisions stand on coverage, in event time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from retrainer.domain.deciding.silence import Silence, SilenceChange, looked
from retrainer.domain.events import Side
from retrainer.domain.values import SECOND, Micros, iso
from retrainer.logs import Logger
from retrainer.ports.manifest.decisions import Step
from retrainer.ports.manifest.lease import Lease

MEMORY: Final = "\x1fsilence"
"""Where the watch is remembered, in place of a model's name: one document for all models."""

_LOOK_EVERY: Final[Micros] = SECOND
_KEEP_EVERY: Final[Micros] = 60 * SECOND
_EVENTS: Final = {
    (Side.PREDICTIONS, SilenceChange.RAISED): "predictions.stalled",
    (Side.PREDICTIONS, SilenceChange.CLEARED): "predictions.resumed",
    (Side.LABELS, SilenceChange.RAISED): "labels.stalled",
    (Side.LABELS, SilenceChange.CLEARED): "labels.resumed",
}


class SilenceState(Protocol):
    """What the watch needs of the manifest; a part of `DecisionState`."""

    def side_counts(self) -> Mapping[str, Mapping[Side, int]]: ...

    def memory(self, model: str) -> bytes | None: ...

    def store_steps(self, steps: Sequence[Step]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class SilencePolicy:
    """How long each kind of event of a model may stay away, in wall time; one that is not named is not watched."""

    model: str
    expect_every: Mapping[Side, Micros]


class SilenceWatch:
    """Watches every model with one question to the manifest. A restart goes on from what was kept, a minute old."""

    def __init__(self, policies: Sequence[SilencePolicy], state: SilenceState, lease: Lease, logger: Logger) -> None:
        self._policies = [policy for policy in policies if policy.expect_every]
        self._state = state
        self._lease = lease
        self._logger = logger
        self._known: dict[str, Silence] | None = None
        self._looked_at: Micros | None = None
        self._kept_at: Micros | None = None

    @property
    def stalled(self) -> Mapping[tuple[str, Side], Silence]:
        """The alarms that stand, by model and side."""
        known = self._known or {}
        sides = [(policy.model, side) for policy in self._policies for side in policy.expect_every]
        found = {(model, side): known.get(_key(model, side)) for model, side in sides}
        return {about: silence for about, silence in found.items() if silence is not None and silence.raised}

    def run_once(self, now: Micros) -> None:
        """One look at `now`, in wall time; none within a second of the last.

        Raises:
            Unreachable: the manifest.
            Fenced: another controller is active now.
        """
        if not self._policies or (self._looked_at is not None and 0 <= now - self._looked_at < _LOOK_EVERY):
            return
        before = self._known if self._known is not None else self._recalled()
        counts = self._state.side_counts()
        known, changed = dict(before), False
        for policy in self._policies:
            for side, expect_every in policy.expect_every.items():
                key = _key(policy.model, side)
                count = counts.get(policy.model, {}).get(side, 0)
                known[key], change = looked(before.get(key), count, now, expect_every)
                if change is not None:
                    silent = now - before[key].last
                    facts = {"seconds": silent // SECOND, "expect_every": expect_every // SECOND}
                    self._tell(policy.model, _EVENTS[side, change], last=iso(before[key].last), **facts)
                    changed = True
        self._known, self._looked_at = known, now
        if changed or self._kept_at is None or not 0 <= now - self._kept_at < _KEEP_EVERY:
            self._keep(now)

    def _tell(self, model: str, event: str, **facts: object) -> None:
        if event.endswith(".stalled"):
            self._logger.warning(event, model=model, **facts)
        else:
            self._logger.info(event, model=model, **facts)

    def _recalled(self) -> dict[str, Silence]:
        stored = self._state.memory(MEMORY)
        return msgspec.json.decode(stored, type=dict[str, Silence]) if stored else {}

    def _keep(self, now: Micros) -> None:
        watched = {_key(policy.model, side) for policy in self._policies for side in policy.expect_every}
        kept = {key: known for key, known in (self._known or {}).items() if key in watched}
        self._state.store_steps([Step(lease=self._lease, model=MEMORY, memory=msgspec.json.encode(kept))])
        self._kept_at = now


def _key(model: str, side: Side) -> str:
    return f"{model}/{side.value}"
