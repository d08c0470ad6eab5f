"""The configuration of the demo: the file in configs/, as a user would write it."""

from __future__ import annotations

from pathlib import Path

import yaml

from retrainer.config.load import load
from retrainer.demo import run
from retrainer.demo.broker import Kafka
from retrainer.demo.ending import DemoThreshold

CHECKOUT = Path(__file__).parents[2]
CONFIG = CHECKOUT / "configs" / "flights.yaml"


def test_what_the_demo_runs_is_the_file_in_configs() -> None:
    assert CONFIG.read_text() == Path(run.__file__).with_name("flights.yaml").read_text()


def test_lines_are_read_from_the_file() -> None:
    lines = DemoThreshold.of(yaml.safe_load(CONFIG.read_text()))

    assert lines == DemoThreshold(below=0.84, warn_below=0.86, window=3000)


def test_on_a_broker_of_its_own_the_file_stays_as_it_is() -> None:
    assert Kafka(bootstrap_servers="b").configured(CONFIG.read_text()) == CONFIG.read_text()


def test_on_a_borrowed_broker_topics_and_group_are_its_own(tmp_path: Path) -> None:
    kafka = Kafka(bootstrap_servers="b", prefix="mine-")
    (tmp_path / "flights.yaml").write_text(kafka.configured(CONFIG.read_text()))

    settings = load(tmp_path / "flights.yaml", {}).settings

    model = settings.models["flights"]
    assert (model.predictions.topic, model.labels.topic) == ("mine-predictions", "mine-labels")
    assert settings.kafka.group_id == "mine-retrainer"
    assert set(kafka.topics) == {"mine-predictions", "mine-labels"}
