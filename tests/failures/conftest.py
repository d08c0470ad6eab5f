"""The worlds of a worker and of a controller, in which nothing has happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.controlling import Control, model
from tests.service.world import World


@pytest.fixture
def world() -> World:
    """A worker's world."""
    return World()


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """A controller's world with version 1 in use."""
    control = Control(World(), tmp_path / "jobs", model())
    control.registry.seed()
    return control
