"""The lifeline: a pipe whose other end the parent holds; at its end the parent is dead, and so are we.

It works for a parent killed by any signal, since the kernel closes what a process leaves behind.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

from retrainer.errors import ExitCode

VARIABLE: Final = "RETRAINER_LIFELINE"
"""Names the inherited file descriptor to read from."""


def watch() -> None:
    """From now on end with the parent, together with the whole process group; nothing without a lifeline."""
    descriptor = os.environ.pop(VARIABLE, None)
    if descriptor is not None:
        threading.Thread(target=_watch, args=(int(descriptor),), name="lifeline", daemon=True).start()


def _watch(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(ExitCode.FAILED)  # started by hand, in a group that is not ours to kill
