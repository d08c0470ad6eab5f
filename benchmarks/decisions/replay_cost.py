"""What a replay costs beside the estimator's own work: its share of the time, rows a second, the highest memory.

    python -m benchmarks.decisions.replay_cost --data FOLDER [--rows 3000000]

FOLDER holds elec2.csv, weather_noaa.csv and powersupply.csv: each of their rows is a slot of its own, which is the most
that a replay can cost. Each measurement is a process of its own; it prints a table in Markdown. docs/benchmarks.md has
the figures, and what is counted as a table's memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq

from benchmarks.decisions import worlds
from benchmarks.decisions.replays import BOOSTING, CONFIG
from benchmarks.harness import MIB, Row, fresh, report, resident, say
from retrainer.config.load import load as load_config
from retrainer.domain.values import SECOND
from retrainer.policies import model_policy
from retrainer.replay.options import TableOptions, Warm
from retrainer.replay.table.engine import Played, play
from retrainer.replay.table.table import load as load_table

REAL: Final = ("elec2", "powersupply", "noaa")
ROWS_A_SLOT: Final = (100, 1000)
LEARNT: Final = 20_000
"""Rows that the trivial estimator learns from: what a fit takes is not the replay's."""
TRIVIAL: Final = f"{{estimator: sklearn.dummy.DummyClassifier, rows: {{last: {LEARNT}}}}}"
FEATURES: Final = 10
MINUTE: Final = 60 * SECOND


def share(*, name: str, data: str, began: float) -> dict[str, Any]:
    """The share of fit and predict in the replay of one real table, and what the rest costs by row."""
    del began
    world = worlds.real(Path(data))[name]
    frame = world.frame(0)
    with tempfile.TemporaryDirectory() as made:
        path = Path(made, "stream.parquet")
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
        options = TableOptions(
            path=path, label=str(frame.columns[-1]), every=world.every, warm=Warm(share=None, rows=len(frame) // 10)
        )
        seconds, played = _timed(options, CONFIG.format(max_delay="", training=BOOSTING))
    spent, rows = played.costs.fit + played.costs.predict, len(frame) - len(frame) // 10
    return {"share": spent / seconds, "a_row": (seconds - spent) / rows, "rows": rows, "jobs": len(played.jobs)}


def pace(*, path: str, a_slot: int, began: float) -> dict[str, Any]:
    """Rows a second with the trivial estimator, and the highest memory."""
    del began
    options = TableOptions(path=Path(path), label="y", every=MINUTE // a_slot, warm=Warm(share=None, rows=LEARNT))
    seconds, played = _timed(options, CONFIG.format(max_delay="", training=TRIVIAL))
    return {"pace": (len(played.table) - LEARNT) / seconds, "peak": resident()[1], "jobs": len(played.jobs)}


def _timed(options: TableOptions, config: str) -> tuple[float, Played]:
    with tempfile.TemporaryDirectory() as made:
        path = Path(made, "retrainer.yaml")
        path.write_text(config)
        policy = model_policy(load_config(path, {}).settings.models["model"])
    table = load_table(options)
    began = time.perf_counter()
    played = play(policy, table, 0)
    return time.perf_counter() - began, played


def made(folder: Path, rows: int) -> pa.Table:
    """So many rows, in folder/big.parquet and folder/big.csv; the beginning of them in folder/small.parquet."""
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {f"x{number}": random.normal(size=rows) for number in range(FEATURES)}
    found = pa.table({**columns, "y": (random.random(rows) < 0.3).astype(np.int64)})
    pq.write_table(found, folder / "big.parquet")
    pc_csv.write_csv(found, folder / "big.csv")
    pq.write_table(found.slice(0, 2 * LEARNT), folder / "small.parquet")
    return found


def rows_of(data: Path, rows: int) -> Sequence[Row]:
    """Every figure."""
    found = []
    for name in REAL:
        say(name)
        one = fresh("benchmarks.decisions.replay_cost:share", name=name, data=str(data.resolve()))
        told = (
            f"{one['share']:.0%}; the rest {one['a_row'] * 1e6:.0f} us a row ({one['rows']} rows, {one['jobs']} jobs)"
        )
        found.append(Row("replay", f"{name}: in fit and predict", told, "90 %", one["share"] >= 0.9))
    with tempfile.TemporaryDirectory() as folder:
        table, where = made(Path(folder), rows), "benchmarks.decisions.replay_cost:pace"
        least = fresh(where, path=f"{folder}/small.parquet", a_slot=1000)["peak"]
        for a_slot in ROWS_A_SLOT:
            say(f"{a_slot} rows a slot")
            one = fresh(where, path=f"{folder}/big.parquet", a_slot=a_slot)
            told = f"{one['pace']:,.0f} rows/s"
            found.append(Row("replay", f"trivial, {a_slot} rows a slot", told, "200,000", one["pace"] >= 200_000))
            found.append(_of_memory("Parquet", one["peak"] - least, table.nbytes / MIB))
        one = fresh(where, path=f"{folder}/big.csv", a_slot=1000)
        found.append(_of_memory("CSV", one["peak"] - least, table.nbytes / MIB))
    return found


def _of_memory(kind: str, peak: float, own: float) -> Row:
    told = f"{peak:.0f} MiB, {peak / own:.2f} times its {own:.0f} MiB"
    return Row("replay", f"highest memory, {kind}", told, "2 times", peak <= 2 * own)


def main() -> None:
    """Print the figures as Markdown."""
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--data", type=Path, required=True)
    read.add_argument("--rows", type=int, default=3_000_000)
    given = read.parse_args()
    print(report(rows_of(given.data, given.rows)))


if __name__ == "__main__":
    main()
