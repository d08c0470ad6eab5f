"""Settings printed back, and the schema for editors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as adjusted
from hypothesis import strategies as st

from retrainer.config.document import read
from retrainer.config.load import load
from retrainer.config.render import json_schema, resolved
from retrainer.config.settings import Settings
from tests.effort import much

EXAMPLES = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))

EVERYTHING_ELSE = """
kafka:
  bootstrap_servers: a:1, b:2
  start: 2026-01-31T00:00:00Z
  client: {security_protocol: SSL, session_timeout_ms: 6000}
state: {flush: {every: 1500ms, bytes: 5MB}}
service: {http: null, notify: [{url: "https://hooks", on: [model.promoted]}]}
models:
  flights:
    task: classification
    registered_model: flights-eu
    classes: [0, 1]
    positive: 1
    predictions:
      topic: p
      where: {$headers.kind: 1}
      fields: {id: {join: [a, [b, $key]]}, time: {path: t, unit: ns}, features: "*"}
    labels: {topic: l, fields: {time: [a, b]}, absent: {after: 1h, value: 0}, mature_after: 0s}
    triggers:
      t: {threshold: {metric: log_loss, above: 0.5, window: 90m}}
      s: {schedule: {every: 36h}}
    retrain_when: not (t and s)
    training: {rows: {last: 36h}, command: [a, b], params: {x: 1e-3, y: "1e-3", z: "no", w: "${HOME}", v: null}}
    promotion: {probation: null}
"""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_what_is_printed_loads_as_the_same_settings(path: Path, tmp_path: Path) -> None:
    _assert_survives(load(path, {}).settings, tmp_path)


def test_every_notation_survives_being_printed(tmp_path: Path) -> None:
    path = tmp_path / "everything.yaml"
    path.write_text(EVERYTHING_ELSE.replace("${HOME}", "$${HOME}"))
    settings = load(path, {}).settings
    assert settings.models["flights"].training.params["w"] == "${HOME}"
    _assert_survives(settings, tmp_path)


def _assert_survives(settings: Settings, folder: Path) -> None:
    printed = folder / "resolved.yaml"
    printed.write_text(resolved(settings), "utf-8")
    assert load(printed, {}).settings == settings


# PyYAML writes the line breaks of old mainframes and of Unicode so that it reads them as others.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(CHARACTERS)


@adjusted(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=much(50))
@given(
    params=st.dictionaries(
        st.text(CHARACTERS, min_size=1, max_size=5), st.recursive(SCALARS, st.lists, max_leaves=4), max_size=4
    )
)
def test_parameters_survive_whatever_they_are(params: dict[str, Any], full: Settings) -> None:
    model = full.models["flights"]
    changed = full.model_copy(
        update={
            "models": {
                "flights": model.model_copy(update={"training": model.training.model_copy(update={"params": params})})
            }
        }
    )
    printed = read(resolved(changed), {}, Path()).root.plain()
    assert printed["models"]["flights"]["training"]["params"] == params


@pytest.fixture(scope="module")
def full() -> Settings:
    """The settings of the full example."""
    return load(next(path for path in EXAMPLES if path.name == "full.yaml"), {}).settings


def test_values_are_printed_in_the_notation_of_the_file(full: Settings) -> None:
    tree = yaml.safe_load(resolved(full))
    assert tree["state"]["flush"] == {"every": "2s", "bytes": "64MiB"}
    assert tree["models"]["flights"]["triggers"]["low_accuracy"]["threshold"]["breaches"] == "2 of 3"
    assert tree["models"]["flights"]["guards"]["cooldown"] == "6h"


def test_secrets_are_masked(tmp_path: Path) -> None:
    (tmp_path / "group").write_text("hunter2")
    path = tmp_path / "retrainer.yaml"
    path.write_text("""
kafka: {bootstrap_servers: "b:1", group_id: "${file:group}", client: {sasl_plain_password: hunter2, client_id: me}}
state: {database: "postgresql+psycopg://me:hunter2@db/retrainer"}
service: {token: hunter2, notify: [{url: "https://hooks", on: [model.promoted], secret: hunter2}]}
models:
  m: {task: classification, predictions: {topic: p}, labels: {topic: l}, training: {estimator: a.B}}
