"""How far a replay has come, and the time that is left: on a terminal only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from retrainer.replay.table.engine import Tell


class ProgressBar:
    """A bar for each part of the work, on standard error; none where that is no terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)

    @contextmanager
    def over(self, name: str, rows: int) -> Iterator[Tell]:
        """A bar over so many rows; without any it only moves. Give it the rows that are done, and the retrainings."""
        if not self._console.is_terminal:
            yield lambda _rows, _retrains: None
            return
        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            *([MofNCompleteColumn(), TextColumn("rows, {task.fields[retrains]} retrainings")] if rows else []),
            TimeElapsedColumn(),
            *([TextColumn("left"), TimeRemainingColumn()] if rows else []),
        ]
        with Bar(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(name, total=rows or None, retrains=0)
            yield lambda done, retrains: bar.update(task, completed=done, retrains=retrains)
