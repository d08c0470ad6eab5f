"""Fixtures of the service's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrainer.service.ingest import cut as storing
from tests.service.controlling import Control, model, with_outcomes
from tests.service.world import World


@pytest.fixture
def world() -> World:
    """A worker's world in which nothing has happened."""
    return World()


@pytest.fixture(params=["inline", "files"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Segments as rows, or each in a file of its own."""
    if request.param == "files":
        monkeypatch.setattr(storing, "_INLINE_BYTES", -1)
    return str(request.param)


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """A controller's world with three outcomes, and version 1 in use."""
    control = Control(with_outcomes(World()), tmp_path / "jobs", model())
    control.registry.seed()
    return control
