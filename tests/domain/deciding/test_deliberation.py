"""Deliberating: the same events lead to the same decisions, whenever somebody looked in between."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrainer.domain.deciding.decisions import Decision, DecisionAnswer
from retrainer.domain.deciding.deliberation import Deliberation, DeliberationPolicy
from retrainer.domain.deciding.guards import WALL_FLOOR
from retrainer.domain.deciding.jobs import Job, JobState, job_for
from retrainer.domain.deciding.ledger import Reign
from retrainer.domain.deciding.memory import ModelMemory
from retrainer.domain.deciding.situation import DecisionPolicy, Guards
from retrainer.domain.deciding.watch import ChampionFacts, Fact, WatchPolicy
from retrainer.domain.judging.order import RowsPolicy
from retrainer.domain.metrics.windows import CountWindow
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.triggers.volume import Volume
from retrainer.domain.values import Slot
from tests.domain.making import MINUTE
from tests.effort import much
from tests.plain import plain_guards, plain_threshold, plain_trial

Content = tuple[int, int, int]
"""Minutes since the slot before, outcomes that were right, outcomes that were wrong."""

CONTENTS = st.lists(st.tuples(st.integers(1, 90), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20)
GUARDS = st.builds(
    Guards,
    min_labels=st.sampled_from([1, 30]),
    cooldown=st.sampled_from([0, 7 * MINUTE, 100 * MINUTE]),
    per_day=st.integers(1, 3),
)
ROWS = st.sampled_from([RowsPolicy(), RowsPolicy(kind="last", count=20), RowsPolicy(kind="last", span=30 * MINUTE)])


class Life:
    """A model whose jobs end, rejected, so many minutes of event time after they were decided."""

    def __init__(self, guards: Guards, rows: RowsPolicy, takes: int) -> None:
        trigger = plain_threshold(metric="accuracy", window=CountWindow(outcomes=10), below=0.5)
        deciding = DecisionPolicy(model="m", guards=guards, rows=rows, min_holdout=3, holdout=0.5)
        policy = DeliberationPolicy(watch=WatchPolicy(triggers={"low": trigger}), deciding=deciding)
        self.about = Deliberation(policy, ModelMemory())
        self.about.follow(Reign(version="1", effective_from=None))
        self.takes = takes * MINUTE
        self.under_way: Job | None = None
        self.decisions: list[Decision] = []
        self.facts: list[Fact] = []

    def close(self, slot: Slot, right: int, wrong: int) -> None:
        tallies = [(TallyKey("1", WHOLE, slot, "x", "x"), right), (TallyKey("1", WHOLE, slot, "x", "y"), wrong)]
        self.about.close_slot(slot, [(key, n) for key, n in tallies if n], self.wall(slot))
        self.look()

    def look(self) -> None:
        taken = self.about.take_conclusions()
        self.decisions += taken.decisions
        self.facts += taken.facts
        self.under_way = next(iter(taken.jobs), self.under_way)

    def end_jobs(self, slot: Slot) -> None:
        """Whatever has ended by the beginning of a slot."""
        if self.under_way is not None and self.under_way.decided_at + self.takes <= slot * MINUTE:
            ended = self.under_way.end(JobState.REJECTED, self.wall(slot) - WALL_FLOOR)
            self.under_way = None
            self.about.job_changed(ended)

    @staticmethod
    def wall(slot: Slot) -> int:
        return 10**15 + slot * MINUTE


@settings(max_examples=much(200), deadline=None)
@given(CONTENTS, GUARDS, ROWS, st.integers(0, 40), st.data())
def test_the_same_slots_give_the_same_decisions_however_often_somebody_looks(
    contents: list[Content], guards: Guards, rows: RowsPolicy, takes: int, data: st.DataObject
) -> None:
    once, often = Life(guards, rows, takes), Life(guards, rows, takes)
    slot = 1000
    for gap, right, wrong in contents:
        before, slot = slot, slot + gap
        for first_open in data.draw(st.lists(st.integers(before, slot), max_size=4).map(sorted), "looks"):
            often.about.pass_by(first_open, often.wall(first_open))
            often.about.look_at_present(often.wall(first_open))
            often.look()
        for life in (once, often):
            life.close(slot, right, wrong)
            life.end_jobs(slot)
            life.about.look_at_present(life.wall(slot))
            life.look()
    told = [[replace(decision, decided_at=0) for decision in life.decisions] for life in (once, often)]
    assert told[0] == told[1]
    assert once.facts == often.facts


def test_what_is_due_is_answered_by_the_job_that_it_launched() -> None:
    life = Life(plain_guards(min_labels=1, cooldown=60 * MINUTE, per_day=9), RowsPolicy(), takes=0)
    volume = WatchPolicy(triggers={"enough": Volume(labels=10)})
    life.about = Deliberation(replace(life.about.policy, watch=volume), ModelMemory())
    life.about.follow(Reign(version="1", effective_from=None))
    life.close(10, 12, 0)
    life.end_jobs(11)
    life.about.pass_by(12, life.wall(12))
    life.about.look_at_present(life.wall(12))
    life.close(20, 2, 0)
    assert [(one.outcome, one.triggers) for one in life.decisions] == [(DecisionAnswer.RETRAIN, ("enough",))]


@pytest.mark.parametrize(
    ("began", "state", "needed"),
    [
        (None, JobState.REJECTED, 40),
        (None, JobState.FAILED, 40),
        (None, JobState.PROMOTED, 3),
        (7, JobState.REJECTED, 5),
        (7, JobState.PROMOTED, 2),
    ],
)
def test_a_trial_waits_longer_after_a_job_in_vain_unless_a_change_had_asked_for_it(
    began: int | None, state: JobState, needed: int
) -> None:
    job = replace(job_for(decision_of("try"), judgement=1).end(state, 0), began=began)
    trial, low = plain_trial(least=1), plain_threshold(metric="accuracy", window=CountWindow(outcomes=10), below=0.5)
    deciding = DecisionPolicy(model="m", guards=plain_guards(min_labels=1, cooldown=0), min_holdout=1, holdout=0.5)
    policy = DeliberationPolicy(watch=WatchPolicy(triggers={"try": trial, "low": low}), deciding=deciding)
    about = Deliberation(policy, ModelMemory(), [job], champions={"1": ChampionFacts(rows=5)})
    about.follow(Reign(version="1", effective_from=None))
    about.close_slot(10, [(TallyKey("1", WHOLE, 10, "x", "x"), 1)], 10**15)
    assert about.memory.readings["try"].evidence["needed"] == needed


def decision_of(asked_by: str) -> Decision:
    return Decision(
        decision_id="m@1", model="m", slot_end=0, outcome=DecisionAnswer.RETRAIN, triggers=(asked_by,), reason="fired",
        message="", champion="0",
    )  # fmt: skip


@pytest.mark.parametrize("looks", [[], [12, 40, 69, 70, 71], [70]])
def test_a_hold_that_time_alone_ends_is_decided_at_the_moment_at_which_it_ends(looks: list[int]) -> None:
    life = Life(plain_guards(min_labels=1, cooldown=60 * MINUTE, per_day=9), RowsPolicy(), takes=0)
    life.close(10, 0, 20)
    job = life.under_way
    assert job is not None
    life.about.job_changed(job.end(JobState.ACCEPTED, life.wall(10)))
    life.close(11, 0, 2)
    for first_open in looks:
        life.about.pass_by(first_open, life.wall(first_open))
        life.about.look_at_present(life.wall(first_open))
        life.look()
    life.close(5000, 10, 0)
    assert [(one.outcome, one.slot_end // MINUTE) for one in life.decisions][:3] == [
        (DecisionAnswer.RETRAIN, 11),
        (DecisionAnswer.HOLD, 12),
        (DecisionAnswer.RETRAIN, 71),
    ]
