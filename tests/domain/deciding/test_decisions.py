"""To retrain or to hold: every guard at its exact border, and who may pass it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.deciding.conditions import parse
from retrainer.domain.deciding.decisions import Decision, DecisionAnswer, decide
from retrainer.domain.deciding.guards import DAY, WALL_FLOOR
from retrainer.domain.deciding.situation import Covered, DecisionPolicy, PastJob, Situation, Unfair
from retrainer.domain.triggers.base import Level, Reading
from retrainer.domain.values import SECOND, Micros, iso, slot_of
from tests.domain.making import MINUTE, NOON, quick, restored
from tests.plain import plain_deciding, plain_guards

HOUR = 60 * MINUTE
POLICY = plain_deciding(model="m", guards=plain_guards(min_labels=50, cooldown=6 * HOUR, per_day=2), min_holdout=100)
FIRED = Reading(level=Level.FIRED, evidence={"value": 0.5})
WARNED, QUIET = Reading(level=Level.WARNED), Reading()
WALL = 10 * NOON
DUE = Situation(first_open=slot_of(NOON), now=WALL, readings={"low": FIRED}, champion="3", labels=50, rows=400, jobs=())
"""A trigger has fired and every guard is content, by a hair."""


def policy(**guards: Any) -> DecisionPolicy:
    return replace(POLICY, guards=replace(POLICY.guards, **guards))


def decided(situation: Situation = DUE, how: DecisionPolicy = POLICY, **changes: Any) -> Decision:
    found = decide(how, replace(situation, **changes))
    assert found is not None
    return found


def job(*, ago: Micros, ended_ago: Micros | None = DAY, name: str = "j", **facts: Any) -> PastJob:
    """A job that was decided so long before noon, and ended so long ago on the wall."""
    ended = None if ended_ago is None else WALL - ended_ago
    return PastJob(job_id=name, decided_at=NOON - ago, ended_wall=ended, **facts)


def held(found: Decision) -> tuple[str, Mapping[str, Any]]:
    """The reason for a hold, which its evidence must repeat."""
    assert found.outcome is DecisionAnswer.HOLD
    guard = dict(found.evidence["guard"])
    assert guard.pop("name") == found.reason
    assert found.message
    return found.reason, guard


class TestWhoAsks:
    @pytest.mark.parametrize("readings", [{}, {"low": QUIET}, {"low": WARNED}])
    def test_without_a_fired_trigger_nothing_is_decided(self, readings: Mapping[str, Reading]) -> None:
        assert decide(POLICY, replace(DUE, readings=readings)) is None

    def test_a_fired_trigger_retrains_and_shows_why(self) -> None:
        found = decided()
        assert found.outcome is DecisionAnswer.RETRAIN
        assert (found.reason, found.triggers) == ("fired", ("low",))
        assert found.evidence == {"triggers": {"low": {"value": 0.5}}, "labels": 50, "rows": 400}
        assert (found.model, found.slot_end, found.champion, found.decided_at) == ("m", NOON, "3", WALL)

    def test_all_that_fired_are_named_in_order(self) -> None:
        found = decided(readings={"z": FIRED, "b": QUIET, "a": FIRED})
        assert found.triggers == ("a", "z")
        assert set(found.evidence["triggers"]) == {"a", "z"}

    @pytest.mark.parametrize(
        ("condition", "fired", "triggers"),
        [
            ("a", "a", ("a",)),
            ("a", "b", None),
            ("a and b", "a", None),
            ("a and b", "ab", ("a", "b")),
            ("a or b", "b", ("b",)),
            ("a and not b", "ab", None),
            ("a and not b", "ac", ("a",)),
            ("not b", "", None),
        ],
    )
    def test_a_condition_says_which_it_takes(
        self, condition: str, fired: str, triggers: tuple[str, ...] | None
    ) -> None:
        how = replace(POLICY, condition=parse(condition))
        found = decide(how, replace(DUE, readings=dict.fromkeys(fired, FIRED)))
        assert (found.triggers if found else None) == triggers

    @pytest.mark.parametrize(("labels", "triggers"), [(49, None), (50, ("bootstrap",))])
    def test_without_a_champion_the_first_labels_ask(self, labels: int, triggers: tuple[str, ...] | None) -> None:
        found = decide(POLICY, replace(DUE, champion=None, labels=labels, readings={}))
        assert (found.triggers if found else None) == triggers

    def test_a_request_comes_first_and_keeps_its_words(self) -> None:
        found = decided(request="r1", request_reason="new data")
        assert found.triggers == ("manual",)
        assert found.request == "r1"
        assert found.evidence["request"] == "new data"

    def test_a_request_needs_neither_trigger_nor_champion(self) -> None:
        assert decided(request="r1", readings={}, champion=None, labels=0).outcome is DecisionAnswer.RETRAIN


class TestGuards:
    """Each holds just before its border; at the border `DUE` shows that it passes."""

    def test_minimum_labels(self) -> None:
        assert held(decided(labels=49)) == ("min_labels", {"have": 49, "need": 50})
        assert decided(labels=50).outcome is DecisionAnswer.RETRAIN

    def test_rows_for_the_holdout(self) -> None:
        assert held(decided(rows=399)) == ("rows", {"have": 399, "need": 400})
        assert decided(rows=400).outcome is DecisionAnswer.RETRAIN

    @pytest.mark.parametrize(
        ("holdout", "least", "rows"), [(0.25, 300, 1200), (0.3, 300, 1000), (0.3, 100, 334), (0.1, 300, 3000)]
    )
    def test_the_rows_are_rounded_up_and_no_further(self, holdout: float, least: int, rows: int) -> None:
        assert replace(POLICY, holdout=holdout, min_holdout=least).rows_needed == rows

    @quick
    @given(st.integers(1, 99), st.integers(1, 5000))
    def test_so_many_rows_are_enough_and_fewer_are_not(self, percent: int, least: int) -> None:
        needed = replace(POLICY, holdout=percent / 100, min_holdout=least).rows_needed
        assert needed == ceil(least / Fraction(percent, 100))
        assert round(needed * (percent / 100)) >= least  # as the training process splits them

    def test_cooldown_in_event_time(self) -> None:
        found = held(decided(jobs=(job(ago=6 * HOUR - 1),)))
        assert found == ("cooldown", {"job_id": "j", "until": iso(NOON + 1)})
        assert decided(jobs=(job(ago=6 * HOUR),)).outcome is DecisionAnswer.RETRAIN

    def test_cooldown_counts_from_the_newest_job(self) -> None:
        jobs = (job(ago=1, name="new"), job(ago=DAY, name="old"))
        assert held(decided(jobs=jobs))[1]["job_id"] == "new"

    def test_cooldown_has_a_floor_on_the_wall_clock(self) -> None:
        recent = job(ago=DAY, ended_ago=WALL_FLOOR - 1)
        assert held(decided(jobs=(recent,))) == ("cooldown", {"job_id": "j", "until": iso(WALL + 1)})
        assert decided(jobs=(job(ago=DAY, ended_ago=WALL_FLOOR),)).outcome is DecisionAnswer.RETRAIN

    def test_the_floor_is_no_longer_than_the_cooldown_itself(self) -> None:
        brief = policy(cooldown=SECOND)
        assert held(decided(how=brief, jobs=(job(ago=HOUR, ended_ago=SECOND - 1),)))[0] == "cooldown"
        assert decided(how=brief, jobs=(job(ago=HOUR, ended_ago=SECOND),)).outcome is DecisionAnswer.RETRAIN
        assert decided(how=policy(cooldown=0), jobs=(job(ago=HOUR, ended_ago=0),)).outcome is DecisionAnswer.RETRAIN

    def test_the_budget_of_a_day(self) -> None:
        often = policy(cooldown=0)
        two = (job(ago=DAY - 1, name="a"), job(ago=HOUR, name="b"))
        assert held(decided(how=often, jobs=two)) == ("per_day", {"have": 2, "budget": 2})
        assert decided(how=often, jobs=(job(ago=DAY), job(ago=HOUR))).outcome is DecisionAnswer.RETRAIN
        assert decided(how=often, jobs=two[1:]).outcome is DecisionAnswer.RETRAIN

    def test_back_off_doubles_with_each_candidate_in_a_row_that_was_not_taken(self) -> None:
        once = job(ago=HOUR, name="a", champion="3", succeeded=False)
        twice = (job(ago=2 * HOUR, name="b", champion="3", succeeded=False), once)
        how = policy(cooldown=HOUR, min_labels=0, per_day=9)
        for jobs, need, wait in (((once,), 200, HOUR), (twice, 400, 3 * HOUR)):
            reason, guard = held(decided(how=how, jobs=jobs, new_labels=need, champion="3"))
            assert (reason, guard["need"], guard["have"], guard["rejected"]) == ("back_off", need, need, len(jobs))
            assert guard["until"] == iso(NOON + wait)
            later = replace(DUE, first_open=slot_of(NOON + wait), jobs=jobs, champion="3")
            assert held(decided(later, how, new_labels=need - 1))[0] == "back_off"
            assert decided(later, how, new_labels=need).outcome is DecisionAnswer.RETRAIN

    def test_back_off_ends_with_a_candidate_that_was_taken_or_another_champion(self) -> None:
        failed = job(ago=HOUR, name="a", champion="3", succeeded=False)
        taken = job(ago=HOUR - 1, name="b", champion="3", succeeded=True)
        how = policy(cooldown=0, min_labels=0, per_day=9)
        assert decided(how=how, jobs=(failed, taken), champion="3").outcome is DecisionAnswer.RETRAIN
        assert decided(how=how, jobs=(failed,), champion="4").outcome is DecisionAnswer.RETRAIN

    def test_a_trial_in_vain_holds_back_no_change(self) -> None:
        how = policy(cooldown=0, min_labels=0, per_day=9)
        for names, outcome in (
            ({"try"}, DecisionAnswer.RETRAIN),
            ({"try", "low"}, DecisionAnswer.HOLD),
            ({"low"}, DecisionAnswer.HOLD),
        ):
            failed = job(ago=HOUR, name="a", champion="3", succeeded=False, triggers=frozenset(names))
            assert decided(how=how, jobs=(failed,), champion="3", due_names=frozenset({"try"})).outcome is outcome

    def test_back_off_does_not_keep_what_is_due_anyway(self) -> None:
        failed = job(ago=HOUR, name="a", champion="3", succeeded=False)
        due = decided(how=policy(cooldown=0, min_labels=0), jobs=(failed,), champion="3", due=frozenset({"low"}))
        assert due.outcome is DecisionAnswer.RETRAIN

    def test_a_change_needs_rows_to_learn_from_and_to_judge_on_after_it(self) -> None:
        how = policy(min_labels=0)
        reason, guard = held(decided(how=how, began=NOON - HOUR, rows_since=199))
        assert (reason, guard) == ("since_change", {"have": 199, "need": 200, "began": iso(NOON - HOUR)})
        assert "waits for 1 more labels: 199 of 200" in decided(how=how, began=NOON - HOUR, rows_since=199).message
        enough = decided(how=how, began=NOON - HOUR, rows_since=200)
        assert (enough.outcome, enough.began) == (DecisionAnswer.RETRAIN, NOON - HOUR)
        assert enough.evidence["change"] == {"began": iso(NOON - HOUR), "rows_since": 200}

    def test_coverage_beside_what_is_usual(self) -> None:
        how = policy(min_labels=0, min_coverage=0.5)
        reason, guard = held(decided(how=how, coverage=Covered(relative=0.49, evidence={"age": "1h"})))
        assert (reason, guard) == ("coverage", {"have": 0.49, "need": 0.5, "age": "1h"})
        assert decided(how=how, coverage=Covered(relative=0.5)).outcome is DecisionAnswer.RETRAIN
        assert decided(how=how, coverage=None).outcome is DecisionAnswer.RETRAIN

    def test_labels_that_are_no_fair_sample(self) -> None:
        unfair = Unfair(message="early labels only", evidence={"until": "noon"})
        assert held(decided(immature=unfair)) == ("maturity", {"until": "noon"})
        assert decided(immature=unfair).message == "early labels only"

    def test_a_hold_says_when_it_may_give_way_by_itself(self) -> None:
        cooling = decided(how=policy(cooldown=2 * HOUR), jobs=(job(ago=HOUR),))
        spent = decided(how=policy(cooldown=0, per_day=1), jobs=(job(ago=HOUR),))
        assert (cooling.until, spent.until) == (NOON + HOUR, NOON + 23 * HOUR)

    def test_single_flight(self) -> None:
        running = job(ago=DAY, ended_ago=None)
        assert held(decided(jobs=(running,))) == ("single_flight", {"job_id": "j"})

    def test_what_the_running_job_was_launched_for_asks_for_nothing_more(self) -> None:
        running = replace(job(ago=MINUTE, ended_ago=None), triggers=frozenset({"low", "shift"}))
        assert decide(POLICY, replace(DUE, jobs=(running,))) is None
        assert held(decided(jobs=(running,), readings={"low": FIRED, "other": FIRED}))[0] == "single_flight"
        requested = replace(running, triggers=frozenset({"manual"}))
        assert held(decided(jobs=(requested,), request="r1"))[0] == "single_flight"
        assert decided(jobs=(replace(running, decided_at=0, ended_wall=0),)).outcome is DecisionAnswer.RETRAIN

    def test_once_per_slot(self) -> None:
        assert decide(policy(cooldown=0), replace(DUE, jobs=(job(ago=0),))) is None
        assert decided(how=policy(cooldown=0), jobs=(job(ago=MINUTE),)).outcome is DecisionAnswer.RETRAIN

    def test_paused(self) -> None:
        assert held(decided(paused=True))[0] == "paused"

    def test_catching_up(self) -> None:
        assert held(decided(catching_up=True)) == ("catching_up", {})
        assert held(decided(catching_up=True, paused=True))[0] == "paused"
        # What else would hold changes all the time within a backlog, and is not the point.
        assert held(decided(catching_up=True, labels=0, rows=0, jobs=(job(ago=HOUR),)))[0] == "catching_up"

    def test_observing(self) -> None:
        assert held(decided(how=replace(POLICY, observe=True)))[0] == "observing"

    def test_the_first_model_is_guarded_as_well(self) -> None:
        first = replace(DUE, champion=None, readings={})
        assert decided(first).outcome is DecisionAnswer.RETRAIN
        assert held(decided(first, rows=399))[0] == "rows"
        assert held(decided(first, paused=True))[0] == "paused"
        assert held(decided(first, catching_up=True))[0] == "catching_up"
        assert held(decided(first, jobs=(job(ago=HOUR),)))[0] == "cooldown"

    def test_a_hold_names_the_triggers_that_asked(self) -> None:
        found = decided(labels=0)
        assert found.triggers == ("low",)
        assert found.evidence["triggers"] == {"low": {"value": 0.5}}


class TestRequests:
    def test_pass_what_guards_against_the_service_itself(self) -> None:
        found = decided(
            request="r1",
            labels=0,
            paused=True,
            catching_up=True,
            jobs=(job(ago=0, ended_ago=0), job(ago=HOUR), job(ago=2 * HOUR)),
        )
        assert found.outcome is DecisionAnswer.RETRAIN

    def test_never_start_a_second_job(self) -> None:
        assert held(decided(request="r1", jobs=(job(ago=DAY, ended_ago=None),)))[0] == "single_flight"

    def test_never_train_on_too_few_rows(self) -> None:
        assert held(decided(request="r1", rows=399))[0] == "rows"

    def test_never_train_where_nothing_is_ever_trained(self) -> None:
        assert held(decided(request="r1", how=replace(POLICY, observe=True)))[0] == "observing"


class TestIdentity:
    def test_an_id_follows_from_the_model_and_the_slot(self) -> None:
        assert decided().decision_id == "m@2013-04-15T12:00"
        assert decided(now=1, readings={"other": FIRED}).decision_id == decided().decision_id

    def test_decisions_that_differ_have_ids_that_differ(self) -> None:
        situations = [
            decided(),
            decided(first_open=slot_of(NOON) + 1),
            decided(how=replace(POLICY, model="n")),
            decided(request="r1"),
            decided(request="r2"),
            decided(request="r1", rows=0),
            decided(rows=0),
            decided(labels=0),
            decided(labels=0, readings={"other": FIRED}),
            decided(labels=0, readings={"low": FIRED, "other": FIRED}),
        ]
        assert len({found.decision_id for found in situations}) == len(situations)

    def test_a_hold_is_the_same_until_something_about_it_changes(self) -> None:
        before = decided(labels=0)
        assert decided(labels=1, first_open=slot_of(NOON) + 9, now=1).fingerprint == before.fingerprint
        for change in (
            decided(rows=0),
            decided(labels=0, readings={"other": FIRED}),
            decided(labels=0, champion="4"),
            decided(),
            decided(request="r1", rows=0),
            decided(request="r2", rows=0),
        ):
            assert change.fingerprint != before.fingerprint
        assert decided(request="r1", rows=0).fingerprint != decided(request="r2", rows=0).fingerprint

    @quick
    @given(
        st.builds(
            Situation,
            first_open=st.integers(0, 10**8),
            now=st.integers(0, 10**15),
            readings=st.dictionaries(st.sampled_from("abc"), st.sampled_from([FIRED, WARNED, QUIET])),
            champion=st.none() | st.just("3"),
            labels=st.integers(0, 100),
            rows=st.integers(0, 800),
            jobs=st.lists(
                st.builds(
                    PastJob,
                    job_id=st.just("j"),
                    decided_at=st.integers(0, 10**15),
                    ended_wall=st.none() | st.integers(0, 10**15),
                ),
                max_size=3,
            ).map(tuple),
            paused=st.booleans(),
            catching_up=st.booleans(),
            request=st.none() | st.just("r1"),
        )
    )
    def test_the_same_situation_gives_the_same_decision_and_it_survives_being_stored(
        self, situation: Situation
    ) -> None:
        found = decide(POLICY, situation)
        assert decide(POLICY, situation) == found
        if found is not None:
            assert restored(found) == found
            assert (found.outcome is DecisionAnswer.HOLD) is ("guard" in found.evidence)
