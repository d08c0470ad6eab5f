"""`retrainer replay`: policies played over a table one after the other, and what is written of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from retrainer.domain.answers import Task
from retrainer.domain.values import span_text
from retrainer.errors import Refused
from retrainer.replay.hearing import heard
from retrainer.replay.options import TableOptions, WrongOption
from retrainer.replay.progress import ProgressBar
from retrainer.replay.report import report
from retrainer.replay.report.notes import notes_of
from retrainer.replay.report.page import page
from retrainer.replay.report.report import Json, Replayed
from retrainer.replay.table.baselines import baselines
from retrainer.replay.table.engine import Played, play
from retrainer.replay.table.table import Table, load
from retrainer.service.policy import ModelPolicy


@dataclass(frozen=True, kw_only=True)
class Replays:
    """What came of a replay: its report, and the files that were written."""

    report: Json
    files: tuple[Path, ...]


def replay_table(
    policies: Mapping[str, ModelPolicy], options: TableOptions, out: Path, progress: ProgressBar
) -> Replays:
    """Replay each policy over a table, and write report.json, report.html and predictions.parquet into a folder.

    Args:
        policies: by name; the first one is the report's own, and its predictions are written.

    Raises:
        WrongOption: an option does not fit the table.
        Refused: the table or the folder cannot be used.
    """
    prepare(out)
    check_delay(policies, options)
    table = load(options, _task(policies))
    replays = [_one(name, policy, table, options, progress) for name, policy in policies.items()]
    found = report.report_of(replays)
    first = next(iter(policies.values()))
    with heard():
        drawn = page(first.name, found, replays)
    return write(out, found, drawn, replays[0].played)


def write(out: Path, found: Json, drawn: str, played: Played | None = None) -> Replays:
    """Write a report and its page, and the predictions where there are any of its own.

    Raises:
        Refused: the folder cannot be used.
    """
    files = [out / report.REPORT_FILE, out / report.PAGE_FILE]
    try:
        files[0].write_bytes(report.encoded(found))
        files[1].write_text(drawn, encoding="utf-8")
        if played is not None:
            files.append(out / report.PREDICTIONS_FILE)
            report.write_predictions(files[2], played)
    except OSError as error:
        raise Refused(f"{out}: cannot be written to: {error.strerror or error}") from error
    return Replays(report=found, files=tuple(files))


def words(replays: Replays) -> str:
    """The outcome in a few lines, for a terminal."""
    found = replays.report
    lines = [line for name, one in _named(found).items() for line in _told(name, one)]
    return "\n".join([*lines, *(f"wrote {path}" for path in replays.files)])


def _task(policies: Mapping[str, ModelPolicy]) -> Task:
    """The task of the first policy, which has to be that of all."""
    (first, one), *others = policies.items()
    for name, other in others:
        if other.task != one.task:
            raise WrongOption(f"--policy: {name} is for a {other.task}, and {first} for a {one.task}")
    return one.task


def check_delay(policies: Mapping[str, ModelPolicy], options: TableOptions) -> None:
    """See that labels of this delay can count.

    Raises:
        WrongOption: with some policy none ever would.
    """
    for name, policy in policies.items():
        longest, delay = policy.ingest.join.max_delay, options.label_delay
        if isinstance(delay, int) and delay > longest:
            told = f"{span_text(delay)} is longer than labels.max_delay, which is {span_text(longest)} in {name}"
            raise WrongOption(f"--label-delay: {told}: no label would ever count; raise labels.max_delay")


def prepare(out: Path) -> None:
    """Make the folder, before hours are spent on what could not be written.

    Raises:
        Refused: it cannot be used.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".{report.REPORT_FILE}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Refused(f"{out}: cannot be written to: {error.strerror or error}") from error


def _one(name: str, policy: ModelPolicy, table: Table, options: TableOptions, progress: ProgressBar) -> Replayed:
    began = perf_counter()
    with progress.over(name, len(table) - table.warm) as tell, heard() as warned:
        played = play(policy, table, options.training_takes, tell)
        wall = perf_counter() - began
    with progress.over(f"{name}: baselines", 0), heard():
        beside = baselines(played, options.training_takes)
    notes = notes_of(table, played, warned)
    return Replayed(name=name, played=played, baselines=beside, wall_seconds=wall, notes=notes)


def _named(found: Json) -> Mapping[str, Json]:
    several: Mapping[str, Json] | None = found.get("policies")
    return several if several is not None else {"": found}


def _told(name: str, one: Json) -> list[str]:
    metric, beside, cost = one["metric"], one["baselines"], one["cost"]
    retrains = f"{one['retrains']} retraining{'' if one['retrains'] == 1 else 's'}, {one['promotions']} promoted"
    every = beside["periodic"]["every"]
    periodic = "" if every is None else f", retrained every {every} rows {_number(beside['periodic']['value'])}"
    recorded = one.get("recorded")
    if recorded is not None:
        told = f"{recorded['same']} of {recorded['decisions']} recorded decisions the same before the first other one"
        compared = f"  {told}; recorded were {recorded['retrains']} retrainings"
    else:
        compared = f"  never retrained {_number(beside['never'])}, the last label seen {_number(beside['no_change'])}"
    spent = f"{cost['fit_seconds']:.1f} s training, {cost['predict_seconds']:.1f} s predicting"
    return [
        f"{name + ': ' if name else ''}{metric['name']} {_number(metric['value'])} over {one['rows']} rows, {retrains}",
        f"{compared}{periodic}",
        f"  {spent}, {cost['wall_seconds']:.1f} s in all",
        *(f"  note: {note}" for note in one.get("notes", ())),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
