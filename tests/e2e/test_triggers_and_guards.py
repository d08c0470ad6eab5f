"""Each trigger and each guard through the real service: one run over a model for each, told apart by `where`.

Of each the log line, the record that `explain` gives, complete and in words, and what `status` says.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import psutil
import pytest

from retrainer.adapters.kafka.broker import EmbeddedBroker
from tests.e2e.crowd import HOUR, Crowd, crowd, says_the_same
from tests.e2e.stage import Mlflow, own_suffix
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

_ROOT: Final = Path(__file__).parents[2]
_LOW: Final = "low: {threshold: {metric: accuracy, below: 0.8, window: 100, breaches: 1 of 1}}"
_TREE: Final = "estimator: sklearn.tree.DecisionTreeClassifier, params: {max_depth: 3}"

MODELS: Final = {
    # Triggers
    "below": "triggers: {low: {threshold: "
    "{metric: accuracy, below: 0.8, warn_below: 0.95, window: 100, breaches: 2 of 3}}}",
    "fallen": "triggers: {fallen: {drop: {metric: accuracy, by: 0.1, window: 100}}}",
    "shifted": "triggers: {shift: {change: {metric: accuracy}}}",
    "drifted": "triggers: {other: {drift: {window: 200, launches: true}}, alert: {drift: {window: 200}}}",
    "novel": "triggers: {new: {new_class: {labels: 5}}}",
    "counted": "triggers: {many: {volume: {labels: 220}}}",
    "beating": "triggers: {beat: {schedule: {every: 2s}}}",
    "own": 'triggers: {mine: {"tests.e2e.own_triggers:ManyComplaints": {most: 5}}}',
    "broken": 'triggers: {mine: {"tests.e2e.own_triggers:Broken": {}}, many: {volume: {labels: 220}}}',
    "worded": f"triggers: {{{_LOW}, many: {{volume: {{labels: 500}}}}, told: {{volume: {{labels: 220}}}}}}, "
    "retrain_when: low and many",
    "fresh": "triggers: {never: {volume: {labels: 100000}}}",
    # Guards
    "paused": "triggers: {many: {volume: {labels: 220}}}",
    "few": "triggers: {many: {volume: {labels: 210}}}, guards: {min_labels: 300}",
    "short": "triggers: {many: {volume: {labels: 100}}}",
    "young": 'triggers: {now: {"tests.e2e.own_triggers:Impatient": {}}}, labels: {mature_after: null}',
    "stalling": f"triggers: {{{_LOW}}}, labels: {{max_delay: 10m}}",
    "thin": "triggers: {many: {volume: {labels: 420}}}, labels: {max_delay: 10m}",
    "behind": "triggers: {many: {volume: {labels: 220}}}",
    "refused": f"triggers: {{{_LOW}}}, guards: {{cooldown: 20m, per_day: 1}}, judge: {{min_rows: 100}}, training: "
    "{rows: {last: 400}, estimator: sklearn.dummy.DummyClassifier, params: {strategy: constant, constant: a}}",
    "asked": f"triggers: {{never: {{volume: {{labels: 100000}}}}}}, training: {{{_TREE}}}",
    "suspicious": "triggers: {many: {volume: {labels: 480}}}, "
    f"training: {{rows: all, {_TREE}, checks: {{on: hold}}}}",
    "close": f"triggers: {{never: {{volume: {{labels: 100000}}}}}}, training: {{{_TREE}}}",
    # Alarms
    "silent": "triggers: {never: {volume: {labels: 100000}}}, predictions: {expect_every: 2s}, "
    "labels: {expect_every: 2s}",
}


@pytest.fixture(scope="module")
def service(broker: EmbeddedBroker, mlflow: Mlflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    """The service over all of them, whose champions are known; jobs that tests wait for are asked for at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(_ROOT))
        made = crowd(tmp_path_factory.mktemp("crowd"), broker.bootstrap_servers, own_suffix(), mlflow, MODELS)
        broker.create_topics({made.predictions: 2, made.labels: 2})
        made.register_champions(without="fresh")
        made.start()
        made.wait_for("alias.adopted", count=len(MODELS) - 1)
        made.traffic("refused", 420)
        made.traffic("refused", 150, wrong=0.4)
        made.traffic("suspicious", 250, features={"amount": 1.5})
        made.traffic("suspicious", 250, wrong=1.0)
        yield made
        made.kill()


