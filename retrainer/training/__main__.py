"""`python -m retrainer.training FOLDER`: carries out the order in FOLDER/spec.json; exits 0 with a verdict, else 1."""

from __future__ import annotations

import gc
import logging
import os
import sys
from pathlib import Path

from retrainer.training import lifeline


def main(folder: Path) -> int:
    """Run the order, ending with the parent if that ends first."""
    lifeline.watch()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)6d ms %(message)s")
    gc.set_threshold(100_000)  # importing the libraries makes much and drops little: a tenth of their time
    # Imported late: from the first line on the process ends with its parent, however long the imports take.
    from retrainer.training.child import run

    return run(folder)


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the answer is on disk, and freeing what the libraries hold would take most of a second
