"""What the benchmarks share: fresh processes, medians and spreads, the machine, a table in Markdown."""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

ROOT: Final = Path(__file__).parents[1]
_PACKAGES: Final = ("kafka-python", "numpy", "msgspec", "pyarrow", "SQLAlchemy")
_IN_MEMORY: Final = ("tmpfs", "ramfs")
MIB: Final = 2**20

Facts = Mapping[str, Any]
"""What a child process measured."""


class Row(NamedTuple):
    """One line of the results. `kept` is None where nothing is promised."""

    bench: str
    figure: str
    value: str
    wanted: str = ""
    kept: bool | None = None


class Failed(Exception):
    """The program did the wrong thing, so that it does not matter how fast."""


def fresh(function: str, **arguments: object) -> Facts:
    """Call `package.module:function` in a process of its own; the facts that it returns.

    Among its arguments is `began`: the monotonic time at which the process was started.
    """
    command = [sys.executable, "-m", "benchmarks.child", function, json.dumps(arguments), repr(time.monotonic())]
    child = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    if child.returncode:
        raise Failed(f"{function} ended with code {child.returncode}")
    facts: Facts = json.loads(child.stdout.splitlines()[-1])
    return facts


def call(function: str, arguments: Mapping[str, object]) -> Facts:
    """What `fresh` does, in this process."""
    module, _, name = function.partition(":")
    facts: Facts = getattr(importlib.import_module(module), name)(**arguments)
    return facts


def spread(values: Sequence[float], digits: int = 2, unit: str = "") -> str:
    """Median, least and greatest."""
    middle = f"{statistics.median(values):,.{digits}f}{unit}"
    if len(values) == 1:
        return f"{middle} (1 run)"
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f}, {len(values)} runs)"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is at least as large as that share of them."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextmanager
def folder(name: str) -> Iterator[Path]:
    """A new folder on a disk, removed at the end."""
    above = Path(os.environ.get("BENCH_FOLDER", ROOT / "build" / "benchmarks"))
    above.mkdir(parents=True, exist_ok=True)
    if (kind := file_system(above)[1]) in _IN_MEMORY:
        raise Failed(f"{above} lies in memory ({kind}): let BENCH_FOLDER name a folder on a disk")
    made = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=above))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def file_system(path: Path) -> tuple[str, str]:
    """The device and the kind of file system under a folder."""
    mounts = {mount.mountpoint: mount for mount in psutil.disk_partitions(all=True)}
    for place in (path.resolve(), *path.resolve().parents):
        if (mount := mounts.get(str(place))) is not None:
            return mount.device, mount.fstype
    return "?", "?"


def resident() -> tuple[float, float]:
    """Resident memory of this process in MiB: now, and at its highest."""
    status = Path("/proc/self/status").read_text()
    sizes = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Vm")}
    return int(sizes["VmRSS"]) / 1024, int(sizes["VmHWM"]) / 1024


def machine() -> Mapping[str, str]:
    """Where this runs."""
    device, kind = file_system(ROOT)
    memory = psutil.virtual_memory().total / 2**30
    return {
        "processor": f"{psutil.cpu_count()} cores, {_processor()}",
        "memory": f"{memory:.0f} GiB",
        "disk": f"{kind} on {device}",
        "system": platform.platform(),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        **{name: version(name) for name in _PACKAGES},
        "load before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def report(rows: Sequence[Row]) -> str:
    """The results in Markdown."""
    words = {None: "", True: "yes", False: "**no**"}
    return table(
        ("bench", "figure", "measured", "wanted", "kept"),
        [(row.bench, row.figure, row.value, row.wanted, words[row.kept]) for row in rows],
    )


def say(text: str) -> None:
    """Progress, for the person who waits."""
    print(text, file=sys.stderr, flush=True)
