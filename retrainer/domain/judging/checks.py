"""Whether rows that a candidate learns from look broken: as if something had changed upstream, not in the world.

Two looks: at all of them, beside the profile of the rows that the champion learnt from; and at the rows before and
after the point in time at which a feature differs most. What is looked for is what programs do, not what the weather
does: values that go missing, another type, another unit, categories that nobody knew, a column that stands still.
The lines are far from what real traffic does by itself; a storm that multiplies the worst delays by ten moves the
middle of them little, where a change of unit moves all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from retrainer.domain.features.findings import Finding, What
from retrainer.domain.features.profiles import (
    MISSING,
    FeatureColumn,
    FeatureProfile,
    FeatureValues,
    Profile,
    feature_profile,
)
from retrainer.domain.judging.verdicts import Gate
from retrainer.domain.values import Micros, iso

FEWEST: Final = 100
"""Rows on either side below which nothing is compared."""
LEVEL_LINE: Final = 3.0
"""Robust standard deviations between two medians."""
SCALE_LINE: Final = 5.0
"""By how much every part of the distribution must be wider, or narrower."""
SHORTEST: Final = 0.1
"""Of the rows: nothing is said of a point in time with fewer before or after it."""

_CUTS: Final = 100
_RARE: Final = 0.05
_MOST_ROWS: Final = 200_000
"""Looked at for a point in time: of more, every so-manieth."""
_MANY: Final = 10
"""Different quantiles from which on a number that stands still is suspicious beside rows of the same weeks."""

_KIN: Final[Mapping[What, What]] = {"gone": "missing", "constant": "level", "scale": "level", "range": "level"}
"""Findings that say the same: one of them is enough."""


@dataclass(frozen=True, kw_only=True)
class CheckLimits:
    """From where on a difference is suspicious. Stretches of the same rows differ more than weeks of them do.

    Attributes:
        missing: the difference between two shares; `never`: a share where there was none before.
        unseen: the share of rows with categories that are not known.
    """

    missing: float
    never: float
    unseen: float


BESIDE_CHAMPION: Final = CheckLimits(missing=0.1, never=0.03, unseen=0.05)
WITHIN: Final = CheckLimits(missing=0.25, never=0.25, unseen=0.5)


@dataclass(frozen=True, kw_only=True)
class _Sides:
    """What is compared: `before` and `now` in words, and when `now` begins."""

    before: str
    now: str
    lines: CheckLimits
    since: Micros | None = None


_CHAMPION: Final = _Sides(before="in the rows the champion learnt from", now="now", lines=BESIDE_CHAMPION)
_OLDER: Final = _Sides(before="in the rows before", now="now", lines=BESIDE_CHAMPION)


def findings(
    reference: Profile | None,
    columns: Mapping[str, FeatureColumn],
    times: npt.NDArray[np.int64],
    older: Profile | None = None,
) -> tuple[Finding, ...]:
    """What looks broken; of a feature that changed within the rows, that.

    Args:
        reference: of the rows that the champion learnt from; None if that is not known.
        columns: the features of the rows that the candidate learns from, in time order.
        times: of prediction, one for each row.
        older: of rows before these, if there are any; they stand in for a reference that nobody knows.
    """
    beside, sides = (older, _OLDER) if reference is None else (reference, _CHAMPION)
    found: list[Finding] = []
    step = 1 + len(times) // _MOST_ROWS
    for name, column in sorted(columns.items()):
        within = tuple(_changed_within(name, column.thinned(step), times[::step]))
        told = {_KIN.get(one.what, one.what) for one in within}
        held = beside.features.get(name) if beside else None
        also = compared(name, held, column.values(), sides) if held else ()
        found += [*within, *(one for one in also if _KIN.get(one.what, one.what) not in told)]
    if beside is not None and len(times) >= FEWEST:
        gone = [name for name, held in beside.features.items() if name not in columns and held.missing < 1]
        found += [_gone(name, sides) for name in gone]
    return tuple(found)


def rows_look_sound(found: Sequence[Finding]) -> Gate:
    """The gate of `checks: {on: hold}`."""
    reason = "; ".join(one.words for one in found) or "no feature of the training rows looks broken"
    evidence = {"features": sorted({one.feature for one in found})}
    return Gate(name="rows_look_sound", passed=not found, reason=reason, evidence=evidence)


def _changed_within(name: str, column: FeatureColumn, times: npt.NDArray[np.int64]) -> Iterator[Finding]:
    cut = _cut(column, len(times))
    if cut is not None:
        at = int(times[cut])
        sides = _Sides(before=f"before {iso(at)[:16]}", now="since then", lines=WITHIN, since=at)
        for one in compared(name, feature_profile(column.values(0, cut)), column.values(cut), sides):
            if one.what != "unseen" or (_recur(column, 0, cut) and _recur(column, cut, len(times))):
                yield one


def _recur(column: FeatureColumn, first: int, end: int) -> bool:
    """Whether categories come again on one side of a point in time; those of weekdays or dates come one by one."""
    middle = (first + end) // 2
    known = column.values(first, middle).texts
    later = column.values(middle, end)
    return sum(n for text, n in later.texts.items() if text not in known) <= _RARE * later.present


def _cut(column: FeatureColumn, rows: int) -> int | None:
    """The row at which the feature differs most before and after; None where there are too few rows.

    The difference is half the sum over the bins of the feature's own profile, missing values among them, weighted as
    two samples of these sizes deserve.
    """
    shortest = max(FEWEST, int(rows * SHORTEST))
    cuts = np.unique(np.arange(1, _CUTS) * rows // _CUTS)
    cuts = cuts[(cuts >= shortest) & (cuts <= rows - shortest)]
    if not len(cuts):
        return None
    whole = feature_profile(column.values())
    counts = np.zeros((len(cuts) + 1, len(whole.counts)))
    np.add.at(counts, (np.searchsorted(cuts, np.arange(rows), side="right"), whole.places(column)), 1)
    before = np.cumsum(counts, axis=0)[:-1]
    sizes = cuts[:, None]
    differences = np.abs(before / sizes - (counts.sum(axis=0) - before) / (rows - sizes)).sum(axis=1) / 2
    return int(cuts[np.argmax(differences * np.sqrt(cuts * (rows - cuts)))])


def compared(name: str, before: FeatureProfile, values: FeatureValues, sides: _Sides) -> Iterator[Finding]:
    """What looks broken about one feature's values beside its profile."""
    now = feature_profile(values)
    if min(now.n, before.n) < FEWEST:
        return
    found = [_missing(before, now, sides)]
    present = min(now.n * (1 - now.missing), before.n * (1 - before.missing))
    if present >= FEWEST:
        if now.kind != before.kind:
            found.append(("type", f"{before.kind} {sides.before}, {sides.now} {now.kind}", {}))
        elif now.kind == "number":
            found.append(_of_numbers(before, now, sides))
        else:
            found.append(_of_texts(before, values, sides))
    for what, told, evidence in filter(None, found):
        words = f"{name}: {told}; looks like a change upstream"
        yield Finding(feature=name, what=what, words=words, since=sides.since, evidence=evidence)


