"""What the command line asks of a replay over a table, and what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from retrainer.config.quantities import DURATION_PATTERN, parse_duration
from retrainer.domain.values import SECOND, Micros, duration
from retrainer.errors import ConfigError, RetrainerError

_DURATION: Final = re.compile(DURATION_PATTERN)


class WrongOption(ConfigError):
    """An option of the command line cannot be used."""

    def __init__(self, message: str) -> None:
        RetrainerError.__init__(self, message)
        self.problems = ()


@dataclass(frozen=True, kw_only=True)
class Warm:
    """How much of the table, from its beginning, version 1 learns from: a share or a number of rows."""

    share: Fraction | None = Fraction(1, 10)
    rows: int = 0

    def of(self, total: int) -> int:
        """Rows of a table with `total` of them; a share is rounded down."""
        return self.rows if self.share is None else int(self.share * total)


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """How a table is read as a stream.

    Attributes:
        label: the column to be predicted; drop: columns that are no features.
        time: the column with each row's time; without one rows are `every` apart.
        label_delay: how long after its row a label arrives, or the column with the seconds of that.
        training_takes: how long a job lasts on the replay's clock.
    """

    path: Path
    label: str
    drop: tuple[str, ...] = ()
    time: str | None = None
    every: Micros = SECOND
    label_delay: Micros | str = 0
    warm: Warm = Warm()
    training_takes: Micros = 0


def warm_of(text: str) -> Warm:
    """A fraction below 1, or a whole number of rows.

    Raises:
        WrongOption: it is neither.
    """
    try:
        number = Fraction(text)
    except (ValueError, ZeroDivisionError):
        number = Fraction(-1)
    if 0 < number < 1:
        return Warm(share=number)
    if number >= 1 and number.denominator == 1 and "." not in text:
        return Warm(share=None, rows=int(number))
    raise WrongOption(f'--warm: expected a fraction between 0 and 1 or a number of rows, got "{text}"')


def span_of(option: str, text: str, *, least: Micros = 0) -> Micros:
    """A duration in microseconds.

    Raises:
        WrongOption: it is none, or shorter than the least.
    """
    try:
        found = duration(parse_duration(text))
    except ValueError as error:
        raise WrongOption(f'{option}: {error}, got "{text}"') from error
    if found < least:
        raise WrongOption(f'{option}: expected a duration above 0, got "{text}"')
    return found


def delay_of(text: str) -> Micros | str:
    """A duration, or else the name of a column."""
    return span_of("--label-delay", text) if _DURATION.fullmatch(text) else text


def policies_of(texts: list[str]) -> dict[str, Path]:
    """NAME=FILE for each policy that is compared.

    Raises:
        WrongOption: one is not written so, or a name comes twice.
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if not (name and equals and file):
            raise WrongOption(f'--policy: expected NAME=FILE, got "{text}"')
        if name in found:
            raise WrongOption(f"--policy: the name {name} is given twice")
        found[name] = Path(file)
    return found
