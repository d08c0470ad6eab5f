"""The controller, round by round: from tallies to a promoted champion, with every thread waited for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest

from retrainer.adapters.memory.registry import MemoryRegistry
from retrainer.domain.deciding.jobs import JobState
from retrainer.domain.deciding.ledger import Act
from retrainer.domain.deciding.watch import MetricUpdated, TriggerChanged
from retrainer.domain.join.ingest import ModelDelta
from retrainer.errors import Fenced, Refused, Unreachable
from retrainer.ports.clock import Stopped
from retrainer.ports.manifest.decisions import Request, RequestKind
from retrainer.ports.manifest.ingest import Flush
from retrainer.ports.telemetry import JobMoved, ModelDeliberated
from retrainer.ports.training import Limits, TrainingEnded
from retrainer.service.control.controller import Controller
from retrainer.service.control.deciding import Decider
from retrainer.service.people.asking import ask
from retrainer.service.policy import ModelPolicy
from tests.plain import plain_promotion
from tests.service.controlling import Control, StillController, model
from tests.service.world import Crash, World, at, policy


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """A world in which nothing has happened; version 1 is in use."""
    control = Control(World(), tmp_path / "jobs", model())
    control.registry.seed()
    return control


@pytest.fixture
def controller(control: Control) -> StillController:
    return control.controller()


def happen(control: Control, minute: int, right: int = 0, wrong: int = 0, version: str = "1") -> None:
    """Predictions with their labels; then event time goes on, so that their slots close."""
    world = control.world
    for number in range(right + wrong):
        key = f"{minute}/{version}/{number}"
        world.predict(key, minute, "late", version=version)
        world.label(key, minute + 1, "late" if number < right else "on_time")
    world.predict(f"later than {minute}", minute + 10)
    world.settle(world.worker())


def fall_behind(control: Control, *, catching_up: bool = True) -> None:
    """The worker stores how far it has come, and whether that is far behind the end of the topics."""
    state = control.world.state
    progress = state.model_progress()["flights"].progress
    delta = ModelDelta(model="flights", progress=progress, tallies={}, counts={})
    lease = state.claim("ingest", "here/1", control.clock.now())
    state.commit(Flush(lease=lease, at=0, moves={}, segment=None, deltas=[delta], catching_up=catching_up))


def outcomes(control: Control) -> list[str]:
    return [decision.outcome.value for decision in control.state.decisions("flights", 100)]


# The loop


def test_a_breach_leads_to_a_promotion(control: Control, controller: StillController) -> None:
    happen(control, 0, right=10)
    controller.round()
    happen(control, 20, wrong=10)
    control.entries.clear()
    controller.round()
    controller.run_once()
    assert control.stored().state is JobState.PROMOTED
    assert control.registry.champion == "2"
    told = [event for event in control.entries.events if event != "flush.committed"]
    assert told == [
        "metric.updated",
        "trigger.fired",
        "retrain.decided",
        "job.queued",
        "job.started",
        "job.trained",
        "candidate.judged",
        "candidate.registered",
        "model.promoted",
    ]
    decided = control.entries.one("retrain.decided")
    assert (decided["model"], decided["triggers"], decided["champion"]) == ("flights", ["low_accuracy"], "1")
    assert decided["job_id"] == control.entries.one("job.started")["job_id"] == control.stored().job_id
    assert decided["evidence"]["triggers"]["low_accuracy"]["value"] == 0.0


def test_nothing_is_launched_before_the_worker_has_caught_up(control: Control, controller: StillController) -> None:
    happen(control, 0, wrong=10)
    fall_behind(control)
    controller.round()
    assert outcomes(control) == ["hold"]
    assert control.entries.one("retrain.held")["reason"] == "catching_up"
    fall_behind(control, catching_up=False)
    controller.round()
    assert outcomes(control) == ["hold", "retrain"]


def test_the_promoted_version_is_watched_anew(control: Control, controller: StillController) -> None:
    happen(control, 0, wrong=10)
    controller.round()
    happen(control, 100, wrong=9, version="2")
    control.clock.advance(60)
    controller.round()
    assert len(control.state.jobs()) == 1
    happen(control, 120, wrong=1, version="2")
    controller.round()
    controller.run_once()
    assert [job.champion for job in control.state.jobs()] == ["1", "2"]
    assert control.registry.champion == "3"


def test_a_model_without_a_champion_gets_its_first(control: Control, controller: StillController) -> None:
    control.registry.aliases.clear()
    happen(control, 0, right=10, version="the old way")
    controller.round()
    controller.run_once()
    assert control.registry.champion == "2"
    assert control.entries.one("retrain.decided")["triggers"] == ["bootstrap"]


def test_a_version_counts_from_the_watermark_of_its_promotion_on(control: Control, controller: StillController) -> None:
    happen(control, 0, wrong=10)
    controller.round()
    assert control.world.watermark() == 5
    assert control.state.ledger("flights")[-1].effective_from == at(10)


def test_why_not_is_told_once(control: Control) -> None:
    control.policy = model(guards={"min_labels": 100})
    controller = control.controller()
    happen(control, 0, wrong=10)
    for _ in range(3):
        controller.round()
    held = control.entries.one("retrain.held")
    assert (held["reason"], held["triggers"]) == ("min_labels", ["low_accuracy"])
    assert "100" in held["message"]


# Who the champion is


def test_nothing_is_decided_before_the_champion_is_known(control: Control, controller: StillController) -> None:
    happen(control, 0, wrong=10)
    control.registry.go_away()
    for _ in range(30):
        controller.round()
        control.clock.advance(1)
    assert outcomes(control) == []
    assert control.entries.one("dependency.lost")["dependency"] == "mlflow"
    control.registry.come_back()
    control.clock.advance(20)
    controller.round()
    assert outcomes(control) == ["retrain"]
    assert control.entries.one("dependency.recovered")["dependency"] == "mlflow"


def test_deciding_goes_on_while_the_registry_is_away(control: Control, controller: StillController) -> None:
    happen(control, 0, right=10)
    controller.round()
    control.registry.go_away()
    happen(control, 20, wrong=10)
    controller.run_once()
    assert outcomes(control) == ["retrain"]
    controller.stop()


def test_a_registry_that_refuses_is_waited_for(control: Control, controller: StillController) -> None:
    def refuse(place: str) -> None:
        if place == "version_at.begin":
            raise Refused("permission denied")

    control.registry.fail_at = refuse
    for _ in range(3):
        controller.round()
        control.clock.advance(20)
    assert control.entries.one("dependency.lost")["error"] == "permission denied"
    control.registry.fail_at = control.crasher
    controller.round()
    assert control.entries.one("alias.adopted")["version"] == "1"


def test_a_person_who_moves_the_alias_is_followed(control: Control, controller: StillController) -> None:
    happen(control, 0, wrong=10)
    control.registry.seed(versions=3, champion="3")
    controller.round()
    assert outcomes(control) == []  # these outcomes are not of version 3
    control.registry.move_by_hand("1")
    controller.round()
    assert [row.act for row in control.state.ledger("flights")[:2]] == [Act.EXTERNAL, Act.EXTERNAL]
    assert control.entries.of("alias.adopted")[1]["previous"] == "3"


def test_a_promotion_that_was_interrupted_is_finished_at_the_start(control: Control) -> None:
    control.promotions().reconcile(at(0))
    control.registry.seed(versions=2)
    control.crasher.arm("point.begin")
    with pytest.raises(Crash):
        control.promotions().promote("job-1", "2", "better", at(0))
    controller = control.controller()
    controller.run_once()
    controller.compare_aliases()
    assert control.registry.champion == "2"
    assert control.entries.one("model.promoted")["version"] == "2"


# Jobs


def test_a_job_that_was_interrupted_goes_on_at_the_start(control: Control) -> None:
    happen(control, 0, wrong=10)
    control.promotions().reconcile(at(0))
    control.queue()
    control.crasher.arm("record_run.begin")
    with pytest.raises(Crash):
        control.run_job()
    control.controller().round()
    assert control.stored().state is JobState.PROMOTED
    assert len(control.trainings.specs) == 1


def test_jobs_wait_for_each_other(control: Control) -> None:
    hotels = replace(model(ingest=policy("hotels")), promotion=plain_promotion(registered_model="hotels-model"))
    control.world.models = (control.policy.ingest, hotels.ingest)
    controller = control.controller(control.policy, hotels)
    at_once: list[int] = []
    control.trainings.during = lambda: at_once.append(len(controller._running))
    happen(control, 0, wrong=10)
    controller.round()
    assert [job.state for job in control.state.jobs()] == [JobState.PROMOTED, JobState.QUEUED]
    controller.run_once()
    controller.finish_jobs()
    controller.run_once()
    assert [job.ended for job in control.state.jobs()] == [True, True]
    assert at_once == [1, 1]


def test_a_job_under_way_is_not_begun_again(control: Control) -> None:
    begun, go_on = Event(), Event()

    def during() -> None:
        begun.set()
        assert go_on.wait(30)

    controller = control.controller(jobs_at_once=2)
    control.trainings.during = during
    happen(control, 0, wrong=10)
    controller.run_once()
    controller.compare_aliases()
    controller.run_once()
    assert begun.wait(30)
    controller.run_once()
    go_on.set()
    controller.finish_jobs()
    controller.run_once()
    assert control.stored().state is JobState.PROMOTED
    assert len(control.trainings.specs) == 1


def test_a_job_of_a_model_that_is_no_longer_configured_is_left_alone(control: Control) -> None:
    control.queue()
    control.controller(replace(control.policy, name="hotels")).round()
    assert control.stored().state is JobState.QUEUED


def test_a_job_that_crashes_ends_the_controller(control: Control, controller: StillController) -> None:
    def crash() -> None:
        raise ZeroDivisionError("a mistake of ours")

    control.trainings.during = crash
    happen(control, 0, wrong=10)
    controller.round()
    with pytest.raises(ZeroDivisionError):
        controller.run_once()


def test_a_job_that_ends_while_it_is_looked_at_is_known_to_have_ended(
    control: Control, controller: StillController
) -> None:
    happen(control, 0, right=2, wrong=8)
    controller.compare_aliases()
    controller.run_once()
    controller.compare_aliases()
    controller.run_once()
    ((job_id, running),) = controller._running.items()
    running.thread.join(30)
    before = replace(running.run.job, state=JobState.REGISTERED, ended_at=None)

    class EndsWhenAsked:
        """Its thread takes the last step between two looks at it."""

        run = SimpleNamespace(job=before)
        crashed = None
        thread = SimpleNamespace(is_alive=lambda: setattr(EndsWhenAsked.run, "job", running.run.job))

    controller._running[job_id] = EndsWhenAsked  # type: ignore[assignment]  # it stands in for the thread
    controller._collect_jobs()
    assert controller._rounds is not None
    (known,) = controller._rounds._deciders[control.policy.name]._deliberation._jobs
    assert known.ended


def test_a_job_may_ask_for_outcomes_at_the_moment_a_round_begins(control: Control, controller: StillController) -> None:
    """Jobs ask from threads of their own, and a round empties what they look into."""
    happen(control, 0, right=10)
    controller.round()
    rounds = controller._rounds
    assert rounds is not None

    class EmptiedWhenAsked(dict[str, Decider]):
        def __contains__(self, name: object) -> bool:
            assert rounds is not None
            rounds._deciders = {}
            return super().__contains__(name)

    rounds._deciders = EmptiedWhenAsked(rounds._deciders)
    assert rounds.outcomes("flights") == 10


def test_a_stop_sends_the_training_back_to_the_queue(control: Control) -> None:
    class UntilStopped:
        def train(self, folder: Path, limits: Limits, stopped: Stopped) -> TrainingEnded:
            assert stopped.wait(30)
            return TrainingEnded(exit_code=-15, killed="stop")

    controller = control.controller()
    controller.parts = replace(controller.parts, jobs=replace(controller.parts.jobs, trainers=UntilStopped()))
    happen(control, 0, wrong=10)
    controller.run_once()
    controller.compare_aliases()
    controller.run_once()
    controller.stop()
    assert (control.stored().state, control.stored().attempts) == (JobState.QUEUED, 0)
    control.controller().round()
    assert control.stored().state is JobState.PROMOTED


# People


def test_what_people_ask_for_is_done_and_told(control: Control, controller: StillController) -> None:
    happen(control, 0, right=10)
    controller.round()
    ask(control.state, "flights", RequestKind.PAUSE, "a fair is on", control.clock)
    controller.run_once()
    ask(control.state, "flights", RequestKind.RESUME, "it is over", control.clock)
    controller.run_once()
    ask(control.state, "flights", RequestKind.RETRAIN, "a new season", control.clock)
    controller.round()
    assert control.entries.one("model.paused")["reason"] == "a fair is on"
    assert control.entries.one("model.resumed")["reason"] == "it is over"
    assert control.entries.one("retrain.decided")["triggers"] == ["manual"]
    assert list(control.state.requests()) == []
    assert control.stored().reason == "a new season"


def test_what_a_round_came_to_is_told_as_values_to_whoever_measures(
    control: Control, controller: StillController
) -> None:
    happen(control, 0, wrong=10)
    controller.round()
    told = control.world.telemetry.of(ModelDeliberated)
    assert {one.model for one in told} == {"flights"}
    facts = [fact for one in told for fact in one.facts]
    assert [fact.estimate.value for fact in facts if isinstance(fact, MetricUpdated)] == [0.0]
    assert [fact.name for fact in facts if isinstance(fact, TriggerChanged)] == ["low_accuracy"]
    assert [decision.outcome for one in told for decision in one.decisions] == ["retrain"]
    assert control.world.telemetry.of(JobMoved)[0].job.state is JobState.QUEUED


def test_a_request_that_nobody_knows_changes_nothing_and_is_told(control: Control, controller: StillController) -> None:
    happen(control, 0, right=10)
    controller.round()
    ask(control.state, "flights", RequestKind.PAUSE, "a fair is on", control.clock)
    controller.run_once()
    control.state.ask(
        Request(request_id="r-1", model="flights", kind="roll_back", reason="of a newer version", asked_at=0)
    )
    controller.run_once()
    assert control.entries.one("request.unknown")["kind"] == "roll_back"
    assert "model.resumed" not in control.entries.events
    (answered,) = (one for one in control.state.requests("flights", unanswered=False) if one.request_id == "r-1")
    assert answered.answer == "this version does not know the request roll_back"


def test_requests_about_a_model_that_is_not_configured_stay(control: Control, controller: StillController) -> None:
    request = ask(control.state, "hotels", RequestKind.RETRAIN, "why not", control.clock)
    controller.round()
    assert list(control.state.requests()) == [request]


# Outages and owners


def test_a_manifest_that_is_away_is_said_once_and_waited_for(control: Control, controller: StillController) -> None:
    happen(control, 0, right=10)
    controller.round()
    control.world.manifest.go_away()
    for _ in range(60):
        controller.run_once()
        control.clock.advance(1)
    control.world.manifest.come_back()
    control.clock.advance(20)
    assert control.entries.one("dependency.lost")["dependency"] == "database"
    happen(control, 20, wrong=10)
    controller.round()
    assert control.entries.one("dependency.recovered")["dependency"] == "database"
    assert outcomes(control) == ["retrain"]


@pytest.mark.parametrize("place", ["take.begin", "take.end"])
def test_a_round_that_was_not_stored_is_decided_again_the_same(
    control: Control, controller: StillController, place: str
) -> None:
    happen(control, 0, right=10)
    controller.round()
    happen(control, 20, wrong=10)

    def lose(reached: str) -> None:
        if reached == place:
            control.world.manifest.fail_at = control.crasher
            raise Unreachable("the manifest is locked")

    control.world.manifest.fail_at = lose
    controller.run_once()
    control.clock.advance(1)
    controller.round()
    assert outcomes(control) == ["retrain"]
    assert len(control.state.jobs()) == 1
    assert control.stored().state is JobState.PROMOTED


def test_a_controller_that_was_succeeded_ends(control: Control, controller: StillController) -> None:
    happen(control, 0, right=10)
    controller.round()
    control.claim()
    happen(control, 20, wrong=10)
    with pytest.raises(Fenced):
        controller.run_once()
    assert outcomes(control) == []


def test_a_watch_over_the_aliases_that_crashes_ends_the_controller(
    control: Control, controller: StillController, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    controller.run_once()
    monkeypatch.setattr(MemoryRegistry, "version_at", crash)
    Controller._watch_aliases(controller)
    with pytest.raises(ZeroDivisionError):
        controller.run_once()


def test_a_watch_over_the_aliases_ends_with_the_controller(control: Control, controller: StillController) -> None:
    control.registry.fail_at = lambda _: controller._stopping.set()
    controller.run_once()
    Controller._watch_aliases(controller)
    assert control.registry.calls == ["prepare"]


def test_a_run_ends_when_it_is_told_to(control: Control, controller: StillController) -> None:
    class Stop:
        waits = 0

        def is_set(self) -> bool:
            return self.waits > 2

        def wait(self, timeout: float | None = None) -> bool:
            self.waits += 1
            return self.is_set()

    stop = Stop()
    controller.run(stop)
    assert stop.waits == 3
    assert controller._stopping.is_set()


def test_each_model_is_decided_about_for_itself(control: Control) -> None:
    other: ModelPolicy = model(ingest=policy("hotels"), deciding={"observe": True})
    control.world.models = (control.policy.ingest, other.ingest)
    controller = control.controller(control.policy, other)
    happen(control, 0, wrong=10)
    controller.round()
    assert outcomes(control) == ["retrain"]
    (held,) = control.state.decisions("hotels", 10)
    assert held.reason == "observing"
