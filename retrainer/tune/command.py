"""From the command line's words to a tuning."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib.util import find_spec

from retrainer.config.load import Loaded
from retrainer.replay.options import WrongOption
from retrainer.replay.progress import ProgressBar
from retrainer.tune.options import tune_options
from retrainer.tune.run import CONFIG_FILE, Tuning, tune
from retrainer.tune.writing import Source


def check_installed() -> None:
    """Whether what the command needs is there.

    Raises:
        WrongOption: it is not.
    """
    if find_spec("optuna") is None:
        raise WrongOption("retrainer tune needs optuna: pip install 'retrainer[tune]'")


def run(options: argparse.Namespace, loaded: Loaded, model: str, env: Mapping[str, str]) -> Tuning:
    """Tune a model as the command line asks.

    Raises:
        WrongOption: an option cannot be meant so.
        ConfigError: the configuration cannot be tuned.
        Refused: the table or the folder cannot be used.
    """
    asked = tune_options(options)
    if (options.out / CONFIG_FILE).resolve() == options.config.resolve():
        raise WrongOption(f"--out: {options.out / CONFIG_FILE} is the configuration itself: choose another folder")
    return tune(Source.of(loaded, model, env), asked, options.out, ProgressBar())
