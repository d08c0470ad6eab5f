"""What a round of deciding costs: a thousand models with twenty slices each, beside a round in which nothing is new.

The production controller on a real manifest (SQLite, every commit on the disk), in process. A round with news finds one
more closed slot of every model, with outcomes in every slice, and stores what it remembers of all of them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.harness import Row, report, say, spread
from retrainer.adapters.clock import SystemClock
from retrainer.adapters.manifest.database import Database
from retrainer.adapters.manifest.decisions import SqlDecisionState
from retrainer.adapters.manifest.ingest import SqlIngestState
from retrainer.adapters.memory.registry import MemoryRegistry
from retrainer.adapters.telemetry import NoTelemetry
from retrainer.bootstrap import Wiring
from retrainer.config.load import load
from retrainer.domain.join.ingest import ModelDelta, Progress
from retrainer.domain.tally.arrivals import DELAY, HIT, MISS, PREDICTED, ArrivalKey, width_of
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.values import SECOND, Slot, slot_of, slot_start
from retrainer.logs import configure, logger
from retrainer.ports.manifest.ingest import Flush
from retrainer.service.control.controller import Controller, ControllerParts

MODELS: Final = 1_000
SLICES: Final = 20
FIRST: Final = slot_of(1_700_000_000_000_000)
_HISTORIES: Final = (100, 400)
"""Slots that have been looked at before the rounds that are measured."""

_CONFIG: Final = """
kafka: {bootstrap_servers: "nowhere:9092"}
state: {database: "sqlite:///manifest.db"}
models:
"""
_MODEL: Final = """
  m%d:
    task: classification
    predictions: {topic: predictions}
    labels: {topic: labels}
    training: {estimator: sklearn.linear_model.LogisticRegression}
"""


def run(rounds: int) -> Sequence[Row]:
    """Alternate rounds with news and empty ones, after a short history and after a long one."""
    rows: list[Row] = []
    middle: dict[int, list[float]] = {}
    for history in _HISTORIES:
        with tempfile.TemporaryDirectory() as folder:
            bench = _Bench(Path(folder))
            bench.close_slots(history, sliced=False)
            bench.round()
            found = [(bench.empty(), bench.full()) for _ in range(rounds)]
            bench.close()
        empty, full = zip(*found, strict=True)
        middle[history] = list(full)
        say(f"after {history} slots: empty {spread(empty, 3, ' s')}, with news {spread(full, 3, ' s')}")
        what = f"{MODELS:,} models x {SLICES} slices, after {history} slots"
        rows.append(Row("rounds", f"{what}: a round with news", spread(full, 3, " s"), "< 1 s", max(full) < 1))
        rows.append(Row("rounds", f"{what}: an empty round", spread(empty, 3, " s")))
    ratios = [many / few for few, many in zip(*middle.values(), strict=True)]
    rows.append(Row("rounds", f"after {_HISTORIES[1]} slots / after {_HISTORIES[0]}", spread(ratios), "about 1"))
    return rows


class _Bench:
    def __init__(self, folder: Path) -> None:
        path = folder / "config.yaml"
        path.write_text(_CONFIG + "".join(_MODEL % number for number in range(MODELS)))
        models = Wiring(load(path, {})).models
        self._database = Database(f"sqlite:///{folder}/manifest.db")
        self._ingest = SqlIngestState(self._database)
        self._lease = self._ingest.claim("ingest", "bench", 0)
        self._open: Slot = FIRST
        self._known = False
        registry = MemoryRegistry()
        registry.aliases = {(model.name, "champion"): "1" for model in models}
        parts = ControllerParts(
            state=SqlDecisionState(self._database),
            registry=registry,
            jobs=_NoJobs(),  # type: ignore[arg-type]  # nothing is retrained here
            clock=SystemClock(),
            logger=logger(),
            telemetry=NoTelemetry(),
        )
        self._controller = _Still(models, parts, "bench", 1)
        self._names = [model.name for model in models]
        self._controller.run_once()
        self._controller.compare_aliases()

    def close_slots(self, slots: int, *, sliced: bool) -> None:
        """What a worker commits once some minutes are over."""
        cells = {key: n for slot in range(slots) for key, n in _cells(self._open + slot, sliced=sliced).items()}
        self._open += slots
        progress = Progress(watermark=slot_start(self._open), first_open=self._open)
        deltas = [ModelDelta(model=name, progress=progress, tallies=cells, counts={}) for name in self._names]
        rebuilt = {} if self._known else dict.fromkeys(self._names, "bench")
        self._known = True
        self._ingest.commit(Flush(lease=self._lease, at=0, moves={}, segment=None, deltas=deltas, rebuilt=rebuilt))

    def round(self) -> float:
        started = time.perf_counter()
        self._controller.run_once()
        return time.perf_counter() - started

    def empty(self) -> float:
        return self.round()

    def full(self) -> float:
        self.close_slots(1, sliced=True)
        return self.round()

    def close(self) -> None:
        self._controller.stop()
        self._database.close()


class _NoJobs:
    """There are none: every outcome is right."""


class _Still(Controller):
    """Without the threads that look after aliases and files."""

    def _watch_aliases(self) -> None:
        return

    def _keep_house(self) -> None:
        return


def _cells(slot: Slot, *, sliced: bool) -> Mapping[TallyKey, int]:
    parts = [WHOLE, *(f"carrier={number}" for number in range(SLICES if sliced else 0))]
    pairs = {("late", "late"): 30, ("on_time", "on_time"): 60, ("late", "on_time"): 5, ("on_time", "late"): 5}
    outcomes = {TallyKey("1", part, slot, *pair): n for part in parts for pair, n in pairs.items()}
    born = slot // width_of(3 * 86_400 * SECOND)
    arrived = {(PREDICTED, born): 100, (HIT, born): 90, (MISS, born): 10, (DELAY, 30): 100}
    return {**outcomes, **{ArrivalKey("1", slot, kind, at).in_tallies: n for (kind, at), n in arrived.items()}}


def main() -> None:
    """Print the table."""
    configure("json", "info", Path(os.devnull).open("w"))  # noqa: SIM115  open as long as the process
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    print(report(run(parser.parse_args().rounds)))


if __name__ == "__main__":
    main()
