"""Real flights: the checks see what happened upstream, and nothing else in a year of weather."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retrainer.demo import flights, plan
from retrainer.domain.features.profiles import Profile
from retrainer.domain.judging.order import MODEL_FOLDER, RowsPolicy
from retrainer.training.candidate import make_candidate
from retrainer.training.checks import check, columns_of, profile
from retrainer.training.child import run
from retrainer.training.dataset import TrainingRows
from tests.domain.making import restored
from tests.training.orders import SPEC, gate, place, result_in
from tests.training.orders import flights as flights_of_january

DAY = pd.Timedelta("1D")
CHANGE = pd.Timestamp(plan.UPSTREAM_CHANGE).tz_localize(None)


def rows_of(held: pd.DataFrame, *, sent: bool = False) -> TrainingRows:
    """A job's rows of some flights, as they were or as the upstream system sent them."""
    frame = flights.as_sent(held) if sent else held[list(flights.FEATURES)].copy()
    frame["$predicted_at"] = held["takeoff"].to_numpy("datetime64[us]").astype(np.int64)
    frame["$label"] = held["label"]
    return TrainingRows(frame.reset_index(drop=True))


@pytest.fixture(scope="module")
def year() -> pd.DataFrame:
    return flights.load()


@pytest.fixture(scope="module")
def champion(year: pd.DataFrame) -> Profile:
    """Of the flights of January and February."""
    return profile(rows_of(year[year["takeoff"] < pd.Timestamp("2013-03-01")]))


def between(year: pd.DataFrame, end: pd.Timestamp, days: int) -> pd.DataFrame:
    return year[(year["takeoff"] >= end - days * DAY) & (year["takeoff"] < end)]


@pytest.mark.parametrize("days", [2, 5, 14])
def test_a_year_of_weather_looks_sound(year: pd.DataFrame, champion: Profile, days: int) -> None:
    ends = pd.date_range("2013-01-20", "2013-12-30", freq="211h")
    told = [
        finding.words
        for end in ends
        for reference in (None, champion)
        for finding in check(rows_of(between(year, end, days)), reference)
    ]
    assert len(ends) > 35
    assert told == []


@pytest.mark.parametrize("hours", [14, 24, 48, 72, 96])
@pytest.mark.parametrize("known", [True, False])
def test_the_delay_in_seconds_looks_like_a_change_upstream(
    year: pd.DataFrame, champion: Profile, hours: int, known: bool
) -> None:
    rows = rows_of(between(year, CHANGE + hours * pd.Timedelta("1h"), 5), sent=True)
    (finding,) = check(rows, champion if known else None)
    assert (finding.feature, finding.what) == ("dep_delay", "scale")
    assert finding.words.startswith("dep_delay: its values spread about ")
    assert finding.words.endswith("looks like a change upstream")
    assert finding.since is not None
    assert abs(pd.Timestamp(finding.since, unit="us") - CHANGE) < pd.Timedelta("6h")


def test_when_all_the_rows_are_of_after_it_the_champions_or_the_older_ones_tell(
    year: pd.DataFrame, champion: Profile
) -> None:
    rows = rows_of(between(year, CHANGE + 6 * DAY, 5), sent=True)
    older = rows_of(between(year, CHANGE, 5), sent=True)
    assert check(rows, None) == ()
    assert [one.feature for one in check(rows, champion)] == ["dep_delay"]
    assert [one.feature for one in check(rows, None, older)] == ["dep_delay"]
    assert check(rows, None, older.before(50)) == (), "too few to say anything"


