"""The machine: some stories always the same, or (`make proof`) thousands that nobody has seen before.

RETRAINER_PROOF is `short`, `new`, `long`, or `planted`: how many stories, and whether a failing one is made small.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.effort import much
from tests.proof.machine import Ingest

_COMMON = settings(
    deadline=None,
    stateful_step_count=25,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
PROFILES = {
    "short": settings(_COMMON, max_examples=much(100, slow=300), derandomize=True),
    "new": settings(_COMMON, max_examples=600, database=None, print_blob=True),
    "long": settings(_COMMON, max_examples=6000, database=None, print_blob=True),
    "planted": settings(_COMMON, max_examples=4000, derandomize=True, phases=[Phase.generate]),
}

pytestmark = pytest.mark.timeout(3600)  # a failing story is made small, however long that takes

TestIngest = Ingest.TestCase
TestIngest.settings = PROFILES[os.environ.get("RETRAINER_PROOF", "short")]
