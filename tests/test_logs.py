"""Every line is one JSON object with a name from one list."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

import retrainer
from retrainer.logs import EVENTS, configure, logger

PACKAGE = Path(retrainer.__file__).parent
LEVELS = {"debug", "info", "warning", "error", "exception"}
DOTTED = re.compile(r"[a-z_]+\.[a-z_]+")


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Logging into memory, and everything as it was afterwards."""
    root, kafka = logging.getLogger(), logging.getLogger("kafka")
    handlers, level, kafka_level = root.handlers[:], root.level, kafka.level
    yield Lines()
    logging.captureWarnings(False)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    kafka.setLevel(kafka_level)


class Lines:
    """What was written."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> list[str]:
        return self.stream.getvalue().splitlines()

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Every line, which must be one JSON object."""
        return [json.loads(line) for line in self.text]


# Names


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module that logs by events; the training child writes its own text, for its own file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        if not name.startswith("training/"):
            yield name, ast.parse(path.read_text("utf-8"))


def said(module: ast.Module) -> Iterator[ast.expr]:
    """The first argument of every call that logs."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            yield node.args[0]


def texts(node: ast.AST) -> set[str]:
    return {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def names_of(name: str, module: ast.Module) -> set[str]:
    """The names under which a module logs; one that it chooses first stands somewhere else in it."""
    found: set[str] = set()
    for argument in said(module):
        assert not isinstance(argument, ast.JoinedStr | ast.BinOp), f"{name} makes up the name of an event"
        if isinstance(argument, ast.Constant):
            found |= texts(argument)
        elif isinstance(argument, ast.IfExp):
            found |= texts(argument.body) | texts(argument.orelse)
        else:
            found |= {text for text in texts(module) if DOTTED.fullmatch(text)}
    return found


def test_every_name_in_use_is_in_the_list() -> None:
    used = {text: name for name, module in modules() for text in names_of(name, module)}
    assert {text: name for text, name in used.items() if text not in EVENTS} == {}


def test_every_name_in_the_list_is_in_use() -> None:
    used = {text for name, module in modules() for text in names_of(name, module)}
    used |= {"library.logged"}  # by the handler of the libraries' own lines, see below
    assert set(EVENTS) - used == set()


@pytest.mark.parametrize("event", EVENTS)
def test_every_name_is_dotted_and_explained(event: str) -> None:
    assert DOTTED.fullmatch(event)
    assert EVENTS[event].endswith(".")


# Lines


def test_a_line_is_one_json_object(lines: Lines) -> None:
    configure("json", "info", lines.stream)
    logger(role="worker").bind(model="flights").info("service.started", pid=1, at=Path("x"), text="two\nlines é")
    (entry,) = lines.entries
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {
        "event": "service.started",
        "level": "info",
        "role": "worker",
        "model": "flights",
        "pid": 1,
        "at": "x",
        "text": "two\nlines é",
    }


def test_what_is_below_the_level_is_left_out(lines: Lines) -> None:
    configure("json", "warning", lines.stream)
    for level in ("debug", "info", "warning", "error"):
        getattr(logger(), level)("service.started")
    assert [entry["level"] for entry in lines.entries] == ["warning", "error"]


def test_an_exception_stays_in_its_line(lines: Lines) -> None:
    configure("json", "info", lines.stream)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger().exception("service.crashed")
    (entry,) = lines.entries
    assert entry["event"] == "service.crashed"
    assert entry["level"] == "error"
    assert "Traceback" in entry["exception"]
    assert "ValueError: two\nlines" in entry["exception"]


def test_a_warning_of_a_library_is_a_line_like_all_others(lines: Lines) -> None:
    configure("json", "info", lines.stream)
    logging.getLogger("some.library").warning("it went %s", "wrong\nagain")
    logging.getLogger("some.library").info("chatter")
    (entry,) = lines.entries
    assert (entry["event"], entry["message"]) == ("library.logged", "it went wrong\nagain")
    assert (entry["logger"], entry["level"]) == ("some.library", "warning")


def test_an_exception_of_a_library_stays_in_its_line(lines: Lines) -> None:
    configure("json", "info", lines.stream)
    try:
        raise ValueError("inside")
    except ValueError:
        logging.getLogger("some.library").exception("it went wrong")
    (entry,) = lines.entries
    assert "ValueError: inside" in entry["exception"]


def test_a_python_warning_is_a_line_like_all_others(lines: Lines) -> None:
    configure("json", "info", lines.stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("this will change", UserWarning, stacklevel=1)
    (entry,) = lines.entries
    assert entry["event"] == "library.logged"
    assert "this will change" in entry["message"]


def test_outages_that_kafka_python_repeats_are_not_repeated(lines: Lines) -> None:
    configure("json", "info", lines.stream)
    logging.getLogger("kafka.client").error("Connection refused")
    assert lines.text == []


def test_people_may_have_it_in_columns(lines: Lines) -> None:
    configure("console", "info", lines.stream)
    logger().info("model.promoted", model="flights", version="2")
    logging.getLogger("some.library").warning("it went wrong")
    first, second = (re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines.text)
    assert "model.promoted" in first
    assert "model=flights" in first
    assert "library.logged" in second
    assert "it went wrong" in second


def test_what_is_configured_twice_is_written_once(lines: Lines) -> None:
    configure("json", "info", io.StringIO())
    configure("json", "info", lines.stream)
    logging.getLogger("some.library").warning("once")
    logger().info("service.stopped")
    assert [entry["event"] for entry in lines.entries] == ["library.logged", "service.stopped"]


def test_logs_go_to_standard_error(lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "info")
    logger().info("service.stopped")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["event"] == "service.stopped"
