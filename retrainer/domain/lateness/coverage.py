"""How complete the labels are: the delays seen, and coverage beside what is usual at that age. Pure, slot by slot.

What is usual is learned from the model itself, so that a model of which people label 5 % is fully covered when 5 % have
come. Nobody has an opinion before a pool of complete cohorts is there (`cohorts.Usual.known`): six buckets of
prediction time with predictions, each a sixtieth of `max_delay`, all older than `max_delay`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from retrainer.domain.lateness.cohorts import Aged, Cohorts, Pool, Rows, Usual
from retrainer.domain.lateness.delays import Delays
from retrainer.domain.tally.arrivals import DELAY, HIT, MISS, PREDICTED
from retrainer.domain.values import SECOND, SLOT_WIDTH, Micros, Slot

MATURE: Final = 0.95
"""An outcome is mature at an age by which so large a share of the labels that came had come."""


def mature_place(n: int) -> int:
    """The place, among `n` delays from the shortest to the longest, of the one by which outcomes are mature."""
    return min(n - 1, int(MATURE * n))


SETTLED: Final = 0.99
"""The same for a sample that must miss nobody: where it is 5 % that are late, they may all be of one class."""

NEARLY_ALL: Final = 0.95
"""Where so large a share of the predictions is labelled, nothing that is still to come can matter."""

FADING: Final = 0.5
"""What a delay weighs after another `max_delay`."""

MIN_DELAYS: Final = 20
MIN_PREDICTIONS: Final = 20

ENOUGH_DUE: Final = 30
"""Coverage is taken over the newest mature cohorts for which so many labels are usual ..."""
LEAST_DUE: Final = 5
"""... and not at all over fewer than this."""

VERSIONS: Final = 20
"""Of so many versions it is remembered when their predictions began: those that were seen last."""


@dataclass(frozen=True, kw_only=True)
class CoveragePolicy:
    """`width`: slots in a bucket of prediction time, as in the arrivals. `mature_after`: None: as seen."""

    width: int
    max_delay: Micros
    mature_after: Micros | None = None

    @property
    def ages(self) -> int:
        """After so many buckets the last label has come."""
        return max(1, self.buckets(self.max_delay))

    def buckets(self, span: Micros) -> int:
        """So many whole buckets are at least as long."""
        return -(-span // (self.width * SLOT_WIDTH))


@dataclass(frozen=True, kw_only=True)
class CoverageReading:
    """Coverage of the newest mature predictions.

    Attributes:
        age: of the youngest of them, in microseconds.
        usual: the share that usually has its label at their age.
        actual: the share that has.
        relative: the one by the other; 1.0 is as usual.
        n: predictions.
    """

    age: Micros
    usual: float
    actual: float
    relative: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Due:
    """Predictions, how many of them are labelled, and how many usually are by their ages."""

    predicted: int
    labelled: int
    due: float


@dataclass(frozen=True, kw_only=True)
class Maturity:
    """By when labels have come: `mature` 95 %, `settled` 99 % of those that come; `n` delays seen.

    Configured, both are what the owner says.
    """

    mature: Micros
    settled: Micros
    n: int
    configured: bool


@dataclass(frozen=True, kw_only=True)
class Began:
    """A version's first prediction, and how many there have been since, labelled or not."""

    first: Slot
    predicted: int = 0
    labelled: int = 0


@dataclass(frozen=True, kw_only=True)
class CoverageState:
    """What must be stored to go on; the open cohorts are found again in the stored arrivals.

    Attributes:
        closed: buckets before this one have ended.
        first: the bucket of the first prediction.
        observed: long enough that the longest delays had their chance to be seen.
    """

    closed: int | None = None
    first: int | None = None
    observed: bool = False
    usual: Usual = field(default_factory=Usual)
    delays: Delays = field(default_factory=Delays)
    began: Mapping[str, Began] = field(default_factory=dict)
    reading: CoverageReading | None = None


