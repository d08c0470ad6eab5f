"""What the service needs from the world outside, one small protocol each.

Every adapter raises `Unreachable` when its world cannot be reached right now, and `Refused` when going on would
break a promise. `retrainer/adapters/memory/event_log.py` has an in-memory twin of each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal, Protocol

from retrainer.domain.answers import Score
from retrainer.domain.batches import Columns, RecordBatch
from retrainer.domain.events import Partition
from retrainer.domain.join.ingest import Remembered
from retrainer.domain.values import Micros

Start = Literal["earliest", "latest"] | datetime | timedelta
"""Where the first start begins: an end of the log, a moment, or so long ago (by Kafka's own timestamps)."""


MERGED: Final = "c-"
"""How the names of files begin that the controller made of many segments; no name that a worker gives begins so."""


class Clock(Protocol):
    """Wall and monotonic time."""

    def now(self) -> Micros:
        """The present moment, in microseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What a partition holds: offsets `first` (inclusive) to `end` (exclusive)."""

    first: int
    end: int


class EventLog(Protocol):
    """The topics, read by positions that the caller keeps. Not thread-safe."""

    def describe(self, topics: Sequence[str]) -> Mapping[Partition, str]:
        """Every partition of the topics with its topic's id (empty where the broker has none).

        Raises:
            Unreachable: no broker answers, or a topic does not exist (yet).
        """
        ...

    def starting_positions(self, partitions: Sequence[Partition], start: Start) -> Mapping[Partition, int]:
        """The position at which each partition's first start begins."""
        ...

    def extents(self, partitions: Sequence[Partition]) -> Mapping[Partition, Extent]:
        """What each partition holds now, as the broker says."""
        ...

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Read exactly these partitions from exactly these positions on; replaces what was assigned before."""
        ...

    def poll(self, timeout: float, /) -> Sequence[RecordBatch]:
        """The next records, in offset order within each partition; none after `timeout` seconds without any.

        No batch is empty.

        Raises:
            Unreachable: no broker has answered for some seconds; polling again goes on where it stopped.
            PositionLost: a position lies outside what its partition holds.
        """
        ...

    def hold(self, partitions: Collection[Partition]) -> None:
        """Read nothing more from just these partitions until told otherwise; `assign` forgets it."""
        ...

    def ends(self) -> Mapping[Partition, int]:
        """The end of each assigned partition as of now; a partition whose end is not known is left out."""
        ...

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Tell the group's committed offsets, for lag tools only: in the background, failures are swallowed."""
        ...

    def close(self) -> None:
        """Leave; no call may follow. Takes at most a few seconds."""
        ...


class Decoder(Protocol):
    """From the bytes of records to documents, or to columns of what stands at certain paths in them."""

    def decode(self, value: bytes, /) -> object:
        """The document.

        Raises:
            Unusable: the bytes are no document; the message says why.
        """
        ...

    def columns(self, paths: Sequence[str], /) -> Callable[[Sequence[bytes | None]], tuple[Columns, Collection[int]]]:
        """A reader of many values at once: path to column, and which values the columns say nothing of.

        A column holds what `decode` would have found at its path, and None where it would have found nothing. The empty
        path is the whole document. Values that `decode` refuses are among those that the columns say nothing of.
        """
        ...


class Segments(Protocol):
    """Immutable batches of records: packed into bytes, and kept as files where they are too large for a row."""

    def pack(self, batches: Sequence[RecordBatch], /) -> bytes: ...

    def unpack(self, content: bytes, /) -> Sequence[RecordBatch]:
        """The records in the order in which they were packed; neighbours of one partition are one batch."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Durable once this returns; never visible in part. A name is written once and its bytes never change."""
        ...

    def read(self, name: str) -> bytes: ...

    def remove(self, name: str) -> None:
        """Remove a file that nothing needs any more; fine where it is gone already."""
        ...

    def sweep(self, known: Collection[str], *, epoch: int, prefix: str = "") -> Sequence[str]:
        """Remove what interrupted writes left, and files that no manifest knows; says which.

        Only files named `PREFIX EPOCH -...` (without the spaces) with at most this epoch: another's, and those of
        whoever took the lease over, may be about to be registered.
        """
        ...


class Snapshots(Protocol):
    """Copies of what a worker remembers, in files. Writing and reading take no second copy of it in memory."""

    def write(self, name: str, models: Mapping[str, Remembered]) -> int:
        """Durable once this returns, and never visible in part; its size in bytes."""
        ...

    def read(self, name: str) -> Mapping[str, Remembered]:
        """What was written, for the caller to keep.

        Raises:
            Refused: it is not there, or not as it was written.
        """
        ...

    def sweep(self, known: Collection[str], *, epoch: int) -> Sequence[str]:
        """As that of `Segments`."""
        ...


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
        """Write a Parquet file with the columns of `domain.training.Column` and the features; its SHA-256."""
        ...


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """One job as the experiment tracker is to show it."""

    job_id: str
    model: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    dataset: Path
    """A Parquet file; it is described (schema, profile, digest) and uploaded."""
    dataset_digest: str
    files: Path | None = None
    """A folder whose files are uploaded as they are (verdict.json, plots, the model card)."""
    succeeded: bool = True


class Registry(Protocol):
    """The experiment tracker and model registry. Every write may be repeated: it is found again by the job's id."""

    def prepare(self) -> None:
        """Connect; create the experiment where it is missing."""
        ...

    def version_at(self, model: str, alias: str) -> str | None:
        """The version that an alias names; None where there is no such model or alias."""
        ...

    def point(self, model: str, alias: str, version: str) -> None:
        """Move an alias."""
        ...

    def unpoint(self, model: str, alias: str) -> None:
        """Remove an alias; fine where there is none."""
        ...

    def fetch_model(self, model: str, version: str, folder: Path) -> None:
        """The version's files, in MLflow's model format, into a folder that does not exist yet."""
        ...

    def record_run(self, report: RunReport) -> str:
        """One finished run for a job; the run's id. Called again for the same job it completes that run."""
        ...

    def register(self, model: str, job_id: str, run_id: str, folder: Path, tags: Mapping[str, str]) -> str:
        """A new version from a folder in MLflow's model format; called again for the same job, the same version."""
        ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a training process may use. `memory` in bytes, resident, over its whole process group."""

    time: timedelta = timedelta(minutes=20)
    memory: int = 4 * 2**30
    cpus: int = 1


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


class Stopped(Protocol):
    """Whether the caller wants to stop (`threading.Event.is_set` and `wait` fit)."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float | None = None) -> bool: ...


class Timetable(Protocol):
    """When a schedule fires; pure, so that a replay's clock serves as well."""

    def next_after(self, moment: datetime) -> datetime | None:
        """The first fire time strictly after a moment."""
        ...


class Memory(Protocol):
    """The memory of this process."""

    def resident(self) -> int:
        """Bytes that are resident now; 0 where nobody can say."""
        ...


class Background(Protocol):
    """One piece of work at a time, beside the caller's own."""

    @property
    def is_begun(self) -> bool:
        """Whether there is work that was not finished yet with `finish`."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether that work has come to its end."""
        ...

    def start(self, work: Callable[[], None], /) -> None:
        """Begin; nothing else may be begun."""
        ...

    def finish(self) -> None:
        """Wait for its end; raises what it raised."""
        ...

    def close(self) -> None:
        """No call may follow. Waits for what is under way, and swallows its failure."""
        ...


class Heart(Protocol):
    """Tells whoever watches this process from outside that its main loop still goes round."""

    def beat(self) -> None:
        """Never waits and never fails; cheap enough for every round."""
        ...


class Disk(Protocol):
    """The disk under the state, and a reserve on it that can be given up when it is full. Raises nothing."""

    def free(self) -> int:
        """Bytes that this process may still write; a lot where nobody can say."""
        ...

    def total(self) -> int:
        """The size of the disk in bytes; 0 where nobody can say."""
        ...

    def reserve(self, size: int) -> bool:
        """Put so many bytes aside, if they are not yet; whether they are now."""
        ...

    def release(self) -> bool:
        """Give up what was put aside; whether there was anything."""
        ...


class Role(Protocol):
    """A running process of the service."""

    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that killed it."""
        ...

    def beats(self) -> int:
        """How many heartbeats its main loop has given so far."""
        ...

    def cpu_seconds(self) -> float:
        """The processor time that it has used so far; 0 once it has ended."""
        ...

    def ask_to_stop(self) -> None: ...

    def kill(self) -> None:
        """End it at once, even if it is stopped or hangs."""
        ...


class Roles(Protocol):
    """Starts the service's own processes. One whose starter dies, by any signal, stops by itself."""

    def start(self, name: str) -> Role: ...
