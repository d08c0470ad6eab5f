"""Deciding about one model, round by round: each answer once, with its reason, and the same after a restart."""

from __future__ import annotations

from typing import Any

import pytest

from retrainer.domain.deciding.decisions import DecisionAnswer
from retrainer.domain.deciding.jobs import JobState
from retrainer.domain.deciding.ledger import Reign
from retrainer.domain.deciding.watch import MetricUpdated, TriggerChanged
from retrainer.domain.judging.order import RowsPolicy
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.triggers.base import Level
from retrainer.domain.values import iso
from retrainer.errors import Fenced, Unreachable
from tests.service.control.rounds import FIRST, Deciding
from tests.service.controlling import answer, model
from tests.service.world import MINUTE, Crash, at


@pytest.fixture
def deciding() -> Deciding:
    return Deciding()


# Triggers


def test_a_fired_trigger_launches_a_job(deciding: Deciding) -> None:
    done = deciding.bad()
    (decision,), (job,) = done.decisions, done.jobs
    assert (decision.outcome, decision.reason, decision.triggers) == (
        DecisionAnswer.RETRAIN,
        "fired",
        ("low_accuracy",),
    )
    assert decision.slot_end == at(11)
    assert decision.evidence["triggers"]["low_accuracy"]["value"] == 0.5
    assert (job.decision_id, job.champion, job.known_by, job.judgement) == (decision.decision_id, "1", at(11), 1)
    assert list(deciding.decisions) == [decision]
    assert list(deciding.state.jobs()) == [job]


def test_facts_are_told_in_the_order_of_their_slots(deciding: Deciding) -> None:
    deciding.outcomes(10, right=9, wrong=1)
    deciding.outcomes(20, right=5, wrong=5)
    deciding.outcomes(30, right=10)
    facts = deciding.round().facts
    metrics = [(fact.slot_end, fact.estimate.value) for fact in facts if isinstance(fact, MetricUpdated)]
    assert metrics == [(at(11), 0.9), (at(21), 0.5), (at(31), 1.0)]
    levels = [fact.reading.level for fact in facts if isinstance(fact, TriggerChanged)]
    assert levels == [Level.FIRED, Level.QUIET]


def test_while_all_is_well_nothing_is_decided(deciding: Deciding) -> None:
    for minute in range(20):
        deciding.outcomes(minute, right=3)
        assert deciding.round().decisions == []
    assert deciding.decider.memory.seen == 60


def test_slots_that_are_open_are_not_looked_at(deciding: Deciding) -> None:
    slot = FIRST + 10
    deciding.store({TallyKey("1", WHOLE, slot, "late", "on_time"): 50}, slot)
    assert deciding.round().facts == []
    deciding.store({}, slot + 1)
    assert [decision.outcome for decision in deciding.round().decisions] == [DecisionAnswer.RETRAIN]


def test_nothing_is_looked_at_twice(deciding: Deciding) -> None:
    deciding.bad()
    assert deciding.round().facts == []
    deciding.restart()
    assert deciding.round().facts == []
    assert len(deciding.decisions) == 1


def test_rounds_without_news_store_nothing(deciding: Deciding) -> None:
    deciding.outcomes(10, right=10)
    deciding.round()
    stored: list[str] = []
    deciding.world.manifest.fail_at = stored.append
    deciding.round()
    assert stored == []


def test_before_the_worker_has_begun_there_is_nothing_to_decide(deciding: Deciding) -> None:
    assert deciding.round().decisions == []


def test_a_model_without_a_champion_gets_its_first(deciding: Deciding) -> None:
    deciding.reign = Reign(version=None, effective_from=None)
    deciding.outcomes(10, right=6, version="someone's")
    assert deciding.round().decisions == []
    deciding.outcomes(11, right=4, version="")
    (decision,) = deciding.round().decisions
    assert (decision.triggers, decision.champion, decision.outcome) == (("bootstrap",), None, DecisionAnswer.RETRAIN)


# Guards


def holding(**changes: Any) -> Deciding:
    return Deciding(model(**changes))


