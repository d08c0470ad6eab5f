"""Clients of kafka-python's, with what it gets wrong put right.

Measured with 3.0.12: it ignores `allow_auto_create_topics`, so that reading a topic that is gone would create it; it
waits for its own IO thread without a limit; and it leaves that thread behind when it cannot connect.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from kafka import KafkaConsumer
from kafka.net.compat import KafkaNetClient
from kafka.net.selector import NetworkSelector

from retrainer.errors import Refused

_HUNG_AFTER_SECONDS: Final = 15.0
"""Seconds after which a call counts as hung; the longest that ends by itself takes about half of that."""


class Hung(Exception):
    """kafka-python's IO thread does not answer."""


def connect(kind: Callable[..., Any], settings: Mapping[str, object]) -> Any:
    """A client that creates no topics, gives up waiting at last, and leaves nothing behind if it cannot connect.

    Raises:
        Hung: later, from any call; the client is of no more use then.
        kafka.errors.KafkaError: no broker answers, or it does not let us in.
    """
    made: list[Any] = []

    def network(**configs: Any) -> Any:
        loop = _EventLoop(**configs)
        loop.client = client = KafkaNetClient(net=loop, **configs)
        client.cluster.config["allow_auto_create_topics"] = False
        made.append(client)
        return client

    try:
        return kind(kafka_client=network, **settings)
    except BaseException:
        for client in made:
            close(client)
        raise


def close(client: Any) -> None:
    """Whatever the client thinks of that: it is not used again."""
    with suppress(Exception):
        if isinstance(client, KafkaConsumer):
            client.close(autocommit=False, timeout_ms=1000)
        else:
            client.close()


class _EventLoop(NetworkSelector):  # type: ignore[misc]  # kafka-python has no types
    """kafka-python's IO thread; but who waits for it gives up at last (dpkp/kafka-python#3121)."""

    client: Any = None
    _hung = False

    def run_forever(self) -> None:
        super().run_forever()
        if self._hung:  # and goes on at last: nobody else closes what it had open
            close(self.client)

    def run(self, coro: Any, *args: Any) -> Any:
        if self._hung:
            raise Hung
        done = threading.Event()
        future = self.call_soon_with_future(coro, *args)
        future.add_both(lambda _: done.set())
        if not done.wait(_HUNG_AFTER_SECONDS):
            self._hung = True
            self.stop()
            raise Hung
        if future.exception is not None:
            raise future.exception
        return future.value

    def stop(self, timeout_ms: int | None = None) -> None:
        super().stop(timeout_ms=0 if self._hung else timeout_ms or 1000)


def require_checksums_in_c() -> None:
    """kafka-python takes this package if it is there, and checks in Python if not.

    Raises:
        Refused: it is missing.
    """
    try:
        import crc32c  # noqa: F401 - only looked for
    except ImportError as error:
        raise Refused("the package crc32c is missing: without it Kafka is read ten times slower") from error
