"""`retrainer tune`: the settings that cost least on history, and the file that has them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Final

from retrainer.config.load import Loaded
from retrainer.config.model import ModelSettings
from retrainer.domain.metrics.registry import METRICS
from retrainer.errors import ConfigError, Refused
from retrainer.policies import model_policy
from retrainer.replay.hearing import heard
from retrainer.replay.options import WrongOption
from retrainer.replay.progress import ProgressBar
from retrainer.replay.report.report import Json, encoded
from retrainer.replay.run import check_delay, prepare
from retrainer.replay.table.table import Table, load
from retrainer.service.policy import ModelPolicy
from retrainer.tune.edits import Unplayable, edits, settings_with
from retrainer.tune.folds import PlayedFolds, walk
from retrainer.tune.options import TuneOptions
from retrainer.tune.plays import Plays, PolicyOf, bounds_of
from retrainer.tune.report import Tuned, reasons_in_words, report_of, words
from retrainer.tune.search import Searching, Teller
from retrainer.tune.space import Point, SearchSpace, TableFacts, space_of
from retrainer.tune.weighing import Weighed, weigh
from retrainer.tune.writing import Source

CONFIG_FILE: Final = "tuned.yaml"
REPORT_FILE: Final = "tune.json"


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What came of a tuning: its report, the same in words, and the files that were written."""

    report: Json
    words: str
    files: tuple[Path, ...]


def tune(source: Source, options: TuneOptions, out: Path, progress: ProgressBar) -> Tuning:
    """Search a model's settings, and write tuned.yaml and tune.json into a folder.

    Raises:
        WrongOption: an option does not fit the table.
        ConfigError: a setting that is searched cannot be changed for this model alone.
        Refused: the table or the folder cannot be used.
    """
    began = perf_counter()
    loaded = source.loaded
    model = loaded.settings.models[source.model]
    if model.observe:
        told = "expected false: nothing is ever retrained with it, so there is nothing to tune"
        raise ConfigError(loaded.problem(("models", model.name, "observe"), told))
    check_delay({model.name: model_policy(model)}, options.table)
    prepare(out)
    table = load(options.table, model.task)
    plays = _plays(loaded, model, table, options)
    space = _space(model, plays)
    _check_all(space, source)
    plays = replace(plays, policy_of=_policies(loaded, model.name, space), present=space.present)
    walked = _walk(space, plays, options, progress)
    tuned = Tuned(
        model=model.name,
        metric=model.metrics[0],
        space=space,
        plays=plays,
        options=options,
        walked=walked,
        weighed=_weighed(space, plays, walked, progress),
        seconds=perf_counter() - began,
    )
    return _written(tuned, source, out)


def _plays(loaded: Loaded, model: ModelSettings, table: Table, options: TuneOptions) -> Plays:
    """The present settings, and nothing else to play yet."""
    predicted = len(table) - table.warm
    if predicted < options.folds + 1:
        told = f"{predicted} rows after the warm part are too few for {options.folds} folds and a part before them"
        raise WrongOption(f"--folds: {told}")
    return Plays(
        table=table,
        bounds=bounds_of(table, options.folds),
        policy_of=_policies(loaded, model.name, None),
        training_takes=options.table.training_takes,
        present=(),
    )


def _space(model: ModelSettings, plays: Plays) -> SearchSpace:
    """Improvements of a loss are sought in its unit: as the first stretch has it."""
    table, loss = plays.table, None
    if not METRICS[model.metrics[0]].higher_is_better:
        found = plays.score((), 1).metric
        loss = found if found is not None and isfinite(found) else 0.0
    span = int(table.times[-1] - table.times[table.warm])
    return space_of(model, TableFacts(warm=table.warm, rows=len(table) - table.warm, span=span, loss=loss))


def _policies(loaded: Loaded, model: str, space: SearchSpace | None) -> PolicyOf:
    def policy_of(point: Point) -> ModelPolicy:
        changes = edits(space, point) if space else []
        return model_policy(settings_with(loaded, model, changes).models[model])

    return policy_of


def _check_all(space: SearchSpace, source: Source) -> None:
    """Whether every knob can be turned in this file, before hours are spent on finding out how.

    Raises:
        ConfigError: one cannot, as it is shared with others.
    """
    for number, knob in enumerate(space.knobs):
        for other in range(len(knob.choices)):
            point = space.normal((*space.present[:number], other, *space.present[number + 1 :]))
            with suppress(Unplayable):
                source.written(edits(space, point), {knob.key: "was"}, "checked")


def _walk(space: SearchSpace, plays: Plays, options: TuneOptions, progress: ProgressBar) -> PlayedFolds:
    rows = options.trials * sum(plays.rows(number) for number in range(1, options.folds + 2))
    with progress.over("tuning", rows) as tell, heard():
        searching = Searching(
            space=space,
            plays=plays,
            price=options.price,
            trials=options.trials,
            seed=options.seed,
            clock=perf_counter,
            teller=Teller(tell),
        )
        return walk(searching, options.folds, options.seconds)


def _weighed(space: SearchSpace, plays: Plays, walked: PlayedFolds, progress: ProgressBar) -> Weighed:
    """The present settings where the folds do not show that others help."""
    if not walked.helps:
        return Weighed(point=space.present, cost=walked.present.cost(walked.price), reasons=())
    with progress.over("weighing each change", 0) as tell, heard():
        return weigh(space, plays, walked.last.best, walked.price, tell)


def _written(tuned: Tuned, source: Source, out: Path) -> Tuning:
    changes, comments = edits(tuned.space, tuned.weighed.point), reasons_in_words(tuned.weighed.reasons)
    text = source.written(changes, comments, tuned.outcome)
    files = (out / CONFIG_FILE, out / REPORT_FILE)
    found = report_of(tuned)
    try:
        with files[0].open("w", encoding="utf-8", newline="") as file:
            file.write(text)
        files[1].write_bytes(encoded(found))
    except OSError as error:
        raise Refused(f"{out}: cannot be written to: {error.strerror or error}") from error
    told = "\n".join([words(tuned), *(f"wrote {path}" for path in files)])
    return Tuning(report=found, words=told, files=files)
