"""The last words: figures from the joined events, and where to look on."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from retrainer.demo.folder import DemoFolder
from retrainer.demo.sentences import count, day, number
from retrainer.demo.story import Evaluation, JobStory, Story


def summary(story: Story, change: datetime, seconds: float) -> dict[str, str]:
    """What happened, in figures. Each accuracy is over outcomes that the service joined."""
    sent = {name: count(story.sent.get(name)) for name in ("predictions", "labels", "repeated")}
    return {
        "accuracy before": _evaluation(story.before(change)),
        "at the breach": _evaluation(story.breach),
        **({"training rows": "; ".join(story.suspicions)} if story.suspicions else {}),
        "after": _evaluation(story.after()),
        "jobs": "; ".join(map(_job, story.jobs.values())) or "none",
        "promoted": ", ".join(f"version {one.version}" for one in story.promotions) or "nothing",
        "events": "{predictions} predictions, {labels} labels; {repeated} of both were sent twice".format(**sent),
        "time": f"{seconds:.0f} s",
    }


def where_to_look(folder: DemoFolder) -> dict[str, str]:
    """Files and commands to go on with."""
    retrainer, config = program("retrainer"), _relative(folder.config)
    return {
        "the picture": _relative(folder.plot),
        "the logs": f"{_relative(folder.log)} and {_relative(folder.path / 'application.log')}",
        "the settings": config,
        "the decisions": f"{retrainer} explain {config} flights",
        "the state": f"{retrainer} status {config}",
        "in MLflow": f"{program('mlflow')} ui --backend-store-uri sqlite:///{_relative(folder.database)}",
    }


def show(console: Console, title: str, facts: Mapping[str, str]) -> None:
    """A title and a list; long lines stay whole, so that commands can be copied."""
    console.print(f"\n{title}", style="bold", highlight=False)
    for name, fact in facts.items():
        console.print(Text(f"  {name:<16} ", "bold").append(fact, "not bold"), soft_wrap=True)


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