@pytest.mark.parametrize(
    ("deciding", "reason"),
    [
        (holding(guards={"min_labels": 11}), "min_labels"),
        (holding(deciding={"observe": True}), "observing"),
        (holding(rows=RowsPolicy(kind="last", count=9)), "rows"),
        (holding(guards={"per_day": 0}), "per_day"),
    ],
)
def test_what_a_guard_holds_back_is_recorded_once_with_its_reason(deciding: Deciding, reason: str) -> None:
    deciding.bad()
    for _ in range(3):
        deciding.round()
    deciding.restart()
    deciding.round()
    assert deciding.told == [("hold", reason)]
    assert deciding.decisions[0].evidence["guard"]["name"] == reason
    assert list(deciding.state.jobs()) == []


def test_a_guard_that_yields_lets_the_trigger_through() -> None:
    deciding = holding(guards={"min_labels": 12})
    deciding.bad()
    deciding.outcomes(11, right=1)
    deciding.round()
    deciding.outcomes(12, right=1)
    deciding.round()
    assert deciding.told == [("hold", "min_labels"), ("retrain", "fired")]


@pytest.mark.parametrize("restarted", [False, True])
def test_rows_that_have_become_too_old_are_no_rows(restarted: bool) -> None:
    deciding = holding(rows=RowsPolicy(kind="last", span=10 * MINUTE))  # ten are needed
    deciding.outcomes(0, right=9, version="another")
    deciding.outcomes(9, wrong=5)
    deciding.round()
    if restarted:
        deciding.restart()
    deciding.outcomes(10, wrong=5)
    deciding.round()
    assert deciding.told == [("retrain", "fired")]
    assert deciding.decisions[0].evidence["rows"] == 10
    deciding.end_job()
    deciding.world.clock.advance(10)
    if restarted:
        deciding.restart()
    deciding.outcomes(50, wrong=9)
    deciding.round()
    assert (deciding.told[-1], deciding.decisions[-1].evidence["rows"]) == (("hold", "rows"), 9)


def test_another_reason_to_hold_is_another_record() -> None:
    deciding = holding(guards={"min_labels": 11}, deciding={"observe": True})
    deciding.bad()
    deciding.outcomes(11, wrong=1)
    deciding.round()
    assert deciding.told == [("hold", "min_labels"), ("hold", "observing")]


def test_one_job_at_a_time(deciding: Deciding) -> None:
    deciding.bad()
    for minute in range(100, 200, 10):
        deciding.outcomes(minute, wrong=10)
        deciding.round()
    assert len(deciding.state.jobs()) == 1
    assert [outcome for outcome, _ in deciding.told].count("retrain") == 1


def test_a_job_cools_down_in_event_time_and_a_little_in_wall_time(deciding: Deciding) -> None:
    deciding.bad(10)
    deciding.end_job()
    deciding.outcomes(40, wrong=1)
    deciding.round()
    assert deciding.told == [("retrain", "fired"), ("hold", "cooldown")]
    deciding.outcomes(41, wrong=1)
    deciding.round()
    assert len(deciding.state.jobs()) == 1  # event time has passed, but no moment of ours
    deciding.world.clock.advance(3)
    deciding.round()
    assert [outcome for outcome, _ in deciding.told].count("retrain") == 2
    assert deciding.state.jobs()[1].judgement == 1  # the first one never came to a judgement


def test_judgements_against_the_same_champion_are_counted(deciding: Deciding) -> None:
    for minute, judgement in ((10, 1), (50, 2), (90, 3)):
        deciding.outcomes(minute, right=2, wrong=8)
        deciding.round()
        assert deciding.state.jobs()[-1].judgement == judgement
        deciding.end_job(result=answer("a job", "reject"))
        deciding.world.clock.advance(10)
    deciding.reign = Reign(version="2", effective_from=at(91))
    deciding.round()
    deciding.outcomes(130, wrong=10, version="2")
    deciding.round()
    assert deciding.state.jobs()[-1].judgement == 1


# A backlog


