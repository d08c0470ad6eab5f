"""The commands. Answers go to standard output, logs to standard error; exit codes are the interface's."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Timer
from typing import TYPE_CHECKING, Any

from retrainer.errors import ConfigError, ExitCode, Refused, RetrainerError, Unreachable
from retrainer.tune.arguments import add_arguments

if TYPE_CHECKING:
    from retrainer.bootstrap import Wiring
    from retrainer.service.policy import ModelPolicy

_LEAVE_WITHIN_SECONDS = 8.0
"""Seconds from a stop to the end of a role, whatever hangs."""

_OF_TABLES = (
    ("--label", "COLUMN", "the column to be predicted"),
    ("--drop", "A,B", "columns that are no features"),
    ("--time", "COLUMN", "when each row was predicted; it is no feature then"),
    ("--every", "DURATION", "between rows without a time (1s)"),
    ("--label-delay", "DURATION|COLUMN", "until a label comes, or the column with the seconds of that (0s)"),
    ("--warm", "N", "share or number of rows that version 1 is trained on (0.1)"),
)
"""Options of a replay over a table: name, value, meaning."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(arguments)
    options.closing = ExitStack()
    try:
        with options.closing:
            code: int = options.command(options)
        return code
    except ConfigError as error:
        print(error, file=sys.stderr)
        return ExitCode.WRONG
    except (Unreachable, Refused) as error:
        print(error, file=sys.stderr)
        return ExitCode.OUTSIDE
    except RetrainerError as error:
        print(error, file=sys.stderr)
        return ExitCode.FAILED
    except BrokenPipeError:
        return ExitCode.DONE
    except KeyboardInterrupt:
        return ExitCode.FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="retrainer", description="Retrains models in production when they need it.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, action: Any, text: str, *, config: bool = True) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(command=action)
        if config:
            one.add_argument("config", type=Path, metavar="CONFIG")
        return one

    command("run", _run, "the whole service in the foreground: one worker and one controller, supervised")
    command("worker", _worker, "the ingest worker alone")
    command("controller", _controller, "the controller alone")
    check = command("check", _check, "read the configuration and say what is wrong with it")
    check.add_argument("--connect", action="store_true", help="also try broker, topics, database and MLflow")
    check.add_argument("--resolved", action="store_true", help="print every value in force")
    status = command("status", _status, "how the models stand")
    status.add_argument("model", nargs="?", metavar="MODEL")
    status.add_argument("--json", action="store_true")
    explain = command("explain", _explain, "the decisions, to retrain and not to, each with its evidence")
    explain.add_argument("model", metavar="MODEL")
    explain.add_argument("--last", type=int, default=10, metavar="N")
    explain.add_argument("--json", action="store_true")
    retrain = command("retrain", _retrain, "retrain a model now")
    retrain.add_argument("model", metavar="MODEL")
    retrain.add_argument("--reason", required=True, metavar="TEXT")
    retrain.add_argument("--wait", action="store_true", help="until the job has ended; 0 promoted, 4 rejected or held")
    for name, text in (("pause", "stop deciding for a model"), ("resume", "let deciding go on")):
        asking = command(name, _pause_or_resume, text)
        asking.add_argument("model", metavar="MODEL")
        asking.add_argument("--reason", default="", metavar="TEXT")
        asking.set_defaults(kind=name)
    _replay_options(command("replay", _replay, "run a policy over history, and report what would have come of it"))
    tune = command("tune", _tune, "search the settings that cost least on history, and write them with their reasons")
    add_arguments(tune, _OF_TABLES)
    command("schema", _schema, "JSON Schema of the configuration", config=False)
    demo = command("demo", _demo, "the main job on embedded parts with real data", config=False)
    demo.add_argument("--keep", action="store_true", help="leave everything running at the end")
    demo.add_argument("--folder", type=Path, default=Path("retrainer-demo"), help="where it leaves what it made")
    return parser


def _replay_options(replay: argparse.ArgumentParser) -> None:
    replay.add_argument("model", nargs="?", metavar="MODEL")
    source = replay.add_mutually_exclusive_group(required=True)
    source.add_argument("--table", type=Path, metavar="FILE", help="CSV or Parquet, one row an example, in time order")
    source.add_argument("--events", nargs=2, type=Path, metavar=("PREDICTIONS", "LABELS"), help="files of records")
    source.add_argument("--topics", action="store_true", help="the model's topics from the beginning")
    source.add_argument("--recorded", action="store_true", help="what the service has stored")
    for name, value, text in _OF_TABLES:
        replay.add_argument(name, metavar=value, help=f"with --table: {text}")
    replay.add_argument("--training-takes", default="0s", metavar="DURATION", help="how long a job lasts (0s)")
    replay.add_argument("--policy", action="append", default=[], metavar="NAME=FILE", help="another one, to compare")
    replay.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the report goes")
    replay.add_argument("--json", action="store_true", help="print report.json")


