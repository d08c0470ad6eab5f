"""A replay holds little more than its table: twice that, whatever the number of rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
import pytest

FEW, MANY = 300_000, 1_000_000
CONFIG = """\
kafka: {bootstrap_servers: "localhost:9092"}
models:
  m:
    task: classification
    predictions: {topic: p}
    labels: {topic: l}
    training: {estimator: sklearn.dummy.DummyClassifier, rows: {last: 10000}}
"""
COMMAND = """\
import sys
from retrainer.cli import main
assert main(sys.argv[1:]) == 0
status = open("/proc/self/status").read()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the highest memory is read from /proc")
@pytest.mark.parametrize("kind", [pytest.param("csv", marks=pytest.mark.slow), "parquet"])
def test_more_rows_take_at_most_twice_their_own_memory(tmp_path: Path, kind: str) -> None:
    few, many = (_highest(tmp_path, rows, kind) for rows in (FEW, MANY))
    more = _table(MANY).nbytes - _table(FEW).nbytes
    assert many - few < 2 * more


def _table(rows: int) -> pa.Table:
    """Decimals of few digits, so that writing and reading text is quick."""
    random = np.random.default_rng(0)
    columns = {f"x{number}": random.integers(0, 999, rows) / 8 for number in range(10)}
    return pa.table({**columns, "y": random.integers(0, 2, rows)})


def _highest(folder: Path, rows: int, kind: str) -> int:
    """The most memory, in bytes, that a process has held that did nothing but the command."""
    config, path = folder / "config.yaml", folder / f"{rows}.{kind}"
    config.write_text(CONFIG)
    (pq.write_table if kind == "parquet" else pc_csv.write_csv)(_table(rows), path)
    words = [
        "replay",
        str(config),
        "--table",
        str(path),
        "--label",
        "y",
        "--every",
        "50ms",
        "--warm",
        "10000",
        "--out",
        str(folder / "out"),
    ]
    ran = subprocess.run(
        [sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, check=True, timeout=120
    )
    return 1024 * int(ran.stdout.splitlines()[-1])
