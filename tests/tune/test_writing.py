"""The file that is written: the user's own, with a few values changed and the reason beside each."""

from __future__ import annotations

from difflib import ndiff
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrainer.config.load import load, load_text
from retrainer.errors import ConfigError
from retrainer.tune.edits import Unplayable, edits, settings_with
from retrainer.tune.space import Point, SearchSpace
from retrainer.tune.writing import Source
from tests.effort import much
from tests.tune.layouts import BLOCK, DEFAULTS, ENV, LAYOUTS, TRIGGERS, source, space


def point(about: SearchSpace, **changes: Any) -> Point:
    """The present point with other values, by the last part of their keys."""
    found = {knob.key.rpartition(".")[2]: (number, knob) for number, knob in enumerate(about.knobs)}
    places = list(about.present)
    for name, value in changes.items():
        number, knob = found[name]
        places[number] = knob.choices.index(value)
    return tuple(places)


def changed(found: Source, header: str = "changed", **changes: Any) -> str:
    about = space(found)
    there = point(about, **changes)
    return found.written(edits(about, there), dict.fromkeys(about.changed(there), "was otherwise"), header)


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=much(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_point_is_written_so_that_it_means_just_that(tmp_path: Path, layout: str, data: st.DataObject) -> None:
    found = source(tmp_path, LAYOUTS[layout])
    about = space(found)
    places = [data.draw(st.integers(0, len(knob.choices) - 1)) for knob in about.knobs]
    there = about.normal(tuple(places))
    comments = dict.fromkeys(about.changed(there), "was otherwise, which costs 7 more")
    try:
        wanted = settings_with(found.loaded, "m", edits(about, there)).models
    except Unplayable:
        return
    text = found.written(edits(about, there), comments, "found by a test")
    loaded = load_text(text, found.loaded.path, ENV)
    assert loaded.settings.models == wanted
    assert text.count("was otherwise, which costs 7 more") == len(comments)
    _check_values(about, there, loaded.settings.models["m"].model_dump())
    for line in ndiff(found.text.splitlines(), text.splitlines()):
        kept, _, comment = line.partition("#")
        if line.startswith("- ") and comment:  # a comment of the user's own stays, also where a value was changed
            assert f"#{comment}" in text, kept


def _check_values(about: SearchSpace, there: Point, model: dict[str, Any]) -> None:
    """What was chosen stands where its key says."""
    for key, value in about.values(there).items():
        if not key.startswith("triggers"):
            section, _, name = key.partition(".")
            assert model[section][name] == value
    if model["triggers"] and model["retrain_when"] is None:
        launching = set(model["triggers"]) & {about.launching.shift, about.launching.trial}
        assert launching == set(about.on(there))


def test_only_the_changed_lines_change(tmp_path: Path) -> None:
    text = changed(source(tmp_path, BLOCK), cooldown="1h", min_rows=100, rows="auto", times=4.0)
    diff = [line for line in ndiff(BLOCK.splitlines(), text.splitlines()) if line[0] in "+-"]
    assert diff == [
        "+   # retrainer tune: changed",
        "+     triggers:",
        "+       shift: {change: {metric: accuracy, confidence: 0.95}}",
        "+       trial: {trial: {times: 4.0}}  # times was otherwise",
        "-       cooldown: ${COOLDOWN:-6h}",
        "+       cooldown: 1h  # was otherwise",
        "-       rows: {last: 2000}  # the newest",
        "+       rows: auto  # the newest; was otherwise",
        "+     judge:",
        "+       min_rows: 100  # was otherwise",
    ]


def test_within_braces_the_comment_names_the_setting(tmp_path: Path) -> None:
    text = changed(source(tmp_path, LAYOUTS["flow"]), cooldown="1h", min_rows=100)
    assert "guards: {cooldown: 1h},  # cooldown was otherwise\n" in text
    assert '{"min_rows": 100}}}  # one line; min_rows was otherwise\n' in text
    assert "bootstrap_servers: ${BROKER}}" in text


def test_a_trigger_that_is_off_is_left_out_of_retrain_when(tmp_path: Path) -> None:
    text = changed(source(tmp_path, TRIGGERS), triggers=())
    loaded = load_text(text, tmp_path / "config.yaml", ENV)
    assert str(loaded.settings.models["m"].retrain_when) == "low or worse or monthly"
    assert "due: {trial: {times: 3}}" in text


def test_one_that_is_on_is_added(tmp_path: Path) -> None:
    text = changed(source(tmp_path, TRIGGERS), triggers=("shift", "due"), confidence=0.95)
    model = yaml.safe_load(text)["models"]["m"]
    assert model["triggers"]["shift"] == {"change": {"metric": "accuracy", "confidence": 0.95}}
    assert "retrain_when" not in model


def test_a_value_from_the_defaults_is_changed_for_the_model_alone(tmp_path: Path) -> None:
    text = changed(source(tmp_path, DEFAULTS), cooldown="30m", rows="all")
    models = load_text(text, tmp_path / "config.yaml", ENV).settings.models
    assert models["m"].model_dump()["guards"]["cooldown"] == "30m"
    assert models["m"].guards.min_labels == 200
    assert models["other"].model_dump()["guards"]["cooldown"] == "2h"
    assert text.startswith(DEFAULTS.partition("models:")[0])


def test_an_alias_is_taken_over(tmp_path: Path) -> None:
    text = changed(source(tmp_path, LAYOUTS["anchors"]), cooldown="30m", confidence=0.5)
    assert "guards: {<<: *guards, cooldown: 30m}  # cooldown was otherwise\n" in text
    assert "judge: {confidence: 0.5}   # as theirs; confidence was otherwise\n" in text


@pytest.mark.parametrize(
    ("model", "changes", "key"),
    [
        ("other", {"cooldown": "30m"}, "models.other.guards.cooldown"),
        ("other", {"confidence": 0.5}, "models.other.judge.confidence"),
        ("other", {"holdout": 0.4}, "models.other.training.holdout"),
    ],
)
def test_what_others_share_is_refused_with_its_line(
    tmp_path: Path, model: str, changes: dict[str, Any], key: str
) -> None:
    text = LAYOUTS["anchors"].replace("      holdout: 0.3\n", "")
    with pytest.raises(ConfigError, match=f"{key}: cannot be changed for this model alone") as refusal:
        changed(source(tmp_path, text, model), **changes)
    assert refusal.value.problems[0].line > 5


def test_a_merged_section_is_refused(tmp_path: Path) -> None:
    text = BLOCK.replace("    task: class", "    <<: &all {judge: {min_rows: 200, confidence: 0.9}}\n    task: class")
    with pytest.raises(ConfigError, match=r"models\.m\.judge\.min_rows: cannot be changed"):
        changed(source(tmp_path, text), min_rows=100)


def test_nothing_changed_is_the_same_file_with_a_comment(tmp_path: Path) -> None:
    found = source(tmp_path, BLOCK)
    told = "nothing is changed. " + "It would not help at all. " * 8
    text = found.written([], {}, told)
    added = [line[2:] for line in ndiff(BLOCK.splitlines(), text.splitlines()) if line[0] in "+-"]
    assert all(line.startswith("  # ") and len(line) <= 120 for line in added)
    assert " ".join(line.strip("# ") for line in added) == f"retrainer tune: {told.strip()}"
    assert found.loaded.settings == load_text(text, found.loaded.path, ENV).settings


def test_a_second_tuning_replaces_what_the_first_one_said(tmp_path: Path) -> None:
    first = source(tmp_path, BLOCK).written([], {}, "first " * 40)
    second = source(tmp_path, first).written([], {}, "second")
    assert second == source(tmp_path, BLOCK).written([], {}, "second")


@pytest.mark.parametrize("layout", ["odd", "bare"])
def test_line_ends_and_what_stands_behind_the_model_stay(tmp_path: Path, layout: str) -> None:
    text = changed(source(tmp_path, LAYOUTS[layout]), cooldown="30m", min_rows=100, holdout=0.4)
    assert text.count("\n") == text.count("\r\n") or "\r" not in text
    path = tmp_path / "tuned.yaml"
    path.write_bytes(text.encode())
    assert load(path, ENV).settings.models["m"].judge.min_rows == 100
    assert text.splitlines()[-1] == LAYOUTS[layout].splitlines()[-1]
