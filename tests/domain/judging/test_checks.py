"""Rows that look broken: what programs do to features is found, what the world does to them is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from retrainer.domain.features.profiles import FeatureColumn, profile_of
from retrainer.domain.judging.checks import findings, rows_look_sound
from retrainer.domain.values import iso
from tests.domain.making import MINUTE, NOON, restored

Columns = dict[str, FeatureColumn]
ROWS = 2000
TIMES = NOON + np.arange(ROWS, dtype=np.int64) * MINUTE


def rows(seed: int, **changed: Callable[[Any], Any]) -> Columns:
    """Two days of features, a row a minute: delays with a storm, the hour, a price, a rare event, carriers, a flag."""
    random = np.random.default_rng(seed)
    minute = np.arange(ROWS)
    storm = np.where((minute > 1500) & (minute < 1800) & (random.random(ROWS) < 0.4), 8, 1)  # hits some, and those hard
    found: dict[str, Any] = {
        "delay": np.round(random.exponential(15, ROWS) * storm - 6),
        "hour": (minute // 60 % 24).astype(float),
        "price": random.lognormal(3, 1, ROWS),
        "rare": (random.random(ROWS) < 0.02).astype(float),
        "row": minute.astype(float),
        "carrier": random.choice(["AA", "DL", "UA"], ROWS).astype(object),
        "day": (minute // 300).astype(str).astype(object),  # a category that time makes
        "flag": random.choice(["false", "true"], ROWS).astype(object),
    }
    for name, change in changed.items():
        found[name] = change(found[name])
    return {name: column(values) for name, values in found.items() if values is not None}


def column(values: Any) -> FeatureColumn:
    if values.dtype != object:
        return FeatureColumn(kind="number", numbers=values)
    return FeatureColumn(kind="boolean" if set(values) <= {"true", "false", None} else "text", texts=values)


def since(row: int, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A change to the rows from one on."""
    return lambda held: np.concatenate([held[:row], change(held)[row:]])


def some(share: float, value: Any) -> Callable[[Any], Any]:
    return lambda held: np.where(np.random.default_rng(9).random(ROWS) < share, value, held)


CHAMPION = profile_of({name: held.values() for name, held in rows(1).items()}, ROWS)


def found(columns: Mapping[str, FeatureColumn]) -> list[tuple[str, str]]:
    return [(one.feature, one.what) for one in findings(CHAMPION, columns, TIMES)]


@pytest.mark.parametrize("seed", range(20))
def test_days_that_are_like_others_are_sound(seed: int) -> None:
    columns = rows(100 + seed)
    assert findings(CHAMPION, columns, TIMES) == ()
    assert findings(None, columns, TIMES) == ()


BROKEN: Mapping[str, tuple[str, Callable[[Any], Any], str]] = {
    "seconds instead of minutes": ("delay", lambda held: held * 60, "scale"),
    "thousands instead of ones": ("price", lambda held: held / 1000, "scale"),
    "another origin": ("price", lambda held: held + 500, "level"),
    "missing": ("delay", some(0.312, np.nan), "missing"),
    "missing at times, where it never was": ("carrier", some(0.05, None), "missing"),
    "gone": ("delay", lambda held: held * np.nan, "gone"),
    "left out": ("delay", lambda held: None, "gone"),
    "text instead of numbers": ("hour", lambda held: held.astype(int).astype(str).astype(object), "type"),
    "a constant": ("hour", lambda held: held * 0, "constant"),
    "a constant text": ("carrier", lambda held: np.where(held == "x", held, "AA").astype(object), "constant"),
    "other names": ("carrier", lambda held: np.char.lower(held.astype(str)).astype(object), "unseen"),
    "a value that stands for missing": ("price", some(0.1, 999_999.0), "range"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_found_beside_the_champions_rows(case: str) -> None:
    name, change, what = BROKEN[case]
    assert found(rows(200, **{name: change})) == [(name, what)]


@pytest.mark.parametrize("start", [300, 900, 1700])
@pytest.mark.parametrize("champion", [True, False])
@pytest.mark.parametrize("case", ["seconds instead of minutes", "thousands instead of ones", "gone", "other names"])
def test_what_breaks_within_the_rows_is_found_and_dated(case: str, start: int, champion: bool) -> None:
    name, change, what = BROKEN[case]
    (finding,) = findings(CHAMPION if champion else None, rows(300, **{name: since(start, change)}), TIMES)
    assert (finding.feature, finding.what) == (name, what)
    assert finding.since is not None
    assert abs(finding.since - TIMES[start]) <= 40 * MINUTE
    assert iso(finding.since)[:16] in finding.words


def test_without_a_champion_a_break_before_the_first_row_cannot_be_known() -> None:
    assert findings(None, rows(4, delay=lambda held: held * 60), TIMES) == ()


def test_older_rows_stand_in_for_a_champion_that_nobody_knows() -> None:
    broken = rows(4, delay=lambda held: held * 60, price=lambda _: None)
    unit, gone = findings(None, broken, TIMES, older=CHAMPION)
    assert "in the rows before, now from" in unit.words
    assert gone.words == "price: it was in the rows before, now it is in none; looks like a change upstream"


def test_words_say_what_and_how_much() -> None:
    missing, *_ = findings(CHAMPION, rows(5, delay=some(0.312, np.nan)), TIMES)
    assert missing.words.startswith("delay: missing in 0.0 % of the rows the champion learnt from, now 3")
    assert missing.words.endswith(" %; looks like a change upstream")
    (unit,) = findings(None, rows(5, delay=since(1000, lambda held: held * 60)), TIMES)
    assert "as if in another unit" in unit.words
    assert 50 < unit.evidence["factor"] < 75


def test_too_few_rows_say_nothing() -> None:
    few = {
        name: FeatureColumn(kind=held.kind, numbers=held.numbers[:90], texts=held.texts[:90])
        for name, held in rows(6).items()
    }
    few["delay"] = FeatureColumn(kind="number", numbers=few["delay"].numbers * 60)
    assert findings(CHAMPION, few, TIMES[:90]) == ()
    assert findings(CHAMPION, {}, TIMES[:0]) == ()


def test_many_rows_are_thinned_and_nothing_is_missed() -> None:
    n = 450_000
    delays = np.random.default_rng(7).exponential(15, n)
    delays[n // 2 :] *= 60
    (finding,) = findings(None, {"delay": FeatureColumn(kind="number", numbers=delays)}, np.arange(n, dtype=np.int64))
    assert finding.what == "scale"
    assert finding.since == pytest.approx(n // 2, rel=0.02)


def test_the_gate_holds_what_looks_broken() -> None:
    broken = findings(CHAMPION, rows(8, delay=lambda held: held * 60), TIMES)
    assert all(restored(one) == one for one in broken)
    gate = rows_look_sound(broken)
    assert (gate.name, gate.passed, gate.evidence) == ("rows_look_sound", False, {"features": ["delay"]})
    assert gate.reason == broken[0].words
    assert rows_look_sound(()).passed
