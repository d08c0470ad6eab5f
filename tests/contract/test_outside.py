"""Triggers of the user's own, as they are found and made: a mistake is told in words."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from retrainer.adapters.outside import load_trigger
from retrainer.domain.metrics.windows import CountWindow, History
from retrainer.domain.triggers.base import Level, Scene

MODULE = """
from retrainer.domain.triggers.base import Level, Reading

class Weekend:
    def __init__(self, days=2, strict=False):
        if days > 7:
            raise ValueError("a week has seven days")
        self.days = days

    def evaluate(self, state, scene):
        return {"n": state.get("n", 0) + 1}, Reading(level=Level.FIRED, evidence={"days": self.days})

class Mute:
    pass

class Deaf:
    def evaluate(self):
        return None

def function(state, scene):
    return None
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "own_triggers.py").write_text(MODULE)
    (tmp_path / "own_broken.py").write_text("import sys\nsys.exit('no')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("own_triggers", "own_broken"):
        sys.modules.pop(name, None)


def test_a_class_is_made_from_its_settings_and_asked() -> None:
    trigger = load_trigger("own_triggers:Weekend", {"days": 3})
    assert trigger.kind == "own_triggers:Weekend"
    state, reading = trigger.evaluate({}, Scene(history=History(CountWindow(outcomes=1))))
    assert (state, reading.level, reading.evidence) == ({"n": 1}, Level.FIRED, {"days": 3})


@pytest.mark.parametrize(
    ("entry", "settings", "told"),
    [
        ("own_missing:A", {}, "cannot import own_missing: ModuleNotFoundError: No module named 'own_missing'"),
        ("own_broken:A", {}, "cannot import own_broken: SystemExit: no"),
        ("own_triggers:Wekend", {}, "expected a class such as package.module:Class: own_triggers has no Wekend"),
        ("own_triggers:function", {}, "expected a class, but own_triggers:function is of type function"),
        ("own_triggers:Mute", {}, "expected a class with evaluate(state, scene), which own_triggers:Mute has not"),
        ("own_triggers:Deaf", {}, "expected own_triggers:Deaf to have evaluate(state, scene): too many positional"),
        ("own_triggers:Weekend", {"dayz": 1}, "cannot make own_triggers:Weekend with dayz: TypeError: "),
        ("own_triggers:Weekend", {"days": 9}, "cannot make own_triggers:Weekend with days: ValueError: a week has"),
    ],
)
def test_what_is_wrong_is_told(entry: str, settings: Mapping[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(told)}"):
        load_trigger(entry, settings)


def test_settings_are_not_quoted() -> None:
    with pytest.raises(ValueError, match="with token") as caught:
        load_trigger("own_triggers:Weekend", {"token": "hunter2"})
    assert "hunter2" not in str(caught.value)
