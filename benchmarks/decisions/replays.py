"""The default policy replayed over streams with drift, beside a line five points below and the best fixed beat.

    python -m benchmarks.decisions.replays --data FOLDER [--quick] [--only elec2,abrupt] [--starts 3] [--minutes 30]

FOLDER holds elec2.csv, weather_noaa.csv and powersupply.csv. One configuration for all: nothing about triggers, guards,
judging or rows. Each stream is replayed with labels that come at once and with labels that come a fiftieth of the
stream later, from several starts, each a fiftieth of the stream after the last one; figures are medians over them.
docs/decisions.md has them. Reproducible, but for how many starts there is time for.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.decisions import rivals, worlds
from benchmarks.decisions.rivals import Fits, Line, Rival
from benchmarks.decisions.worlds import World
from benchmarks.harness import say, table
from retrainer.config.load import load as load_config
from retrainer.domain.values import SECOND, Micros
from retrainer.policies import model_policy
from retrainer.replay.options import TableOptions, Warm
from retrainer.replay.report.report import verdict_of
from retrainer.replay.table.baselines import never, no_change, value
from retrainer.replay.table.engine import Played, play
from retrainer.replay.table.table import load as load_table
from retrainer.service.policy import ModelPolicy

CONFIG: Final = """\
kafka: {{bootstrap_servers: "localhost:9092"}}
models:
  model:
    task: classification
    predictions: {{topic: predictions}}
    labels: {{topic: labels{max_delay}}}
    training: {training}
"""
BOOSTING: Final = "{estimator: sklearn.ensemble.HistGradientBoostingClassifier, params: {max_iter: 60}}"
PARTS: Final = 50
"""A stream is counted in fiftieths: the warm part is five, starts are one apart, late labels come one later."""
WARM: Final = 5
STARTS: Final = 3
LATE: Final = (0, 1)
LINES: Final = (
    Line(window=500, below="first"),
    Line(window=1000, below="first"),
    Line(window=500, below="best"),
)

ENOUGH: Final = 0.01
"""Where the best fixed beat gains less than this, there is no regret to speak of."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One stream from one start."""

    world: str
    start: int
    data: Path


@dataclass(frozen=True, kw_only=True)
class Found:
    """What came of one stream from one start, with labels that are so many fiftieths late.

    Attributes:
        triggers: of each job; lines: one of each of `LINES`; best: the best fixed beat in hindsight.
        seconds: what the replay itself took, of one core.
    """

    late: int
    accuracy: float
    jobs: int
    triggers: Sequence[str]
    promoted: int
    never: float
    no_change: float
    lines: Sequence[Rival]
    best: Rival
    seconds: float


def replayed(task: Task) -> Sequence[Found]:
    """One stream from one start, for each delay of its labels."""
    world = _worlds(task.data)[task.world]
    frame = world.frame(task.start)
    step = len(frame) // PARTS
    with tempfile.TemporaryDirectory() as made:
        path = Path(made, "stream.parquet")
        pq.write_table(pa.Table.from_pandas(frame.iloc[task.start * step :], preserve_index=False), path)
        options = TableOptions(
            path=path, label=str(frame.columns[-1]), every=world.every, warm=Warm(share=None, rows=WARM * step)
        )
        fits = Fits(policy=policy(Path(made), 0), table=load_table(options))
        return [_found(world, fits, options, step, late) for late in LATE]


def policy(folder: Path, delay: Micros) -> ModelPolicy:
    """The default one. Labels that come later than `labels.max_delay`, 3 days, would not count, so then it is given."""
    path = folder / f"late-{delay}.yaml"
    max_delay = "" if delay <= 3 * 86_400 * SECOND else f", max_delay: {2 * delay // SECOND}s"
    path.write_text(CONFIG.format(max_delay=max_delay, training=BOOSTING))
    return model_policy(load_config(path, {}).settings.models["model"])


def _found(world: World, fits: Fits, options: TableOptions, step: int, late: int) -> Found:
    began, delay = time.process_time(), late * step * world.every
    stream = load_table(replace(options, label_delay=delay))
    played = play(policy(options.path.parent, delay), stream, 0)
    seconds = time.process_time() - began
    first = never(played)
    hits = np.asarray(first == stream.labels)
    return Found(
        late=late,
        accuracy=_accuracy(played, played.served.answers),
        jobs=len(played.jobs),
        triggers=[f"{'+'.join(ran.job.triggers)} at {ran.row}: {verdict_of(ran)}" for ran in played.jobs],
        promoted=len(played.promotions),
        never=_accuracy(played, first),
        no_change=_accuracy(played, no_change(played.table, played.values)),
        lines=[rivals.naive(fits, hits, late * step, line) for line in LINES],
        best=rivals.periodic(fits, hits, late * step, step, world.finest),
        seconds=seconds,
    )


def _accuracy(played: Played, answers: np.typing.NDArray[np.int32]) -> float:
    found = value(played, answers)
    assert found is not None
    return found


def _worlds(folder: Path) -> Mapping[str, World]:
    return {**worlds.real(folder), **worlds.synthetic()}


# What was aimed at. Each start is judged by itself; an aim is kept where most starts keep it.


def best_line(found: Found) -> Rival:
    """The most accurate of the lines."""
    return max(found.lines, key=lambda line: line.accuracy)


