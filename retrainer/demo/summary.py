"""The last words: figures from the joined events, and where to look on."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from retrainer.demo.folder import DemoFolder
from retrainer.demo.sentences import count, day, number
from retrainer.demo.story import Evaluation, JobStory, Story


def summary(story: Story, change: datetime, seconds: float) -> Table:
    """What happened, in figures. Each accuracy is over outcomes that the service joined."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("accuracy before", _evaluation(story.before(change)))
    table.add_row("at the breach", _evaluation(story.breach))
    table.add_row("after", _evaluation(story.after()))
    table.add_row("jobs", "; ".join(map(_job, story.jobs.values())) or "none")
    table.add_row("promotions", "; ".join(f"version {one.version}" for one in story.promotions) or "none")
    sent = f"{count(story.sent.get('predictions'))} predictions, {count(story.sent.get('labels'))} labels"
    table.add_row("events", f"{sent}, {count(story.sent.get('repeated'))} of both sent twice")
    table.add_row("time", f"{seconds:.0f} s")
    return table


def where_to_look(folder: DemoFolder) -> Table:
    """Commands and files to go on with."""
    retrainer, config = program("retrainer"), _relative(folder.config)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("plot", _relative(folder.plot))
    table.add_row("logs", f"{_relative(folder.log)} (the service), {_relative(folder.path / 'application.log')}")
    table.add_row("settings", config)
    table.add_row("decisions", f"{retrainer} explain {config} flights")
    table.add_row("state", f"{retrainer} status {config}")
    table.add_row("MLflow", f"{program('mlflow')} ui --backend-store-uri sqlite:///{_relative(folder.database)}")
    return table


def show(console: Console, title: str, table: Table) -> None:
    """A titled table with space around it."""
    console.print()
    console.print(title, style="bold", highlight=False)
    console.print(table, highlight=False, soft_wrap=False)


def program(name: str) -> str:
    """How to call a program of our own environment from here."""
    ours = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    return name if found and Path(found) == ours else _relative(ours)


def _evaluation(one: Evaluation | None) -> str:
    if one is None:
        return "not known"
    interval = f" ({number(one.low)} to {number(one.high)})" if one.low is not None and one.high is not None else ""
    return f"{number(one.value)}{interval}, version {one.version}, {count(one.n)} outcomes up to {day(one.at).strip()}"


def _job(job: JobStory) -> str:
    sides = f", candidate {number(job.candidate)} against {number(job.champion)}" if job.candidate else ""
    return f"{job.job_id} {job.verdict or 'under way'}{sides}"


def _relative(path: Path) -> str:
    """Shorter where the path is below the current folder."""
    here = Path.cwd()
    return os.path.relpath(path, here) if path.is_relative_to(here) else str(path)
