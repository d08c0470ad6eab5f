"""The twin of the training process: it trains in this one."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from retrainer.ports.clock import Stopped
from retrainer.ports.training import Limits, TrainingEnded


class InlineTrainers:
    """`Trainers` in this very process: the same code as a child's, without its limits and its isolation."""

    def __init__(self, run: Callable[[Path], int]) -> None:
        """`run` carries out the order in a folder and answers with an exit code (`training.child.run`)."""
        self._run = run

    def train(self, folder: Path, limits: Limits, stopped: Stopped) -> TrainingEnded:
        """Runs to the end: a stop or a limit is looked at before it begins, and never after."""
        if stopped.is_set():
            return TrainingEnded(exit_code=-signal.SIGTERM, killed="stop")
        if limits.time <= timedelta():
            return TrainingEnded(exit_code=-signal.SIGTERM, killed="time")
        return TrainingEnded(exit_code=self._run(folder))