_Told = tuple[What, str, dict[str, Any]] | None


def _missing(before: FeatureProfile, now: FeatureProfile, sides: _Sides) -> _Told:
    is_new = before.counts[MISSING] == 0 and now.missing > sides.lines.never
    if not is_new and abs(now.missing - before.missing) <= sides.lines.missing:
        return None
    what: What = "gone" if now.missing == 1 else "missing"
    told = f"missing in {_percent(before.missing)} {_of(sides)}, {sides.now} {_percent(now.missing)}"
    return what, told, {"before": round(before.missing, 4), "now": round(now.missing, 4)}


def _of_numbers(before: FeatureProfile, now: FeatureProfile, sides: _Sides) -> _Told:
    """The first that holds of: it stands still, another unit, another middle, values beyond all that was known."""
    if now.is_constant and not before.is_constant and (sides.since is None or len(before.edges) >= _MANY):
        value = now.quantiles[0]
        return "constant", f"varied {sides.before}, {sides.now} always {value:g}", {"value": value}
    ranges = {"before": _middle(before), "now": _middle(now)}
    told = "middle half from {:g} to {:g} {}, {} from {:g} to {:g}"
    both = told.format(*ranges["before"], sides.before, sides.now, *ranges["now"])
    factor = _factor(before, now)
    if not 1 / SCALE_LINE <= factor <= SCALE_LINE:
        wider = f"about {factor:.3g} times as wide" if factor > 1 else f"about {1 / factor:.3g} times as narrow"
        return "scale", f"its values spread {wider}, as if in another unit: {both}", {"factor": factor, **ranges}
    spread = max(before.spread, now.spread)
    if spread and abs(now.median - before.median) > LEVEL_LINE * spread:
        return "level", f"its values have moved: {both}", ranges
    least, most = before.quantiles[0] - LEVEL_LINE * spread, before.quantiles[-1] + LEVEL_LINE * spread
    if sides.since is None and spread and (now.quantiles[1] < least or now.quantiles[-2] > most):
        known = f"from {before.quantiles[0]:g} to {before.quantiles[-1]:g} {sides.before}"
        beyond = f"{sides.now} a twentieth or more lies beyond: from {now.quantiles[0]:g} to {now.quantiles[-1]:g}"
        return "range", f"{known}, {beyond}", {"before": [before.quantiles[0], before.quantiles[-1]], **_reach(now)}
    return None


