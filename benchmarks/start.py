"""How long a worker takes to read on, with ten million ids to remember, and how long it takes to save them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import harness, traffic
from benchmarks.harness import MIB, Facts, Row, fresh, resident, spread
from benchmarks.remembering import Remembering
from benchmarks.service import configured, run_worker
from benchmarks.traffic import Ends
from retrainer.bootstrap import Wiring
from retrainer.config.load import load
from retrainer.domain.join.fingerprints import fingerprint
from retrainer.domain.join.ingest import Progress, Remembered
from retrainer.ports.manifest.snapshots import NewSnapshot

REMEMBERED: Final = 10_000_000
_RECORDS: Final = 20_000


def run(servers: str, rounds: int) -> Sequence[Row]:
    """Make a state folder in which so many ids are remembered, then start on it again and again."""
    topics = traffic.stored(servers, _RECORDS)
    ends = traffic.ends(servers, topics)
    with harness.folder("start") as folder:
        config = str(configured(folder, servers, topics))
        fresh("benchmarks.start:worker", config=config, ends=ends)
        saved = fresh("benchmarks.start:save", config=config, remembered=REMEMBERED)
        starts = [fresh("benchmarks.start:worker", config=config, ends=[]) for _ in range(rounds)]

    def row(figure: str, name: str) -> Row:
        return Row("start", figure, spread([one[name] for one in starts], 1, " s"))

    ids = f"{REMEMBERED:,} ids remembered"
    return [
        row(f"from the start of the process to its first poll, {ids}", "polling"),
        row("of which until everything is imported", "importing"),
        Row("start", f"writing the snapshot ({saved['bytes'] / MIB:,.0f} MiB)", f"{saved['seconds']:.1f} s"),
        Row("start", "resident memory at its highest", spread([one["resident"] for one in starts], 0, " MiB")),
    ]


def worker(*, config: str, ends: Ends, began: float) -> Facts:
    """In a child: run a worker until everything is read, or until its first poll where there is nothing to read."""
    importing = time.monotonic() - began
    watch = run_worker(config, ends)
    return {"polling": watch.polls[0][0] - began, "importing": importing, "resident": resident()[1]}


def save(*, config: str, remembered: int, began: float) -> Facts:
    """In a child: put many ids into the newest snapshot, in the place of those that the worker remembers."""
    del began
    wiring = Wiring(load(Path(config), {}))
    worker = wiring.worker()
    parts, policy = worker.parts, worker.policy
    one = Remembering(remembered)
    one.fill()
    progress = {name: stored.progress for name, stored in parts.state.model_progress().items()}
    models = {model.model: _remembered(one, progress[model.model]) for model in policy.models}
    lease = parts.state.claim(policy.shard, "benchmark", wiring.clock.now())
    name = f"{lease.epoch:06d}-00000001.snapshot"
    started = time.monotonic()
    size = parts.snapshots.write(name, models)
    seconds = time.monotonic() - started
    positions = {at: stored.position for at, stored in parts.state.positions().items()}
    prints = {model.model: fingerprint(model) for model in policy.models}
    snapshot = NewSnapshot(name=name, positions=positions, fingerprints=prints, size=size)
    parts.state.register_snapshot(lease, snapshot, wiring.clock.now())
    return {"seconds": seconds, "bytes": size}


def _remembered(one: Remembering, progress: Progress) -> Remembered:
    return Remembered(progress=progress, newest={}, table=one.model.remember().table)
