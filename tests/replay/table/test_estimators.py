"""`retrainer replay --table` with estimators as other people write them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from retrainer.cli import main
from tests.replay.replaying import Replayer, config, saved, stream
from tests.replay.streams import CONFIG, SHIFT


@pytest.fixture
def replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Replayer:
    return Replayer(tmp_path, capsys)


@pytest.fixture
def estimators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module with estimators as other people write them."""
    (tmp_path / "others.py").write_text(
        """\
import warnings
import numpy as np
from sklearn.dummy import DummyRegressor
from sklearn.tree import DecisionTreeClassifier as Tree
class Fails(Tree):
    fits = 0
    def fit(self, *given, **how):
        if len(given[0]) > 60: raise RuntimeError("no luck\\nadvice")
        return super().fit(*given, **how)
class Mute(Tree):
    def predict(self, rows, **how):
        if len(rows) > 100: raise RuntimeError("no words")
        return super().predict(rows, **how)
class Short(Tree):
    def predict(self, rows, **how): return super().predict(rows, **how)[:240]
class Martian(Tree):
    def predict(self, rows, **how): return np.full(len(rows), "martian" if len(rows) > 100 else "0", dtype=object)
class Loud(Tree):
    def fit(self, *given, **how):
        print("fitting"); warnings.warn("do not worry\\nreally", FutureWarning)
        return super().fit(*given, **how)
    def predict(self, *given, **how):
        print("predicting"); return super().predict(*given, **how)
class Nowhere(DummyRegressor):
    def predict(self, rows, **how): return np.full(len(rows), np.nan)
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("others", None)


@pytest.mark.usefixtures("estimators")
class TestEstimators:
    @pytest.mark.parametrize(
        ("estimator", "task", "code", "told"),
        [
            ("others.Mute", "classification", 1, "version 1 cannot answer the rows 30 to 299: RuntimeError: no words"),
            ("others.Short", "classification", 1, "ValueError: it gives 240 answers to 270 rows"),
            ("others.Martian", "classification", 1, "it answers with 'martian', which is no class of the table"),
            (
                "others.Nowhere",
                "regression",
                3,
                "version 1 cannot be trained on the warm part: others.Nowhere: ValueEr",
            ),
            (
                "sklearn.cluster.KMeans",
                "classification",
                2,
                "models.m.training.estimator: sklearn.cluster.KMeans is no",
            ),
        ],
    )
    def test_what_they_do_wrong_is_said_in_a_line(
        self, replay: Replayer, estimator: str, task: str, code: int, told: str
    ) -> None:
        found, said = replay.run(stream(), estimator=estimator, task=task)
        assert (found, told in said, said.count("\n")) == (code, True, 1), said

    def test_one_that_fails_on_the_warm_part(self, replay: Replayer) -> None:
        code, said = replay.run(stream(), "--warm", "100", estimator="others.Fails")
        assert (code, "others.Fails: RuntimeError: no luck\n" in said) == (3, True)

    def test_one_that_fails_later_fails_its_job_and_the_replay_goes_on(self, tmp_path: Path, replay: Replayer) -> None:
        training = "{estimator: others.Fails, rows: {last: 600}}"
        file = tmp_path / "soon.yaml"
        file.write_text(CONFIG.format(training=training, labels="", more=SHIFT))
        frame = stream(2_000)
        turned = frame.assign(label=np.where(frame.index < 1_000, frame["label"], 1 - frame["label"]))
        table = saved(tmp_path, turned)
        given = ["--table", str(table), "--label", "label", "--warm", "60", "--out", str(tmp_path / "out")]
        assert main(["replay", str(file), *given]) == 0
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        assert report["retrains"] == len(report["jobs"]) > 0
        assert {job["verdict"] for job in report["jobs"]} == {"failed"}
        assert report["jobs"][0]["reason"].startswith("RuntimeError: no luck")
        assert report["promotions"] == 0
        assert report["metric"]["value"] == report["baselines"]["never"]

    def test_what_they_print_and_warn_of_is_not_in_the_answers_way(self, tmp_path: Path) -> None:
        """As a shell sees it, where warnings are no errors."""
        given = [
            "--table",
            str(saved(tmp_path, stream())),
            "--label",
            "label",
            "--out",
            str(tmp_path / "out"),
            "--json",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "retrainer", "replay", str(config(tmp_path, "others.Loud")), *given],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())])},
            capture_output=True,
            text=True,
            check=True,
        )
        assert set(done.stderr.split()) == {"fitting", "predicting"}
        assert "FutureWarning: do not worry (2 times)" in json.loads(done.stdout)["notes"]
