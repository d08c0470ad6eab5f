"""`python -m benchmarks.ingest`: how fast, how steady and how small the ingest worker is. See docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from benchmarks import gaps, latency, remembered, start, steady, throughput, traffic
from benchmarks.harness import Failed, Row, machine, report, say, table

Bench = Callable[[argparse.Namespace], Sequence[Row]]
BENCHES: Final[Mapping[str, Bench]] = {
    "throughput": lambda options: throughput.run(options.servers, options.records, options.rounds),
    "gaps": lambda options: gaps.run(options.servers, options.records, options.rounds),
    "latency": lambda options: latency.run(options.servers, options.labels),
    "start": lambda options: start.run(options.servers, options.rounds),
    "remembered": lambda options: remembered.run(options.rounds),
    "steady": lambda options: steady.run(options.events),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for, print the results in Markdown; 1 if a promise is not kept."""
    options = _parser().parse_args(arguments)
    if options.profile:
        topics = traffic.stored(options.servers, options.records)
        print(throughput.work(options.servers, topics, options.records, profile=True)["top"])
        return 0
    about = machine()
    rows: list[Row] = []
    try:
        for name in options.bench or BENCHES:
            say(f"{name} ...")
            rows += BENCHES[name](options)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    print(table(("machine", ""), list(about.items())))
    print()
    print(report(rows))
    return 1 if any(row.kept is False for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("bench", nargs="*", choices=[[], *BENCHES], help="all of them by default")
    servers = os.environ.get("KAFKA_BOOTSTRAP", f"127.0.0.1:{os.environ.get('KAFKA_PORT', '19092')}")
    parser.add_argument("--servers", default=servers, help="the broker (KAFKA_BOOTSTRAP; default: that of make kafka)")
    parser.add_argument("--records", type=int, default=1_000_000, help="predictions, and as many labels")
    parser.add_argument("--rounds", type=int, default=3, help="how often what is compared takes turns")
    parser.add_argument("--labels", type=int, default=200, help="of latency")
    parser.add_argument("--events", type=int, default=20_000_000, help="of steady")
    parser.add_argument("--profile", action="store_true", help="only show what a worker spends its time on")
    return parser


if __name__ == "__main__":
    sys.exit(main())
