"""What the demo gathers from the lines of its processes, and when it calls the end."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from retrainer.demo.children import Entry, parsed
from retrainer.demo.ending import EVALUATIONS, DemoThreshold, Ending, ending, has_recovered, is_good
from retrainer.demo.plan import UPSTREAM_CHANGE
from retrainer.demo.story import Story
from tests.demo.lines import only, recorded, story_of

LINES = DemoThreshold(below=0.84, warn_below=0.86, window=3000)
RUNNING = {"retrainer": None, "application": None}


def metric(version: str, value: float, n: int = 3000, hour: int = 0) -> Entry:
    at = f"2013-05-01T{hour:02d}:00:00+00:00"
    return {
        "event": "metric.updated",
        "version": version,
        "metric": "accuracy",
        "value": value,
        "n": n,
        "slot_end": at,
    }


def promoted(version: str) -> Entry:
    return {"event": "model.promoted", "version": version, "previous": "1", "effective_from": "2013-04-30T00:00:00Z"}


def after_promotion(*values: float, n: int = 3000) -> Story:
    """A story in which version 2 was promoted and then had these values."""
    evaluations = [metric("2", value, n, hour) for hour, value in enumerate(values)]
    return story_of(metric("1", 0.95), promoted("2"), *evaluations)


def how(story: Story, *, stopped: bool = False, left: float = 10, **exit_codes: int) -> Ending | None:
    return ending(story, LINES, stopped=stopped, seconds_left=left, exit_codes={**RUNNING, **exit_codes})


def test_the_recorded_demo_is_told_from_its_lines() -> None:
    story = story_of()

    before, after = story.before(UPSTREAM_CHANGE), story.after()
    assert before is not None
    assert after is not None
    assert story.breach is not None
    assert (before.version, round(before.value, 3)) == ("1", 0.872)
    assert (story.breach.at, round(story.breach.value, 3)) == (datetime(2013, 4, 17, 22, 30, tzinfo=UTC), 0.821)
    assert (after.version, round(after.value, 3), after.n) == ("2", 0.913, 3000)
    (job,) = story.jobs.values()
    assert (job.rows, job.verdict, job.version) == (4242, "accepted", "2")
    assert job.decided == story.breach.at
    assert story.sent == {"predictions": 23660, "labels": 23646, "repeated": 41}
    assert how(story) is Ending.RECOVERED


def test_the_lines_alone_answer_why_it_retrained() -> None:
    decided, fired = only("retrain.decided"), only("trigger.fired")

    assert decided["triggers"] == [fired["trigger"]] == ["low_accuracy"]
    evidence = decided["evidence"]["triggers"]["low_accuracy"]
    assert evidence["value"] < evidence["below"] == LINES.below
    assert (evidence["n"], evidence["breaches"]) == (3000, "2 of 3")


def test_the_lines_alone_answer_on_which_data() -> None:
    started = only("job.started")

    assert started["decision_id"] == only("retrain.decided")["decision_id"]
    assert started["rows"] == 4242
    assert len(started["dataset"]) == 64
    assert started["first"] < started["last"] < only("retrain.decided")["slot_end"]


def test_the_lines_alone_answer_why_the_candidate_was_accepted() -> None:
    judged = only("candidate.judged")

    assert judged["accepted"]
    assert judged["candidate"]["accuracy"] > judged["champion"]["accuracy"]
    assert all(gate["passed"] and gate["reason"] for gate in judged["gates"])
    assert judged["job_id"] == only("model.promoted")["job_id"] == only("job.started")["job_id"]


def test_accuracy_has_recovered_after_several_values_above_the_line() -> None:
    assert has_recovered(after_promotion(*[0.9] * EVALUATIONS), 0.86, 3000)
    assert has_recovered(after_promotion(*[0.7] * EVALUATIONS, 0.86), 0.86, 3000)


@pytest.mark.parametrize(
    "story",
    [
        Story(),
        story_of(*[metric("1", 0.95, hour=hour) for hour in range(9)]),
        after_promotion(*[0.9] * (EVALUATIONS - 1)),
        after_promotion(*[0.9] * EVALUATIONS, n=2999),
        after_promotion(*[0.9] * EVALUATIONS, 0.8599),
    ],
    ids=["nothing yet", "no promotion", "too few values", "too few outcomes", "below the line"],
)
def test_accuracy_has_not_recovered(story: Story) -> None:
    assert not has_recovered(story, 0.86, 3000)


def test_only_the_newest_champion_counts() -> None:
    story = after_promotion(*[0.9] * EVALUATIONS)
    story.observe(promoted("3"))

    assert not has_recovered(story, 0.86, 3000)


def test_it_goes_on_while_nothing_has_happened() -> None:
    assert how(Story()) is None
    assert how(Story(), champion=0) is None


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ({"stopped": True}, Ending.STOPPED),
        ({"left": 0}, Ending.OUT_OF_TIME),
        ({"application": 0}, Ending.OUT_OF_FLIGHTS),
        ({"application": 1}, Ending.PROCESS_ENDED),
        ({"retrainer": 0}, Ending.PROCESS_ENDED),
        ({"retrainer": 3}, Ending.PROCESS_ENDED),
        ({"champion": 1}, Ending.PROCESS_ENDED),
    ],
)
def test_other_ways_to_end(over: dict[str, int], expected: Ending) -> None:
    assert how(Story(), **over) is expected  # type: ignore[arg-type]  # one dictionary for options of two types


def test_between_the_lines_it_waits_for_more_and_is_content_at_the_end() -> None:
    story = after_promotion(*[0.85] * EVALUATIONS)

    assert how(story) is None
    assert how(story, left=0) is Ending.OUT_OF_TIME
    assert is_good(Ending.OUT_OF_TIME, story, LINES)
    assert not is_good(Ending.PROCESS_ENDED, story, LINES)


def test_what_has_not_recovered_is_no_success() -> None:
    assert not is_good(Ending.OUT_OF_TIME, after_promotion(*[0.83] * EVALUATIONS), LINES)
    assert not is_good(Ending.STOPPED, Story(), LINES)


def test_a_rejected_candidate_and_a_failed_job_are_remembered() -> None:
    story = story_of(
        {"event": "retrain.decided", "job_id": "a", "slot_end": "2013-04-17T00:00:00Z"},
        {"event": "candidate.judged", "job_id": "a", "accepted": False, "candidate": {"accuracy": 0.8}},
        {"event": "job.failed", "job_id": "b"},
    )

    assert [(job.job_id, job.verdict) for job in story.jobs.values()] == [("a", "rejected"), ("b", "failed")]


@pytest.mark.parametrize("entry", recorded(), ids=lambda entry: entry["event"])
def test_lines_without_their_facts_do_no_harm(entry: Entry) -> None:
    for missing in entry.keys() - {"event"}:
        story_of({name: value for name, value in entry.items() if name != missing})
    story_of({"event": entry["event"]})
    story_of({name: None if name != "event" else value for name, value in entry.items()})


@pytest.mark.parametrize(
    "line", [b"", b"Traceback (most recent call last):", b"[1]", b"1", b'{"no": 1}', b'{"event": 1}']
)
def test_other_output_is_no_entry(line: bytes) -> None:
    assert parsed(line) is None
