"""Whether the outcomes that become known are a fair sample of the champion's predictions. Pure, slot by slot.

Labels of one class may come in minutes and those of another in days. While both flow, the outcomes of any slot are a
fair mix: the quick ones of new predictions beside the slow ones of old predictions. There are two times when they are
not, and a quality trigger that looked then would fire on nothing:

- **Starting**: of a champion's first predictions only the quick labels can have come. Outcomes are withheld until 99 %
  of the labels had time to come, and never shown: the quick ones of that time have no slow ones beside them, while
  the slow ones that come later stand beside the quick ones of later predictions. Only where nearly all of the
  champion's predictions are labelled is what was withheld fair as a whole, and shown.
- **Behind**: labels have stopped or fallen back, and what comes next, the backlog, comes in an order of its own.
  Outcomes are withheld until the labels that were due have come, then shown all at once: nothing is lost, and
  the backlog as a whole is fair. Labels that flow again while the missing ones stay away are looked at by age: if they
  come at the usual ages, then less is labelled than before, and they are fair; if not, part of them is still missing.

Two things are not corrected. Where traffic swings widely within the delays, quick labels are too many while it rises
and too few while it falls. And labels that a part of the predictions never gets again are usual after a while.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from math import sqrt
from typing import Any, Final, Literal

from retrainer.domain.frozen import changed
from retrainer.domain.lateness.cohorts import Rows
from retrainer.domain.lateness.coverage import MIN_PREDICTIONS, NEARLY_ALL, Coverage, Due
from retrainer.domain.tally.arrivals import HIT, MISS, PREDICTED
from retrainer.domain.values import SLOT_WIDTH, Micros, Slot, iso, slot_of, slot_start

Counts = Counter[tuple[str, str]]

SHORT: Final = 0.10
"""Labels are behind when so large a share of those that are due is missing, and chance does not explain it ..."""
DEVIATIONS: Final = 4.0
"""... as by so many standard deviations it would have to."""
BANDS: Final = 4
SHORT_IN_BAND: Final = 0.3
"""Or so large a share in one of so many bands of age: more, as the hour of the day shows in them."""
CAUGHT_UP: Final = 0.05
"""They are not any more when no more than this is missing."""
FLOWING: Final = 0.25
"""Labels flow in a bucket of time in which so large a share of the usual number comes."""
SAME_AGES: Final = 0.05
"""Labels come at the usual ages where, beyond chance, no more than this share of them comes at others."""


@dataclass(frozen=True, kw_only=True)
class Withheld:
    """Slots whose outcomes were not shown when they closed. `before` and `shown_at` are None while that lasts.

    `shown_at`: the slot with which they were shown; None at the end: never.
    """

    first: Slot
    before: Slot | None = None
    shown_at: Slot | None = None


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """Labels that are behind.

    Attributes:
        began: the bucket of time in which that was noticed.
        since: the first cohort that may miss some.
        mixed: labels have flowed at unusual ages, so that what is withheld is no fair sample without the rest.
        flowing, came, due: of the round of looking at labels that flow again: buckets, and labels by age.
    """

    began: int
    since: int
    mixed: bool = False
    flowing: int = 0
    came: tuple[int, ...] = ()
    due: tuple[float, ...] = ()

    def anew(self) -> Backlog:
        """A new round of looking."""
        return changed(self, flowing=0, came=(0,) * len(self.came), due=(0.0,) * len(self.due))


@dataclass(frozen=True, kw_only=True)
class FairnessReading:
    """Whether outcomes are shown to quality triggers; if not, why, and until when at the latest, if that is known."""

    fair: bool = True
    reason: Literal["", "starting", "behind"] = ""
    message: str = ""
    until: Micros | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """For `status --json` and evidence."""
        until = None if self.until is None else iso(self.until)
        return {"fair": self.fair, "reason": self.reason, "message": self.message, "until": until}


@dataclass(frozen=True, kw_only=True)
class FairnessState:
    """What must be stored of one champion's sample; begins anew with each champion.

    Attributes:
        first: the slot of its first prediction; None: nothing is known of any, and everything is shown.
        predicted: its predictions since, so many of them `labelled`.
        level: what is labelled beside what was usual, where less is labelled than before.
        forgiven: cohorts before this bucket are not asked any more for labels that never came.
    """

    phase: Literal["starting", "fair", "behind"] = "starting"
    first: Slot | None = None
    predicted: int = 0
    labelled: int = 0
    backlog: Backlog | None = None
    level: float = 1.0
    forgiven: int = 0
    withheld: tuple[Withheld, ...] = ()
    reading: FairnessReading = field(default_factory=FairnessReading)

    @property
    def withholds(self) -> bool:
        return bool(self.withheld) and self.withheld[-1].before is None


FAIR: Final = FairnessReading()


def in_other_buckets(state: FairnessState) -> FairnessState:
    """What still holds of a sample when the buckets of prediction time are others than before."""
    return changed(state, phase="fair" if state.phase == "fair" else "starting", backlog=None, level=1.0, forgiven=0)


class Fairness:
    """One champion's gate: takes each closed slot's outcomes, gives those that quality triggers may see."""

    def __init__(self, coverage: Coverage, state: FairnessState | None = None) -> None:
        self._coverage = coverage
        self._width = coverage.policy.width
        self._held = Counts()
        self._resume(state or FairnessState())

    def _resume(self, state: FairnessState) -> None:
        self._state = state
        self._first, self._predicted, self._labelled = state.first, state.predicted, state.labelled
        """Counted in every slot, and put into the state only where somebody asks."""

    @property
    def state(self) -> FairnessState:
        """What must be stored."""
        return changed(self._state, first=self._first, predicted=self._predicted, labelled=self._labelled)

    @property
    def reading(self) -> FairnessReading:
        """What holds since the slot that closed last."""
        return self._state.reading

    def begin(self, version: str | None, since: Slot | None, before: Slot | None) -> None:
        """A new champion: its predictions may have begun before its promotion, and all slots `before` are past.

        Unversioned predictions are its own from the slot `since` on; None: all of them.
        """
        own = None if version is None else self._coverage.began(version)
        held = own if own is not None or version is None else self._coverage.began("")
        if held is None:
            self._resume(FairnessState())
        elif own is None and since is not None and since > held.first:
            self._resume(FairnessState(first=since))
        else:
            self._resume(FairnessState(first=held.first, predicted=held.predicted, labelled=held.labelled))
        if self._first is not None and before is not None and self._first < before:
            self._begin_in_the_past(self._first, before)

    def withhold(self, held: Counts) -> None:
        """Put back what `shown` found still withheld."""
        self._held = held

    def close_slot(self, slot: Slot, cells: Mapping[tuple[str, str], int], own: Rows, *, bucket_ended: bool) -> Counts:
        """The outcomes to show now that a slot has closed: its own, none, or with them those withheld before.

        `own` are the arrivals of the champion's predictions; `bucket_ended` is what `Coverage.take` said of the slot.
        """
        self._count(slot, own)
        if self._state.phase == "starting":
            self._start(slot)
        elif bucket_ended:
            self._follow(slot)
        if not (self._held or self._state.withholds):
            return cells if isinstance(cells, Counter) else Counts(cells)
        self._held.update(cells)
        if self._state.withholds:
            return Counts()
        shown, self._held = self._held, Counts()
        return shown

    def _count(self, slot: Slot, own: Rows) -> None:
        for key, n in own:
            if key.kind == PREDICTED:
                self._first = slot if self._first is None else self._first
                self._predicted += n
            elif key.kind in (HIT, MISS) and self._first is not None and key.born >= self._first // self._width:
                self._labelled += n

    # At the start

    def _begin_in_the_past(self, first: Slot, before: Slot) -> None:
        """What became known while it was not champion yet is withheld as if it had been."""
        opens = slot_of(slot_start(first) + self._settled() + SLOT_WIDTH - 1)
        if self._is_nearly_complete():
            self._state = changed(self._state, phase="fair")
        elif opens < before:
            over = () if opens <= first else (Withheld(first=first, before=opens),)
            self._state = changed(self._state, phase="fair", withheld=over)
        else:
            self._withhold(first)

    def _start(self, slot: Slot) -> None:
        first, end = self._first, slot_start(slot + 1)
        if first is None:
            return  # nothing is known of its predictions: what comes is shown, and nothing is settled
        settled = self._settled()
        if self._is_nearly_complete():
            self._open(slot, show=True)
        elif end - slot_start(first) >= settled:
            self._open(slot, show=False)
        else:
            until = slot_start(first) + settled
            self._withhold(slot)
            message = (
                "of the champion's first predictions only the quick labels can have come: "
                f"triggers see its outcomes from {iso(until)} on at the latest"
            )
            self._say(FairnessReading(fair=False, reason="starting", message=message, until=until))

    def _settled(self) -> Micros:
        maturity = self._coverage.maturity
        return maturity.settled if maturity else self._coverage.policy.max_delay

    def _is_nearly_complete(self) -> bool:
        due = self._predicted * self._coverage.labelled_in_the_end
        return due >= MIN_PREDICTIONS and self._labelled >= NEARLY_ALL * due

    # Afterwards

    def _follow(self, slot: Slot) -> None:
        if not self._coverage.knows_usual:
            return
        if self._state.backlog is None:
            self._look_for_backlog(slot)
        else:
            self._follow_backlog(slot, self._state.backlog)

    def _look_for_backlog(self, slot: Slot) -> None:
        closed = self._coverage.closed or 0
        since = max(closed - 1 - self._span, self._state.forgiven)
        due = self._coverage.due(since)
        if self._are_short(due, SHORT) or self._are_short_at_some_ages(since, closed):
            ages = self._coverage.policy.ages
            backlog = Backlog(began=closed, since=since, came=(0,) * ages, due=(0.0,) * ages)
            self._state = changed(self._state, phase="behind", backlog=backlog)
            self._withhold(slot)
            self._tell(due)
        elif self._state.level < 1.0 and due.due >= MIN_PREDICTIONS and due.labelled >= (1 - CAUGHT_UP) * due.due:
            self._state = changed(self._state, level=1.0)

    @property
    def _span(self) -> int:
        """Buckets within which labels are still due, and two for what chance delays."""
        return min(self._coverage.policy.buckets(self._settled()), self._coverage.policy.ages) + 2

    def _are_short_at_some_ages(self, since: int, closed: int) -> bool:
        """Labels of one class may stay away, or have begun to: that shows first where they are most of what is due."""
        step = max(1, -(-(closed - since) // BANDS))
        return any(self._are_short(band, SHORT_IN_BAND) for band in self._coverage.bands(since, closed, step))

    def _are_short(self, due: Due, share: float) -> bool:
        expected = self._state.level * due.due
        return expected - due.labelled > max(share * expected, DEVIATIONS * self._deviation(due))

    def _deviation(self, due: Due) -> float:
        """Of the labels that come from those expected, by chance: binomial, and what is usual is an estimate too."""
        expected, labels = self._state.level * due.due, max(1, self._coverage.usual.labels)
        rest = max(0.0, 1.0 - expected / max(1, due.predicted))
        return sqrt(max(0.0, expected * rest * (1 + 1.5 * expected / labels)))

    def _follow_backlog(self, slot: Slot, backlog: Backlog) -> None:
        due, closed = self._coverage.due(backlog.since), self._coverage.closed or 0
        missing = self._state.level * due.due - due.labelled
        backlog = self._with_flow(backlog)
        round_ended = backlog.flowing > self._span // 2
        self._state = changed(self._state, backlog=backlog)
        newest = max(closed - 1 - self._span, self._state.forgiven)
        has_come = missing <= max(CAUGHT_UP * self._state.level * due.due, self._deviation(due))
        if has_come and not self._are_short_at_some_ages(newest, closed):
            self._open(slot, show=True)
        elif round_ended and _come_at_usual_ages(backlog):
            level = min(1.0, sum(backlog.came) / sum(backlog.due))
            self._state = changed(self._state, level=level, forgiven=closed)
            self._open(slot, show=not backlog.mixed)
        elif closed - backlog.began > self._coverage.policy.ages:  # what has not come by now never will
            self._state = changed(self._state, forgiven=backlog.began)
            self._open(slot, show=False)
            self._look_for_backlog(slot)
        else:
            self._state = changed(self._state, backlog=changed(backlog.anew(), mixed=True) if round_ended else backlog)
            self._tell(due)

    def _with_flow(self, backlog: Backlog) -> Backlog:
        """With the bucket that ended last, from the first on in which labels flow again."""
        came, due = self._coverage.flow()
        flows = sum(came) >= FLOWING * self._state.level * sum(due) > 0
        if not flows and not backlog.flowing:
            return backlog
        return changed(
            backlog,
            flowing=backlog.flowing + flows,
            came=tuple(a + b for a, b in zip(backlog.came, came, strict=True)),
            due=tuple(a + b for a, b in zip(backlog.due, due, strict=True)),
        )

    def _tell(self, due: Due) -> None:
        message = (
            f"of {self._state.level * due.due:.0f} labels that are usual by now {due.labelled} have come: "
            "those that come first of the others may not be like all of them"
        )
        self._say(FairnessReading(fair=False, reason="behind", message=message))

    def _say(self, reading: FairnessReading) -> None:
        self._state = changed(self._state, reading=reading)

    # What is withheld

    def _withhold(self, slot: Slot) -> None:
        if not self._state.withheld or self._state.withheld[-1].before is not None:
            self._state = changed(self._state, withheld=(*self._state.withheld, Withheld(first=slot)))

    def _open(self, slot: Slot, *, show: bool) -> None:
        """From this slot on outcomes are shown, what was withheld before with it or never."""
        withheld = self._state.withheld
        if withheld and withheld[-1].before is None:
            ended = changed(withheld[-1], before=slot, shown_at=slot if show else None)
            withheld = (*withheld[:-1], ended)
        if not show:
            self._held = Counts()
        self._state = changed(self._state, phase="fair", backlog=None, withheld=withheld, reading=FAIR)


def shown(
    state: FairnessState, slots: Iterable[tuple[Slot, Mapping[tuple[str, str], int]]]
) -> tuple[list[tuple[Slot, Counts]], Counts]:
    """What was shown, slot by slot in order, of slots that were closed before a restart; and what is still withheld."""
    found: dict[Slot, Counts] = {}
    held = Counts()
    for slot, cells in slots:
        over = next((one for one in state.withheld if one.first <= slot < _end(one)), None)
        if over is None:
            found.setdefault(slot, Counts()).update(cells)
        elif over.before is None:
            held.update(cells)
        elif over.shown_at is not None:
            found.setdefault(over.shown_at, Counts()).update(cells)
    return sorted(found.items()), held


def _end(withheld: Withheld) -> float:
    return float("inf") if withheld.before is None else withheld.before


def _come_at_usual_ages(backlog: Backlog) -> bool:
    """Whether the ages at which labels came and those at which they were due differ by chance (Kolmogorov-Smirnov)."""
    came, due = sum(backlog.came), sum(backlog.due)
    if came <= 0 or due <= 0:
        return False
    shares = zip(accumulate(backlog.came), accumulate(backlog.due), strict=True)
    return max(abs(a / came - b / due) for a, b in shares) <= SAME_AGES + 1.36 / sqrt(came)
