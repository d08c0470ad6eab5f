"""A regression through the real service: numbers as answers and labels, errors that judge, and the words about them.

The application asks the registered model itself, so each version is loaded from MLflow and used. What the service
says of its metrics is computed again here, directly from the events that were sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import exp, sqrt
from pathlib import Path
from typing import Any, Final

import mlflow as tracking
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from kafka import KafkaProducer
from scipy.stats import norm, ttest_rel

from retrainer.adapters.kafka.broker import EmbeddedBroker
from tests.e2e.crowd import MINUTE, Clock, Crowd
from tests.e2e.stage import Mlflow, own_suffix, tracking_at
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

_MODEL: Final = "rides"
_WINDOW: Final = 400
_LINE: Final = 8.0
_NOISE: Final = 1.0
_BEFORE: Final = (3.0, 2.0)
_AFTER: Final = (-1.0, 20.0)
"""What a ride takes is the first times its distance, plus the second, plus noise."""
_GUESS: Final = 20.0
"""What the application answers to everyone while there is no model."""

SECTION: Final = (
    "task: regression, metrics: [mae, rmse, r2], triggers: {"
    f"slow: {{threshold: {{metric: mae, above: {_LINE}, warn_above: 4, window: {_WINDOW}, breaches: 2 of 3}}}}, "
    "shift: {change: {metric: mae}}}, retrain_when: slow and shift, "
    "training: {rows: auto, estimator: sklearn.linear_model.Ridge, params: {alpha: 0.1}}"
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Ride:
    """One outcome as it was sent; `known_at` is the time of its label, in microseconds."""

    version: str
    known_at: int
    label: float
    answer: float


@dataclass
class Rides(Crowd):
    """An application that predicts how long rides take."""

    rides: list[Ride] = field(default_factory=list)

    @property
    def registered_model(self) -> str:
        return self.registered_name(_MODEL)

    def model(self, version: str) -> Any:
        """A registered version, as anyone would load it."""
        with tracking_at(self.mlflow.uri):
            return tracking.pyfunc.load_model(f"models:/{self.registered_model}/{version}")

    def promoted(self, version: str) -> dict[str, Any]:
        """The decision that led to a version."""
        jobs = [one for one in self.explained(_MODEL) if one["job"] and one["job"]["version"] == version]
        assert [(one["outcome"], one["job"]["state"]) for one in jobs] == [("retrain", "promoted")]
        return jobs[0]

    def ride(self, n: int, world: tuple[float, float], version: str = "") -> None:
        """`n` rides, ten a minute, answered by a version and labelled a second later; returns once they are read."""
        clock = self.clocks.setdefault(_MODEL, Clock())
        random = np.random.default_rng(clock.count)
        distances = random.uniform(0, 10, n)
        labels = world[0] * distances + world[1] + random.normal(0, _NOISE, n)
        answers = self.model(version).predict(asked(distances)) if version else np.full(n, _GUESS)
        producer = KafkaProducer(bootstrap_servers=self.bootstrap)
        for distance, label, answer in zip(distances.tolist(), labels.tolist(), answers.tolist(), strict=True):
            clock.count += 1
            clock.now += MINUTE // 10
            time = clock.now // 1000
            base = {"prediction_id": f"r{clock.count}", "model": _MODEL}
            features = {"distance": distance, "zone": "JFK"}
            told = {"timestamp": time, "prediction": answer, "model_version": version, "features": features}
            self._emit(producer, self.predictions, {**base, **told})
            self._emit(producer, self.labels, {**base, "timestamp": time + 1000, "label": label})
            self.rides.append(Ride(version=version, known_at=(time + 1000) * 1000, label=label, answer=answer))
            if clock.count % 10 == 0:
                producer.flush()  # so that no partition is a minute ahead of another, however busy the machine is
        self.wait_until_read(producer)
        producer.close()

    def window(self, version: str, end: int) -> tuple[Floats, Floats]:
        """Labels and answers of the newest whole minutes before `end` that hold the window, of one version."""
        minutes: dict[int, list[Ride]] = {}
        for ride in self.rides:
            if ride.version == version and ride.known_at < end:
                minutes.setdefault(ride.known_at // MINUTE, []).append(ride)
        found: list[Ride] = []
        for minute in sorted(minutes, reverse=True):
            if len(found) >= _WINDOW:
                break
            found += minutes[minute]
        return np.array([ride.label for ride in found]), np.array([ride.answer for ride in found])


def asked(distances: Floats) -> pd.DataFrame:
    """The features of some rides."""
    return pd.DataFrame({"distance": distances, "zone": ["JFK"] * len(distances)})


def measured(metric: str, labels: Floats, answers: Floats) -> tuple[float, float, float]:
    """A metric with its 95 % interval by the delta method for a logarithm, directly."""
    errors, centred = labels - answers, (labels - labels.mean()) ** 2
    if metric == "mae":
        return _interval(np.abs(errors))
    squares = errors**2
    if metric == "rmse":
        value, low, high = _interval(squares)
        return sqrt(value), sqrt(low), sqrt(high)
    share = float(squares.mean() / centred.mean())  # that is not explained
    spread = sqrt(float(((squares - share * centred) ** 2).mean()) / len(labels)) / float(centred.mean())
    factor = exp(float(norm.ppf(0.975)) * spread / share)
    return 1 - share, 1 - share * factor, 1 - share / factor


def _interval(losses: Floats) -> tuple[float, float, float]:
    mean = float(losses.mean())
    factor = exp(float(norm.ppf(0.975) * losses.std(ddof=1)) / sqrt(len(losses)) / mean)
    return mean, mean / factor, mean * factor


def better_than_champion(record: dict[str, Any]) -> dict[str, Any]:
    """The evidence of that gate."""
    found: dict[str, Any] = next(one for one in record["job"]["gates"] if one["name"] == "better_than_champion")
    return {"passed": found["passed"], **found["evidence"]}


def micros(time: str) -> int:
    return pd.Timestamp(time).value // 1000


@pytest.fixture(scope="module")
def service(broker: EmbeddedBroker, mlflow: Mlflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rides]:
    """One that has trained its first champion, has seen the world change, and has replaced it."""
    suffix = own_suffix()
    folder: Path = tmp_path_factory.mktemp("regression")
    made = Rides(folder, broker.bootstrap_servers, suffix, mlflow, models={_MODEL: SECTION})
    made.write_config()
    broker.create_topics({made.predictions: 2, made.labels: 2})
    made.start()
    try:
        made.ride(300, _BEFORE)
        made.wait_for("model.promoted", version="1")
        made.ride(700, _BEFORE, version="1")
        made.ride(600, _AFTER, version="1")
        made.wait_for("model.promoted", version="2")
        made.ride(600, _AFTER, version="2")
        made.wait_for("metric.updated", metric="mae", version="2", count=5)
        yield made
    finally:
        made.kill()


def test_the_first_champion_is_better_than_the_mean(service: Rides) -> None:
    first = service.promoted("1")
    assert (first["triggers"], first["champion"]) == (["bootstrap"], None)
    assert [gate["name"] for gate in first["job"]["gates"]] == [
        "enough_rows", "better_than_mean", "better_than_last_value", "loads_and_predicts",
    ]  # fmt: skip
    assert "always saying the mean" in service.words(_MODEL, first["decision_id"])


def test_every_metric_in_the_log_is_that_of_its_window(service: Rides) -> None:
    lines = service.entries("metric.updated")
    assert {(line["metric"], line["version"]) for line in lines} == {
        (metric, version) for metric in ("mae", "rmse", "r2") for version in ("1", "2")
    }
    for line in lines:
        labels, answers = service.window(line["version"], micros(line["slot_end"]))
        value, low, high = measured(line["metric"], labels, answers)
        assert line["n"] == len(labels)
        assert (line["value"], line["low"], line["high"]) == pytest.approx((value, low, high), rel=1e-6)


def test_status_shows_the_errors_of_the_new_champion(service: Rides) -> None:
    def newest() -> dict[str, Any]:
        found = service.standing(_MODEL)
        line = service.entries("metric.updated")[-1]
        return {**found, "end": line["slot_end"]} if found["metrics"]["r2"]["value"] == line["value"] else {}

    status = eventually(newest)
    assert (status["champion"]["version"], status["moved"]) == ("2", 0)
    assert status["outcomes"] == {"n": len(service.rides), "correct": None}  # which numbers are not
    assert list(status["metrics"]) == ["mae", "rmse", "r2"]
    labels, answers = service.window("2", micros(status["end"]))
    for metric, shown in status["metrics"].items():
        assert (shown["n"], shown["window"]) == (len(labels), f"{_WINDOW} outcomes")
        value, low, high = measured(metric, labels, answers)
        assert (shown["value"], shown["low"], shown["high"]) == pytest.approx((value, low, high), rel=1e-6)
    assert status["metrics"]["mae"]["value"] == pytest.approx(_NOISE * sqrt(2 / np.pi), abs=0.15)
    assert status["triggers"]["slow"]["state"] == "quiet"
    words = service.ask("status", _MODEL)
    assert f"mae          {status['metrics']['mae']['value']:.3f} (" in words
    assert "correct" not in words


def test_the_shift_fires_above_the_line(service: Rides) -> None:
    fired = service.fired(_MODEL, "slow")
    assert (fired["metric"], fired["above"], fired["needed"]) == ("mae", _LINE, "2 of 3")
    labels, answers = service.window("1", micros(fired["to"]))
    assert fired["value"] == pytest.approx(np.abs(labels - answers).mean(), rel=1e-6)
    assert fired["value"] > _LINE
    warned = service.wait_for("trigger.warned", model=_MODEL, trigger="slow")
    assert 4 < warned["value"] < fired["value"]
    change = service.fired(_MODEL, "shift")
    assert (change["metric"], change["kind"]) == ("mae", "change")
    assert change["found"] > change["expected"] > 0
    began = next(ride.known_at for ride in service.rides[1000:])
    assert micros(change["began"]) == pytest.approx(began, abs=5 * MINUTE)


def test_explain_says_what_was_seen_and_why_the_candidate_was_taken(service: Rides) -> None:
    record = service.promoted("2")
    assert (record["triggers"], record["champion"]) == (["shift", "slow"], "1")
    seen, words = record["evidence"]["triggers"]["slow"], service.words(_MODEL, record["decision_id"])
    assert f"slow fired: mae is {seen['value']:.4g} over {seen['n']} outcomes" in words
    assert f"evaluations above {_LINE:g}, 2 of 3 needed" in words
    assert "shift fired: mae has been" in words
    assert "It began at about" in words
    gate = better_than_champion(record)
    assert f"passed better_than_champion: mae {gate['candidate']:.4g} against" in words
    assert "of the champion, better by" in words
    assert f"job {record['job']['job_id']}: promoted, version 2" in words


def test_the_judgement_is_the_paired_test_of_the_errors(service: Rides, mlflow: Mlflow) -> None:
    record = service.promoted("2")
    job, gate = record["job"], better_than_champion(record)
    rows = pd.read_parquet(_artifact(mlflow, job["run_id"], "predictions.parquet"))
    ours, theirs = (rows["label"] - rows["candidate"]).abs(), (rows["label"] - rows["champion"]).abs()
    assert (gate["test"], gate["metric"], gate["n"]) == ("paired_t", "mae", len(rows))
    assert (gate["candidate"], gate["other"]) == pytest.approx((ours.mean(), theirs.mean()), rel=1e-6)
    assert gate["difference"] == pytest.approx(theirs.mean() - ours.mean(), rel=1e-6)
    expected = ttest_rel(theirs, ours, alternative="greater").pvalue
    assert gate["p"] == pytest.approx(expected, rel=1e-6, abs=0)  # it is far below what is usually tolerated
    assert gate["passed"]
    assert gate["p"] <= gate["alpha"]
    assert job["candidate"]["mae"] == gate["candidate"] < job["champion_metrics"]["mae"] == gate["other"]


def _artifact(mlflow: Mlflow, run_id: str, path: str) -> str:
    with tracking_at(mlflow.uri):
        return str(tracking.artifacts.download_artifacts(run_id=run_id, artifact_path=path))


def test_the_registered_model_has_learnt_the_new_world(service: Rides, mlflow: Mlflow) -> None:
    assert mlflow.alias(service.registered_model) == "2"
    distances = np.linspace(0, 10, 11)
    answers = service.model("2").predict(asked(distances))
    assert np.asarray(answers).dtype == np.float64
    assert answers == pytest.approx(_AFTER[0] * distances + _AFTER[1], abs=0.5)
    assert service.model("1").predict(asked(distances)) == pytest.approx(_BEFORE[0] * distances + _BEFORE[1], abs=0.5)
