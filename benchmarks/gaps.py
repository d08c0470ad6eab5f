"""How long a worker that has much to read does not poll, beside how long the same disk takes for an fsync."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from benchmarks import disk, harness, traffic
from benchmarks.harness import Facts, Row, fresh, percentile, say, spread
from benchmarks.service import Manifest, configured, run_worker
from benchmarks.traffic import Ends

_IDLE_SECONDS = 5.0
_LONGEST = 600.0


def run(servers: str, records: int, rounds: int) -> Sequence[Row]:
    """The longest gap of each round, with fsync measured meanwhile by this process."""
    topics = traffic.stored(servers, records)
    ends = traffic.ends(servers, topics)
    runs = []
    for number in range(rounds):
        with harness.folder("gaps") as folder:
            config = configured(folder, servers, topics)
            runs.append(_one(config, ends))
            Manifest(config).check(records, ends)
        words = ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in runs[-1].items())
        say(f"round {number + 1}: {words}")

    def row(figure: str, name: str) -> Row:
        return Row("gaps", figure, spread([1000 * one[name] for one in runs], 0, " ms"))

    return [
        row("longest gap between two polls with a commit in it, much to read", "longest"),
        row("median of those gaps", "usual"),
        row("longest gap between two polls without a commit", "reading"),
        row("99th percentile of fsync (4 KiB) on the same disk meanwhile", "fsync"),
        row("the same while nothing else writes", "fsync_idle"),
    ]


def _one(config: Path, ends: Ends) -> Facts:
    idle = disk.syncs(config.parent, threading.Event(), _IDLE_SECONDS)
    done, busy = threading.Event(), list[float]()
    writer = threading.Thread(target=lambda: busy.extend(disk.syncs(config.parent, done, _LONGEST)))
    writer.start()
    try:
        facts = fresh("benchmarks.gaps:worker", config=str(config), ends=ends)
    finally:
        done.set()
        writer.join()
    return {**facts, "fsync": percentile(busy, 0.99), "fsync_idle": percentile(idle, 0.99)}


def worker(*, config: str, ends: Ends, began: float) -> Facts:
    """In a child: run a worker until everything is read; when it did not poll, in seconds."""
    del began
    watch = run_worker(config, ends)
    committing = [gap for gap, has_commit in watch.gaps() if has_commit]
    reading = [gap for gap, has_commit in watch.gaps() if not has_commit]
    return {"longest": max(committing), "usual": percentile(committing, 0.5), "reading": max(reading)}