def test_columns_of_every_type_have_their_kind() -> None:
    frame = pd.DataFrame(
        {
            "$predicted_at": [1, 2, 3],
            "whole": [1, 2, 3],
            "mixed": pd.Series([1, None, 2.5], dtype=object),
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "flag": [True, False, True],
            "maybe": pd.Series([True, None, False], dtype=object),
            "text": ["a", None, "b"],
            "either": pd.Series(["a", 1, None], dtype=object),
            "time": pd.Series([pd.Timestamp("2013-01-01"), pd.NaT, pd.Timestamp("2013-01-03")]),
            "nothing": [None, None, None],
        }
    )
    columns = columns_of(TrainingRows(frame))
    kinds = {name: (held.kind, held.values().missing) for name, held in columns.items()}
    assert kinds == {
        "whole": ("number", 0),
        "mixed": ("number", 1),
        "nullable": ("number", 1),
        "flag": ("boolean", 0),
        "maybe": ("boolean", 1),
        "text": ("text", 1),
        "either": ("text", 1),
        "time": ("text", 1),
        "nothing": ("number", 3),
    }
    found = profile(TrainingRows(frame))
    assert restored(found) == found


def in_seconds(frame: pd.DataFrame, first: int) -> pd.DataFrame:
    """The same flights, their delay in seconds from one row on."""
    return frame.assign(dep_delay=frame["dep_delay"].where(np.arange(len(frame)) < first, frame["dep_delay"] * 60))


def test_an_alert_is_told_and_decides_nothing(tmp_path: Path) -> None:
    frame = flights_of_january(1500)
    sound = make_candidate(SPEC, TrainingRows.of(frame), None).result
    broken = make_candidate(SPEC, TrainingRows.of(in_seconds(frame, 750)), None).result
    assert sound.checks == ()
    assert [(one.feature, one.what) for one in broken.checks] == [("dep_delay", "scale")]
    assert broken.verdict is not None
    assert "rows_look_sound" not in [one.name for one in broken.verdict.gates]


@pytest.mark.parametrize("first", [750, 1500])
def test_a_hold_is_a_gate_of_the_verdict_and_nothing_is_saved(tmp_path: Path, first: int) -> None:
    hold = replace(SPEC, checks_on="hold")
    place(tmp_path, in_seconds(flights_of_january(1500), first), hold)
    assert run(tmp_path) == 0
    found = result_in(tmp_path)
    is_sound = first == 1500
    assert found.verdict is not None
    assert gate(found, "rows_look_sound").passed is is_sound
    assert (tmp_path / MODEL_FOLDER).exists() is is_sound
    assert found.verdict.answer == ("accept" if is_sound else "reject")
    assert ("looks like a change upstream" in found.verdict.reason) is not is_sound


def test_the_result_has_the_profile_of_the_rows_that_the_model_was_fitted_on(tmp_path: Path) -> None:
    frame = flights_of_january(1500)
    for refit in (True, False):
        place(tmp_path / str(refit), frame, refit=refit)
        assert run(tmp_path / str(refit)) == 0
        result = result_in(tmp_path / str(refit))
        fitted_on = result.refitted_on if refit else result.trained_on
        assert fitted_on is not None
        assert result.profile == profile(TrainingRows.of(frame).before(fitted_on.rows))


def test_the_next_candidate_is_compared_with_it(tmp_path: Path) -> None:
    frame = flights_of_january(1500)
    champion = make_candidate(SPEC, TrainingRows.of(frame), None).result.profile
    after = replace(SPEC, reference=champion)
    (finding,) = make_candidate(after, TrainingRows.of(in_seconds(frame, 0)), None).result.checks
    assert (finding.feature, finding.since) == ("dep_delay", None)
    assert "in the rows the champion learnt from" in finding.words


def test_without_the_champions_the_older_rows_that_are_not_learnt_from_stand_in() -> None:
    """Of a change that was located, the candidate learns only what came after it."""
    frame = in_seconds(flights_of_january(2000), 1000)
    began = int(frame["$predicted_at"].iloc[1000])
    spec = replace(SPEC, began=began, recipe=replace(SPEC.recipe, rows=RowsPolicy(kind="since_change")))
    (finding,) = make_candidate(spec, TrainingRows.of(frame), None).result.checks
    assert (finding.feature, finding.what) == ("dep_delay", "scale")
    assert "in the rows before" in finding.words