# Triggers


def test_threshold(service: Crowd) -> None:
    service.traffic("below", 250)
    service.traffic("below", 200, wrong=1.0)
    assert service.wait_for("trigger.warned", model="below")["value"] < 0.95
    fired = service.fired("below", "low")
    assert (fired["kind"], fired["metric"], fired["below"], fired["needed"]) == ("threshold", "accuracy", 0.8, "2 of 3")
    assert fired["value"] < 0.8
    held = service.held("below", "observing", ["low"])
    assert (
        held["evidence"]["triggers"]["low"].items()
        >= {name: fired[name] for name in ("kind", "value", "low", "high", "n", "from", "to", "breaches")}.items()
    )
    assert "low fired: accuracy is" in service.words("below", held["decision_id"])
    assert service.standing("below")["triggers"]["low"]["state"] == "fired"
    assert len(service.explained("below")) == 1  # once, though it holds at every slot since


def test_drop(service: Crowd) -> None:
    service.traffic("fallen", 250)
    service.traffic("fallen", 100, wrong=0.5)
    fired = service.fired("fallen", "fallen")
    assert (fired["kind"], fired["by"], fired["baseline_from"]) == ("drop", 0.1, "first outcomes")
    assert fired["value"] < fired["line"] < fired["baseline"] - 0.1
    assert fired["e_value"] >= fired["e_needed"]
    held = service.held("fallen", "observing", ["fallen"])
    assert "the line is" in service.words("fallen", held["decision_id"])


def test_change_waits_for_labels_from_after_it(service: Crowd) -> None:
    service.traffic("shifted", 800, wrong=0.05)
    service.traffic("shifted", 200, wrong=0.9)
    fired = service.fired("shifted", "shift")
    assert (fired["kind"], fired["metric"]) == ("change", "accuracy")
    assert fired["e_value"] >= fired["needed"] == 20.0
    held = service.held("shifted", "since_change", ["shift"])
    guard = held["evidence"]["guard"]
    assert guard["have"] < guard["need"] == 100
    assert held["evidence"]["change"]["began"] == fired["began"] == guard["began"]
    words = service.words("shifted", held["decision_id"])
    assert "more labels" in words
    assert "It began at about" in words
    later = service.held("shifted", "observing", ["shift"])
    assert later["evidence"]["change"]["rows_since"] >= 100


def test_drift(service: Crowd) -> None:
    service.traffic("drifted", 300)
    service.traffic("drifted", 300, x=(2.0, 3.0))
    fired = service.fired("drifted", "other")
    assert fired["kind"] == "drift"
    assert fired["drifted"]["x"]["what"] == ["values"]
    assert service.wait_for("trigger.warned", model="drifted")["trigger"] == "alert"
    held = service.held("drifted", "observing", ["other"])
    assert "1 of 2 features" in service.words("drifted", held["decision_id"])


def test_new_class(service: Crowd) -> None:
    service.traffic("novel", 1100)
    assert "trigger.fired" not in {entry["event"] for entry in service.entries() if entry.get("model") == "novel"}
    service.traffic("novel", 30, label="c")
    fired = service.fired("novel", "new")
    assert (fired["kind"], fired["known"], fired["needed"]) == ("new_class", 2, 5)
    assert fired["new"]["c"] >= 5
    held = service.held("novel", "observing", ["new"])
    assert 'a class that the champion has never seen: "c"' in service.words("novel", held["decision_id"])