def beats_line(found: Found) -> bool | None:
    """The accuracy of the best line, to a thousandth, with at most half its retrainings; None where it has none."""
    line = best_line(found)
    if not line.retrains:
        return None
    return found.accuracy >= line.accuracy - 0.0005 and 2 * found.jobs <= line.retrains


def has_little_regret(found: Found) -> bool | None:
    """At most a tenth of what the best fixed beat gains over never is lost; None where it gains nothing."""
    gain = found.best.accuracy - found.never
    return None if gain < ENOUGH else found.best.accuracy - found.accuracy <= 0.1 * gain


def is_calm(found: Found) -> bool:
    """One retraining at most."""
    return found.jobs <= 1


Aim = Callable[[Found], bool | None]


def kept(aim: Aim, founds: Sequence[Found]) -> str:
    """In a word, and in how many of the starts that say anything."""
    said = [answer for answer in map(aim, founds) if answer is not None]
    if not said:
        return "-"
    word = "yes" if 2 * sum(said) > len(said) else "**no**"
    return f"{word} ({sum(said)} of {len(said)})"


# Tables


def figures(name: str, founds: Sequence[Found]) -> Sequence[str]:
    """The medians of one stream and delay."""

    def of(what: Callable[[Found], float]) -> float:
        return median(map(what, founds))

    def line(place: int) -> str:
        return f"{of(lambda one: one.lines[place].accuracy):.3f} / {of(lambda one: one.lines[place].retrains):.0f}"

    middle = sorted(founds, key=lambda one: one.best.accuracy)[len(founds) // 2].best
    return (
        name,
        "2 %" if founds[0].late else "0",
        str(len(founds)),
        f"{of(lambda one: one.accuracy):.3f} / {of(lambda one: one.jobs):.0f}",
        f"{of(lambda one: one.promoted):.0f}",
        f"{of(lambda one: one.never):.3f}",
        f"{of(lambda one: one.no_change):.3f}",
        *map(line, range(len(LINES))),
        f"{of(lambda one: one.best.accuracy):.3f} / {middle.retrains} ({middle.name})",
    )


def aims(name: str, world: World, founds: Sequence[Found]) -> Sequence[str]:
    """Which of the aims one stream and delay keeps."""
    late = "2 %" if founds[0].late else "0"
    if world.kind == "quiet":
        return name, late, "", "", kept(is_calm, founds)
    gains = [one.best.accuracy - one.never for one in founds]
    regrets = [(one.best.accuracy - one.accuracy) / gain for one, gain in zip(founds, gains, strict=True) if gain > 0]
    regret = f", median {median(regrets):.0%} lost" if regrets else ""
    return name, late, kept(beats_line, founds), kept(has_little_regret, founds) + regret, ""


HEAD: Final = (
    "stream",
    "labels late by",
    "starts",
    "default",
    "promoted",
    "never",
    "last label",
    *map(str, LINES),
    "best fixed beat (rows, interval)",
)
AIMS: Final = (
    "stream",
    "labels late by",
    "the line's accuracy, half its retrains",
    "at most 10 % of the best beat's gain lost",
    "at most one retraining",
)


def measured(tasks: Sequence[Task], minutes: float) -> Iterator[tuple[Task, Sequence[Found]]]:
    """The tasks as they end, as many at a time as there are cores; none is begun after so long."""
    until, cores = time.monotonic() + 60 * minutes, os.cpu_count() or 1
    waiting = deque(tasks)
    running: dict[Future[Sequence[Found]], Task] = {}
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        while True:
            while waiting and len(running) < cores and time.monotonic() < until:
                task = waiting.popleft()
                running[pool.submit(replayed, task)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


def main() -> None:
    """Print the tables as Markdown."""
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--data", type=Path, required=True)
    read.add_argument("--quick", action="store_true", help="one start only")
    read.add_argument("--starts", type=int, default=STARTS)
    read.add_argument("--only", help="the streams, by name")
    read.add_argument("--minutes", type=float, default=30, help="begin nothing after so long")
    given = read.parse_args()
    known = _worlds(given.data)
    names = given.only.split(",") if given.only else list(known)
    starts = range(1 if given.quick else given.starts)
    tasks = [Task(world=name, start=start, data=given.data) for start in starts for name in names]
    found: dict[tuple[str, int], list[Found]] = {(name, late): [] for name in names for late in LATE}
    for task, founds in measured(tasks, given.minutes):
        for one in founds:
            found[task.world, one.late].append(one)
            say(f"{task.world}, start {task.start}, {_in_a_line(one)}")
    done = {about: founds for about, founds in found.items() if founds}
    print(table(HEAD, [figures(name, founds) for (name, _), founds in done.items()]))
    print()
    print(table(AIMS, [aims(name, known[name], founds) for (name, _), founds in done.items()]))


def _in_a_line(one: Found) -> str:
    told = [f"default {one.accuracy:.4f} / {one.jobs} ({', '.join(one.triggers)})", f"never {one.never:.4f}"]
    told += [f"{rival.name}: {rival.accuracy:.4f} / {rival.retrains}" for rival in (*one.lines, one.best)]
    return f"late {one.late}: {'; '.join(told)}; replayed in {one.seconds:.0f} s"


if __name__ == "__main__":
    main()
