"""`retrainer worker`, with a clock that can be moved, small polls and, with --unlocked, no lock on its state folder.

The lock is taken away to make a zombie: a stopped process keeps it, and no successor could start beside it. On one
machine that is as it should be; this stands for a lock that failed, as they do on network file systems.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final
from unittest.mock import patch

from retrainer import bootstrap, cli
from retrainer.adapters import role_processes as roles
from retrainer.adapters.clock import SystemClock
from retrainer.adapters.kafka import log as kafka

CLOCK: Final = "CHAOS_CLOCK"
"""The environment variable that names a file with the clock's error in microseconds."""
POLL: Final = "CHAOS_POLL"
"""The one that says how many records a poll may return."""


class MovedClock(SystemClock):
    """The system's clock, wrong by what a file says."""

    def now(self) -> int:
        return super().now() + int(Path(os.environ[CLOCK]).read_text() or 0)


def main(arguments: list[str]) -> int:
    """Run the worker; its exit code."""
    small = patch.dict(kafka._READING, max_poll_records=int(os.environ[POLL]))
    with small, patch.object(bootstrap, "SystemClock", MovedClock):
        if "--unlocked" not in arguments:
            return cli.main(["worker", arguments[0]])
        with patch.object(roles.FolderLock, "acquire", lambda *_, **__: None):
            return cli.main(["worker", arguments[0]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
