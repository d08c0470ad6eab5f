"""`python -m retrainer.training FOLDER`: carries out the order in FOLDER/spec.json; exits 0 with a verdict, else 1."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from retrainer.training import lifeline

if __name__ == "__main__":
    lifeline.hold()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)6d ms %(message)s")
    # Imported late: from here on the process ends with its parent, however long the imports take.
    from retrainer.training.child import run

    sys.exit(run(Path(sys.argv[1])))