def _wiring(options: argparse.Namespace, *, running: bool = False) -> Wiring:
    from retrainer.bootstrap import Wiring
    from retrainer.config.load import load

    loaded = load(options.config, os.environ)
    if running and loaded.unbuilt:
        for gap in loaded.unbuilt:
            print(f"{options.config}:{gap.line}: {gap} ({gap.reason})", file=sys.stderr)
        raise ConfigError
    wiring = Wiring(loaded)
    options.closing.callback(wiring.close)
    return wiring


def _start_logging(wiring: Wiring) -> None:
    from retrainer.logs import configure

    log = wiring.settings.service.log
    configure(log.format, log.level)


def _stop_on_signals(*, within: float | None = None) -> Event:
    """An event that the first SIGTERM or SIGINT sets; a second one ends the process at once."""
    stop = Event()

    def asked(_number: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(ExitCode.FAILED)
        stop.set()
        if within is not None:
            leave = Timer(within, os._exit, args=(ExitCode.DONE,))
            leave.daemon = True
            leave.start()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)
    return stop


def _run(options: argparse.Namespace) -> int:
    from retrainer.adapters.role_processes import FolderLock, RoleProcesses, heart_of_this_process
    from retrainer.logs import logger
    from retrainer.service.heart import Beating, Unwatched
    from retrainer.service.supervisor import Supervisor

    wiring = _wiring(options, running=True)
    _start_logging(wiring)
    stop = _stop_on_signals()
    locks = [FolderLock(folder, "run") for folder in wiring.locked_folders]
    for lock in locks:
        lock.acquire(wait=0)
    log = logger(role="supervisor")
    log.info("service.started", pid=os.getpid(), models=list(wiring.settings.models), folder=str(wiring.folder))
    roles = RoleProcesses(options.config)
    code = Supervisor(("worker", "controller"), roles, wiring.clock, log).run(
        Beating(stop, heart_of_this_process() or Unwatched())
    )
    log.info("service.stopped", exit_code=code)
    return code


def _worker(options: argparse.Namespace) -> int:
    return _role(options, "worker")


def _controller(options: argparse.Namespace) -> int:
    return _role(options, "controller")


def _role(options: argparse.Namespace, name: str) -> int:
    """One role until it is told to stop; its exit code says whether starting it again would help."""
    from retrainer.adapters.role_processes import FolderLock, heart_of_this_process, watch_starter
    from retrainer.adapters.this_process import collect_garbage_rarely
    from retrainer.logs import logger
    from retrainer.service.heart import Beating, Unwatched

    wiring = _wiring(options, running=True)
    _start_logging(wiring)
    stop = _stop_on_signals(within=_LEAVE_WITHIN_SECONDS)
    watch_starter(lambda: os.kill(os.getpid(), signal.SIGTERM))
    heart = heart_of_this_process() or Unwatched()
    log = logger(role=name)
    try:
        locks = [FolderLock(folder, name) for folder in wiring.locked_folders]
        for lock in locks:
            lock.acquire(stop)
        role = wiring.worker() if name == "worker" else wiring.controller()
        if name == "worker":
            collect_garbage_rarely()
        log.info("service.started", pid=os.getpid(), models=list(wiring.settings.models))
        for folder, kind in wiring.remote_folders.items():
            log.warning("state.network_filesystem", folder=folder, kind=kind)
        role.run(Beating(stop, heart))
    except Refused as refusal:
        log.error("service.refused", reason=str(refusal))
        return ExitCode.OUTSIDE
    except Exception:
        log.exception("service.crashed")
        return ExitCode.FAILED
    log.info("service.stopped")
    return ExitCode.DONE


def _check(options: argparse.Namespace) -> int:
    wiring = _wiring(options)
    for gap in wiring.loaded.unbuilt:
        print(gap, file=sys.stderr if options.resolved else sys.stdout)
    _check_estimators(wiring, wiring.models)
    if options.resolved:
        from retrainer.config.render import resolved

        print(resolved(wiring.settings, wiring.loaded.secrets), end="")
    if options.connect:
        return _connect(wiring)
    if not options.resolved:
        print(f"{options.config}: ok, {len(wiring.settings.models)} model(s): {', '.join(wiring.settings.models)}")
    return ExitCode.DONE


def _check_estimators(wiring: Wiring, models: Sequence[ModelPolicy]) -> None:
    """Whether each estimator can be found and made with its parameters, before a job finds out that it cannot."""
    from retrainer.training.order import CannotTrain
    from retrainer.training.pipeline import estimator_of

    problems = []
    for model in models:
        try:
            if model.recipe.estimator:
                estimator_of(model.recipe, model.task)
        except CannotTrain as error:
            problems.append(wiring.loaded.problem(("models", model.name, "training", "estimator"), str(error)))
    if problems:
        raise ConfigError(*problems)


