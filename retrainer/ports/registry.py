"""The experiment tracker and the model registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """One job as the experiment tracker is to show it."""

    job_id: str
    model: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    dataset: Path
    """A Parquet file; it is described (schema, profile, digest) and uploaded."""
    dataset_digest: str
    files: Path | None = None
    """A folder whose files are uploaded as they are (verdict.json, plots, the model card)."""
    succeeded: bool = True


class Registry(Protocol):
    """The experiment tracker and model registry. Every write may be repeated: it is found again by the job's id."""

    def prepare(self) -> None:
        """Connect; create the experiment where it is missing."""
        ...

    def version_at(self, model: str, alias: str) -> str | None:
        """The version that an alias names; None where there is no such model or alias."""
        ...

    def point(self, model: str, alias: str, version: str) -> None:
        """Move an alias."""
        ...

    def unpoint(self, model: str, alias: str) -> None:
        """Remove an alias; fine where there is none."""
        ...

    def fetch_model(self, model: str, version: str, folder: Path) -> None:
        """The version's files, in MLflow's model format, into a folder that does not exist yet."""
        ...

    def record_run(self, report: RunReport) -> str:
        """One finished run for a job; the run's id. Called again for the same job it completes that run."""
        ...

    def register(self, model: str, job_id: str, run_id: str, folder: Path, tags: Mapping[str, str]) -> str:
        """A new version from a folder in MLflow's model format; called again for the same job, the same version."""
        ...
