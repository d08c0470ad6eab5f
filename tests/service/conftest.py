"""Fixtures of the service's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.control import Control, model, with_outcomes
from tests.service.world import World


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """A controller's world with three outcomes, and version 1 in use."""
    control = Control(with_outcomes(World()), tmp_path / "jobs", model())
    control.registry.seed()
    return control
