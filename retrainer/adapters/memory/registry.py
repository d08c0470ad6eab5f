"""The registry's twin in memory."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from retrainer.errors import Refused, Unreachable
from retrainer.ports.registry import RunReport


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion:
    """A model version as the twin keeps it; `files` by their path within the model's folder."""

    job_id: str
    run_id: str
    files: Mapping[str, bytes]
    tags: Mapping[str, str]


class MemoryRegistry:
    """MLflow in memory. Tests read what it was told; `go_away` makes every call fail until `come_back`.

    Attributes:
        calls: the name of every call that was answered, in order.
        moves: every alias that was set or removed (version None), in order: (model, alias, version).
        runs: run id to the report that it shows.
        versions: model to its versions, the first being version "1".
        aliases: (model, alias) to version.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.moves: list[tuple[str, str, str | None]] = []
        self.runs: dict[str, RunReport] = {}
        self.versions: dict[str, list[RegisteredVersion]] = {}
        self.aliases: dict[tuple[str, str], str] = {}
        self._away = False

    def go_away(self) -> None:
        self._away = True

    def come_back(self) -> None:
        self._away = False

    def prepare(self) -> None:
        self._answer("prepare")

    def version_at(self, model: str, alias: str) -> str | None:
        self._answer("version_at")
        return self.aliases.get((model, alias))

    def point(self, model: str, alias: str, version: str) -> None:
        self._answer("point")
        if re.fullmatch(r"latest|v\d+", alias, re.IGNORECASE) or not re.fullmatch(r"[\w-]+", alias):
            raise Refused(f"MLflow does not allow the alias {alias!r}")
        self._version(model, version)
        self.aliases[model, alias] = version
        self.moves.append((model, alias, version))

    def unpoint(self, model: str, alias: str) -> None:
        self._answer("unpoint")
        if self.aliases.pop((model, alias), None) is not None:
            self.moves.append((model, alias, None))

    def fetch_model(self, model: str, version: str, folder: Path) -> None:
        self._answer("fetch_model")
        if folder.exists():
            raise Refused(f"cannot fetch version {version} of {model!r}: {folder} already exists")
        files = self._version(model, version).files
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        for name, content in files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(content)
        partial.rename(folder)

    def record_run(self, report: RunReport) -> str:
        self._answer("record_run")
        if not report.dataset.is_file():
            raise Refused(f"cannot record the run of job {report.job_id}: there is no dataset at {report.dataset}")
        run_id = next(
            (key for key, run in self.runs.items() if run.job_id == report.job_id), f"run-{len(self.runs) + 1}"
        )
        self.runs[run_id] = report
        return run_id

    def register(self, model: str, job_id: str, run_id: str, folder: Path, tags: Mapping[str, str]) -> str:
        self._answer("register")
        if not (folder / "MLmodel").is_file():
            raise Refused(f"cannot register the model of job {job_id}: {folder} holds no MLmodel file")
        if run_id not in self.runs:
            raise Refused(f"cannot register the model of job {job_id}: there is no run {run_id}")
        if re.search("[/:]", model):
            raise Refused(f"MLflow does not allow the model name {model!r}")
        versions = self.versions.setdefault(model, [])
        for number, version in enumerate(versions, 1):
            if version.job_id == job_id:
                return str(number)
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        versions.append(RegisteredVersion(job_id=job_id, run_id=run_id, files=files, tags=dict(tags)))
        return str(len(versions))

    def _version(self, model: str, version: str) -> RegisteredVersion:
        versions = self.versions.get(model, [])
        if not version.isdecimal() or not 1 <= int(version) <= len(versions):
            raise Refused(f"there is no version {version} of {model!r}")
        return versions[int(version) - 1]

    def _answer(self, call: str) -> None:
        if self._away:
            raise Unreachable("MLflow, in memory, is away")
        self.calls.append(call)
