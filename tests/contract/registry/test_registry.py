"""What every registry keeps to: the twin in memory and MLflow on SQLite."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from retrainer.adapters.memory.registry import MemoryRegistry
from retrainer.errors import Refused, Unreachable
from retrainer.ports.registry import Registry, RunReport

# MLflow's database layer meets it when it is first imported.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


def register(registry: Registry, report: RunReport, folder: Path) -> str:
    return registry.register(
        report.model, report.job_id, registry.record_run(report), folder, {"retrainer.trigger": "drop"}
    )


class TestContract:
    def test_preparing_may_be_repeated(self, registry: Registry) -> None:
        registry.prepare()
        registry.prepare()
        assert registry.version_at("flights", "champion") is None

    def test_nothing_is_at_an_alias_of_an_unknown_model(self, registry: Registry) -> None:
        assert registry.version_at("flights", "champion") is None

    def test_nothing_is_at_an_alias_never_set(self, registry: Registry, report: RunReport, folder: Path) -> None:
        register(registry, report, folder)
        assert registry.version_at("flights", "champion") is None
        assert registry.version_at("flights", "latest") is None

    def test_versions_count_up_from_one(self, registry: Registry, report: RunReport, folder: Path) -> None:
        assert register(registry, report, folder) == "1"
        assert register(registry, replace(report, job_id="job-2"), folder) == "2"
        assert register(registry, replace(report, job_id="job-3", model="other"), folder) == "1"

    def test_an_alias_moves(self, registry: Registry, report: RunReport, folder: Path) -> None:
        register(registry, report, folder)
        register(registry, replace(report, job_id="job-2"), folder)
        registry.point("flights", "champion", "1")
        registry.point("flights", "challenger", "2")
        registry.point("flights", "champion", "2")
        assert registry.version_at("flights", "champion") == "2"
        assert registry.version_at("flights", "challenger") == "2"

    def test_an_alias_is_removed(self, registry: Registry, report: RunReport, folder: Path) -> None:
        register(registry, report, folder)
        registry.point("flights", "champion", "1")
        registry.point("flights", "challenger", "1")
        registry.unpoint("flights", "challenger")
        assert registry.version_at("flights", "challenger") is None
        assert registry.version_at("flights", "champion") == "1"

    def test_removing_an_alias_that_is_not_there_is_fine(
        self, registry: Registry, report: RunReport, folder: Path
    ) -> None:
        registry.unpoint("flights", "champion")
        register(registry, report, folder)
        registry.unpoint("flights", "champion")
        assert registry.version_at("flights", "champion") is None

    @pytest.mark.parametrize("alias", ["latest", "v3", "LATEST", "a b", "", "a/b"])
    def test_aliases_that_mlflow_keeps_for_itself_are_refused(
        self, registry: Registry, report: RunReport, folder: Path, alias: str
    ) -> None:
        register(registry, report, folder)
        with pytest.raises(Refused):
            registry.point("flights", alias, "1")

    def test_an_alias_of_a_version_that_is_not_there_is_refused(
        self, registry: Registry, report: RunReport, folder: Path
    ) -> None:
        register(registry, report, folder)
        for model, version in (("flights", "2"), ("flights", "first"), ("other", "1")):
            with pytest.raises(Refused):
                registry.point(model, "champion", version)

    def test_a_run_recorded_again_is_the_same_run(self, registry: Registry, report: RunReport) -> None:
        first = registry.record_run(report)
        assert registry.record_run(replace(report, job_id="job-2")) != first
        assert registry.record_run(report) == first

    def test_a_run_without_its_dataset_is_refused(self, registry: Registry, report: RunReport) -> None:
        report.dataset.unlink()
        with pytest.raises(Refused, match="dataset"):
            registry.record_run(report)

    def test_a_model_registered_again_is_the_same_version(
        self, registry: Registry, report: RunReport, folder: Path
    ) -> None:
        register(registry, report, folder)
        second = replace(report, job_id="job-2")
        assert register(registry, second, folder) == "2"
        assert register(registry, report, folder) == "1"
        assert register(registry, second, folder) == "2"

    def test_a_folder_without_a_model_is_refused(self, registry: Registry, report: RunReport, tmp_path: Path) -> None:
        with pytest.raises(Refused, match="MLmodel"):
            register(registry, report, tmp_path)

    def test_a_model_of_an_unknown_run_is_refused(self, registry: Registry, report: RunReport, folder: Path) -> None:
        with pytest.raises(Refused):
            registry.register("flights", "job-1", "f" * 32, folder, {})

    def test_a_name_that_mlflow_does_not_allow_is_refused(
        self, registry: Registry, report: RunReport, folder: Path
    ) -> None:
        with pytest.raises(Refused):
            register(registry, replace(report, model="team/flights"), folder)

    def test_names_with_quotes_are_kept_apart(self, registry: Registry, report: RunReport, folder: Path) -> None:
        for model in ("Ann's", 'the "old"'):
            named = replace(report, model=model, job_id=f"{model} 1")
            assert register(registry, named, folder) == register(registry, named, folder) == "1"

    def test_a_fetched_model_is_the_one_registered(
        self, registry: Registry, report: RunReport, folder: Path, tmp_path: Path
    ) -> None:
        register(registry, report, folder)
        second = Path(shutil.copytree(folder, tmp_path / "job-2"))
        (second / "data" / "model.txt").write_text("second")
        register(registry, replace(report, job_id="job-2"), second)
        registry.fetch_model("flights", "1", tmp_path / "fetched" / "1")
        registry.fetch_model("flights", "2", tmp_path / "fetched" / "2")
        assert (tmp_path / "fetched/1/data/model.txt").read_text() == "first"
        assert (tmp_path / "fetched/2/data/model.txt").read_text() == "second"
        assert sorted(path.name for path in (tmp_path / "fetched").iterdir()) == ["1", "2"]

    def test_a_killed_fetch_leaves_nothing_behind(
        self, registry: Registry, report: RunReport, folder: Path, tmp_path: Path
    ) -> None:
        register(registry, report, folder)
        (tmp_path / ".champion.partial").mkdir()
        (tmp_path / ".champion.partial" / "half").touch()
        registry.fetch_model("flights", "1", tmp_path / "champion")
        assert sorted(path.name for path in (tmp_path / "champion").iterdir()) == ["MLmodel", "data"]
        assert not (tmp_path / ".champion.partial").exists()

    def test_a_fetch_never_writes_over_a_folder(
        self, registry: Registry, report: RunReport, folder: Path, tmp_path: Path
    ) -> None:
        register(registry, report, folder)
        (tmp_path / "champion").mkdir()
        with pytest.raises(Refused, match="already exists"):
            registry.fetch_model("flights", "1", tmp_path / "champion")

    def test_a_version_that_is_not_there_cannot_be_fetched(
        self, registry: Registry, report: RunReport, folder: Path, tmp_path: Path
    ) -> None:
        register(registry, report, folder)
        with pytest.raises(Refused):
            registry.fetch_model("flights", "2", tmp_path / "champion")
        assert not (tmp_path / "champion").exists()


class TestMemory:
    def test_every_call_fails_while_it_is_away(self, report: RunReport, folder: Path, tmp_path: Path) -> None:
        registry = MemoryRegistry()
        version = register(registry, report, folder)
        registry.go_away()
        calls: list[Callable[[], object]] = [
            registry.prepare,
            lambda: registry.version_at("flights", "champion"),
            lambda: registry.point("flights", "champion", version),
            lambda: registry.unpoint("flights", "champion"),
            lambda: registry.fetch_model("flights", version, tmp_path / "champion"),
            lambda: registry.record_run(report),
            lambda: registry.register("flights", "job-1", "run-1", folder, {}),
        ]
        for call in calls:
            with pytest.raises(Unreachable):
                call()
        registry.come_back()
        assert register(registry, report, folder) == version

    def test_it_remembers_what_it_was_told(self, report: RunReport, folder: Path) -> None:
        registry = MemoryRegistry()
        register(registry, report, folder)
        registry.point("flights", "champion", "1")
        registry.unpoint("flights", "champion")
        registry.unpoint("flights", "champion")
        assert registry.moves == [("flights", "champion", "1"), ("flights", "champion", None)]
        assert registry.calls == ["record_run", "register", "point", "unpoint", "unpoint"]
        assert registry.runs == {"run-1": report}
        assert registry.versions["flights"][0].tags == {"retrainer.trigger": "drop"}
