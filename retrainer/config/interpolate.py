"""`${VAR}`, `${VAR:-default}` and `${file:/path}` in the values of a configuration; `$${` stands for `${`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
_VARIABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_CLOSED: Final = re.compile(r"\$?\$\{[^}\n\"']*\}")
_TOKEN: Final = re.compile("\ue000([0-9]+)\ue001")


@dataclass(frozen=True, kw_only=True)
class Sheltered:
    """A text whose references YAML does not see, as in `{token: ${TOKEN}}` it would take their braces for its own."""

    text: str
    references: tuple[str, ...]

    def restored(self, part: str) -> str:
        """A part of the text with its references back in their places."""
        return _TOKEN.sub(self._reference, part)

    def _reference(self, token: re.Match[str]) -> str:
        index = int(token[1])
        return self.references[index] if index < len(self.references) else token[0]


def shelter(text: str) -> Sheltered:
    """Put a token, which is an ordinary word to YAML, in the place of each reference."""
    references: list[str] = []

    def hide(found: re.Match[str]) -> str:
        references.append(found[0])
        return f"\ue000{len(references) - 1}\ue001"

    return Sheltered(text=_CLOSED.sub(hide, text), references=tuple(references))


@dataclass(frozen=True, kw_only=True)
class Interpolated:
    """Text with its references filled in; `secret` where a file was read, as secrets are mounted as files."""

    text: str
    secret: bool


def has_reference(text: str) -> bool:
    """Whether there is anything to fill in."""
    return "${" in text


def interpolate(text: str, env: Mapping[str, str], folder: Path) -> Interpolated:
    """Fill in every reference; a relative file is relative to `folder`.

    Raises:
        ValueError: a variable is not set, a file cannot be read, or a reference is not written like one.
    """

    def fill(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        if not found[0].endswith("}"):
            raise ValueError("expected a closing brace after ${")
        return _value(found[1], env, folder)

    filled = _REFERENCE.sub(fill, text)
    return Interpolated(
        text=filled, secret=any(found[1] and found[1].startswith("file:") for found in _REFERENCE.finditer(text))
    )


def escape(text: str) -> str:
    """Text that is read back as it is."""
    return text.replace("${", "$${")


def _value(reference: str, env: Mapping[str, str], folder: Path) -> str:
    if reference.startswith("file:"):
        return _content(folder / reference.removeprefix("file:"))
    found = _VARIABLE.fullmatch(reference)
    if not found:
        raise ValueError(f"expected ${{VAR}}, ${{VAR:-default}} or ${{file:/path}}, got ${{{reference}}}")
    name, default = found.groups()
    if name in env and (env[name] or default is None):
        return env[name]
    if default is None:
        raise ValueError(f"the environment variable {name} is not set; ${{{name}:-default}} gives it a default")
    return str(default)


def _content(path: Path) -> str:
    try:
        return path.read_text("utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ValueError(f"cannot read {path}: {reason}") from None
