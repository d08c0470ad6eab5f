"""Every error that retrainer raises on purpose, and the exit codes. The root tells our errors from accidents."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What every process of retrainer ends with."""

    DONE = 0
    FAILED = 1
    """While it was running."""
    WRONG = 2
    """The configuration, or the command line."""
    OUTSIDE = 3
    """Something outside cannot be reached or used; of a role: it refuses to go on, and another start would not help."""
    NO = 4
    """The answer is no: a candidate was rejected, a request was held."""


class RetrainerError(Exception):
    """Something went wrong inside retrainer."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class Unreachable(RetrainerError):
    """Something outside cannot be reached right now; trying again later may succeed."""


class Refused(RetrainerError):
    """Going on would break a promise; a person has to decide."""


class Fenced(RetrainerError):
    """Another process owns this shard or lease now; whatever this one still holds must be dropped."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong with a configuration file: where, which key, what was expected."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key + ': ' if self.key else ''}{self.message}"


class ConfigError(RetrainerError):
    """The configuration cannot be used."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)) or None)


class PositionLost(RetrainerError):
    """A position lies outside what its partition holds.

    Attributes:
        positions: partition (as text) to the position that was asked for.
    """

    def __init__(self, positions: dict[str, int]) -> None:
        self.positions = positions
        super().__init__(f"outside what the partition holds: {positions}")
