"""What an event costs when few ids are remembered and when many are, and what ten million take in memory.

In process, without Kafka: from the bytes of records to the sums that a commit stores.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from benchmarks.harness import Facts, Row, fresh, resident, say, spread
from benchmarks.remembering import BATCH, Remembering
from retrainer.domain.batches import RecordBatch

SIZES: Final = (1_000, 1_000_000, 10_000_000)
EVENTS: Final = 500_000
_EVENTS_A_COMMIT: Final = 100_000
_FLUSH_BYTES: Final = 64 * 2**20
_WARM_UP: Final = 50_000
_MOST_MEMORY: Final = 1024


def run(rounds: int) -> Sequence[Row]:
    """Alternate the sizes."""
    costs: dict[int, list[float]] = {size: [] for size in SIZES}
    for number in range(rounds):
        for size in SIZES:
            costs[size].append(fresh("benchmarks.remembered:cost", remembered=size, events=EVENTS)["ns"])
        say(f"round {number + 1}: " + ", ".join(f"{size:,}: {costs[size][-1]:.0f} ns" for size in SIZES))
    rows = [Row("remembered", f"an event with {n:,} ids remembered", spread(costs[n], 0, " ns")) for n in SIZES]
    for size in SIZES[1:]:
        ratios = [many / few for many, few in zip(costs[size], costs[SIZES[0]], strict=True)]
        rows.append(Row("remembered", f"the same, {size:,} ids / {SIZES[0]:,}", spread(ratios), "about 1"))
    return [*rows, *_memory(fresh("benchmarks.remembered:memory", remembered=SIZES[-1]))]


def cost(*, remembered: int, events: int, began: float) -> Facts:
    """In a child: the nanoseconds of an event, commits' share included, the making of the records not."""
    del began
    one = Remembering(remembered)
    one.fill()
    _timed(one, _WARM_UP)
    return {"ns": _timed(one, events) / events * 1e9, "remembered": len(one.model.table)}


def memory(*, remembered: int, began: float) -> Facts:
    """In a child: what a worker's process takes, with everything that it imports, before and in its largest commit."""
    del began
    import retrainer.bootstrap  # noqa: F401  what a worker imports
    from retrainer.adapters.files.segments import LocalSegments

    empty, _ = resident()
    one = Remembering(remembered)
    one.fill()
    filled, filling = resident()
    held: list[RecordBatch] = []
    for pair in one.pairs(10**9):
        one.take(pair)
        held += pair
        if sum(batch.size for batch in held) >= _FLUSH_BYTES:
            break
    one.flush()
    content = LocalSegments.pack(LocalSegments.__new__(LocalSegments), held)
    return {
        "remembered": len(one.model.table),
        "empty": empty,
        "filled": filled,
        "filling": filling,
        "highest": resident()[1],
        "segment": len(content),
    }


def _timed(one: Remembering, events: int) -> float:
    spent = 0.0
    since = 0
    for pair in one.pairs(events):
        started = time.perf_counter()
        one.take(pair)
        since += 2 * BATCH
        if since >= _EVENTS_A_COMMIT:
            one.flush()
            since = 0
        spent += time.perf_counter() - started
    return spent


def _memory(facts: Facts) -> list[Row]:
    def row(figure: str, name: str, *, promised: bool) -> Row:
        wanted = f"below {_MOST_MEMORY} MiB" if promised else ""
        kept = facts[name] < _MOST_MEMORY if promised else None
        return Row("remembered", figure, f"{facts[name]:,.0f} MiB", wanted, kept)

    many = f"{facts['remembered']:,} ids remembered"
    return [
        row("resident, a worker with nothing remembered", "empty", promised=False),
        row(f"resident, {many}", "filled", promised=True),
        row("the highest until then", "filling", promised=True),
        row("the highest, with a commit of 64 MiB of records", "highest", promised=True),
    ]
