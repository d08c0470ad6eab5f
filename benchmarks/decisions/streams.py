"""Where the outcomes of simulated lives come from: independent ones, and blocks of real hits and misses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Cells = Counter[tuple[str, str]]

SLOT: Final = 100
LARGE: Final = 500
"""Outcomes in a slot of independent lives, and of those made of real ones: fewer slots are sooner looked at."""
BLOCKS: Final = (256,)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Real outcomes in their order: label (numbered) and whether it was hit."""

    labels: NDArray[np.int64]
    hits: NDArray[np.bool_]


def step(rng: np.random.Generator, before: float, after: float, *, at: int, length: int) -> Iterator[Cells]:
    """Independent outcomes of two classes, 60 to 40, whose accuracy steps at an outcome."""
    for first in range(0, length, SLOT):
        rate = before if first < at else after
        ones = int(rng.binomial(SLOT, 0.4))
        yield two_classes(SLOT - ones, ones, int(rng.binomial(SLOT - ones, rate)), int(rng.binomial(ones, rate)))


def two_classes(zeros: int, ones: int, zeros_hit: int, ones_hit: int) -> Cells:
    """The cells of a slot."""
    return Counter(
        {
            ("0", "0"): zeros_hit,
            ("0", "1"): zeros - zeros_hit,
            ("1", "1"): ones_hit,
            ("1", "0"): ones - ones_hit,
        }
    )


def bootstrap(stretch: Stretch, block: int, length: int) -> Callable[[np.random.Generator], Iterator[Cells]]:
    """Lives made of blocks of consecutive real outcomes, drawn from anywhere: they keep the dependence within."""

    def life(rng: np.random.Generator) -> Iterator[Cells]:
        starts = rng.integers(0, len(stretch.hits) - block + 1, length // block + 1)
        rows = (starts[:, None] + np.arange(block)).ravel()[:length]
        labels, hits = stretch.labels[rows].reshape(-1, LARGE), stretch.hits[rows].reshape(-1, LARGE)
        zeros, zeros_hit = ((labels == 0).sum(1), ((labels == 0) & hits).sum(1))
        ones, ones_hit = LARGE - zeros, hits.sum(1) - zeros_hit
        for counts in zip(zeros.tolist(), ones.tolist(), zeros_hit.tolist(), ones_hit.tolist(), strict=True):
            yield two_classes(*counts)

    return life


_FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "weather_noaa": (),
    "elec2": ("date", "nswprice"),
    "powersupply": (),
}


def real(folder: Path) -> Mapping[str, Stretch]:
    """Cross-validated hits and misses of each stream: every fold's model has seen all of its time."""
    return {name: _stretch(folder / f"{name}.csv", dropped) for name, dropped in _FILES.items()}


def _stretch(file: Path, dropped: tuple[str, ...]) -> Stretch:
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    table = pd.read_csv(file)
    label = table.columns[-1]
    truth = table[label].to_numpy()
    rows: Any = table.drop(columns=[label, *dropped])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    guess = cross_val_predict(HistGradientBoostingClassifier(max_iter=60, random_state=0), rows, truth, cv=folds)
    _, numbers = np.unique(truth, return_inverse=True)
    # Of many classes two kinds: the lower half of them and the upper.
    return Stretch(labels=(numbers * 2 // (numbers.max() + 1)).astype(np.int64), hits=guess == truth)
