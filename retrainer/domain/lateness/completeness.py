"""What is missing among a model's labels, in one place: coverage, whether the sample is fair, what scores estimate.

For whoever deliberates: every closed slot in which anything arrived is given to it in order, before triggers look.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from retrainer.domain.lateness.coverage import Coverage, CoveragePolicy, CoverageReading, CoverageState, Maturity
from retrainer.domain.lateness.estimated import Estimated, EstimatedReport, EstimatedState
from retrainer.domain.lateness.fairness import Counts, Fairness, FairnessReading, FairnessState, in_other_buckets, shown
from retrainer.domain.tally.arrivals import ArrivalKey
from retrainer.domain.values import Slot

Arrived = Sequence[tuple[ArrivalKey, int]]

IsOwn = Callable[[str, Slot], bool]
"""Whether predictions of a version are the champion's, given what was counted of them in a slot."""


@dataclass(frozen=True, kw_only=True)
class CompletenessState:
    """What must be stored with each round, a few kilobytes: the rest is found again in the arrivals.

    `width` and `ages` say which buckets it speaks of; other ones, as `max_delay` was changed, begin anew.
    """

    width: int = 0
    ages: int = 0
    coverage: CoverageState = field(default_factory=CoverageState)
    fairness: FairnessState = field(default_factory=FairnessState)
    estimated: EstimatedState = field(default_factory=EstimatedState)
    format: int = 1


class Completeness:
    """One model's. `recall` after a start, then `follow` at each new champion and `close_slot` for each slot."""

    def __init__(self, policy: CoveragePolicy, is_own: IsOwn, state: CompletenessState | None = None) -> None:
        state = state or CompletenessState()
        if (state.width, state.ages) != (policy.width, policy.ages):
            state = CompletenessState(fairness=in_other_buckets(state.fairness))
        self._is_own = is_own
        self._policy = policy
        self._coverage = Coverage(policy, state.coverage)
        self._fairness = Fairness(self._coverage, state.fairness)
        self._estimated = Estimated(policy, state.estimated)

    @property
    def state(self) -> CompletenessState:
        return CompletenessState(
            width=self._policy.width,
            ages=self._policy.ages,
            coverage=self._coverage.state,
            fairness=self._fairness.state,
            estimated=self._estimated.state,
        )

    def needs_from(self) -> Slot | None:
        """The first slot whose arrivals `recall` needs; None: it needs none."""
        return self._coverage.needs_from()

    def recall(self, slots: Iterable[tuple[Slot, Arrived]]) -> None:
        """Put back what arrived in the slots from `needs_from` on that were closed before, in order."""
        slots = list(slots)
        self._coverage.remember(slots)
        for slot, rows in slots:
            self._estimated.remember(slot, self._own(slot, rows))

    def follow(self, version: str | None, since: Slot | None, before: Slot | None) -> None:
        """A new champion: its sample begins anew, and its scores are calibrated anew.

        Args:
            since: unversioned predictions are its own from this slot on; None: all are.
            before: the slots before this one have been closed already; None: none has.
        """
        self._fairness.begin(version, since, before)
        self._estimated = Estimated(self._policy)

    def shown(self, slots: Iterable[tuple[Slot, Mapping[tuple[str, str], int]]]) -> list[tuple[Slot, Counts]]:
        """Of the champion's outcomes in slots that were closed before, those that triggers have seen, and when.

        To be called with all of them, in order, after a start or `follow`: what is still withheld is kept here.
        """
        seen, held = shown(self._fairness.state, slots)
        self._fairness.withhold(held)
        return seen

    def close_slot(self, slot: Slot, rows: Arrived, cells: Mapping[tuple[str, str], int]) -> Counter[tuple[str, str]]:
        """The champion's outcomes that quality triggers may see now: of a slot those (`cells`), none, or more."""
        own = self._own(slot, rows)
        ended = self._coverage.count(slot, rows)
        self._estimated.count(slot, own, self._coverage.maturity if self._estimated.asks(slot) else None)
        return self._fairness.close_slot(slot, cells, own, bucket_ended=ended)

    @property
    def fairness(self) -> FairnessReading:
        """Whether the champion's outcomes are a fair sample at the end of the slot that closed last."""
        return self._fairness.reading

    @property
    def coverage(self) -> CoverageReading | None:
        """Coverage of the newest mature predictions; None while nobody can know."""
        return self._coverage.reading

    @property
    def maturity(self) -> Maturity | None:
        """When outcomes are mature; None while nobody can know."""
        return self._coverage.maturity

    @property
    def estimated(self) -> EstimatedReport | None:
        """The accuracy of the newest predictions as their scores have it; None where nobody can say."""
        return self._estimated.report

    def _own(self, slot: Slot, rows: Arrived) -> Arrived:
        versions = {key.version for key, _ in rows}
        own = {version for version in versions if self._is_own(version, slot)}
        return rows if own == versions else [(key, n) for key, n in rows if key.version in own]
