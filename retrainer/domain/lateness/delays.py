"""How long labels take: the delays seen, by their logarithm, the old ones forgotten little by little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from retrainer.domain.tally.arrivals import delay_of
from retrainer.domain.values import Micros


@dataclass(frozen=True, kw_only=True)
class Delays:
    """How much each bucket of delay weighs; a new delay weighs 1."""

    weights: Mapping[int, float] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """So many delays this is worth."""
        return round(sum(self.weights.values()))

    def with_more(self, seen: Mapping[int, int]) -> Delays:
        """With so many more in each bucket; taken back where that is negative."""
        added = {bucket: max(0.0, self.weights.get(bucket, 0.0) + n) for bucket, n in seen.items()}
        return Delays(weights={**self.weights, **added})

    def faded(self, factor: float, times: int = 1) -> Delays:
        """The same delays, each weighing less by `factor`, `times` times."""
        faded = self.weights
        for _ in range(times):
            faded = {bucket: left for bucket, weight in faded.items() if (left := weight * factor) > 0.001}
            if not faded:
                break
        return Delays(weights=faded)

    def quantile(self, share: float) -> Micros | None:
        """A delay that so large a share of the labels does not exceed; None where none was seen."""
        total, below = sum(self.weights.values()), 0.0
        for bucket, weight in sorted(self.weights.items()):
            below += weight
            if weight and below >= share * total * (1 - 1e-12):
                return delay_of(bucket)
        return None
