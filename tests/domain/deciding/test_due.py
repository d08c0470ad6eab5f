"""Which triggers fire when something is due: guards that wait for quality do not wait for them."""

from __future__ import annotations

from retrainer.domain.deciding.due import due_names
from retrainer.domain.metrics.windows import CountWindow
from retrainer.domain.triggers.base import Trigger
from retrainer.domain.triggers.new_class import NewClass
from retrainer.domain.triggers.volume import Volume
from tests.plain import plain_change, plain_drift, plain_drop, plain_threshold, plain_trial

WINDOW = CountWindow(outcomes=100)
EVERY_KIND: dict[str, Trigger] = {
    "line": plain_threshold(metric="accuracy", window=WINDOW, below=0.5),
    "fall": plain_drop(metric="accuracy", window=WINDOW, by=0.1),
    "shift": plain_change(),
    "features": plain_drift(),
    "class": NewClass(labels=1),
    "many": Volume(labels=100),
    "try": plain_trial(),
}


def test_amounts_and_times_are_due_and_nothing_else() -> None:
    found = due_names(EVERY_KIND, ["weekly"])
    assert found & {*EVERY_KIND, "weekly", "bootstrap"} == {"many", "try", "weekly"}


def test_a_persons_wish_is_no_word_about_quality() -> None:
    assert "manual" in due_names(EVERY_KIND, [])


def test_one_that_was_removed_is_known_by_the_name_of_its_kind() -> None:
    assert {"trial", "volume", "schedule"} <= due_names({}, [])
    assert "trial" not in due_names({"trial": EVERY_KIND["line"]}, [])
