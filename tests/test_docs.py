"""The pages say what is true: examples load, commands and links exist, generated parts are fresh. And house rules."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from retrainer.cli import _parser
from retrainer.config.load import load
from retrainer.logs import EVENTS

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md"))]
MODULES = sorted((ROOT / "retrainer").glob("**/*.py"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
TO_COME = set(re.findall(r"\*\*new\*\* `([\w/.]+)`", CONTRIBUTING))
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))

BASE = {
    "kafka": {"bootstrap_servers": "localhost:9092"},
    "task": "classification",
    "predictions": {"topic": "predictions"},
    "labels": {"topic": "labels"},
    "training": {"estimator": "sklearn.linear_model.LogisticRegression"},
}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(language: str) -> list[Any]:
    """Every fenced block of a language, each with the page and its place there as the name of its test."""
    return [
        pytest.param(text, id=f"{named(page)}-{number}")
        for page in PAGES
        for number, (found, text) in enumerate(_FENCE.findall(page.read_text()))
        if found == language
    ]


def code_in(page: Path) -> Iterator[str]:
    """Every line of code on a page, in blocks and within sentences."""
    text = page.read_text()
    for _, block in _FENCE.findall(text):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))


def paths_of(document: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in document.items():
        yield f"{above}{key}"  # YAML 1.1 takes the key `on` for a boolean
        if isinstance(value, dict):
            yield from paths_of(value, f"{above}{key}.")


@pytest.mark.parametrize("text", blocks("yaml"))
def test_every_example_of_a_configuration_loads(text: str, tmp_path: Path) -> None:
    """A part of a file is one of a model; whole files ask for nothing that is not built."""
    given = yaml.safe_load(text)
    base = dict(BASE)
    whole = given if "models" in given else {"kafka": base.pop("kafka"), "models": {"churn": {**base, **given}}}
    path = tmp_path / "config.yaml"
    path.write_text(text if "models" in given else yaml.safe_dump(whole))
    loaded = load(path, {})
    assert list(loaded.settings.models) == ["churn"]
    assert not loaded.unbuilt


@pytest.mark.parametrize("path", CONFIGS, ids=named)
def test_every_file_in_configs_loads(path: Path) -> None:
    loaded = load(path, {})
    assert loaded.settings.models
    assert bool(loaded.unbuilt) == (path.name == "full.yaml")


@pytest.mark.parametrize("text", blocks("sh"))
def test_every_command_in_an_example_exists(text: str) -> None:
    for line in text.replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line, comments=True) or [""]
        if program == "make":
            assert {one for one in arguments if "=" not in one} <= TARGETS, line
        elif Path(program).name == "retrainer":
            _parser().parse_args(arguments)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    (commands,) = [action.choices for action in _parser()._subparsers._group_actions]  # type: ignore[union-attr]  # argparse has no public way to list them
    for line in code_in(page):
        assert set(re.findall(r"(?:^|/|&& )retrainer ([a-z]+)", line)) <= set(commands or ()), line
        assert set(re.findall(r"^make ([a-z-]+)", line)) <= TARGETS, line


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    for target in _LINK.findall(_FENCE.sub("", page.read_text())):
        if re.match("[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert linked.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(linked), target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall("^#+ (.*)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    folders = "retrainer|tests|docs|configs|docker"
    for line in code_in(page):
        for path in re.findall(rf"(?<![\w/.-])((?:{folders})/[\w./-]*\w)", line):
            assert path in TO_COME or (ROOT / path).exists(), line


def test_what_contributing_says_is_to_come_is_not_there_yet() -> None:
    assert len(TO_COME) > 5
    assert {path for path in TO_COME if (ROOT / path).exists()} == set()


def test_every_name_that_contributing_says_stands_in_a_file_does() -> None:
    named_in = re.findall(r"`(retrainer/[\w/]+\.py)` \(((?:`\w+`(?:, )?)+)", CONTRIBUTING)
    named_in += [(path, name) for name, path in re.findall(r"`(\w+)` of `(retrainer/[\w/]+\.py)`", CONTRIBUTING)]
    assert len(named_in) > 25
    for path, names in named_in:
        defined = names_defined_in((ROOT / path).read_text())
        assert set(re.findall(r"\w+", names)) <= defined, path


def names_defined_in(source: str) -> set[str]:
    """What a module defines, and the members of its classes."""
    tree = ast.parse(source)
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    names: set[str] = set()
    for node in (node for body in bodies for node in body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_ten_changes_are_mapped_and_each_touches_three_rooms_at_most() -> None:
    table = CONTRIBUTING.split("| change | files |")[1].split("\n\n")[0]
    rows = [row.split(" | ") for row in table.splitlines()[2:]]
    assert len(rows) == 10
    for change, files, said, _ in rows:
        rooms = {str(Path(path).parent) for path in re.findall(r"`(retrainer/\w+/[\w/]+\.py)`", files)}
        assert len(rooms) <= int(said) <= 3, change


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_pages_speak_of_no_machine(page: Path) -> None:
    machine = re.compile(r"(?<![\w.])/(work|home|root|tmp|Users|private)/")
    places = [str(ROOT), str(Path.home()), *([os.environ["HOSTNAME"]] if os.environ.get("HOSTNAME") else [])]
    for line in page.read_text().splitlines():
        assert not machine.search(line), line
        assert not any(place in line for place in places if len(place) > 3), line


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_log_event_that_a_page_names_exists(page: Path) -> None:
    kinds = {name.partition(".")[0] for name in EVENTS}
    keys = set(paths_of(yaml.safe_load((ROOT / "configs" / "full.yaml").read_text())))
    for text in re.findall(r"`([a-z]+\.[a-z_]+)`", page.read_text()):
        if text.partition(".")[0] in kinds and not text.endswith((".py", ".log", ".parquet")):
            assert text in EVENTS or text in keys or any(key.endswith(f".{text}") for key in keys), text


def test_generated_pages_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert list(generate.outdated()) == [], "run `make docs`"


def test_operations_knows_every_event_that_is_an_error() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    logged = {
        name for path in MODULES for name in re.findall(r'\.(?:error|exception)\(\s*"([\w.]+)"', path.read_text())
    }
    assert logged & EVENTS.keys()
    assert {name for name in logged & EVENTS.keys() if f"`{name}`" not in page} == set()


def test_operations_knows_every_guard() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    reasons = set(
        re.findall(r'Hold\(\s*reason="(\w+)"', (ROOT / "retrainer" / "domain" / "deciding" / "guards.py").read_text())
    )
    assert len(reasons) > 8
    assert {reason for reason in reasons if f"| `{reason}` |" not in page} == set()


def test_failures_has_every_case_once_and_names_its_tests() -> None:
    page = (ROOT / "docs" / "failures.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \|(.*)$", page, re.MULTILINE))
    assert sorted(map(int, rows)) == list(range(1, 36))
    assert len(re.findall(r"^\| \d+ \|", page, re.MULTILINE)) == 35
    assert [number for number, row in rows.items() if "`test_" not in row] == ["12"]  # nothing like it can happen
    tests = {
        name
        for path in (ROOT / "tests").glob("**/test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert set(re.findall(r"`(test_\w+)`", page)) - tests == set()
    assert {name for name in tests if name.startswith("test_case_") and f"`{name}`" not in page} == set()


# The house


def test_files_stay_below_400_lines() -> None:
    assert [named(path) for path in MODULES if len(path.read_text().splitlines()) > 400] == []


def test_functions_stay_below_60_lines() -> None:
    functions = [
        (named(path), node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [found for found in functions if found[2] > 60] == []


def test_modules_that_docstrings_point_at_are_there() -> None:
    pointed = {
        (named(path), name)
        for path in MODULES
        for name in re.findall(r"`((?:domain|adapters|ports|config|replay|tune)\.[a-z_.]+)`", path.read_text())
    }
    assert len(pointed) > 1
    places = {at: ROOT / "retrainer" / at[1].replace(".", "/") for at in pointed}
    assert {at for at, place in places.items() if not (place.is_dir() or place.with_suffix(".py").exists())} == set()


def test_packages_hold_a_docstring_and_nothing_else() -> None:
    packages = {named(path): ast.parse(path.read_text()) for path in MODULES if path.name == "__init__.py"}
    assert [name for name, tree in packages.items() if len(tree.body) != 1 or not ast.get_docstring(tree)] == []


def test_no_room_holds_more_than_25_modules() -> None:
    rooms = Counter(named(path.parent) for path in MODULES if path.name != "__init__.py")
    assert {room: modules for room, modules in rooms.items() if modules > 25} == {}


def test_no_two_classes_have_one_name() -> None:
    names = Counter(
        node.name.strip("_")
        for path in MODULES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, times in names.items() if times > 1] == []
