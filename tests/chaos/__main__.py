"""`python -m tests.chaos`: a worker under every trouble we know, beside what one pass over the topics says.

Exits with 0 if nothing was lost, doubled or joined wrongly, with 1 and the differences otherwise.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from tests.chaos.broker import Broker
from tests.chaos.comparison import Verdict, compare, models_in
from tests.chaos.disk import Disk
from tests.chaos.oracle import Expected, expected, read
from tests.chaos.plan import PLANS, Barrier, Plan, Topics
from tests.chaos.producer import Producer
from tests.chaos.service import Service
from tests.chaos.troubles import Tally, Troubles

_LOOK_SECONDS: Final = 0.02
_STUCK_SECONDS: Final = 120.0
_SETTLED_SECONDS: Final = 2.0


class Run:
    """One run, from the first record to the verdict."""

    def __init__(self, plan: Plan, seed: int, broker: Broker, folder: Path) -> None:
        self.plan = plan
        self.topics = Topics(f"{os.getpid()}-{seed}")
        self.broker = broker
        self.disk = Disk(folder / "state")
        self.service = Service(plan, self.topics, broker.address, folder, self.disk.folder)
        self.troubles = Troubles(self.service, broker, self.disk, Random(seed), self.until)
        self.barriers: list[Barrier] = []
        self.crashes: list[str] = []
        self.producer = Producer(plan, seed, self.topics, broker.address)
        self._moved = (0, 0.0)

    def go(self) -> None:
        """Send, trouble, and wait until everything is committed."""
        self.broker.create(self.topics.both)
        self.service.start()
        if self.plan.controller:
            self.service.start_controller()
        self.producer.start()
        for share, trouble in self.troubles.schedule(self.plan):
            self._until_committed(int(share * self.plan.records))
            print(f"{share:5.0%}  {trouble.__name__}", flush=True)
            trouble()
        self._require(lambda: self.producer.done, "the producer ends")
        ends = self.broker.ends(self.topics.both)
        self._require(lambda: self.service.manifest.positions() == ends, f"positions reach {ends}")
        self._settle()

    def until(self, look: Callable[[], object], what: str, seconds: float) -> bool:
        """Wait until something is true, keeping the producer going meanwhile; whether it came to be in time."""
        deadline = time.monotonic() + seconds
        while not look():
            if time.monotonic() > deadline:
                if what:
                    raise TimeoutError(f"it never came to be that {what}")
                return False
            self._mind()
            time.sleep(_LOOK_SECONDS)
        return True

    def _require(self, look: Callable[[], object], what: str) -> None:
        self._moved = (self.service.manifest.committed(), time.monotonic())
        self.until(lambda: look() or self._stuck(what), what, 3600)

    def _stuck(self, what: str) -> bool:
        """Raises TimeoutError where nothing has been committed for long. Starts a worker again that has ended."""
        committed, now = self.service.manifest.committed(), time.monotonic()
        if committed != self._moved[0]:
            self._moved = (committed, now)
        elif now - self._moved[1] > _STUCK_SECONDS:
            raise TimeoutError(f"nothing was committed for {_STUCK_SECONDS:g} s, while waiting until {what}")
        running = (
            (self.service.workers, self.service.start),
            (self.service.controllers, self.service.start_controller),
        )
        for started, start in running:
            if started and (code := started[-1].exit_code()) is not None:
                self.crashes.append(f"a process ended by itself, with exit code {code}: {started[-1].log}")
                if len(self.crashes) > 3:
                    raise TimeoutError("processes keep ending by themselves")
                start()
        return False

    def _until_committed(self, records: int) -> None:
        what = f"{records} records are committed"
        self._require(lambda: self.producer.done or self.service.manifest.committed() >= records, what)

    def _mind(self) -> None:
        """The producer stays ahead, but not far; at a barrier it goes on once everything is committed."""
        committed = self.service.manifest.committed()
        self.producer.allow(committed + self.plan.lead)
        if self.producer.at_barrier > len(self.barriers) and committed >= self.producer.acknowledged:
            ends = self.broker.ends(self.topics.both)
            if self.service.manifest.positions() == ends:
                self._settle()
                self.barriers.append(Barrier(ends=ends, watermarks=self.service.manifest.watermarks()))
                self.producer.release()

    def _settle(self) -> None:
        """Wait until the watermarks, which follow the positions, stand still."""
        seen, since = self.service.manifest.watermarks(), time.monotonic()
        while time.monotonic() - since < _SETTLED_SECONDS:
            time.sleep(_LOOK_SECONDS)
            if (now := self.service.manifest.watermarks()) != seen:
                seen, since = now, time.monotonic()

    def restart(self) -> None:
        """One more kill -9 and start, with nothing to read: it must not change anything."""
        self.service.worker.kill()
        worker = self.service.start()
        self.until(lambda: worker.entries("shard.assigned"), "the last worker starts", 120)
        self._settle()
        if worker.stop() != 0:
            self.crashes.append(f"the last worker did not stop in order: {worker.log}")

    def end(self) -> None:
        """Leave no process and no mount behind; a copy of the state stays."""
        self.producer.stop()
        self.service.end()
        shutil.copytree(self.service.state, self.service.folder / "kept")
        self.disk.close()

    def judge(self) -> tuple[Expected, Verdict, list[str]]:
        """The oracle, the comparison, and what else is wrong."""
        right = expected(read(self.broker.address, self.topics), self.topics, self.barriers)
        verdict = compare(self.service.manifest, right)
        wrong = [*verdict.differences, *self.crashes, *self.troubles.tally.failures]
        if models_in(self.service.status()) != right.counts and not verdict.differences:
            wrong.append("`retrainer status` says something else than the manifest")
        for one in self.barriers:
            ahead = [model for model, mark in right.watermarks.items() if mark < one.watermarks[model]]
            wrong += [f"the watermark of {model} was ahead of every event at a barrier" for model in ahead]
        return right, verdict, wrong


def report(run: Run, right: Expected, verdict: Verdict, seconds: float) -> None:
    """The figures of a run."""
    done: Tally = run.troubles.tally
    sides: Counter[str] = Counter()
    for (_, side, status), n in right.counts.items():
        sides[side] += n if status not in ("consumed", "filtered", "quarantined") else 0
    flushes = run.service.manifest.rows("select count(*) from segments")[0][0]
    figures = {
        "records in the topics": right.ends.total(),
        "of them acknowledged": run.producer.acknowledged,
        "predictions used": sides["predictions"],
        "labels used": sides["labels"],
        "records quarantined": len(right.quarantined),
        "outcomes": right.tallies.total(),
        "commits with records": flushes,
        "kill -9 of a worker": done.kills,
        "kill -9 of the controller": done.controller_kills,
        "zombies, of them fenced": f"{done.zombies}, {done.fenced}",
        "kill -9 of the broker": done.broker_kills,
        "outages noticed": sum(1 for _ in run.service.entries("dependency.lost")),
        f"disk full ({', '.join(run.disk.ways) or 'not possible here'})": done.outages,
        "jumps of the clock": done.jumps,
        "figures compared": verdict.compared,
        "seconds": round(seconds),
    }
    for name, figure in figures.items():
        print(f"{name:<28} {figure if isinstance(figure, str) else format(figure, ','):>12}")
    for note in done.notes:
        print(note)
    for (model, side, status), n in sorted(right.counts.items()):
        print(f"  {model} {side:<12} {status:<12} {n:>10,}")


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("size", choices=sorted(PLANS), nargs="?", default="short")
    parser.add_argument("--seed", type=int, default=None, help="the same traffic and the same lots again")
    parser.add_argument("--port", type=int, default=19392, help="where the broker listens that is killed")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(3), "big")
    folder = Path(tempfile.mkdtemp(prefix="retrainer-chaos-"))
    print(f"seed {seed}, logs and state in {folder}", flush=True)
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    broker = Broker(options.port)
    try:
        wrong = _perform(Run(PLANS[options.size], seed, broker, folder), started)
    finally:
        broker.kill()
    for line in wrong:
        print(line)
    if not wrong:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if wrong else 0


def _perform(run: Run, started: float) -> list[str]:
    """Everything, leaving no process behind; what is wrong."""
    try:
        run.broker.start()
        run.go()
        run.restart()
        right, verdict, wrong = run.judge()
        report(run, right, verdict, time.monotonic() - started)
        print(f"lost {verdict.lost}, double {verdict.double}")
        run.broker.remove(run.topics.both)
    except (TimeoutError, RuntimeError) as error:
        return [str(error), *run.crashes, *run.troubles.tally.failures]
    else:
        return wrong
    finally:
        run.end()


if __name__ == "__main__":
    sys.exit(main())
