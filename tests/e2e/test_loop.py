"""The whole loop through the real service: events in, a decision, a candidate, a promotion, and the words about it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.e2e.stage import Mlflow, Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def reversed_answer(x: float) -> str:
    return "a" if x > 0.5 else "b"


@pytest.fixture(scope="module")
def recovered(make_stage: Callable[..., Stage], mlflow: Mlflow) -> Stage:
    """A service whose champion broke, was replaced, and whose new champion has been heard of."""
    stage = make_stage()
    mlflow.register_champion(stage.registered)
    stage.start()
    stage.wait_for("alias.adopted")
    stage.send(800)
    stage.wait_for("metric.updated")
    stage.send(1500, flipped=True)
    stage.wait_for("retrain.decided")
    stage.wait_for("model.promoted")
    stage.send(600, flipped=True, answer=reversed_answer, version="2")
    stage.wait_for("metric.updated", version="2")
    return stage


def test_a_breach_leads_to_a_promotion_and_quality_recovers(recovered: Stage, mlflow: Mlflow) -> None:
    fired = recovered.entries("trigger.fired")[0]
    assert fired["value"] < 0.8
    assert fired["breaches"].split()[0] >= "2"
    assert recovered.entries("metric.updated")[-1]["value"] == 1.0
    assert mlflow.alias(recovered.registered) == "2"
    status = recovered.status()
    assert status["champion"]["version"] == "2"
    assert status["outcomes"] == recovered.single_pass()
    for side in ("predictions", "labels"):
        counts = status["counts"][side]
        assert counts.pop("consumed") == sum(counts.values())


def test_the_log_alone_says_why_on_which_data_and_why_accepted(recovered: Stage) -> None:
    promoted = recovered.entries("model.promoted")[-1]
    job = promoted["job_id"]
    decided = next(entry for entry in recovered.entries("retrain.decided") if entry["job_id"] == job)
    why = decided["evidence"]["triggers"]["low"]
    assert decided["triggers"] == ["low"]
    assert why["value"] < why["below"] == 0.8
    started = next(entry for entry in recovered.entries("job.started") if entry["job_id"] == job)
    assert started["rows"] == 1000
    assert len(started["dataset"]) == 64
    assert started["first"] < started["last"] <= decided["slot_end"]
    judged = next(entry for entry in recovered.entries("candidate.judged") if entry["job_id"] == job)
    assert judged["accepted"] is True
    assert judged["candidate"]["accuracy"] > judged["champion"]["accuracy"]
    better = next(gate for gate in judged["gates"] if gate["name"] == "better_than_champion")
    assert better["evidence"]["p"] <= better["evidence"]["alpha"]


def test_explain_tells_the_decision_and_json_is_one_document(recovered: Stage) -> None:
    words = recovered.command("explain", "m").stdout
    assert "RETRAIN" in words
    assert "evaluations below 0.8" in words
    assert "promoted, version 2" in words
    decisions = json.loads(recovered.command("explain", "m", "--json").stdout)["decisions"]
    retrained = [decision for decision in decisions if decision["outcome"] == "retrain"]
    assert retrained[-1]["job"]["accepted"] is True
    assert {entry["decision_id"] for entry in recovered.entries("retrain.decided")} == {
        decision["decision_id"] for decision in retrained
    }


SHORTEST = """\
kafka: {{bootstrap_servers: "{bootstrap}"}}
models:
  m:
    task: classification
    predictions: {{topic: {predictions}}}
    labels: {{topic: {labels}}}
    training: {{estimator: sklearn.tree.DecisionTreeClassifier}}
"""


def test_the_shortest_file_is_a_service_that_trains_notices_a_change_and_recovers(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage()
    text = SHORTEST.format(bootstrap=stage.bootstrap, predictions=stage.predictions, labels=stage.labels)
    stage.config.write_text(text)
    stage.start()
    stage.send(1300)
    assert stage.wait_for("retrain.decided")["triggers"] == ["bootstrap"]
    assert stage.wait_for("model.promoted")["version"] == "1"
    stage.send(1500)
    stage.send(6000, flipped=True)
    stage.wait_for("trigger.fired", trigger="shift")
    assert "shift" in stage.wait_for("retrain.decided", count=2)["triggers"]
    stage.wait_for("model.promoted", version="2")


def test_a_worse_candidate_is_rejected(make_stage: Callable[..., Stage], mlflow: Mlflow) -> None:
    stage = make_stage(estimator="sklearn.dummy.DummyClassifier", params="{strategy: constant, constant: a}")
    mlflow.register_champion(stage.registered)
    stage.start()
    stage.send(800)
    stage.wait_for("metric.updated")
    answer = stage.command("retrain", "m", "--reason", "a planted worse candidate", "--wait")
    assert answer.returncode == 4, answer
    assert "wrong" in stage.wait_for("candidate.rejected")["reason"]
    assert mlflow.alias(stage.registered) == "1"
    assert stage.status()["champion"]["version"] == "1"


def test_a_candidate_equal_to_the_champion_is_not_promoted(stage: Stage, mlflow: Mlflow) -> None:
    stage.start()
    stage.send(800)
    stage.wait_for("metric.updated")
    answer = stage.command("retrain", "m", "--reason", "just because", "--wait")
    judged = stage.wait_for("candidate.judged")
    assert judged["candidate"]["accuracy"] == pytest.approx(judged["champion"]["accuracy"], abs=0.02)
    assert answer.returncode == 4, answer
    assert mlflow.alias(stage.registered) == "1"


def test_without_a_champion_the_first_one_is_trained(make_stage: Callable[..., Stage], mlflow: Mlflow) -> None:
    stage = make_stage()
    stage.start()
    stage.send(800, version="")
    decided = stage.wait_for("retrain.decided")
    assert decided["triggers"] == ["bootstrap"]
    assert stage.wait_for("model.promoted")["version"] == "1"
    assert mlflow.alias(stage.registered) == "1"


def test_a_schedule_fires_by_the_clock(stage: Stage) -> None:
    stage.write_config(lambda text: text.replace("triggers:", "triggers:\n      beat: {schedule: {every: 2s}}"))
    stage.start()
    stage.send(800)
    decided = stage.wait_for("retrain.decided")
    assert decided["triggers"] == ["beat"]
    assert "due" in decided["evidence"]["triggers"]["beat"]
