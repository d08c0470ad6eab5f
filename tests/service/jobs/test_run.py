"""A job, step by step: whatever happens in between, one run, one version, one promotion."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from retrainer.domain.deciding.jobs import MAX_ATTEMPTS, JobState, PromotionMode
from retrainer.domain.judging.order import CHAMPION_FOLDER, DATASET_FILE, SPEC_FILE
from retrainer.errors import Fenced, Refused, Unreachable
from retrainer.ports.telemetry import JobMoved
from tests.plain import plain_promotion
from tests.service.controlling import REGISTERED, Control, Plan, TurningStop
from tests.service.world import Crash, at

BOUNDARIES = [
    ("fetch_model.begin", 1),
    ("put_job.begin", 1),  # training
    ("put_job.end", 1),
    ("train.begin", 1),
    ("train.end", 1),
    ("put_job.begin", 2),  # trained
    ("put_job.end", 2),
    ("record_run.begin", 1),
    ("record_run.end", 1),
    ("put_job.begin", 3),  # recorded
    ("put_job.end", 3),
    ("register.begin", 1),
    ("register.end", 1),
    ("put_job.begin", 4),  # registered
    ("put_job.end", 4),
    ("append_ledger.begin", 1),
    ("append_ledger.end", 1),
    ("point.begin", 1),
    ("point.end", 1),
    ("append_ledger.begin", 2),
    ("append_ledger.end", 2),
    ("put_job.begin", 5),  # promoted
    ("put_job.end", 5),
]
"""Every place between two steps of a job; the number says which time it is that it is reached, from 1."""

TRAINED_AGAIN = {("train.end", 1), ("put_job.begin", 2)}
RECORDED_AGAIN = {("record_run.end", 1), ("put_job.begin", 3)}
"""Where a step was done, but nobody had stored yet that it was. (To register again answers the same version.)"""


@pytest.fixture
def control(control: Control) -> Control:
    control.promotions().reconcile(at(0))
    control.entries.clear()
    return control


# From queued to promoted


def test_a_job_goes_from_queued_to_promoted(control: Control) -> None:
    queued = control.queue()
    ended = control.run_job()
    assert ended == control.stored()
    assert (ended.state, ended.attempts, ended.version) == (JobState.PROMOTED, 1, "2")
    assert (ended.dataset_digest, ended.ended_at) == ("digest-3", control.clock.now())
    assert ended.result is not None
    assert control.registry.champion == "2"
    (report,) = control.registry.runs.values()
    assert (report.job_id, report.model, report.dataset_digest) == (queued.job_id, "flights", "digest-3")
    assert report.metrics == {"candidate.accuracy": 0.9, "champion.accuracy": 0.8, "training_seconds": 1.5}
    assert report.parameters["estimator"] == "a.b.Estimator"
    assert report.parameters["params.depth"] == "3"
    version = control.registry.versions[REGISTERED][-1]
    assert (version.job_id, version.tags["retrainer.decision_id"]) == (queued.job_id, "flights@1")
    assert not (control.folder / queued.job_id).exists()
    assert control.entries.events == [
        "job.started",
        "job.trained",
        "candidate.judged",
        "candidate.registered",
        "model.promoted",
    ]
    assert all(entry["job_id"] == queued.job_id for entry in control.entries)
    told = [moved.job for moved in control.world.telemetry.of(JobMoved)]
    assert [job.state for job in told] == ["training", "trained", "recorded", "registered", "promoted"]
    assert told[-1] == ended


def test_the_training_process_is_told_everything_and_given_the_champion(control: Control) -> None:
    control.queue(judgement=4)
    control.run_job()
    (spec,) = control.trainings.specs
    assert (spec.job_id, spec.model, spec.champion_version, spec.judgement) == ("flights-1", "flights", "1", 4)
    assert (spec.dataset_digest, spec.recipe, spec.judge) == (
        "digest-3",
        control.policy.recipe,
        control.policy.judge,
    )
    assert control.trainings.files == [{SPEC_FILE, DATASET_FILE, f"{CHAMPION_FOLDER}/MLmodel"}]


def test_a_first_champion_is_judged_against_nobody(control: Control) -> None:
    control.queue(champion=None)
    control.run_job()
    assert control.trainings.files == [{SPEC_FILE, DATASET_FILE}]
    assert control.trainings.specs[0].champion_version is None


def test_a_champion_that_cannot_be_had_is_judged_by_what_it_said(control: Control) -> None:
    control.queue(champion="77")
    assert control.run_job().state is JobState.PROMOTED
    assert control.entries.one("champion.unavailable")["version"] == "77"
    assert control.trainings.files == [{SPEC_FILE, DATASET_FILE}]


def test_a_rejected_candidate_is_recorded_but_not_registered(control: Control) -> None:
    control.trainings.plans[0] = "reject"
    control.queue()
    ended = control.run_job()
    assert (ended.state, ended.version) == (JobState.REJECTED, "")
    assert ended.run_id in control.registry.runs
    assert len(control.registry.versions[REGISTERED]) == 1
    assert control.registry.champion == "1"
    assert control.entries.one("candidate.rejected")["reason"] == "0.70 <= 0.80"
    assert not control.entries.one("candidate.judged")["accepted"]
    assert list(control.folder.iterdir()) == []


def test_where_the_alias_is_not_ours_to_move_the_version_is_registered_alone(control: Control) -> None:
    control.policy = replace(
        control.policy, promotion=plain_promotion(registered_model=REGISTERED, mode=PromotionMode.REGISTER)
    )
    control.queue()
    assert control.run_job().state is JobState.ACCEPTED
    assert control.registry.champion == "1"
    assert len(control.state.ledger("flights")) == 1


def test_a_person_who_moves_the_alias_meanwhile_wins(control: Control) -> None:
    control.trainings.during = lambda: control.registry.move_by_hand(None)
    control.queue()
    ended = control.run_job()
    assert (ended.state, ended.version) == (JobState.ACCEPTED, "2")
    assert control.registry.champion is None


# Crashes


@pytest.mark.parametrize(("place", "nth"), BOUNDARIES)
def test_a_job_goes_on_from_any_crash_and_does_no_finished_step_twice(control: Control, place: str, nth: int) -> None:
    control.queue()
    control.crasher.arm(place, nth)
    with pytest.raises(Crash):
        control.run_job()
    left = control.stored()
    control.claim()
    ended = left if left.ended else control.run_job()
    assert (ended.state, ended.version) == (JobState.PROMOTED, "2")
    assert control.stored() == ended
    assert len(control.registry.runs) == 1
    assert len(control.registry.versions[REGISTERED]) == 2
    assert control.registry.moves == [(REGISTERED, "champion", "2")]
    assert [row.act.value for row in control.state.ledger("flights")] == ["external", "intended", "verified"]
    assert len(control.trainings.specs) == (2 if (place, nth) in TRAINED_AGAIN else 1)
    assert control.registry.calls.count("record_run") == (2 if (place, nth) in RECORDED_AGAIN else 1)


def test_a_crash_while_it_trains_is_counted_before_it_begins(control: Control) -> None:
    control.queue()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        control.crasher.arm("train.begin")
        with pytest.raises(Crash):
            control.run_job()
        assert (control.stored().state, control.stored().attempts) == (JobState.TRAINING, attempt)
    ended = control.run_job()
    assert ended.state is JobState.FAILED
    assert "started 3 times and never answered" in ended.error
    assert control.trainings.specs == []


def test_a_training_that_was_interrupted_begins_with_an_empty_folder(control: Control) -> None:
    job = control.queue()
    control.crasher.arm("put_job.begin", 2)
    with pytest.raises(Crash):
        control.run_job()
    (control.folder / job.job_id / "leftover").touch()
    control.run_job()
    assert control.trainings.files[1] == {SPEC_FILE, DATASET_FILE, f"{CHAMPION_FOLDER}/MLmodel"}


def test_files_that_are_gone_are_made_again(control: Control) -> None:
    job = control.queue()
    control.crasher.arm("put_job.end", 2)
    with pytest.raises(Crash):
        control.run_job()
    assert control.stored().state is JobState.TRAINED
    shutil.rmtree(control.folder / job.job_id)
    assert control.run_job().state is JobState.PROMOTED
    assert len(control.trainings.specs) == 2


def test_a_training_process_that_dies_is_started_again_a_few_times(control: Control) -> None:
    control.trainings.plans.extendleft(["crash"] * (MAX_ATTEMPTS - 1))
    control.queue()
    ended = control.run_job()
    assert (ended.state, ended.attempts) == (JobState.PROMOTED, MAX_ATTEMPTS)
    assert len(control.entries.of("job.requeued")) == MAX_ATTEMPTS - 1
    assert "Segmentation fault" in control.entries.of("job.requeued")[0]["why"]


def test_a_training_process_that_always_dies_has_failed(control: Control) -> None:
    control.trainings.plans[0] = "crash"
    control.queue()
    ended = control.run_job()
    assert (ended.state, ended.attempts) == (JobState.FAILED, MAX_ATTEMPTS)
    assert len(control.trainings.specs) == MAX_ATTEMPTS
    assert "exit code -11; Segmentation fault" in control.entries.one("job.failed")["error"]
    (report,) = control.registry.runs.values()
    assert (report.job_id, report.succeeded) == (ended.job_id, False)
    assert control.registry.versions[REGISTERED][1:] == []
    assert (control.folder / ended.job_id).is_dir()  # for whoever wants to know why


@pytest.mark.parametrize(
    ("plan", "error"),
    [
        ("error", "the estimator does not fit"),
        ("time", "reached its limit of time; halfway"),
        ("memory", "reached its limit of memory; halfway"),
    ],
)
def test_what_would_end_alike_again_fails_at_once(control: Control, plan: Plan, error: str) -> None:
    control.trainings.plans[0] = plan
    control.queue()
    ended = control.run_job()
    assert (ended.state, ended.attempts, ended.ended_at) == (JobState.FAILED, 1, control.clock.now())
    assert error in ended.error
    assert control.entries.one("job.failed")["error"] == ended.error
    assert control.registry.champion == "1"


def test_an_answer_that_cannot_be_read_fails_the_job(control: Control) -> None:
    control.trainings.plans[0] = "garbage"
    control.queue()
    ended = control.run_job()
    assert ended.state is JobState.FAILED
    assert "result.json" in ended.error


def test_without_rows_there_is_nothing_to_learn_from(control: Control) -> None:
    ended = control.run_job(replace(control.queue(), known_by=at(0)))
    assert ended.state is JobState.FAILED
    assert "no mature outcome" in ended.error


# Stops


def test_a_stop_sends_the_job_back_to_the_queue_uncounted(control: Control) -> None:
    control.trainings.plans[0] = "stop"
    stop = TurningStop(control.clock)
    control.trainings.during = lambda: setattr(stop, "stopped", True)
    control.queue()
    left = control.run_job(stop=stop)
    assert (left.state, left.attempts) == (JobState.QUEUED, 0)
    assert control.stored() == left
    assert control.entries.one("job.requeued")["why"] == "a stop was asked for"
    control.trainings.plans[0] = "accept"
    control.trainings.during = lambda: None
    assert control.run_job().attempts == 1


def test_a_stop_before_it_begins_leaves_everything_as_it_is(control: Control) -> None:
    queued = control.queue()
    stop = TurningStop(control.clock)
    stop.stopped = True
    control.run_job(stop=stop)
    assert control.stored() == queued
    assert control.trainings.specs == []


def test_a_stop_between_two_steps_is_heeded(control: Control) -> None:
    stop = TurningStop(control.clock)
    control.trainings.during = lambda: setattr(stop, "stopped", True)
    control.queue()
    left = control.run_job(stop=stop)
    assert left.state is JobState.TRAINED  # the training was done before it noticed
    assert control.registry.runs == {}
    assert control.run_job().state is JobState.PROMOTED
    assert len(control.trainings.specs) == 1


# Outages


@pytest.mark.parametrize("call", ["fetch_model", "record_run", "register", "version_at", "point"])
def test_a_registry_that_is_away_is_said_once_and_waited_for(control: Control, call: str) -> None:
    def away(place: str) -> None:
        if place == f"{call}.begin":
            raise Unreachable("MLflow is away")

    stop = TurningStop(control.clock)
    stop.at_wait = lambda waits: setattr(control.registry, "fail_at", control.crasher) if waits == 200 else None
    control.registry.fail_at = away
    control.queue()
    assert control.run_job(stop=stop).state is JobState.PROMOTED
    assert control.entries.one("dependency.lost")["dependency"] == "mlflow"
    assert control.entries.one("dependency.recovered")["dependency"] == "mlflow"
    assert len(control.trainings.specs) == 1
    assert len(control.registry.runs) == 1
    assert stop.waits < 400


@pytest.mark.parametrize("nth", range(1, 6))
def test_a_manifest_that_is_away_is_waited_for_and_no_step_is_done_again(control: Control, nth: int) -> None:
    reached = 0

    def away(place: str) -> None:
        nonlocal reached
        reached += place == "put_job.begin"
        if place == "put_job.begin" and reached >= nth:
            raise Unreachable("the manifest is locked")

    stop = TurningStop(control.clock)
    stop.at_wait = lambda waits: setattr(control.world.manifest, "fail_at", control.crasher) if waits == 50 else None
    control.queue()
    control.world.manifest.fail_at = away
    assert control.run_job(stop=stop).state is JobState.PROMOTED
    assert control.entries.one("dependency.lost")["dependency"] == "database"
    assert len(control.trainings.specs) == 1
    assert control.registry.calls.count("record_run") == 1
    assert control.registry.calls.count("register") == 1


def test_a_folder_that_cannot_be_used_is_waited_for(control: Control) -> None:
    control.folder.parent.mkdir(parents=True, exist_ok=True)
    control.folder.write_text("in the way")
    stop = TurningStop(control.clock)
    stop.at_wait = lambda waits: control.folder.unlink() if waits == 50 else None
    control.queue()
    assert control.run_job(stop=stop).state is JobState.PROMOTED
    assert "the folder of the job cannot be used" in control.entries.one("dependency.lost")["error"]


def test_a_stop_while_the_manifest_is_away_is_heeded(control: Control) -> None:
    def away(place: str) -> None:
        if place == "put_job.begin":
            raise Unreachable("the manifest is locked")

    control.queue()
    control.world.manifest.fail_at = away
    stop = TurningStop(control.clock)
    stop.at_wait = lambda waits: setattr(stop, "stopped", waits == 10)
    control.run_job(stop=stop)
    control.world.manifest.fail_at = control.crasher
    assert control.stored().state is JobState.QUEUED
    assert control.run_job().state is JobState.PROMOTED


def test_a_job_that_failed_needs_no_registry_to_end(control: Control) -> None:
    control.trainings.plans[0] = "error"
    control.trainings.during = control.registry.go_away
    control.queue()
    ended = control.run_job()
    assert (ended.state, ended.run_id) == (JobState.FAILED, "")
    assert "does not fit" in control.entries.one("job.failed")["error"]


def test_what_the_registry_refuses_fails_the_job(control: Control) -> None:
    def refuse(place: str) -> None:
        if place == "register.begin":
            raise Refused("MLflow does not allow the model name")

    control.registry.fail_at = refuse
    control.queue()
    ended = control.run_job()
    assert (ended.state, ended.error) == (JobState.FAILED, "MLflow does not allow the model name")
    assert control.registry.champion == "1"


def test_a_controller_that_was_succeeded_stores_nothing(control: Control) -> None:
    queued = control.queue()
    control.trainings.during = control.claim
    with pytest.raises(Fenced):
        control.run_job()
    assert control.stored() == queued.with_state(JobState.TRAINING, attempts=1, dataset_digest="digest-3")
    assert control.registry.runs == {}