class Coverage:
    """One model's cohorts, whichever version predicted: labels come from people, who do not ask for the version."""

    def __init__(self, policy: CoveragePolicy, state: CoverageState | None = None) -> None:
        state = state or CoverageState()
        self.policy = policy
        self.usual = state.usual
        self.reading = state.reading
        """Coverage at the end of the newest bucket that has ended; None while nobody can know."""
        self.closed = state.closed
        self._first = state.first
        self._observed = state.observed
        self._delays = state.delays
        self._began = {name: [one.first, one.predicted, one.labelled] for name, one in state.began.items()}
        self._ages = policy.ages
        self._fading = FADING ** (1 / policy.ages)
        self._cohorts = Cohorts(policy.width, policy.ages)
        self._asked: Usual | None = None
        self._is_usual_known = False
        self._curve: tuple[tuple[Pool, ...], Sequence[float]] = ((), (0.0,) * (policy.ages + 1))
        self._matured: tuple[Delays, bool, Maturity | None] | None = None

    @property
    def state(self) -> CoverageState:
        """What must be stored."""
        return CoverageState(
            closed=self.closed,
            first=self._first,
            observed=self._observed,
            usual=self.usual,
            delays=self._delays,
            began={name: _began(counts) for name, counts in self._began.items()},
            reading=self.reading,
        )

    def began(self, version: str) -> Began | None:
        """When a version's predictions began; None of one that has not been seen for long."""
        counts = self._began.get(version)
        return _began(counts) if counts else None

    def needs_from(self) -> Slot | None:
        """The first slot whose arrivals `remember` needs; None: there is nothing to remember."""
        if self.closed is None:
            return None
        return (self.closed - self._ages - 1) * self.policy.width

    def remember(self, slots: Iterable[tuple[Slot, Rows]]) -> None:
        """Put slots that were taken before back, in order: those from `needs_from` on."""
        for slot, rows in slots:
            self._cohorts.close_before(slot)
            self._cohorts.add(slot, rows)
            self._cohorts.close_before(slot + 1)
        self._cohorts.close_before((self.closed or 0) * self.policy.width)

    def count(self, slot: Slot, rows: Rows) -> bool:
        """Take in what arrived in a slot that has closed; whether a bucket of prediction time ended with it."""
        rows = list(rows)
        ended = self._close(slot)
        self._cohorts.add(slot, rows)
        self._count(slot, rows)
        ended = self._close(slot + 1) or ended
        if ended:
            self.reading = self._read()
        return ended

    @property
    def maturity(self) -> Maturity | None:
        """When outcomes are mature; None while nobody can know: the slowest labels may not have had their chance."""
        known = self._matured
        if known is None or known[0] is not self._delays or known[1] is not self._observed:
            self._matured = known = (self._delays, self._observed, self._maturity())
        return known[2]

    def _maturity(self) -> Maturity | None:
        configured, delays = self.policy.mature_after, self._delays
        if configured is not None:
            return Maturity(mature=configured, settled=configured, n=delays.n, configured=True)
        if not self._observed or delays.n < MIN_DELAYS:
            return None
        mature, settled = delays.quantile(MATURE), delays.quantile(SETTLED)
        if mature is None or settled is None:
            return None
        longest = self.policy.max_delay
        return Maturity(mature=min(mature, longest), settled=min(settled, longest), n=delays.n, configured=False)

    def _read(self) -> CoverageReading | None:
        maturity, usual = self.maturity, self._usual_by_age()
        if maturity is None or not self.knows_usual:
            return None
        youngest = min(self.policy.buckets(maturity.mature), self._ages)
        predicted, labelled, due = 0, 0, 0.0
        for _, age, n, came in self._cohorts.aged():
            if age >= youngest:
                predicted, labelled = predicted + n, labelled + came
                due += n * usual[age]
                if due >= ENOUGH_DUE:
                    break
        if due < LEAST_DUE:
            return None
        return CoverageReading(
            age=youngest * self.policy.width * SLOT_WIDTH,
            usual=due / predicted,
            actual=labelled / predicted,
            relative=labelled / due,
            n=predicted,
        )

    @property
    def knows_usual(self) -> bool:
        """Whether there is enough to say what is usual."""
        self._usual_by_age()
        return self._is_usual_known

    @property
    def labelled_in_the_end(self) -> float:
        """The share of predictions that usually gets a label at all; 1 while nobody can know."""
        return self._usual_by_age()[-1] if self.knows_usual else 1.0

    def due(self, first: int) -> Due:
        """Of the predictions from a bucket on, as far as these have ended: how many are labelled, and usually were."""
        aged = self._cohorts.aged()
        return self._due(aged[: bisect_left(aged, -first + 1, key=_oldest_last)])

    def bands(self, first: int, before: int, step: int) -> Iterator[Due]:
        """The same of every so many buckets."""
        aged = self._cohorts.aged()
        for band in range(first, before, step):
            begin = bisect_left(aged, 1 - band - step, key=_oldest_last)
            yield self._due(aged[begin : bisect_left(aged, 1 - band, key=_oldest_last)])

    def _due(self, cohorts: Iterable[Aged]) -> Due:
        predicted, labelled, due, usual = 0, 0, 0.0, self._usual_by_age()
        for _, age, n, came in cohorts:
            predicted += n
            labelled += came
            due += n * usual[age]
        return Due(predicted=predicted, labelled=labelled, due=due)

    def flow(self) -> tuple[Sequence[int], Sequence[float]]:
        """By age: how many labels came in the bucket that ended last, and how many usually would have."""
        came, due, usual = [0] * self._ages, [0.0] * self._ages, self._usual_by_age()
        for born, age, n, _ in self._cohorts.aged():
            if age < self._ages:
                came[age] = self._cohorts.came(born)
                due[age] = n * (usual[age] - (usual[age - 1] if age else 0.0))
        return came, due

    def _usual_by_age(self) -> Sequence[float]:
        if self.usual is not self._asked:
            self._asked, full = self.usual, self.usual.full
            self._is_usual_known = self.usual.known
            if full != self._curve[0]:
                self._curve = (full, self.usual.shares(self._ages))
        return self._curve[1]

    def _count(self, slot: Slot, rows: Rows) -> None:
        delays: dict[int, int] = {}
        began = self._began
        for key, n in rows:
            if key.kind == DELAY:
                delays[key.born] = delays.get(key.born, 0) + n
                continue
            held = began.pop(key.version, None) or [slot, 0, 0]
            if key.kind == PREDICTED:
                held[1] += n
            elif key.kind in (HIT, MISS):
                held[2] += n
            began[key.version] = held  # seen last
        while len(began) > VERSIONS:
            del began[next(iter(began))]
        if self._first is None:
            self._first = slot // self.policy.width
        if delays:
            self._delays = self._delays.with_more(delays)

    def _close(self, before: Slot) -> bool:
        """End buckets; each that ends lets the delays seen fade, and may have made cohorts complete."""
        ended, complete = self._cohorts.close_before(before)
        for cohort in complete:
            self.usual = self.usual.with_cohort(cohort)
        if ended:
            self._delays = self._delays.faded(self._fading, ended)
        closed = self._cohorts.closed
        if closed != self.closed:
            self.closed = closed
            self._observed = self._observed or self._is_observed(closed or 0)
        return ended > 0

    def _is_observed(self, closed: int) -> bool:
        """`max_delay` has passed, or nearly all of the oldest predictions are labelled already.

        The first bucket may have begun before anything was seen of it.
        """
        first = self._first
        if first is None:
            return False
        if closed - first > self._ages:
            return True
        predicted = labelled = 0
        for _, _, n, came in reversed([cohort for cohort in self._cohorts.aged() if cohort[0] > first]):
            predicted, labelled = predicted + n, labelled + came
            if predicted >= MIN_PREDICTIONS and labelled >= NEARLY_ALL * predicted:
                return True
        return False


def _oldest_last(cohort: Aged) -> int:
    return -cohort[0]


def _began(counts: Sequence[int]) -> Began:
    first, predicted, labelled = counts
    return Began(first=first, predicted=predicted, labelled=labelled)


def coverage_facts(reading: CoverageReading | None) -> dict[str, Any] | None:
    """For `status --json` and evidence; None: nobody can know yet."""
    if reading is None:
        return None
    return {
        "relative": round(reading.relative, 4),
        "actual": round(reading.actual, 4),
        "usual": round(reading.usual, 4),
        "age_seconds": reading.age // SECOND,
        "n": reading.n,
    }


def maturity_facts(maturity: Maturity | None) -> dict[str, Any] | None:
    """For `status --json` and evidence; None: nobody can know yet."""
    if maturity is None:
        return None
    return {
        "mature_after_seconds": maturity.mature // SECOND,
        "settled_after_seconds": maturity.settled // SECOND,
        "delays": maturity.n,
        "configured": maturity.configured,
    }
