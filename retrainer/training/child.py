"""The training process's own end: whatever happens in between, an order is answered by result.json.

Light to import; the libraries that training needs come with `steps`, so that even their failure is told.
"""

from __future__ import annotations

import logging
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Final

from retrainer.domain.judging.order import TrainingResult
from retrainer.errors import ExitCode
from retrainer.training.order import CannotTrain, read_order, write_result

_log = logging.getLogger(__name__)

_FRAMES: Final = 4


def run(folder: Path) -> int:
    """Carry out the order in a job's folder: spec.json and dataset.parquet to result.json, model/ and report/.

    Returns:
        `DONE` with a verdict, whichever it is; `FAILED` with an error in result.json.
    """
    began = time.monotonic()
    job_id = ""
    try:
        spec = read_order(folder)
        job_id = spec.job_id
        from retrainer.training.steps import carry_out

        result = carry_out(spec, folder)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an estimator is other people's code
        _log.error("training failed", exc_info=error)
        result = TrainingResult(job_id=job_id, verdict=None, error=_told(error))
    write_result(folder, replace(result, seconds=round(time.monotonic() - began, 3)))
    return ExitCode.FAILED if result.error else ExitCode.DONE


def _told(error: BaseException) -> str:
    """For a person: the message alone where it was written for people, else with the last calls."""
    if isinstance(error, CannotTrain):
        return str(error)
    return "".join(traceback.format_exception(error, limit=-_FRAMES)).strip()
