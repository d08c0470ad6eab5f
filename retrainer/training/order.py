"""The order (spec.json) that a training process reads, and the answer (result.json) that it writes."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from retrainer.domain.judging.order import FORMAT, RESULT_FILE, SPEC_FILE, TrainingResult, TrainingSpec
from retrainer.domain.metrics.registry import METRICS
from retrainer.errors import RetrainerError


class CannotTrain(RetrainerError):
    """This order cannot be carried out; the message says why, to the people who wrote it."""


class TooFewRows(CannotTrain):
    """The rows are too few, or too much alike, to learn from them."""


def read_order(folder: Path) -> TrainingSpec:
    """The order in a job's folder.

    Raises:
        CannotTrain: there is none, it is not one that this version understands, or it asks for what is not built.
    """
    path = folder / SPEC_FILE
    try:
        spec = msgspec.json.decode(path.read_bytes(), type=TrainingSpec)
    except (OSError, msgspec.DecodeError) as error:
        raise CannotTrain(f"cannot read {SPEC_FILE}: {error}") from error
    if spec.format != FORMAT:
        raise CannotTrain(f"{SPEC_FILE} has format {spec.format}; this version of retrainer reads {FORMAT}")
    _check(spec)
    return spec


def _check(spec: TrainingSpec) -> None:
    if not spec.metrics:
        raise CannotTrain("the order names no metric to judge by")
    known = [name for name, metric in METRICS.items() if metric.task == spec.task]
    unknown = [name for name in (spec.metrics[0], *spec.judge.floors) if name not in known]
    if unknown:
        raise CannotTrain(f"cannot judge a {spec.task} by {', '.join(unknown)}: expected one of {', '.join(known)}")


def write_result(folder: Path, result: TrainingResult) -> None:
    """Write result.json, durable and never visible in part."""
    write_whole(folder / RESULT_FILE, msgspec.json.format(msgspec.json.encode(result), indent=1))


def write_whole(path: Path, content: bytes) -> None:
    """A file that is either there with all its content, on disk, or not there."""
    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
