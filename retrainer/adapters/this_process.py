"""This process, as the operating system sees it."""

from __future__ import annotations

import gc

import psutil


class ProcessMemory:
    """`ResidentMemory` of this process."""

    def __init__(self) -> None:
        self._process = psutil.Process()

    def resident(self) -> int:
        return int(self._process.memory_info().rss)


def collect_garbage_rarely() -> None:
    """For a process that makes many short-lived objects, none of them in cycles: looking at each of them again and
    again would take longer than making them."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
