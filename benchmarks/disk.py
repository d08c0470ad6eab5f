"""How long a small write takes to be durable."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Event
from typing import Final

_BLOCK: Final = b"\0" * 4096
_PAUSE: Final = 0.02
"""Between writes, so that measuring is no load of its own."""


def syncs(folder: Path, stop: Event, seconds: float) -> list[float]:
    """The seconds that each write of 4 KiB and its fsync took, one after the other, until stopped or so long."""
    took: list[float] = []
    until = time.monotonic() + seconds
    with (folder / "synced").open("wb") as file:
        while not stop.is_set() and time.monotonic() < until:
            started = time.monotonic()
            file.write(_BLOCK)
            file.flush()
            os.fsync(file.fileno())
            took.append(time.monotonic() - started)
            stop.wait(_PAUSE)
    return took
