"""Stages on the embedded broker, or on the broker named by KAFKA_BOOTSTRAP for tests marked `kafka`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from retrainer.adapters.kafka.broker import EmbeddedBroker
from tests.e2e.stage import Mlflow, Stage, own_suffix


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Mlflow:
    return Mlflow(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(scope="module")
def make_stage(
    broker: EmbeddedBroker, mlflow: Mlflow, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Stage]]:
    """Makes stages with topics and a registered model of their own, and clears them away."""
    stages: list[Stage] = []
    tmp_path = tmp_path_factory.mktemp("stages")

    def make(**settings: str) -> Stage:
        suffix = own_suffix()
        folder = tmp_path / suffix
        folder.mkdir()
        stage = replace(Stage(folder, broker.bootstrap_servers, suffix, mlflow), **settings)  # type: ignore[arg-type]  # settings are text
        broker.create_topics({stage.predictions: 2, stage.labels: 2})
        stage.write_config()
        stages.append(stage)
        return stage

    yield make
    for stage in stages:
        stage.kill()


@pytest.fixture
def stage(make_stage: Callable[..., Stage], mlflow: Mlflow) -> Stage:
    """A stage whose model has a champion."""
    made = make_stage()
    mlflow.register_champion(made.registered)
    return made
