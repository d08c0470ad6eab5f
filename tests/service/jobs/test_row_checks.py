"""Training rows that look broken: told in the log, and compared with what the champion's own job found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from retrainer.domain.deciding.jobs import JobState
from retrainer.domain.features.findings import Finding
from retrainer.domain.features.profiles import profile_of, values_of
from retrainer.domain.judging.order import RESULT_FILE, TrainingResult
from retrainer.ports.clock import Stopped
from retrainer.ports.training import Limits, TrainingEnded
from tests.service.controlling import Control, model, with_outcomes
from tests.service.world import World, at

LEARNT = profile_of({"hour": values_of(range(24))}, 24)
BROKEN = Finding(feature="hour", what="gone", words="hour: missing in 0.0 % of the rows, now 100.0 %")


@pytest.fixture(params=["alert", "hold"])
def on(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def checking(folder: Path, on: Literal["alert", "hold"], *found: Finding) -> Control:
    """A controller whose trainings have a profile and find something."""
    control = Control(with_outcomes(World()), folder, model(checks_on=on))
    control.registry.seed()
    control.promotions().reconcile(at(0))
    train = control.trainings.train

    def trained(folder: Path, limits: Limits, stopped: Stopped) -> TrainingEnded:
        ended = train(folder, limits, stopped)
        result = msgspec.json.decode((folder / RESULT_FILE).read_bytes(), type=TrainingResult)
        (folder / RESULT_FILE).write_bytes(msgspec.json.encode(replace(result, checks=found, profile=LEARNT)))
        return ended

    control.trainings.train = trained  # type: ignore[method-assign]  # answers as the test wants
    return control


def test_what_looks_broken_is_told(tmp_path: Path, on: Literal["alert", "hold"]) -> None:
    control = checking(tmp_path, on, BROKEN)
    control.queue()
    assert control.run_job().state is JobState.PROMOTED, "what it means is decided where it is judged"
    told = control.entries.one("rows.suspicious")
    assert told["features"] == [{"feature": "hour", "what": "gone", "words": BROKEN.words}]
    assert (told["on"], told["model"]) == (on, "flights")
    assert control.trainings.specs[0].checks_on == on


def test_sound_rows_are_not_spoken_of(tmp_path: Path) -> None:
    control = checking(tmp_path, "alert")
    control.queue()
    control.run_job()
    assert "rows.suspicious" not in control.entries.events


def test_the_next_job_is_handed_what_the_champions_job_has_learnt_from(tmp_path: Path) -> None:
    control = checking(tmp_path, "alert")
    control.queue("flights@1")
    promoted = control.run_job()
    control.promotions().reconcile(at(60))
    control.queue("flights@2", champion=promoted.version)
    control.run_job()
    assert [spec.reference for spec in control.trainings.specs] == [None, LEARNT]