""")
    loaded = load(path, {})
    printed = resolved(loaded.settings, loaded.secrets)
    assert "hunter2" not in printed
    assert printed.count("********") == 5
    assert "client_id: me" in printed


class TestSchema:
    @pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
    def test_it_takes_the_examples(self, path: Path) -> None:
        tree = read(path.read_text("utf-8"), {}, Path()).root.plain()
        assert list(_violations(tree, json_schema())) == []

    def test_it_takes_defaults_and_references(self) -> None:
        tree = {
            "kafka": {"bootstrap_servers": "${KAFKA}"},
            "service": {"jobs": "${JOBS:-1}", "log": {"level": "${LEVEL}"}},
            "defaults": {"guards": {"cooldown": "${COOLDOWN}"}},
            "models": {"flights": {}},
        }
        assert list(_violations(tree, json_schema())) == []

    @pytest.mark.parametrize(
        ("tree", "where"),
        [
            ({}, "kafka"),
            ({"kafka": {"bootstrap_server": "a:1"}}, "kafka.bootstrap_server"),
            ({"models": {"flights": {"guards": {"cooldown": "soon"}}}}, "models.flights.guards.cooldown"),
            ({"models": {"flights": {"guards": {"min_labels": 0}}}}, "models.flights.guards.min_labels"),
            ({"models": {"flights": {"training": {"rows": {"first": 1}}}}}, "models.flights.training.rows"),
            ({"defaults": {"task": "clustering"}}, "defaults.task"),
        ],
    )
    def test_it_refuses_what_cannot_be_meant(self, tree: dict[str, Any], where: str) -> None:
        assert where in list(_violations(tree, json_schema()))

    def test_it_says_defaults_in_the_notation_of_the_file(self) -> None:
        parts = json_schema()["$defs"]
        assert parts["GuardSettings"]["properties"]["cooldown"]["default"] == "6h"
        assert parts["FlushSettings"]["properties"]["bytes"]["default"] == "64MiB"
        assert json.loads(json.dumps(json_schema())) == json_schema()


def _violations(
    value: Any, schema: dict[str, Any], root: dict[str, Any] | None = None, path: str = ""
) -> Iterator[str]:
    """Where a value breaks the part of JSON Schema that we use."""
    root = root or schema
    if "$ref" in schema:
        yield from _violations(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, path)
    elif "anyOf" in schema:
        if all(list(_violations(value, option, root, path)) for option in schema["anyOf"]):
            yield from _violations(value, schema["anyOf"][0], root, path)
    elif not _fits(value, schema):
        yield path
    elif isinstance(value, dict):
        yield from _violations_within(value, schema, root, path)
    elif isinstance(value, list):
        for item in value:
            yield from _violations(item, schema.get("items", {}), root, path)


def _violations_within(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], path: str) -> Iterator[str]:
    yield from (f"{path}.{key}".lstrip(".") for key in schema.get("required", ()) if key not in value)
    for key, child in value.items():
        here, rule = f"{path}.{key}".lstrip("."), _rule(key, schema)
        if rule is False:
            yield here
        elif rule is not True:
            yield from _violations(child, rule, root, here)


def _rule(key: str, schema: dict[str, Any]) -> Any:
    if key in schema.get("properties", {}):
        return schema["properties"][key]
    matching = (rule for pattern, rule in schema.get("patternProperties", {}).items() if re.search(pattern, key))
    return next(matching, schema.get("additionalProperties", True))


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    kinds = schema.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    return (
        (not kinds or any(isinstance(value, TYPES[kind]) for kind in kinds))
        and ("enum" not in schema or value in schema["enum"])
        and ("const" not in schema or value == schema["const"])
        and ("pattern" not in schema or not isinstance(value, str) or bool(re.search(schema["pattern"], value)))
        and ("minimum" not in schema or value >= schema["minimum"])
    )


TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
    "null": NoneType,
    "object": dict,
    "array": list,
}