def test_while_the_worker_catches_up_triggers_only_hold_and_at_the_end_they_launch(deciding: Deciding) -> None:
    deciding.catching_up = True
    for minute in (10, 20, 30):
        deciding.bad(minute)
    deciding.restart()
    deciding.round()
    assert deciding.told == [("hold", "catching_up")]
    deciding.catching_up = False
    done = deciding.round()  # although no slot has closed since
    assert deciding.told == [("hold", "catching_up"), ("retrain", "fired")]
    assert [job.decided_at for job in done.jobs] == [at(31)]
    assert deciding.round().decisions == []
    assert len(deciding.state.jobs()) == 1


@pytest.mark.parametrize("restarted", [False, True])
def test_a_slot_that_was_held_is_decided_once(deciding: Deciding, restarted: bool) -> None:
    deciding.catching_up = True
    deciding.bad(10)
    for behind in (False, True, False, True):
        deciding.catching_up = behind
        deciding.round()
        if restarted:
            deciding.restart()
        if deciding.state.jobs(unfinished=True):
            deciding.end_job()
            deciding.world.clock.advance(10)
    retrained = [one.decision_id for one in deciding.decisions if one.outcome is DecisionAnswer.RETRAIN]
    assert retrained == [f"flights@{iso(at(11))[:16]}"]
    assert len({one.decision_id for one in deciding.decisions}) == len(deciding.decisions)
    assert len(deciding.state.jobs()) == 1


def test_what_closes_with_the_end_of_a_backlog_is_part_of_it(deciding: Deciding) -> None:
    deciding.catching_up = True
    deciding.outcomes(9, right=1)
    deciding.round()
    deciding.restart()
    deciding.outcomes(10, right=5, wrong=5)
    deciding.outcomes(40, wrong=5)
    deciding.catching_up = False
    deciding.round()
    assert deciding.told == [("hold", "catching_up"), ("retrain", "fired")]
    (job,) = deciding.state.jobs()
    assert job.decided_at == at(41)  # the last slot, not the one in which it fired


def test_what_is_over_by_the_end_of_a_backlog_launches_nothing(deciding: Deciding) -> None:
    deciding.catching_up = True
    deciding.bad(10)
    deciding.outcomes(40, right=10)
    deciding.catching_up = False
    deciding.round()
    assert deciding.told == [("hold", "catching_up")]
    deciding.bad(80)
    assert deciding.told == [("hold", "catching_up"), ("retrain", "fired")]


def test_a_first_model_waits_for_the_end_of_a_backlog_too(deciding: Deciding) -> None:
    deciding.reign = Reign(version=None, effective_from=None)
    deciding.catching_up = True
    deciding.bad(10)
    assert deciding.told == [("hold", "catching_up")]
    deciding.catching_up = False
    deciding.round()
    assert deciding.told == [("hold", "catching_up"), ("retrain", "fired")]


def test_a_person_need_not_wait_for_the_end_of_a_backlog(deciding: Deciding) -> None:
    deciding.catching_up = True
    deciding.outcomes(10, right=10)
    deciding.ask()
    deciding.round()
    assert deciding.told == [("retrain", "fired")]


# People


def test_a_person_who_asks_is_answered(deciding: Deciding) -> None:
    deciding.outcomes(10, right=10)
    request = deciding.ask(reason="a new season")
    done = deciding.round()
    (decision,), (job,) = done.decisions, done.jobs
    assert (decision.triggers, decision.request, job.reason) == (("manual",), request.request_id, "a new season")
    assert list(done.answered) == [request]
    assert list(deciding.state.requests()) == []
    (answered,) = deciding.state.requests(unanswered=False)
    assert answered.answer == decision.decision_id
    assert deciding.round().decisions == []


def test_a_person_passes_the_guards_that_protect_from_triggers() -> None:
    deciding = holding(guards={"min_labels": 10_000, "per_day": 0, "cooldown": 9_999 * MINUTE})
    deciding.outcomes(10, right=10)
    deciding.ask()
    assert [decision.outcome for decision in deciding.round().decisions] == [DecisionAnswer.RETRAIN]