def test_volume(service: Crowd) -> None:
    service.traffic("counted", 250)
    fired = service.fired("counted", "many")
    assert (fired["kind"], fired["needed"]) == ("volume", 220)
    assert fired["labels"] >= 220
    held = service.held("counted", "observing", ["many"])
    assert held["message"] == "observe: true decides but never trains"
    assert "220 that it takes" in service.words("counted", held["decision_id"])


def test_schedule(service: Crowd) -> None:
    service.traffic("beating", 250)
    fired = service.fired("beating", "beat")
    assert fired["kind"] == "schedule"
    assert fired["due"] <= fired["fired_at"]
    held = service.held("beating", "observing", ["beat"])
    assert "its time came at" in service.words("beating", held["decision_id"])
    status = service.standing("beating")
    assert status["next_schedule"] is not None
    assert status["triggers"]["beat"]["state"] == "fired"  # until the next job


def test_a_trigger_of_ones_own(service: Crowd) -> None:
    service.traffic("own", 250)
    service.traffic("own", 30, label="complaint")
    fired = service.fired("own", "mine")
    assert fired["kind"] == "tests.e2e.own_triggers:ManyComplaints"
    assert fired["complaints"] > fired["most"] == 5
    held = service.held("own", "observing", ["mine"])
    assert held["evidence"]["triggers"]["mine"]["complaints"] == fired["complaints"]
    # as the class itself says it
    assert f"mine fired: {fired['complaints']} people complained" in service.words("own", held["decision_id"])


def test_one_that_raises_leaves_the_others_alone(service: Crowd) -> None:
    service.traffic("broken", 250)
    failed = service.wait_for("trigger.failed", model="broken")
    assert (failed["trigger"], failed["kind"], failed["level"]) == (
        "mine", "tests.e2e.own_triggers:Broken", "error",
    )  # fmt: skip
    assert failed["error"] == "LookupError: no such column: price"
    service.held("broken", "observing", ["many"])
    assert len([entry for entry in service.entries("trigger.failed") if entry["model"] == "broken"]) == 1
    found = service.standing("broken")["triggers"]["mine"]
    assert (found["state"], found["evidence"]) == ("quiet", {"failed": failed["error"]})


def test_retrain_when_in_words(service: Crowd) -> None:
    service.traffic("worded", 300)
    service.fired("worded", "told")  # not named: it only reports
    service.traffic("worded", 100, wrong=1.0)
    service.fired("worded", "low")
    assert service.explained("worded") == []
    service.traffic("worded", 150, wrong=1.0)
    held = service.held("worded", "observing", ["low", "many"])
    assert set(held["evidence"]["triggers"]) == {"low", "many"}
    words = service.words("worded", held["decision_id"])
    assert "low fired:" in words
    assert "many fired:" in words


def test_without_a_champion(service: Crowd) -> None:
    service.traffic("fresh", 250)
    held = service.held("fresh", "observing", ["bootstrap"])
    assert held["champion"] is None
    assert "There is no champion yet" in service.words("fresh", held["decision_id"])


# Guards


def test_paused(service: Crowd) -> None:
    service.ask("pause", "paused", "--reason", "a holiday")
    assert service.wait_for("model.paused", model="paused")["reason"] == "a holiday"
    assert service.standing("paused")["paused"] is True
    service.traffic("paused", 250)
    held = service.held("paused", "paused", ["many"])
    assert "deciding is paused" in service.words("paused", held["decision_id"])
    service.ask("retrain", "paused", "--reason", "nevertheless")
    service.held("paused", "observing", ["manual"])  # a person's request passes it
    service.ask("resume", "paused")
    service.wait_for("model.resumed", model="paused")
    service.held("paused", "observing", ["many"])


def test_min_labels(service: Crowd) -> None:
    service.traffic("few", 250)
    held = service.held("few", "min_labels", ["many"])
    guard = held["evidence"]["guard"]
    assert 210 <= guard["have"] < guard["need"] == 300
    assert f"waits for 300 labels of this champion, has {guard['have']}" in service.words("few", held["decision_id"])
    service.traffic("few", 80)
    assert service.held("few", "observing", ["many"])["evidence"]["labels"] >= 300


