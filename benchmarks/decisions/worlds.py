"""Streams in time order for judging decisions: three real ones, and small ones whose truth is known.

The small ones have four features, of which two matter: which side of a line through the origin a row lies on says its
class, one label in ten is the other one, and what changes is where the line lies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrainer.domain.values import SECOND, Micros

Kind = Literal["changing", "quiet"]
"""Whether retraining can gain anything to speak of."""

Floats = NDArray[np.float64]

ROWS: Final = 20_000
NOISE: Final = 0.1
_HOUR: Final = 3600 * SECOND


@dataclass(frozen=True, kw_only=True)
class World:
    """One stream; the last column of its frame is the label.

    Attributes:
        every: between two rows.
        frame: of a start; real streams are the same for all.
        finest: of the schedules that are tried, the shortest interval in fiftieths of the stream. Where a fit is slow
            it is longer.
    """

    name: str
    kind: Kind
    every: Micros
    frame: Callable[[int], pd.DataFrame]
    finest: int = 1


@dataclass(frozen=True, kw_only=True)
class _Real:
    kind: Kind
    every: Micros
    file: str
    drop: tuple[str, ...] = ()
    finest: int = 1


_REAL: Final[Mapping[str, _Real]] = {
    "elec2": _Real(kind="changing", every=_HOUR // 2, file="elec2.csv", drop=("date", "nswprice")),
    "noaa": _Real(kind="changing", every=24 * _HOUR, file="weather_noaa.csv"),
    "powersupply": _Real(kind="quiet", every=_HOUR, file="powersupply.csv", finest=8),
}


def real(folder: Path) -> Mapping[str, World]:
    """The real streams, from the files of a folder."""
    return {
        name: World(name=name, kind=one.kind, every=one.every, frame=_from_file(folder, one), finest=one.finest)
        for name, one in _REAL.items()
    }


def synthetic() -> Mapping[str, World]:
    """The small streams; each start has a seed of its own."""
    made: tuple[tuple[str, Kind, Callable[[np.random.Generator], pd.DataFrame]], ...] = (
        ("abrupt", "changing", lambda random: _turning(random, np.where(_time() < 0.5, 0.0, 1.0))),
        ("gradual", "changing", lambda random: _turning(random, np.clip((_time() - 0.4) / 0.2, 0.0, 1.0))),
        ("recurring", "changing", lambda random: _turning(random, np.floor(4 * _time()) % 2)),
        ("new class", "changing", _new_class),
        ("seasonal", "quiet", _seasonal),
        ("more to learn", "quiet", lambda random: _turning(random, np.zeros(ROWS))),
        ("no change", "quiet", _settled),
    )
    return {
        name: World(name=name, kind=kind, every=_HOUR // 6, frame=_seeded(number, make), finest=2)
        for number, (name, kind, make) in enumerate(made)
    }


def _from_file(folder: Path, one: _Real) -> Callable[[int], pd.DataFrame]:
    return lambda _: pd.read_csv(folder / one.file).drop(columns=list(one.drop))


def _seeded(number: int, make: Callable[[np.random.Generator], pd.DataFrame]) -> Callable[[int], pd.DataFrame]:
    return lambda start: make(np.random.default_rng([11, number, start]))


def _time() -> Floats:
    """Of each row, from 0 to 1."""
    return np.arange(ROWS) / ROWS


def _turning(random: np.random.Generator, turned: Floats) -> pd.DataFrame:
    """With this chance a row belongs to the second concept, whose line lies across that of the first."""
    features = random.normal(size=(ROWS, 4))
    second = random.random(ROWS) < turned
    side = np.where(second, features[:, 0] - features[:, 1], features[:, 0] + features[:, 1]) > 0
    return _framed(features, _noisy(random, side))


def _new_class(random: np.random.Generator) -> pd.DataFrame:
    """From the middle on, a sixth of the rows belongs to a third class, in a region of its own."""
    features = random.normal(size=(ROWS, 4))
    labels = _noisy(random, features[:, 0] + features[:, 1] > 0)
    labels[(_time() >= 0.5) & (features[:, 2] > 1.0)] = "c"
    return _framed(features, labels)


def _seasonal(random: np.random.Generator) -> pd.DataFrame:
    """The rows come from elsewhere, back and forth, twice in the warm part already; their labels mean the same."""
    features = random.normal(size=(ROWS, 4))
    features[:, 0] += 1.5 * np.sin(2 * np.pi * 20 * _time())
    return _framed(features, _noisy(random, features[:, 0] + features[:, 1] > 0))


def _settled(random: np.random.Generator) -> pd.DataFrame:
    """The line lies along an axis, so that the warm part is enough to learn it from."""
    features = random.normal(size=(ROWS, 4))
    return _framed(features, _noisy(random, features[:, 0] > 0))


def _noisy(random: np.random.Generator, side: NDArray[np.bool_]) -> NDArray[Any]:
    return np.where(side ^ (random.random(ROWS) < NOISE), "a", "b")


def _framed(features: Floats, labels: NDArray[Any]) -> pd.DataFrame:
    names = [f"x{number}" for number in range(features.shape[1])]
    return pd.DataFrame(features, columns=names).assign(label=labels)
