"""`python -m tests.e2e.relay PORT HOST PORT`: passes connections on, so that a broker can seem to come up late."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from threading import Thread


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def main(port: str, host: str, real: str) -> None:
    with socket.create_server(("127.0.0.1", int(port))) as server:
        while True:
            near, _ = server.accept()
            far = socket.create_connection((host, int(real)))
            for source, target in ((near, far), (far, near)):
                Thread(target=_pass_on, args=(source, target), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:4])
