"""How fast a worker takes records in, beside how fast kafka-python alone brings them.

Both read the same records from the same broker, in turns, each in a process of its own.
"""

from __future__ import annotations

import cProfile
import io
import pstats
import statistics
import time
from collections.abc import Sequence
from typing import Any, Final

from benchmarks import harness, traffic
from benchmarks.harness import Facts, Row, fresh, say, spread
from benchmarks.service import Manifest, configured, run_worker, used
from benchmarks.traffic import Ends, Topics

AIM: Final = 0.6
GOAL: Final = 0.75


def run(servers: str, records: int, rounds: int) -> Sequence[Row]:
    """Alternate the two; their speeds and the ratio of each round."""
    topics = traffic.stored(servers, records)
    polls: list[Facts] = []
    works: list[Facts] = []
    for number in range(rounds):
        polls.append(fresh("benchmarks.throughput:poll", servers=servers, topics=topics))
        works.append(work(servers, topics, records))
        say(_round(number, polls[-1], works[-1], records))
    return [*_speeds(polls, works, records), *_ratios(polls, works)]


def work(servers: str, topics: Topics, records: int, *, profile: bool = False) -> Facts:
    """One worker from nothing to the last commit; it must have joined everything."""
    ends = traffic.ends(servers, topics)
    with harness.folder("throughput") as folder:
        config = configured(folder, servers, topics)
        facts = fresh("benchmarks.throughput:worker", config=str(config), ends=ends, profile=profile)
        Manifest(config).check(records, ends)
    return facts


def poll(*, servers: str, topics: Sequence[str], began: float) -> Facts:
    """In a child: poll everything with the worker's own settings, and throw it away."""
    from kafka import KafkaConsumer, TopicPartition

    from retrainer.adapters.kafka.log import _COMMON, _READING

    reader = KafkaConsumer(**{**_COMMON, **_READING, "bootstrap_servers": servers})
    at = [TopicPartition(name, number) for name in topics for number in sorted(reader.partitions_for_topic(name))]
    reader.assign(at)
    total = sum(reader.end_offsets(at).values())
    reader.seek_to_beginning(*at)
    first = time.monotonic()
    seen = 0
    while seen < total:
        seen += sum(map(len, reader.poll(timeout_ms=250).values()))
    last = time.monotonic()
    facts = {"whole": last - began, "reading": last - first, **used()}
    reader.close(autocommit=False)
    return facts


def worker(*, config: str, ends: Ends, profile: bool, began: float) -> Facts:
    """In a child: run a worker until everything is read."""
    profiled = cProfile.Profile() if profile else None
    watch = run_worker(config, ends, profiled)
    return {
        "whole": watch.commits[-1] - began,
        "reading": watch.commits[-1] - watch.polls[0][0],
        "waited": sum(ended - asked for asked, ended, _ in watch.polls),
        "commits": len(watch.commits),
        "top": profiled and _top(profiled),
        **used(),
    }


def _top(profile: cProfile.Profile) -> str:
    text = io.StringIO()
    pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(25)
    return text.getvalue()


def _speeds(polls: Sequence[Facts], works: Sequence[Facts], records: int) -> list[Row]:
    def speed(facts: Sequence[Facts], span: str) -> str:
        return spread([2 * records / one[span] / 1000 for one in facts], 1, " k/s")

    size = f"{2 * records:,} records"
    others = [one["cpu_others"] / one["reading"] for one in works]
    return [
        Row("throughput", f"kafka-python alone, {size}, from the first poll", speed(polls, "reading")),
        Row("throughput", f"one worker, {size}, from the first poll to the last commit", speed(works, "reading")),
        Row("throughput", "kafka-python alone, from the start of the process", speed(polls, "whole")),
        Row("throughput", "one worker, from the start of the process", speed(works, "whole")),
        Row("throughput", "the worker's share of time in `poll`", spread([w["waited"] / w["reading"] for w in works])),
        Row("throughput", "cores used by the worker's other threads", spread(others)),
        Row("throughput", "the worker's resident memory at its highest", spread(_all(works, "resident"), 0, " MiB")),
    ]


def _ratios(polls: Sequence[Facts], works: Sequence[Facts]) -> list[Row]:
    pairs = list(zip(polls, works, strict=True))
    reading = [alone["reading"] / ours["reading"] for alone, ours in pairs]
    whole = [alone["whole"] / ours["whole"] for alone, ours in pairs]
    cpu = [_cpu(alone) / _cpu(ours) for alone, ours in pairs]
    wanted = f"{AIM}, better {GOAL}"
    return [
        Row("throughput", "worker / poll, both from the first poll", spread(reading), wanted, _is_kept(reading)),
        Row("throughput", "worker / poll, both from the start of the process", spread(whole), wanted, _is_kept(whole)),
        Row("throughput", "poll / worker, CPU seconds of the process (less moved by noise)", spread(cpu)),
    ]


def _cpu(facts: Facts) -> float:
    return float(facts["cpu_main"] + facts["cpu_others"])


def _is_kept(ratios: Sequence[float]) -> bool:
    return statistics.median(ratios) >= AIM


def _all(facts: Sequence[Facts], name: str) -> list[Any]:
    return [one[name] for one in facts]


def _round(number: int, alone: Facts, ours: Facts, records: int) -> str:
    speeds = [2 * records / one["reading"] / 1000 for one in (alone, ours)]
    cpu = f"{ours['cpu_main']:.1f} + {ours['cpu_others']:.1f} s of CPU, {ours['waited']:.1f} s in poll"
    words = f"poll {speeds[0]:.1f} k/s, worker {speeds[1]:.1f} k/s ({cpu})"
    return f"round {number + 1}: {words}, ratio {alone['reading'] / ours['reading']:.2f}"