def test_rows(service: Crowd) -> None:
    service.traffic("short", 150)
    held = service.held("short", "rows", ["many"])
    guard = held["evidence"]["guard"]
    assert 100 <= guard["have"] < guard["need"] == 200
    assert "waits for 200 rows, so that the holdout has 50" in service.words("short", held["decision_id"])
    service.traffic("short", 80)
    assert service.held("short", "observing", ["many"])["evidence"]["rows"] == 200


def test_maturity_of_a_champions_first_labels(service: Crowd) -> None:
    service.traffic("young", 250, labelled=0.6)
    held = service.held("young", "maturity", ["now"])
    assert held["evidence"]["guard"]["reason"] == "starting"
    assert "only the quick labels can have come" in service.words("young", held["decision_id"])
    assert service.standing("young")["labels"]["fairness"]["fair"] is False


def test_maturity_of_labels_that_stall(service: Crowd) -> None:
    service.traffic("stalling", 300)
    service.traffic("stalling", 100, wrong=1.0)
    service.held("stalling", "observing", ["low"])
    service.traffic("stalling", 80, wrong=1.0, labelled=0.2)
    held = service.held("stalling", "maturity", ["low"])
    assert held["evidence"]["guard"]["reason"] == "behind"
    assert "labels that are usual by now" in service.words("stalling", held["decision_id"])


def test_coverage(service: Crowd) -> None:
    service.traffic("thin", 400)
    service.traffic("thin", 150, labelled=0.2)
    held = service.held("thin", "coverage", ["many"])
    assert held["evidence"]["guard"]["have"] < held["evidence"]["guard"]["need"] == 0.5
    assert "of those that are usual have come, 50% are needed" in service.words("thin", held["decision_id"])
    assert service.standing("thin")["labels"]["coverage"]["relative"] < 0.5


def test_a_persons_request_and_single_flight(service: Crowd) -> None:
    service.traffic("asked", 250)
    service.ask("retrain", "asked", "--reason", "the first one")
    child = service.training(service.wait_for("retrain.decided", model="asked")["job_id"])
    child.suspend()  # so that the job lasts
    decided = service.decided("asked", ["manual"])
    assert decided["evidence"]["request"] == "the first one"
    assert "A person asked for it: the first one" in service.words("asked", decided["decision_id"])
    service.ask("retrain", "asked", "--reason", "the second one")
    held = service.held("asked", "single_flight", ["manual"])
    child.resume()
    assert held["evidence"]["guard"]["job_id"] == decided["job_id"]
    assert f"job {decided['job_id']} is still under way" in service.words("asked", held["decision_id"])


def test_cooldown_then_per_day_then_back_off(service: Crowd) -> None:
    decided = service.decided("refused", ["low"])
    assert service.wait_for("candidate.rejected", model="refused", seconds=90)["job_id"] == decided["job_id"]
    cools = service.held("refused", "cooldown", ["low"])
    assert cools["evidence"]["guard"]["job_id"] == decided["job_id"]
    assert "cools down until" in service.words("refused", cools["decision_id"])
    service.traffic("refused", 20, wrong=0.4, after=HOUR)
    daily = service.held("refused", "per_day", ["low"])
    assert daily["slot_end"] == cools["evidence"]["guard"]["until"]
    assert "1 jobs within a day; the budget is 1" in service.words("refused", daily["decision_id"])
    service.traffic("refused", 20, wrong=0.4, after=25 * HOUR)
    backs = service.held("refused", "back_off", ["low"])
    guard = backs["evidence"]["guard"]
    assert (guard["job_id"], guard["rejected"], guard["need"]) == (decided["job_id"], 1, 200)
    assert "the last candidate was not taken: another one waits" in service.words("refused", backs["decision_id"])
    service.traffic("refused", 200, wrong=0.4)
    service.decided("refused", ["low"], count=2)


# Verdicts


