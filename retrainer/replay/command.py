"""From the command line's words to a replay."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from retrainer.domain.values import Micros
from retrainer.replay.options import TableOptions, WrongOption, delay_of, policies_of, span_of, warm_of
from retrainer.service.policy import ModelPolicy

PolicyOf = Callable[[Path, str | None], ModelPolicy]
"""A configuration file, and the name of a model where one was asked for, to that model's policy."""

_TABLE_ONLY = {
    "label": "--label",
    "drop": "--drop",
    "time": "--time",
    "every": "--every",
    "label_delay": "--label-delay",
    "warm": "--warm",
}


def table_options(options: argparse.Namespace) -> TableOptions:
    """What was asked for.

    Raises:
        WrongOption: it cannot be meant so.
    """
    if not options.label:
        raise WrongOption("--table needs --label: the column to be predicted")
    if options.time is not None and options.every is not None:
        raise WrongOption("--every is for rows without a time: leave out it or --time")
    return TableOptions(
        path=options.table,
        label=options.label,
        drop=tuple(name for name in (options.drop or "").split(",") if name),
        time=options.time,
        every=span_of("--every", options.every or "1s", least=1),
        label_delay=delay_of(options.label_delay or "0s"),
        warm=warm_of(options.warm or "0.1"),
        training_takes=span_of("--training-takes", options.training_takes),
    )


def policies(options: argparse.Namespace, policy_of: PolicyOf) -> Mapping[str, ModelPolicy]:
    """Every policy that is replayed, by name: the configuration's own first, under the name of its file.

    Raises:
        WrongOption: two have the same name.
        ConfigError: a file cannot be used.
    """
    others = policies_of(options.policy)
    own = options.config.stem
    if own in others:
        raise WrongOption(f"--policy: {own} is the name of {options.config}'s own policy: choose another")
    first = policy_of(options.config, options.model)
    return {own: first, **{name: policy_of(file, options.model) for name, file in others.items()}}


def recorded_options(options: argparse.Namespace) -> Micros:
    """How long a job lasts on the clock of a replay over what is stored.

    Raises:
        WrongOption: an option is about tables.
    """
    _refuse_table_options(options)
    return span_of("--training-takes", options.training_takes)


def _refuse_table_options(options: argparse.Namespace) -> None:
    alien = [option for name, option in _TABLE_ONLY.items() if getattr(options, name) is not None]
    if alien:
        raise WrongOption(f"{', '.join(alien)}: only for --table")
