"""From a file to frozen settings, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from retrainer.config.document import Document, Flaw, KeyPath, Located, merge, read
from retrainer.config.explain import explain
from retrainer.config.model import ModelSettings
from retrainer.config.rules import MODEL_RULES, SETTINGS_RULES, Clash, clashes
from retrainer.config.settings import Settings
from retrainer.config.unbuilt import Unbuilt, unbuilt
from retrainer.errors import ConfigError, Problem


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A configuration that can be used.

    Attributes:
        unbuilt: what the file asks for that is not built yet.
        secrets: where values came from files by `${file:...}`.
        root: the file as it was read.
    """

    path: Path
    settings: Settings
    root: Located
    unbuilt: tuple[Unbuilt, ...] = ()
    secrets: frozenset[KeyPath] = frozenset()

    def problem(self, key: KeyPath, message: str) -> Problem:
        """Something that is found wrong with a key after the file itself was read."""
        line = self.root.closest(key).line
        return Problem(file=str(self.path), line=line, key=".".join(map(str, key)), message=message)


def load(path: Path, env: Mapping[str, str]) -> Loaded:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be used; says everything that is wrong with it.
    """
    return load_text(_content(path), path, env)


def load_text(text: str, path: Path, env: Mapping[str, str]) -> Loaded:
    """Read a configuration as if it stood in that file.

    Raises:
        ConfigError: it cannot be used; says everything that is wrong with it.
    """
    folder = path.absolute().parent
    document = _with_defaults(read(text, env, folder))
    settings, faults = _validated(document.root)
    flaws = [*document.flaws, *faults]
    if settings is None or flaws:
        raise ConfigError(*_problems(path, flaws))
    return Loaded(
        path=path,
        settings=_anchored(settings, folder),
        root=document.root,
        unbuilt=tuple(unbuilt(document.root)),
        secrets=frozenset(place for place, found in document.root.walk() if found.secret),
    )


def _content(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        reason = error.strerror
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    raise ConfigError(Problem(file=str(path), line=1, key="", message=f"cannot be read: {reason}"))


def _problems(path: Path, flaws: list[Flaw]) -> Iterator[Problem]:
    for flaw in sorted(flaws, key=lambda flaw: flaw.line):
        yield Problem(file=str(path), line=flaw.line, key=".".join(map(str, flaw.path)), message=flaw.message)


def _with_defaults(document: Document) -> Document:
    """The same document with `defaults` merged under each model."""
    root = document.root
    if not isinstance(root.value, dict) or "defaults" not in root.value:
        return document
    sections = dict(root.value)
    defaults = sections.pop("defaults")
    flaws = document.flaws
    if not isinstance(defaults.value, dict | None) and not defaults.broken:
        flaws += (Flaw(line=defaults.line, path=("defaults",), message="expected a mapping"),)
    if "models" in sections:
        sections["models"] = _each_over(defaults, sections["models"])
    return Document(root=replace(root, value=sections), flaws=flaws)


def _each_over(defaults: Located, models: Located) -> Located:
    if not isinstance(defaults.value, dict) or not isinstance(models.value, dict):
        return models
    return replace(models, value={name: merge(defaults, _mapping(model)) for name, model in models.value.items()})


def _mapping(model: Located) -> Located:
    """A model that takes everything from the defaults may be empty."""
    return replace(model, value={}) if model.value is None else model


def _validated(root: Located) -> tuple[Settings | None, list[Flaw]]:
    """The settings, and what is wrong apart from what could not be read."""
    given, settings, found = root.plain(), None, list[Clash]()
    try:
        settings = Settings.model_validate(given)
    except ValidationError as invalid:
        found += _misreadings(invalid, root)
    found += _clashes(given)
    return settings, _each_once(found, root)


def _each_once(found: list[Clash], root: Located) -> list[Flaw]:
    """Told once, even where several models share the same mistake in the defaults."""
    flaws: dict[Any, Flaw] = {}
    for clash in found:
        place = root.closest(clash.path)
        flaw = Flaw(line=place.line, path=clash.path, message=clash.message)
        if not place.broken:
            flaws.setdefault((id(place), clash.path[-1:], clash.message), flaw)
    return list(flaws.values())


def _misreadings(invalid: ValidationError, root: Located) -> Iterator[Clash]:
    for error in invalid.errors(include_url=False):
        secret = root.closest(error["loc"]).secret
        yield Clash(*explain(error, Settings, secret=secret))


def _clashes(given: Any) -> Iterator[Clash]:
    if not isinstance(given, Mapping):
        return
    yield from clashes(given, Settings, SETTINGS_RULES)
    models = given.get("models")
    for name, model in models.items() if isinstance(models, Mapping) else ():
        if isinstance(model, Mapping):
            for clash in clashes(model, ModelSettings, MODEL_RULES):
                yield replace(clash, path=("models", name, *clash.path))


def _anchored(settings: Settings, folder: Path) -> Settings:
    """The same settings with every path of the file system absolute."""
    state, mlflow = settings.state, settings.mlflow
    database = _anchored_url(state.database, folder)
    files = {
        "folder": str(folder / state.folder) if state.folder else _folder_of(database, folder),
        "database": database,
        "segments": _anchored_path(state.segments, folder),
    }
    stores = {
        "tracking_uri": _anchored_url(mlflow.tracking_uri, folder),
        "registry_uri": mlflow.registry_uri and _anchored_url(mlflow.registry_uri, folder),
        "artifacts": _anchored_path(mlflow.artifacts, folder),
    }
    return settings.model_copy(
        update={"state": state.model_copy(update=files), "mlflow": mlflow.model_copy(update=stores)}
    )


def _folder_of(database: str, folder: Path) -> str:
    """Where the local state is unless the file says so: beside SQLite's file; another database has no folder."""
    scheme, _, file = database.partition(":///")
    return str(Path(file).parent if scheme == "sqlite" else folder / "state")


def _anchored_url(url: str, folder: Path) -> str:
    """SQLite's URLs name a file after three slashes; others go as they are."""
    scheme, slashes, file = url.partition(":///")
    return f"{scheme}{slashes}{folder / file}" if scheme == "sqlite" else url


def _anchored_path(path: str, folder: Path) -> str:
    return path if "://" in path else str(folder / path)