def test_rows_that_look_broken_are_held(service: Crowd) -> None:
    service.decided("suspicious", ["many"])
    found = service.wait_for("rows.suspicious", model="suspicious", seconds=90)
    assert (found["on"], [one["feature"] for one in found["features"]]) == ("hold", ["amount"])
    service.wait_for("candidate.rejected", model="suspicious")
    job = service.explained("suspicious")[0]["job"]
    assert job["state"] == "rejected"
    assert [gate["name"] for gate in job["gates"] if not gate["passed"]] == ["rows_look_sound"]
    assert "FAILED rows_look_sound: amount: " in service.words("suspicious", found["decision_id"])


def test_an_inconclusive_verdict_becomes_a_challenger_that_is_judged_on(service: Crowd, mlflow: Mlflow) -> None:
    service.traffic("close", 130)
    service.traffic("close", 40, x=(0.5, 0.6), label="a")  # where the champion errs
    service.traffic("close", 3, x=(0.52, 0.58), label="a")
    service.traffic("close", 20, x=(0.0, 0.4))
    service.traffic("close", 45, x=(0.7, 1.0))
    answer = service.command("retrain", "close", "--reason", "a small step", "--wait")
    assert answer.returncode == 4, answer
    assert "is the challenger now" in answer.stdout
    decided = service.decided("close", ["manual"])
    kept = service.wait_for("challenger.kept", model="close")
    assert kept["job_id"] == decided["job_id"]
    judged = service.wait_for("candidate.judged", model="close")
    gate = next(gate for gate in judged["gates"] if not gate["passed"])
    assert (gate["name"], gate["undecided"]) == ("better_than_champion", True)
    assert service.explained("close")[-1]["job"]["state"] == "challenging"
    service.traffic("close", 80, x=(0.5, 0.6), label="a")
    judged = service.wait_for("challenger.judged", model="close", seconds=90)
    assert (judged["answer"], judged["version"]) == ("better", kept["version"])
    assert service.wait_for("model.promoted", model="close")["version"] == kept["version"]
    assert mlflow.alias(service.registered_name("close")) == kept["version"]
    eventually(lambda: service.explained("close")[-1]["job"]["state"] == "promoted")


# Alarms, and what concerns every model at once


def test_silence(service: Crowd) -> None:
    service.traffic("silent", 20)
    for side in ("predictions", "labels"):
        stalled = service.wait_for(f"{side}.stalled", model="silent")
        assert stalled["expect_every"] == 2
    service.traffic("silent", 20)
    for side in ("predictions", "labels"):
        assert service.wait_for(f"{side}.resumed", model="silent")["seconds"] >= 2


def test_catching_up(service: Crowd) -> None:
    worker = psutil.Process(service.pid_of("worker"))
    worker.send_signal(signal.SIGSTOP)
    service.traffic("behind", 15_000, awaited=False)  # so much that the controller looks in the middle of it
    worker.send_signal(signal.SIGCONT)
    held = service.held("behind", "catching_up", ["many"])
    assert "reading is far behind the end of the topics" in service.words("behind", held["decision_id"])
    service.wait_until_read()
    service.wait_for("catch_up.ended")
    later = service.held("behind", "observing", ["many"])
    assert later["evidence"]["labels"] > held["evidence"]["labels"]  # at the end of it, on what is true then


def test_every_decision_in_the_log_is_recorded_and_the_other_way_round(service: Crowd) -> None:
    for model in MODELS:
        eventually(partial(_log_and_record_agree, service, model))


def _log_and_record_agree(service: Crowd, model: str) -> bool:
    recorded = {decision["decision_id"]: decision for decision in service.explained(model)}
    lines = [e for e in service.entries() if e["event"] in ("retrain.held", "retrain.decided")]
    # A hold that comes again at the end of the same slot is recorded as it was first.
    told = {line["decision_id"]: line for line in reversed(lines) if line["model"] == model}
    return recorded.keys() == told.keys() and all(says_the_same(recorded[name], line) for name, line in told.items())
