"""The producer, a process of its own: sends the traffic, stays a bounded way ahead, and waits at barriers."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from tests.chaos.plan import CHUNK, START, Plan, Topics
from tests.chaos.traffic import Sent, Traffic

_LOOK_SECONDS = 0.02


class Producer:
    """The handle of the process."""

    def __init__(self, plan: Plan, seed: int, topics: Topics, bootstrap: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._acknowledged: Synchronized[int] = context.Value("q", 0)
        self._allowed: Synchronized[int] = context.Value("q", plan.lead)
        self._reached: Synchronized[int] = context.Value("q", 0)
        self._released: Synchronized[int] = context.Value("q", 0)
        shared = (self._acknowledged, self._allowed, self._reached, self._released)
        self._process = context.Process(target=_produce, args=(plan, seed, topics, bootstrap, shared), daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._process.start()

    @property
    def acknowledged(self) -> int:
        """How many records the broker has confirmed."""
        return self._acknowledged.value

    @property
    def at_barrier(self) -> int:
        """The number of the barrier at which it waits; 0 while it does not."""
        reached = self._reached.value
        return reached if reached > self._released.value else 0

    @property
    def done(self) -> bool:
        """Whether it has sent everything. Raises RuntimeError where it ended otherwise."""
        if self._process.exitcode:
            raise RuntimeError(f"the producer ended with exit code {self._process.exitcode}")
        return self._process.exitcode == 0

    def allow(self, records: int) -> None:
        """Let it send up to so many records."""
        self._allowed.value = records

    def release(self) -> None:
        """Let it go on behind the barrier."""
        self._released.value = self._reached.value

    def stop(self) -> None:
        """End it, whatever it is doing."""
        if self._process.pid is not None:
            self._process.kill()
            self._process.join()


class _Sender:
    """Sends in chunks, each confirmed before the next begins."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._bootstrap = bootstrap
        self._topics = dict(zip(("predictions", "labels"), topics.both, strict=True))
        self._producer = self._connect()
        self._pending: list[tuple[Sent, Any]] = []

    def _connect(self) -> Any:
        return KafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=20,
            batch_size=128 * 1024,
            delivery_timeout_ms=240_000,
            reconnect_backoff_max_ms=500,
        )

    def send(self, sent: Sent) -> None:
        future = self._producer.send(
            self._topics[sent.side],
            key=sent.key,
            value=sent.value,
            partition=sent.partition,
            timestamp_ms=sent.at // 1000,
        )
        self._pending.append((sent, future))

    def settle(self) -> int:
        """Wait until all is confirmed, sending again what failed; how many records that were."""
        settled = 0
        while self._pending:
            try:
                self._producer.flush(timeout=240)
            except kafka_errors.KafkaError as error:
                print(f"producer: {error!r}", flush=True)
            pending, self._pending = self._pending, []
            failed = [sent for sent, future in pending if not future.succeeded()]
            settled += len(pending) - len(failed)
            if failed:
                self._again(failed)
        return settled

    def _again(self, failed: list[Sent]) -> None:
        """What is sent twice this way is in the topic twice, and the oracle finds it there."""
        print(f"producer: {len(failed)} records are sent again by a new client", flush=True)
        self._producer.close(timeout=0)
        self._producer = self._connect()
        for sent in failed:
            self.send(sent)

    def close(self) -> None:
        self._producer.close()


def _produce(plan: Plan, seed: int, topics: Topics, bootstrap: str, shared: tuple[Synchronized[int], ...]) -> None:
    acknowledged, allowed, reached, released = shared
    sender, settle_at = _Sender(bootstrap, topics), START
    for sent in Traffic(plan, seed):
        if sent is None:
            acknowledged.value += sender.settle()
            reached.value += 1
            while released.value < reached.value:
                time.sleep(_LOOK_SECONDS)
            continue
        if sent.at >= settle_at:
            acknowledged.value += sender.settle()
            settle_at = sent.at + CHUNK
            while acknowledged.value > allowed.value:
                time.sleep(_LOOK_SECONDS)
        sender.send(sent)
    acknowledged.value += sender.settle()
    sender.close()