def _connect(wiring: Wiring) -> int:
    findings = wiring.check()
    for finding in findings.found:
        print(f"{'ok    ' if finding.ok else 'FAILED'} {finding.name}: {finding.facts}")
    return ExitCode.DONE if findings.ok else ExitCode.OUTSIDE


def _model(wiring: Wiring, name: str) -> ModelPolicy:
    for model in wiring.models:
        if model.name == name:
            return model
    known = ", ".join(model.name for model in wiring.models)
    raise ConfigError(wiring.loaded.problem(("models",), f'expected one of {known}, got "{name}"'))


def _one_model(wiring: Wiring, name: str | None) -> ModelPolicy:
    """The one that is named, or the only one."""
    if name is None and len(wiring.models) > 1:
        named = ", ".join(one.name for one in wiring.models)
        raise ConfigError(wiring.loaded.problem(("models",), f"say which model: {named}"))
    return wiring.models[0] if name is None else _model(wiring, name)


def _status(options: argparse.Namespace) -> int:
    from retrainer.service.people.status import status

    wiring = _wiring(options)
    chosen = [_model(wiring, options.model)] if options.model else list(wiring.models)
    found = {model.name: status(model, wiring.decisions, wiring.clock.now()) for model in chosen}
    if options.json:
        print(json.dumps({"models": found}))
    else:
        from retrainer.service.people.words import status_in_words

        for name, one in found.items():
            print(status_in_words(name, one))
    return ExitCode.DONE


def _explain(options: argparse.Namespace) -> int:
    from retrainer.service.people.status import explanation

    wiring = _wiring(options)
    found = explanation(_model(wiring, options.model), wiring.decisions, options.last)
    if options.json:
        print(json.dumps({"model": options.model, "decisions": found}))
    else:
        from retrainer.service.people.words import decisions_in_words

        print(decisions_in_words(options.model, found))
    return ExitCode.DONE


def _retrain(options: argparse.Namespace) -> int:
    from retrainer.ports.manifest.decisions import RequestKind
    from retrainer.service.people.asking import ask, wait_for

    wiring = _wiring(options)
    model = _model(wiring, options.model)
    request = ask(wiring.decisions, model.name, RequestKind.RETRAIN, options.reason, wiring.clock)
    if not options.wait:
        print(f"asked for; follow it with: retrainer explain {options.config} {model.name}")
        return ExitCode.DONE
    answer, words = wait_for(wiring.decisions, request, wiring.clock, Event())
    print(words)
    return answer.value


def _pause_or_resume(options: argparse.Namespace) -> int:
    from retrainer.ports.manifest.decisions import RequestKind
    from retrainer.service.people.asking import ask

    wiring = _wiring(options)
    ask(wiring.decisions, _model(wiring, options.model).name, RequestKind(options.kind), options.reason, wiring.clock)
    print(f"asked for: {options.kind} {options.model}")
    return ExitCode.DONE


def _replay(options: argparse.Namespace) -> int:
    from retrainer.replay.command import policies, recorded_options, table_options
    from retrainer.replay.progress import ProgressBar
    from retrainer.replay.recorded.stored import replay_events, replay_stored, replay_topics
    from retrainer.replay.report.report import encoded
    from retrainer.replay.run import replay_table, words

    wirings: list[Wiring] = []

    def policy_of(config: Path, model: str | None) -> ModelPolicy:
        wiring = _wiring(argparse.Namespace(config=config, closing=options.closing), running=True)
        wirings.append(wiring)
        found = _one_model(wiring, model)
        _check_estimators(wiring, [found])
        return found

    if options.table is None:
        takes, named = recorded_options(options), policies(options, policy_of)
        if options.events:
            replays = replay_events(named, options.events, takes, options.out, ProgressBar())
        else:
            replay = replay_stored if options.recorded else replay_topics
            replays = replay(named, wirings[0], takes, options.out, ProgressBar())
    else:
        asked = table_options(options)
        replays = replay_table(policies(options, policy_of), asked, options.out, ProgressBar())
    print(encoded(replays.report).decode(), end="") if options.json else print(words(replays))
    return ExitCode.DONE


def _tune(options: argparse.Namespace) -> int:
    from retrainer.replay.report.report import encoded
    from retrainer.tune.command import check_installed, run

    check_installed()
    wiring = _wiring(options, running=True)
    found = run(options, wiring.loaded, _one_model(wiring, options.model).name, os.environ)
    print(encoded(found.report).decode(), end="") if options.json else print(found.words)
    return ExitCode.DONE


def _schema(_: argparse.Namespace) -> int:
    from retrainer.config.render import json_schema

    print(json.dumps(json_schema(), indent=2))
    return ExitCode.DONE


def _demo(options: argparse.Namespace) -> int:
    from retrainer.demo.run import run

    return run(options.folder, keep=options.keep)
