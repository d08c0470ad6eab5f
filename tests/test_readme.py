"""What the README shows can be used as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path

from retrainer.config.load import load
from retrainer.domain.mapping.mapping import label_of, prediction_of
from retrainer.domain.values import SECOND
from retrainer.policies import model_policy
from tests.domain.making import envelope

SENT = 1_780_000_000 * SECOND
"""When Kafka got them: later than their own times."""

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_the_sample_records_are_a_prediction_and_its_label_under_the_sample_configuration(tmp_path: Path) -> None:
    (configuration,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (records,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "config.yaml"
    path.write_text(configuration)
    policy = model_policy(load(path, {}).settings.models["churn"]).ingest
    first, second = map(json.loads, records.splitlines())

    prediction = prediction_of(policy.predictions, envelope(first, time=SENT))
    label = label_of(policy.labels, envelope(second, time=SENT))

    assert prediction.id == label.id == "r-1041"
    assert (prediction.value, prediction.version, label.value) == ("yes", "7", "no")
    assert prediction.time < label.time < prediction.time + policy.join.max_delay