def _of_texts(before: FeatureProfile, values: FeatureValues, sides: _Sides) -> _Told:
    if before.other > _RARE * before.n:
        return None  # what is not among the commonest may well have been known
    if len(values.texts) == 1 and not before.is_constant and sides.since is None:
        (value,) = values.texts
        return "constant", f"varied {sides.before}, {sides.now} always {value!r}", {"value": value}
    unseen = {text: n for text, n in values.texts.items() if text not in before.categories}
    share = sum(unseen.values()) / values.present
    if share <= sides.lines.unseen:
        return None
    examples = sorted(unseen, key=lambda text: (-unseen[text], text))[:3]
    named = ", ".join(map(repr, examples))
    told = f"{_percent(share)} of its values {sides.now} are none of the known {sides.before}, such as {named}"
    return "unseen", told, {"share": round(share, 4), "examples": examples}


def _gone(name: str, sides: _Sides) -> Finding:
    words = f"{name}: it was {sides.before}, {sides.now} it is in none; looks like a change upstream"
    return Finding(feature=name, what="gone", words=words)


def _factor(before: FeatureProfile, now: FeatureProfile) -> float:
    """By how much the distribution is wider in each of its parts, at least (or at most); 1 where they disagree."""
    gaps = [_gaps(one) for one in (before, now)]
    kept = (gaps[0] > 0) & (gaps[1] > 0)
    if kept.sum() < 2:
        return 1.0
    ratios = gaps[1][kept] / gaps[0][kept]
    least, most = float(ratios.min()), float(ratios.max())
    if least > SCALE_LINE or most < 1 / SCALE_LINE:
        return float(np.median(ratios))
    return 1.0


def _gaps(profile: FeatureProfile) -> npt.NDArray[np.float64]:
    return np.diff([profile.quantiles[k] for k in (1, 5, 10, 15, 19)])


def _middle(profile: FeatureProfile) -> list[float]:
    return [profile.quantiles[5], profile.quantiles[15]]


def _reach(profile: FeatureProfile) -> dict[str, Any]:
    return {"now": [profile.quantiles[0], profile.quantiles[-1]]}


def _of(sides: _Sides) -> str:
    """Of which rows a share is."""
    return sides.before if sides.since is not None else sides.before.replace("in the", "of the", 1)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
