"""Training: the rows that a candidate learns from, and the process that learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal, Protocol

from retrainer.domain.answers import Score
from retrainer.domain.values import Micros
from retrainer.ports.clock import Stopped


@dataclass(frozen=True, kw_only=True)
class DatasetRow:
    """One outcome with the features that its prediction was made from, and the score that came with it."""

    id: str
    predicted_at: Micros
    known_at: Micros
    label: str
    prediction: str
    version: str
    features: Mapping[str, object]
    score: Score | None = None


class Datasets(Protocol):
    """Writes the rows that a candidate learns from."""

    def write(self, path: Path, rows: Sequence[DatasetRow]) -> str:
        """Write a Parquet file with the columns of `DatasetColumn` and the features; its SHA-256."""
        ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a training process may use. `memory` in bytes, resident, over its whole process group."""

    time: timedelta
    memory: int
    cpus: int


@dataclass(frozen=True, kw_only=True)
class TrainingEnded:
    """How a training process ended. `killed` says which limit or person ended it; its last words help a reader."""

    exit_code: int
    killed: Literal["time", "memory", "stop"] | None = None
    last_words: str = ""
    peak_memory: int = 0


class Trainers(Protocol):
    """Runs training processes, each alone in its job's folder."""

    def train(self, folder: Path, limits: Limits, stopped: Stopped) -> TrainingEnded:
        """Run the order in `folder/spec.json` to its end; kills the whole process group on a limit or a stop.

        A process whose caller dies, by any signal, ends by itself.
        """
        ...
