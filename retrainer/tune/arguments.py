"""The options of `retrainer tune`; what they mean is read by `options`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_NUMBERS: Final = (
    ("--price", "N", None, "what a retraining is worth, in the unit of metric times rows: so many right answers"),
    ("--trials", "N", "30", "settings that each search tries (30)"),
    ("--minutes", "M", None, "for all searches together; each tries the present settings in any case"),
    ("--folds", "N", "3", "stretches on which it is tried what was found before them (3)"),
    ("--seed", "N", "0", "of the searches (0)"),
)
"""Name, value, default, meaning."""


def add_arguments(tune: argparse.ArgumentParser, of_tables: Iterable[tuple[str, str, str]]) -> None:
    """Declare them; those about tables, as name, value and meaning, are those of a replay."""
    tune.add_argument("model", nargs="?", metavar="MODEL")
    tune.add_argument("--table", type=Path, required=True, metavar="FILE", help="CSV or Parquet, as for replay")
    for name, value, text in of_tables:
        tune.add_argument(name, metavar=value, required=name == "--label", help=text)
    tune.add_argument("--training-takes", default="0s", metavar="DURATION", help="how long a job lasts (0s)")
    for name, value, default, text in _NUMBERS:
        tune.add_argument(name, metavar=value, default=default, required=name == "--price", help=text)
    tune.add_argument("--out", type=Path, required=True, metavar="DIR", help="where tuned.yaml and tune.json go")
    tune.add_argument("--json", action="store_true", help="print tune.json")
