"""The same tallies lead to the same decisions, however they are cut into rounds, and whoever goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrainer.domain.deciding.ledger import Reign
from retrainer.domain.deciding.watch import WatchPolicy
from retrainer.domain.metrics.windows import CountWindow, TimeWindow
from retrainer.domain.values import Slot, slot_start
from retrainer.service.policy import ModelPolicy
from tests.effort import much
from tests.plain import plain_threshold
from tests.service.control.rounds import FIRST, Deciding
from tests.service.controlling import model
from tests.service.world import MINUTE, at

SLOTS = st.lists(
    st.tuples(
        st.integers(0, 3),  # minutes since the one before
        st.integers(0, 6),
        st.integers(0, 6),
        st.sampled_from(["1", "1", "1", "0", ""]),
    ),
    min_size=1,
    max_size=15,
)
WINDOWS = st.sampled_from([CountWindow(outcomes=10), CountWindow(outcomes=7), TimeWindow(span=5 * MINUTE)])


def watching(window: CountWindow | TimeWindow, min_labels: int) -> ModelPolicy:
    trigger = plain_threshold(metric="accuracy", window=window, below=0.5, warn_below=0.7, breaches=(2, 3))
    return model(watch=WatchPolicy(triggers={"low": trigger}), guards={"min_labels": min_labels})


def written(deciding: Deciding, slots: Sequence[tuple[int, int, int, str]]) -> list[Slot]:
    """Store the outcomes of every slot; the slots that may be open next, from the first on."""
    minute, opens = 0, []
    for gap, right, wrong, version in slots:
        minute += gap
        deciding.outcomes(minute, right, wrong, version)
        opens.append(FIRST + minute + 1)
    return opens


@settings(max_examples=much(150), deadline=None)
@given(slots=SLOTS, window=WINDOWS, min_labels=st.sampled_from([1, 20]), data=st.data())
def test_the_first_job_and_all_facts_are_the_same_however_rounds_are_cut(
    slots: list[tuple[int, int, int, str]], window: CountWindow | TimeWindow, min_labels: int, data: st.DataObject
) -> None:
    whole, cut = Deciding(watching(window, min_labels)), Deciding(watching(window, min_labels))
    opens = written(whole, slots)
    written(cut, slots)
    whole.round()
    for first_open in data.draw(st.lists(st.integers(opens[0] - 1, opens[-1])).map(sorted)):
        cut.first_open = first_open
        cut.round()
    cut.first_open = opens[-1]
    cut.round()
    facts = [[fact for done in one.rounds for fact in done.facts] for one in (whole, cut)]
    assert facts[0] == facts[1]
    first_jobs = [one.state.jobs()[:1] for one in (whole, cut)]
    assert first_jobs[0] == first_jobs[1]
    forgetful = [replace(one.decider.memory, last_decision="") for one in (whole, cut)]
    assert forgetful[0] == forgetful[1]


@pytest.mark.parametrize("cuts", [[], range(1, 11)])
def test_a_job_waits_for_the_same_rows_however_rounds_are_cut(cuts: Sequence[int]) -> None:
    deciding = Deciding(watching(TimeWindow(span=5 * MINUTE), 1))
    slots = [(0, 0, 2, "1"), (1, 0, 2, "1"), (1, 0, 2, "1"), (1, 6, 6, "another"), (6, 1, 0, "1")]
    opens = written(deciding, slots)
    for first_open in [*(FIRST + cut for cut in cuts), opens[-1]]:
        deciding.first_open = first_open
        deciding.round()
    assert deciding.told == [("hold", "rows"), ("retrain", "fired")]
    assert deciding.state.jobs()[0].decided_at == at(4)


@settings(max_examples=much(150), deadline=None)
@given(slots=SLOTS, window=WINDOWS, data=st.data())
def test_a_restart_between_rounds_changes_nothing(
    slots: list[tuple[int, int, int, str]], window: CountWindow | TimeWindow, data: st.DataObject
) -> None:
    smooth, restarted = Deciding(watching(window, 5)), Deciding(watching(window, 5))
    promoted = data.draw(st.integers(0, len(slots)), "a promotion after so many rounds")
    opens = written(smooth, slots)
    written(restarted, slots)
    for number, first_open in enumerate(opens):
        again = data.draw(st.booleans(), "a restart")
        for deciding in (smooth, restarted):
            if number == promoted:
                deciding.reign = Reign(version="0", effective_from=slot_start(first_open))
            if again and deciding is restarted:
                deciding.restart()
            deciding.first_open = first_open
            deciding.round()
    assert [done.facts for done in restarted.rounds] == [done.facts for done in smooth.rounds]
    assert restarted.decisions == smooth.decisions
    assert restarted.state.jobs() == smooth.state.jobs()
    assert restarted.decider.memory == smooth.decider.memory
