"""How long it takes, at little traffic, from a label's arrival in Kafka to its commit in the tallies."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import msgspec
from kafka import KafkaProducer

from benchmarks import harness, traffic
from benchmarks.harness import Failed, Row, percentile
from benchmarks.service import Manifest, configured, running
from benchmarks.traffic import Topics, id_of, label, prediction

_FLUSH_MS: Final = 2000
_FETCH_MS: Final = 250
_LOOK_EVERY: Final = 0.005
_PATIENCE: Final = 60.0


def run(servers: str, labels: int) -> Sequence[Row]:
    """One label at a time, at random moments."""
    topics = Topics(*(f"bench-{kind}-{uuid.uuid4().hex[:8]}" for kind in ("predictions", "labels")))
    traffic.make(servers, topics, 1)  # so that labels are committed in the order in which they were sent
    try:
        with harness.folder("latency") as folder:
            config = configured(folder, servers, topics)
            with running(config):
                took = _measured(servers, topics, Manifest(config), labels)
    finally:
        traffic.remove(servers, topics)

    def row(figure: str, share: float) -> Row:
        return Row("latency", f"{figure}, {labels} labels", f"{1000 * percentile(took, share):,.0f} ms")

    limit = f"flush interval {_FLUSH_MS} ms + fetch wait {_FETCH_MS} ms"
    slowest = row("from acknowledged to committed, 99th percentile", 0.99)
    return [row("from acknowledged to committed, median", 0.5), slowest._replace(wanted=f"about {limit}")]


def _measured(servers: str, topics: Topics, manifest: Manifest, labels: int) -> list[float]:
    producer = KafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=0)
    lots = random.Random(1)
    for number in range(labels + 1):
        _send(producer, topics.predictions, id_of(number), prediction(number, lots))
    _send(producer, topics.labels, id_of(labels), label(labels, timedelta(0), lots))
    _await(manifest, 1)  # it has started
    committed: list[float] = []
    watcher = threading.Thread(target=_watch, args=(manifest, labels, committed))
    watcher.start()
    sent: list[float] = []
    for number in range(labels):
        time.sleep(lots.random())
        sent.append(_send(producer, topics.labels, id_of(number), label(number, timedelta(seconds=1), lots)))
    watcher.join()
    producer.close()
    if len(committed) < labels:
        raise Failed(f"of {labels} labels only {len(committed)} were joined within {_PATIENCE:.0f} s")
    return [after - before for before, after in zip(sent, committed, strict=True)]


def _send(producer: KafkaProducer, topic: str, key: str, document: object) -> float:
    """When it was acknowledged."""
    producer.send(topic, key=key.encode(), value=msgspec.json.encode(document)).get(30)
    return time.monotonic()


def _watch(manifest: Manifest, labels: int, committed: list[float]) -> None:
    """Note when each further label was there."""
    quiet_since = time.monotonic()
    while len(committed) < labels and time.monotonic() - quiet_since < _PATIENCE:
        joined = manifest.joined() - 1
        if joined > len(committed):
            quiet_since = time.monotonic()
            committed += [quiet_since] * (joined - len(committed))
        time.sleep(_LOOK_EVERY)


def _await(manifest: Manifest, joined: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while manifest.joined() < joined:
        if time.monotonic() > deadline:
            raise Failed("the worker does not join anything")
        time.sleep(_LOOK_EVERY)
