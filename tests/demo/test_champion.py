"""The data scientist's model, and how the application follows the alias."""

from __future__ import annotations

import threading

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from retrainer.demo import flights, plan
from retrainer.demo.application import ServedVersion, ServingChampion
from retrainer.demo.champion import train


@pytest.fixture(scope="module")
def spring() -> pd.DataFrame:
    return flights.load(until=pd.Timestamp("2013-05-13"))


def accuracy(model: object, some: pd.DataFrame) -> float:
    answers = model.predict(flights.as_sent(some))  # type: ignore[attr-defined]  # the fixture is untyped
    return float(np.mean(answers == some["label"]))


def between(table: pd.DataFrame, first: str, end: str) -> pd.DataFrame:
    return table[(table["takeoff"] >= first) & (table["takeoff"] < end)]


def test_the_model_is_good_until_the_unit_changes_and_can_be_good_again(spring: pd.DataFrame) -> None:
    until = pd.Timestamp(plan.CHAMPION_LEARNS_UNTIL).tz_localize(None)
    learnt, after = spring[spring["takeoff"] < until], between(spring, "2013-04-15", "2013-04-29")

    champion = train(flights.as_sent(learnt), learnt["label"])
    refitted = train(flights.as_sent(after), after["label"])

    assert accuracy(champion, between(spring, "2013-04-01", "2013-04-15")) == pytest.approx(0.897, abs=0.005)
    assert accuracy(champion, between(spring, "2013-04-29", "2013-05-13")) == pytest.approx(0.79, abs=0.01)
    assert accuracy(refitted, between(spring, "2013-04-29", "2013-05-13")) > 0.88


class Registry(ServingChampion):
    """A champion whose registry is a list: the last version has the alias."""

    def __init__(self, *versions: str) -> None:
        self.versions = list(versions)
        self.loads: list[str] = []
        super().__init__("flights", "champion")

    def _version(self) -> str:
        if not self.versions:
            raise MlflowException("nobody has the alias")
        return self.versions[-1]

    def _load(self, version: str) -> ServedVersion:
        self.loads.append(version)
        return ServedVersion(version, None)


def test_a_promotion_is_picked_up_and_nothing_is_loaded_twice() -> None:
    champion = Registry("1")

    champion.refresh()
    champion.refresh()
    champion.versions.append("2")
    champion.refresh()
    champion.refresh()

    assert champion.loaded.version == "2"
    assert champion.loads == ["1", "2"]


def test_while_the_registry_is_away_the_old_champion_answers(capsys: pytest.CaptureFixture[str]) -> None:
    champion = Registry("1")
    champion.refresh()
    champion.versions.clear()
    stopped = threading.Event()
    watching = threading.Thread(target=champion.watch, args=(stopped, 0.01))
    watching.start()
    stopped.wait(0.1)
    stopped.set()
    watching.join()

    assert champion.loaded.version == "1"
    assert "nobody has the alias" in capsys.readouterr().out


def test_the_application_waits_for_the_first_champion() -> None:
    champion = Registry()
    waiting = threading.Thread(target=champion.wait, args=(threading.Event(), 0.01))
    waiting.start()

    champion.versions.append("1")

    waiting.join(timeout=5)
    assert champion.loaded.version == "1"
