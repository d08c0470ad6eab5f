"""Writes the pages that follow from the code: `make docs`. A test fails while one of them is out of date."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Final

from retrainer.config.render import json_schema
from retrainer.config.unbuilt import _GAPS
from retrainer.logs import EVENTS

FOLDER: Final = Path(__file__).parent
_CODE: Final = FOLDER.parent / "retrainer"

_EVENTS_HEAD: Final = """\
# Log events

Every line of the log is one JSON object on standard error: `timestamp` (UTC), `level`, `event`, then facts. Names are
stable; facts are only added. Every line about a model carries `model`, about a job `job_id`, about a decision
`decision_id`. How to read them: [operations](operations.md#reading-the-log).

This page is generated from `retrainer/logs.py` by `make docs`.

| event | meaning, and its facts |
| --- | --- |
"""


def log_events(_: str) -> str:
    """Every log event with its meaning."""
    return _EVENTS_HEAD + "".join(f"| `{name}` | {_cell(meaning)} |\n" for name, meaning in EVENTS.items())


def config_schema(_: str) -> str:
    """What `retrainer schema` prints."""
    return json.dumps(json_schema(), indent=2) + "\n"


def not_built(page: str) -> str:
    """The design with the table of keys whose capability is not built."""
    rows = "".join(
        f"| {', '.join(f'`{gap.pattern}`' for gap in gaps)} | {_cell(reason)} |\n"
        for reason, gaps in groupby(_GAPS, key=lambda gap: gap.reason)
    )
    return _between(page, "unbuilt keys", f"\n| key | today |\n| --- | --- |\n{rows}\n")


def rooms(page: str) -> str:
    """The design with the table of rooms, from what each says of itself."""
    rows = "".join(f"| `{_name(package)}` | {_cell(_told(package))} |\n" for package in _packages())
    return _between(page, "rooms", f"\n| room | what lives there |\n| --- | --- |\n{rows}\n")


def design(page: str) -> str:
    """The design with everything that follows from the code."""
    return rooms(not_built(page))


def _packages() -> list[Path]:
    return sorted(path.parent for path in _CODE.glob("*/**/__init__.py"))


def _name(package: Path) -> str:
    return f"{package.relative_to(_CODE.parent)}/"


def _told(package: Path) -> str:
    return " ".join((ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or "").split())


def _between(page: str, name: str, content: str) -> str:
    return re.sub(rf"(<!-- begin: {name}.*?-->\n).*?(<!-- end -->)", rf"\1{content}\2", page, flags=re.DOTALL)


PAGES: Final[Mapping[str, Callable[[str], str]]] = {
    "config-schema.json": config_schema,
    "design.md": design,
    "log-events.md": log_events,
}
"""File to what it should hold, given what it holds."""


def outdated() -> dict[Path, str]:
    """Every page that is not as it should be, and how it should be."""
    found: dict[Path, str] = {}
    for name, generate in PAGES.items():
        path = FOLDER / name
        page = path.read_text("utf-8") if path.exists() else ""
        if (wanted := generate(page)) != page:
            found[path] = wanted
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    for path, content in outdated().items():
        path.write_text(content, "utf-8")
