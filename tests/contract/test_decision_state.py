"""What every `DecisionState` promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from retrainer.adapters.memory.manifest import MemoryManifest
from retrainer.adapters.memory.state import MemoryDecisionState
from retrainer.domain.deciding.decisions import DecisionAnswer
from retrainer.domain.deciding.jobs import JobState, job_for
from retrainer.domain.deciding.ledger import Act
from retrainer.domain.events import Side
from retrainer.domain.judging.order import RowRange, TrainingResult
from retrainer.domain.judging.verdicts import Gate, Verdict
from retrainer.domain.tally.arrivals import DELAY, HIT, MISS, PREDICTED, ArrivalKey
from retrainer.errors import Fenced, RetrainerError, Unreachable
from retrainer.ports.manifest.decisions import SlotRange
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.status import IngestView
from retrainer.service.people.status import ReadableState
from tests.contract.states import (
    NOW,
    MemoryRig,
    Rig,
    SqlRig,
    begun,
    decision,
    delta,
    flush,
    joined,
    key,
    ledger_row,
    request,
    segment,
    step,
)


@pytest.fixture(params=["memory", "sqlite"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    yield MemoryRig() if request.param == "memory" else SqlRig(tmp_path / "state" / "retrainer.db")
    SqlRig.close_all()


@pytest.fixture
def state(rig: Rig) -> ReadableState:
    return rig.decisions


@pytest.fixture
def lease(state: ReadableState) -> Lease:
    return state.claim("controller", "here/1", NOW)


def test_a_new_manifest_is_empty(state: ReadableState) -> None:
    assert state.model_progress() == {}
    assert state.side_counts() == {}
    assert list(state.tallies("flights", None, 2**62)) == []
    assert state.memory("flights") is None
    assert list(state.decisions("flights", 10)) == []
    assert list(state.jobs()) == []
    assert list(state.ledger("flights")) == []
    assert list(state.requests(unanswered=False)) == []
    assert state.ingest_view() == IngestView(counts={}, positions={}, ends={}, quarantined=0)


# Leases


def test_whoever_lost_the_lease_writes_nothing(state: ReadableState, lease: Lease) -> None:
    retrain = decision()
    job = job_for(retrain, 1)
    state.store_steps([step(lease, decisions=[retrain], jobs=[job], memory=b"old")])
    state.claim("controller", "there/2", NOW)
    writes: list[Callable[[], object]] = [
        lambda: state.store_steps([step(lease, memory=b"new", decisions=[decision("flights@2")])]),
        lambda: state.put_job(lease, job.with_state(JobState.TRAINING)),
        lambda: state.append_ledger(lease, ledger_row()),
    ]
    for write in writes:
        with pytest.raises(Fenced, match="controller"):
            write()
    assert state.memory("flights") == b"old"
    assert list(state.decisions("flights", 10)) == [retrain]
    assert list(state.jobs()) == [job]
    assert list(state.ledger("flights")) == []


def test_the_leases_of_worker_and_controller_are_their_own(rig: Rig, lease: Lease) -> None:
    begun(rig.ingest)
    kept = step(lease)
    rig.decisions.store_steps([kept])
    assert rig.decisions.memory(kept.model) == kept.memory


# What the worker has stored


def test_the_controller_sees_what_the_worker_commits(rig: Rig) -> None:
    worker = begun(rig.ingest)
    slots = {key(slot=slot): slot for slot in (12, 10, 11)}
    rig.ingest.commit(
        flush(
            worker,
            segment=segment("a"),
            deltas=[delta(tallies=slots), delta("other", tallies={key(): 99})],
            rebuilt={"flights": "f1"},
        )
    )
    state = rig.decisions
    assert set(state.model_progress()) == {"flights"}
    assert list(state.tallies("flights", None, 99)) == [(key(slot=slot), slot) for slot in (10, 11, 12)]
    assert list(state.tallies("flights", 11, 12)) == [(key(slot=11), 11)]
    assert list(state.tallies("flights", 12, 12)) == []
    assert [one.name for one in state.segments()] == ["a"]


def test_tallies_of_the_whole_can_be_had_without_those_of_slices(rig: Rig) -> None:
    worker = begun(rig.ingest)
    cells = {key(): 3, key(part="carrier=AA"): 2, key(part="carrier=UA"): 1, key(slot=11, part="carrier=AA"): 4}
    rig.ingest.commit(flush(worker, deltas=[delta(tallies=cells)], rebuilt={"flights": "f1"}))
    assert dict(rig.decisions.tallies("flights", None, 99)) == cells
    assert list(rig.decisions.tallies("flights", None, 99, whole=True)) == [(key(), 3)]
    assert list(rig.decisions.tallies("flights", 11, 12, whole=True)) == []


def test_arrivals_are_no_tallies_of_a_slice(rig: Rig) -> None:
    worker = begun(rig.ingest)
    born = {ArrivalKey("1", slot, PREDICTED, 2, 19): slot for slot in (12, 10, 11)}
    known = {ArrivalKey("1", 11, HIT, 2, 19): 1, ArrivalKey("1", 11, DELAY, 30): 1, ArrivalKey("", 11, MISS, -2): 3}
    cells = {key(slot=11): 4, key(slot=11, part="carrier=AA"): 2}
    stored = cells | {one.in_tallies: n for one, n in (born | known).items()}
    gone = {ArrivalKey("1", 10, MISS, 2).in_tallies: 0}
    rig.ingest.commit(flush(worker, deltas=[delta(tallies=stored | gone)], rebuilt={"flights": "f1"}))
    state = rig.decisions
    assert dict(state.tallies("flights", None, 99)) == cells
    assert dict(state.tallies("flights", None, 99, whole=True)) == {key(slot=11): 4}
    assert dict(state.arrivals("flights", None, 99)) == born | known
    assert [one.slot for one, _ in state.arrivals("flights", None, 99)] == [10, 11, 11, 11, 11, 12]
    assert dict(state.arrivals("flights", 11, 12)) == {ArrivalKey("1", 11, PREDICTED, 2, 19): 11, **known}
    assert list(state.arrivals("other", None, 99)) == []
    assert list(state.arrivals("flights", 12, 12)) == []


# A round of deciding


def test_the_news_of_several_models_are_those_of_their_slots_and_of_no_slice(rig: Rig) -> None:
    worker = begun(rig.ingest)
    slots = {key(slot=slot): slot for slot in (-3, 10, 11, 12)}
    deltas = [delta(tallies={**slots, key(part="carrier=AA"): 7}), delta("other", tallies={key(slot=11): 99})]
    rig.ingest.commit(flush(worker, deltas=deltas, rebuilt={"flights": "f1", "other": "f2"}))
    wanted = {"flights": SlotRange(None, 12), "other": SlotRange(11, 12), "nobody": SlotRange(None, 99)}
    assert rig.decisions.news(wanted) == {
        "flights": [(key(slot=slot), slot) for slot in (-3, 10, 11)],
        "other": [(key(slot=11), 99)],
    }
    assert rig.decisions.news({"flights": SlotRange(11, 12)}) == {"flights": [(key(slot=11), 11)]}
    assert rig.decisions.news({"flights": SlotRange(12, 12)}) == rig.decisions.news({}) == {}


def test_the_steps_of_a_round_are_true_together_or_not_at_all(state: ReadableState, lease: Lease) -> None:
    first, second = step(lease, memory=b"one"), step(lease, model="other", memory=b"two", decisions=[decision()])
    state.store_steps([first, second])
    assert (state.memory("flights"), state.memory("other")) == (b"one", b"two")
    with pytest.raises(RetrainerError):
        state.store_steps([step(lease, memory=b"three"), second])
    assert (state.memory("flights"), state.memory("other")) == (b"one", b"two")
    state.store_steps([])


def test_a_step_makes_everything_true_at_once(state: ReadableState, lease: Lease) -> None:
    asked, other = request(), request("retrain-2")
    state.ask(asked)
    state.ask(other)
    hold, retrain = decision("flights@1/cooldown", DecisionAnswer.HOLD), decision("flights@2", request=asked.request_id)
    job = job_for(retrain, 3)
    answers = {asked.request_id: retrain.decision_id}
    state.store_steps([step(lease, memory=b'{"seen":5}', decisions=[hold, retrain], jobs=[job], answers=answers)])
    assert state.memory("flights") == b'{"seen":5}'
    assert list(state.decisions("flights", 10)) == [hold, retrain]
    assert list(state.jobs("flights")) == [job]
    assert list(state.requests()) == [other]
    assert list(state.requests(unanswered=False)) == [replace(asked, answer=retrain.decision_id), other]


def test_a_memory_replaces_the_one_before(state: ReadableState, lease: Lease) -> None:
    state.store_steps([step(lease, memory=b"one")])
    state.store_steps([step(lease, memory=b"two")])
    state.store_steps([step(lease, model="other", memory=b"its own")])
    assert (state.memory("flights"), state.memory("other")) == (b"two", b"its own")


def test_a_hold_is_recorded_once_as_it_was_first(state: ReadableState, lease: Lease) -> None:
    hold = decision("flights@1/cooldown", DecisionAnswer.HOLD)
    state.store_steps([step(lease, decisions=[hold])])
    state.store_steps([step(lease, decisions=[replace(hold, message="another")], memory=b"later")])
    assert list(state.decisions("flights", 10)) == [hold]
    assert state.memory("flights") == b"later"


def test_nothing_is_decided_twice_and_nothing_of_such_a_step_is_stored(state: ReadableState, lease: Lease) -> None:
    retrain = decision()
    state.store_steps([step(lease, decisions=[retrain], jobs=[job_for(retrain, 1)], memory=b"first")])
    state.ask(request())
    another = decision("flights@2")
    twice = step(
        lease,
        memory=b"second",
        decisions=[another, retrain],
        jobs=[job_for(another, 2)],
        answers={"retrain-1": "flights@1"},
    )
    with pytest.raises(RetrainerError):
        state.store_steps([twice])
    assert state.memory("flights") == b"first"
    assert list(state.decisions("flights", 10)) == [retrain]
    assert [job.decision_id for job in state.jobs()] == ["flights@1"]
    assert list(state.requests()) == [request()]


def test_a_job_is_launched_once(state: ReadableState, lease: Lease) -> None:
    job = job_for(decision(), 1)
    state.store_steps([step(lease, jobs=[job])])
    with pytest.raises(RetrainerError):
        state.store_steps([step(lease, jobs=[job], decisions=[decision("flights@2")])])
    assert list(state.decisions("flights", 10)) == []


def test_the_newest_decisions_come_oldest_first(state: ReadableState, lease: Lease) -> None:
    made = [decision(f"flights@{number}") for number in (3, 1, 2)]
    for one in made:
        state.store_steps([step(lease, decisions=[one])])
    state.store_steps([step(lease, model="other", decisions=[decision("other@1", model="other")])])
    assert list(state.decisions("flights", 10)) == made
    assert list(state.decisions("flights", 2)) == made[1:]
    assert list(state.decisions("flights", 0)) == []


# Jobs

RESULT = TrainingResult(
    job_id="flights-1",
    verdict=Verdict(gates=(Gate(name="beats", passed=True, reason="0.9 > 0.8", evidence={"p": 0.01, "n": [1, 2]}),)),
    candidate={"accuracy": 0.9},
    champion={"accuracy": 0.8},
    champion_by="model",
    trained_on=RowRange(rows=10, first=NOW, last=NOW + 1),
    rows_chosen="last 10",
    seconds=1.5,
)


def test_a_job_keeps_everything_that_became_of_it(state: ReadableState, lease: Lease) -> None:
    job = job_for(decision(), 1)
    state.store_steps([step(lease, jobs=[job])])
    for changes in ({"state": JobState.TRAINED, "result": RESULT, "attempts": 2}, {"state": JobState.RECORDED}):
        job = replace(job, **changes)
        state.put_job(lease, job)
        assert list(state.jobs()) == [job]


def test_unfinished_jobs_in_the_order_of_their_making(state: ReadableState, lease: Lease) -> None:
    jobs = [
        replace(job_for(decision(f"{model}@{name}", model=model), 1), state=end)
        for model in ("flights", "other")
        for name, end in enumerate(JobState)
    ]
    for job in jobs:
        state.store_steps([step(lease, jobs=[replace(job, state=JobState.QUEUED)])])
    for job in reversed(jobs):
        state.put_job(lease, job)
    assert list(state.jobs()) == jobs
    going = set(JobState) - {JobState.PROMOTED, JobState.ACCEPTED, JobState.REJECTED, JobState.FAILED}
    assert list(state.jobs(unfinished=True)) == [job for job in jobs if job.state in going]
    assert list(state.jobs("other", unfinished=True)) == [
        job for job in jobs if job.state in going and job.model == "other"
    ]


# The ledger


def test_the_ledger_only_grows(state: ReadableState, lease: Lease) -> None:
    first = state.append_ledger(lease, ledger_row())
    second = state.append_ledger(lease, ledger_row(Act.VERIFIED, of=first.number))
    elsewhere = state.append_ledger(lease, ledger_row(model="other", number=1))
    removed = state.append_ledger(
        lease, ledger_row(Act.EXTERNAL, version=None, previous=None, effective_from=None, job_id=None)
    )
    numbers = [first.number, second.number, elsewhere.number, removed.number]
    assert numbers == sorted(set(numbers))
    assert 0 not in numbers
    assert list(state.ledger("flights")) == [first, second, removed]
    assert replace(first, number=0) == ledger_row()
    assert list(state.ledger("other")) == [elsewhere]


# Requests


def test_requests_wait_for_their_answer(state: ReadableState, lease: Lease) -> None:
    asked = [request("b"), request("a", model="other", kind="pause", reason=""), request("c")]
    for one in asked:
        state.ask(one)
    assert list(state.requests()) == asked
    assert list(state.requests("flights")) == [asked[0], asked[2]]
    state.store_steps([step(lease, answers={"b": "done", "nobody's": "done"})])
    assert list(state.requests()) == asked[1:]
    assert list(state.requests("flights", unanswered=False)) == [replace(asked[0], answer="done"), asked[2]]


def test_a_request_is_left_once(state: ReadableState) -> None:
    state.ask(request())
    with pytest.raises(RetrainerError):
        state.ask(request(reason="another"))
    assert list(state.requests()) == [request()]


# Counts


def test_usable_events_are_counted_by_model_and_side(rig: Rig, state: ReadableState) -> None:
    assert state.side_counts() == {}
    worker = begun(rig.ingest)
    mixed = {
        (Side.PREDICTIONS, "consumed"): 10,
        (Side.PREDICTIONS, "filtered"): 3,
        (Side.PREDICTIONS, "quarantined"): 2,
        (Side.PREDICTIONS, "pending"): 4,
        (Side.PREDICTIONS, "late"): 1,
    }
    both = [delta("flights", counts=mixed), delta("trains", counts=joined(2))]
    rig.ingest.commit(flush(worker, deltas=both, rebuilt={"flights": "a", "trains": "b"}))
    rig.ingest.commit(flush(worker, deltas=[delta("trains", counts=joined(3))]))
    assert state.side_counts() == {
        "flights": {Side.PREDICTIONS: 5},
        "trains": {Side.PREDICTIONS: 5, Side.LABELS: 5},
    }


# The twin's own


def test_the_twin_can_be_away() -> None:
    manifest = MemoryManifest()
    state = MemoryDecisionState(manifest)
    lease = state.claim("controller", "here/1", NOW)
    manifest.go_away()
    calls: list[Callable[[], object]] = [
        lambda: state.claim("controller", "here/1", NOW),
        state.model_progress,
        lambda: state.tallies("flights", None, 1),
        lambda: state.arrivals("flights", None, 1),
        lambda: state.memory("flights"),
        lambda: state.store_steps([step(lease)]),
        lambda: state.decisions("flights", 1),
        state.jobs,
        lambda: state.put_job(lease, job_for(decision(), 1)),
        lambda: state.append_ledger(lease, ledger_row()),
        lambda: state.ledger("flights"),
        lambda: state.ask(request()),
        state.requests,
        lambda: list(state.segments()),
        state.ingest_view,
    ]
    for call in calls:
        with pytest.raises(Unreachable):
            call()
    manifest.come_back()
    state.store_steps([step(lease)])
