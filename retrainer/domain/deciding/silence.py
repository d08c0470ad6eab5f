"""Whether events of a kind have stopped coming, by the wall clock. Pure: whoever watches says how many there were.

Silence is the time that was watched, not the time that passed: a service that was down, or could not reach its
manifest, has not heard that nothing came.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from retrainer.domain.values import SECOND, Micros

USABLE: Final = ("consumed", "filtered", "quarantined")
"""The counts whose difference are a model's usable events, the signs of life: the first less the others."""

LONGEST_LOOK: Final[Micros] = 10 * SECOND
"""What passes between two looks is taken for watched up to this much, and up to a quarter of what is expected."""


class SilenceChange(StrEnum):
    """What an alarm does."""

    RAISED = "raised"
    CLEARED = "cleared"


@dataclass(frozen=True, kw_only=True)
class Silence:
    """What is known of one kind of event of one model; JSON-able.

    Attributes:
        count: events so far, by the last look, which was at `looked_at` in wall time.
        last: when an event was seen last, or, before any was, when the watch began.
        watched: for how long it was watched since without seeing one.
        raised: whether the alarm stands.
    """

    count: int
    looked_at: Micros
    last: Micros
    watched: Micros = 0
    raised: bool = False


def looked(
    before: Silence | None, count: int, now: Micros, expect_every: Micros
) -> tuple[Silence, SilenceChange | None]:
    """One more look: so many events there are by now. What is known then, and whether the alarm was raised or cleared.

    A count that has fallen is of a model that was computed anew, from events that were there before: no sign of life,
    and none of silence.
    """
    if before is None:
        return Silence(count=count, looked_at=now, last=now), None
    if count > before.count:
        change = SilenceChange.CLEARED if before.raised else None
        return Silence(count=count, looked_at=now, last=now), change
    watched = before.watched + min(max(0, now - before.looked_at), LONGEST_LOOK, expect_every // 4)
    raised = before.raised or watched > expect_every
    change = SilenceChange.RAISED if raised and not before.raised else None
    return replace(before, count=count, looked_at=now, watched=watched, raised=raised), change
