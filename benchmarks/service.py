"""A real worker of a real configuration. It is watched through its log of events; nothing else is touched."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from cProfile import Profile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from unittest import mock

import psutil

from benchmarks.harness import ROOT, Failed, resident
from benchmarks.traffic import MODEL, Ends, Topics
from retrainer.bootstrap import Wiring
from retrainer.cli import main
from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Partition
from retrainer.ports.event_log import EventLog, Extent, Start
from retrainer.service.ingest.worker import Worker

# Every default, beside what any owner has to say; two slices; the first start at the beginning; little talk.
_CONFIG: Final = """
service: {{log: {{level: warning}}}}
kafka: {{bootstrap_servers: "{servers}", start: earliest}}
models:
  {model}:
    task: classification
    predictions: {{topic: {predictions}, where: {{model: {model}}}}}
    labels: {{topic: {labels}}}
    slices: [carrier, {{name: long_haul, when: "distance > 1500"}}]
    training: {{estimator: sklearn.ensemble.HistGradientBoostingClassifier}}
"""
_DATABASE: Final = Path("state", "retrainer.db")


def configured(folder: Path, servers: str, topics: Topics) -> Path:
    """A configuration in an empty folder; its state will lie beside it."""
    path = folder / "config.yaml"
    path.write_text(_CONFIG.format(servers=servers, model=MODEL, **topics._asdict()))
    return path


class Watch:
    """When a worker polls, and when it commits; monotonic seconds."""

    def __init__(self, stop: Callable[[], None], ends: Ends) -> None:
        """`stop` is called after the first poll by which everything up to these ends has been read."""
        self.polls: list[tuple[float, float, int]] = []
        """When each began, when it ended, how many records it brought."""
        self.commits: list[float] = []
        """When each commit was durable."""
        self._stop = stop
        self._stopped = False
        self._missing = {(topic, number): end for topic, number, end in ends}

    def polled(self, began: float, batches: Sequence[RecordBatch]) -> None:
        """A poll has ended."""
        self.polls.append((began, time.monotonic(), sum(len(batch.offsets) for batch in batches)))
        for batch in batches:
            if batch.next_offset >= self._missing.get(batch.partition, batch.next_offset + 1):
                del self._missing[batch.partition]
        if not self._missing and not self._stopped:
            self._stopped = True
            self._stop()

    def committed(self) -> None:
        """The manifest has just been written."""
        self.commits.append(time.monotonic())

    def gaps(self) -> Iterator[tuple[float, bool]]:
        """The seconds between the end of each poll and the beginning of the next, and whether a commit lay there."""
        for (_, ended, _), (began, _, _) in pairwise(self.polls):
            first = bisect_left(self.commits, ended)
            yield began - ended, first < len(self.commits) and self.commits[first] < began


class WatchedLog:
    """`EventLog` that tells a watch what it is asked for. `commit_offsets` comes right after the commit itself."""

    def __init__(self, log: EventLog, watch: Watch) -> None:
        self._log = log
        self._watch = watch

    def describe(self, topics: Sequence[str]) -> Mapping[Partition, str]:
        return self._log.describe(topics)

    def starting_positions(self, partitions: Sequence[Partition], start: Start) -> Mapping[Partition, int]:
        return self._log.starting_positions(partitions, start)

    def extents(self, partitions: Sequence[Partition]) -> Mapping[Partition, Extent]:
        return self._log.extents(partitions)

    def assign(self, positions: Mapping[Partition, int]) -> None:
        self._log.assign(positions)

    def poll(self, timeout: float, /) -> Sequence[RecordBatch]:
        began = time.monotonic()
        batches = self._log.poll(timeout)
        self._watch.polled(began, batches)
        return batches

    def pause(self, partitions: Collection[Partition]) -> None:
        self._log.pause(partitions)

    def ends(self) -> Mapping[Partition, int]:
        return self._log.ends()

    def commit_offsets(self, positions: Mapping[Partition, int]) -> None:
        self._watch.committed()
        self._log.commit_offsets(positions)

    def close(self) -> None:
        self._log.close()


def run_worker(config: str, ends: Ends, profile: Profile | None = None) -> Watch:
    """`retrainer worker CONFIG` in this process, in its main thread.

    It is told to stop when it has read so far, or after its first poll if there is nothing to read; it commits at once.
    """
    watch = Watch(lambda: signal.raise_signal(signal.SIGTERM), ends)
    make = Wiring.worker

    def worker(wiring: Wiring) -> Worker:
        made = make(wiring)
        made.parts = replace(made.parts, event_log=WatchedLog(made.parts.event_log, watch))
        return made

    with mock.patch.object(Wiring, "worker", worker):
        command = ["worker", config]
        code = profile.runcall(main, command) if profile else main(command)
    if code:
        raise Failed(f"the worker ended with code {code}")
    return watch


@contextmanager
def running(config: Path) -> Iterator[None]:
    """`retrainer worker CONFIG` beside us."""
    command = [sys.executable, "-m", "retrainer", "worker", str(config)]
    with (config.parent / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def used() -> dict[str, float]:
    """What this process has used: CPU seconds of the main thread and of all others, resident MiB at the highest."""
    process = psutil.Process()
    whole = process.cpu_times()
    main = next(thread for thread in process.threads() if thread.id == process.pid)
    on_main = main.user_time + main.system_time
    # Threads that have ended are in the whole alone.
    return {"cpu_main": on_main, "cpu_others": whole.user + whole.system - on_main, "resident": resident()[1]}


class Manifest:
    """What a worker's database says, read as any other process would."""

    def __init__(self, config: Path) -> None:
        self._path = config.parent / _DATABASE

    def joined(self) -> int:
        """How many predictions have their label; 0 before there is a database."""
        try:
            return self.counts().get(("predictions", "joined"), 0)
        except sqlite3.OperationalError:
            return 0

    def counts(self) -> dict[tuple[str, str], int]:
        """By side and what became of the events."""
        found = self._rows("SELECT side, status, n FROM counts")
        return {(side, status): n for side, status, n in found if n}

    def check(self, records: int, ends: Ends) -> None:
        """Raises: Failed: not every record is joined, tallied, committed."""
        wanted = {(side, "consumed"): records for side in ("predictions", "labels")}
        wanted |= {("predictions", "joined"): records, ("labels", "applied"): records}
        if (found := self.counts()) != wanted:
            raise Failed(f"expected the counts {wanted}, found {found}")
        positions = self._rows("SELECT topic, partition, position FROM positions")
        if sorted(positions) != sorted(map(tuple, ends)):
            raise Failed(f"expected the positions {ends}, found {positions}")
        # Of outcomes, not the sums of their scores.
        query = "SELECT slice, sum(n) FROM tallies WHERE substr(truth, 1, 1) <> char(31) GROUP BY slice"
        tallied = dict(self._rows(query))
        carriers = sum(n for part, n in tallied.items() if part.startswith("carrier="))
        if tallied.get("") != records or carriers != records or not 0 < tallied.get("long_haul", 0) < records:
            raise Failed(f"the tallies of {records} outcomes are {tallied}")

    def _rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()