def test_a_person_who_asks_twice_gets_one_job_and_two_answers(deciding: Deciding) -> None:
    deciding.outcomes(10, right=10)
    deciding.ask()
    deciding.ask()
    deciding.round()
    assert deciding.told == [("retrain", "fired"), ("hold", "single_flight")]
    assert len(deciding.state.jobs()) == 1
    answers = [request.answer for request in deciding.state.requests(unanswered=False)]
    assert answers == [decision.decision_id for decision in deciding.decisions]


def test_a_person_who_asks_too_early_is_told_so(deciding: Deciding) -> None:
    deciding.outcomes(10, right=2)
    deciding.ask()
    deciding.round()
    assert deciding.told == [("hold", "rows")]


def test_a_person_may_ask_before_anything_has_happened(deciding: Deciding) -> None:
    deciding.ask()
    deciding.round()
    assert deciding.told == [("hold", "rows")]
    assert list(deciding.state.requests()) == []


def test_a_pause_holds_until_somebody_resumes(deciding: Deciding) -> None:
    deciding.outcomes(9, right=1)
    pause = deciding.ask("pause", "a fair is on")
    assert list(deciding.round().answered) == [pause]
    assert deciding.decider.memory.paused == "a fair is on"
    deciding.bad()
    deciding.restart()
    deciding.round()
    assert deciding.told == [("hold", "paused")]
    deciding.ask("resume")
    deciding.round()
    assert deciding.told == [("hold", "paused"), ("retrain", "fired")]
    assert deciding.decider.memory.paused is None


# Promotions


def test_after_a_promotion_the_watch_starts_anew(deciding: Deciding) -> None:
    deciding.bad()
    deciding.end_job(JobState.PROMOTED)
    deciding.reign = Reign(version="2", effective_from=at(20))
    deciding.world.clock.advance(10)
    deciding.outcomes(60, wrong=50, version="1")
    deciding.round()
    memory = deciding.decider.memory
    assert (memory.champion, memory.seen, memory.readings) == ("2", 0, {})
    assert len(deciding.state.jobs()) == 1
    deciding.outcomes(61, wrong=9, version="2")
    deciding.round()
    assert (deciding.decider.memory.seen, len(deciding.state.jobs())) == (9, 1)
    deciding.outcomes(62, wrong=1, version="2")
    deciding.round()
    assert len(deciding.state.jobs()) == 2
    assert deciding.state.jobs()[1].champion == "2"


def test_outcomes_that_name_no_version_are_the_champions_from_its_promotion_on(deciding: Deciding) -> None:
    deciding.outcomes(10, wrong=10, version="")
    deciding.reign = Reign(version="2", effective_from=at(20))
    deciding.outcomes(19, wrong=10, version="")
    deciding.outcomes(20, right=4, version="")
    deciding.outcomes(21, right=3, version="2")
    deciding.round()
    assert deciding.decider.memory.seen == 7
    deciding.restart()
    deciding.round()
    assert deciding.decider.memory.seen == 7


# Failures


@pytest.mark.parametrize("place", ["take.begin", "take.end"])
@pytest.mark.parametrize("error", [Crash("dead"), Unreachable("the manifest is locked")])
def test_a_decider_whose_store_fails_is_made_anew_and_decides_the_same_once(place: str, error: BaseException) -> None:
    smooth, troubled = Deciding(), Deciding()

    def fail(reached: str) -> None:
        if reached == place:
            troubled.world.manifest.fail_at = lambda _: None
            raise error

    for deciding in (smooth, troubled):
        deciding.outcomes(10, right=5, wrong=5)
        deciding.ask()
    troubled.world.manifest.fail_at = fail
    with pytest.raises(type(error)):
        troubled.round()
    troubled.restart()
    smooth.round()
    troubled.round()
    assert troubled.decisions == smooth.decisions
    assert troubled.state.jobs() == smooth.state.jobs()
    assert troubled.state.memory("flights") == smooth.state.memory("flights")
    assert troubled.state.requests(unanswered=False) == smooth.state.requests(unanswered=False)


def test_a_controller_that_was_succeeded_decides_nothing(deciding: Deciding) -> None:
    deciding.outcomes(10, wrong=10)
    deciding.state.claim("controller", "another", 0)
    with pytest.raises(Fenced):
        deciding.round()
    assert deciding.told == []
    assert deciding.state.memory("flights") is None
