"""What the command line asks of a tuning."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from math import inf, isfinite

from retrainer.replay.command import table_options
from retrainer.replay.options import TableOptions, WrongOption


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """What is asked.

    Attributes:
        price: of a retraining, in the unit of the metric times rows.
        trials: of each search.
        seconds: for all searches together; infinite without a limit.
        folds: how many stretches are played with what was found before them.
    """

    table: TableOptions
    price: float
    trials: int
    seconds: float
    folds: int
    seed: int


def tune_options(options: argparse.Namespace) -> TuneOptions:
    """What was asked for.

    Raises:
        WrongOption: it cannot be meant so.
    """
    return TuneOptions(
        table=table_options(options),
        price=_number("--price", options.price, "a number that is not below 0"),
        trials=_count("--trials", options.trials, least=1),
        seconds=inf if options.minutes is None else 60 * _number("--minutes", options.minutes, "minutes above 0"),
        folds=_count("--folds", options.folds, least=1),
        seed=_count("--seed", options.seed, least=0),
    )


def _number(option: str, text: str, expected: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not isfinite(found) or found < 0 or (not found and "above" in expected):
        raise WrongOption(f'{option}: expected {expected}, got "{text}"')
    return found


def _count(option: str, text: str, *, least: int) -> int:
    if text.isdecimal() and least <= int(text) < 2**32:
        return int(text)
    raise WrongOption(f'{option}: expected a whole number of at least {least}, got "{text}"')
