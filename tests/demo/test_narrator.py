"""The story as a reader sees it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from retrainer.demo.children import Entry
from retrainer.demo.narrator import Narrator
from retrainer.demo.plan import UPSTREAM_CHANGE
from retrainer.demo.sentences import Sentence, number, sentences
from retrainer.demo.summary import show, summary
from tests.demo.lines import recorded, story_of


def told(*entries: Entry, width: int = 120) -> list[str]:
    """What the narrator writes about some lines, on no terminal."""
    output = io.StringIO()
    news = Sentence("upstream", "something changes", "yellow", UPSTREAM_CHANGE)
    narrator = Narrator(Console(file=output, width=width), lambda: 1.5, news)
    for entry in entries:
        narrator.tell(entry)
    return output.getvalue().splitlines()


def about(label: str, lines: list[str]) -> list[str]:
    return [line[19:] for line in lines if line[7:18].strip() == label]


def test_the_recorded_demo_reads_as_a_story() -> None:
    lines = told(*recorded())

    assert about("breach", lines) == [
        "17 Apr 22:30  low_accuracy: .821 (.807 to .834) over 3,000 outcomes; 2 of 3 evaluations below .840"
    ]
    assert about("verdict", lines) == ["accepted: candidate .864, champion .799 on the same 1,060 newest rows"]
    assert about("promotion", lines) == ["24 Apr 17:00  version 2 holds the alias champion instead of version 1"]
    assert about("job", lines) == [
        "flights-2013-04-17T22-30 trains on 4,242 outcomes, 12 Apr 22:31 to 17 Apr 16:30; dataset bf2358ab6eaa"
    ]
    labels = [line[7:18].strip() for line in lines]
    order = [labels.index(label) for label in ("service", "accuracy", "breach", "decision", "verdict", "promotion")]
    assert order == sorted(order)


def test_a_change_is_announced_once_when_its_time_has_come() -> None:
    early, late = ({"event": "application.progress", "event_time": time} for time in ("2013-04-14", "2013-04-16"))

    assert told(early) == []
    assert about("upstream", told(early, late, late)) == ["15 Apr 00:00  something changes"]


def test_accuracy_is_told_every_other_day_and_for_each_version_anew() -> None:
    def at(day: int, version: str) -> Entry:
        time = f"2013-04-{day:02d}T00:00:00Z"
        return {"event": "metric.updated", "metric": "accuracy", "version": version, "value": 0.9, "slot_end": time}

    lines = told(*[at(day, "1") for day in range(5, 10)], at(9, "2"))

    assert [line[:6] for line in about("accuracy", lines)] == [" 5 Apr", " 7 Apr", " 9 Apr", " 9 Apr"]


def test_other_metrics_are_not_told() -> None:
    assert told({"event": "metric.updated", "metric": "f1_macro", "value": 0.5, "slot_end": "2013-04-05"}) == []


def test_a_rejection_says_which_gate_failed() -> None:
    gates = [{"name": "floor", "passed": False, "reason": "too few rows"}]

    lines = told({"event": "candidate.judged", "accepted": False, "gates": gates})

    assert about("verdict", lines) == ["rejected: candidate ?, champion ? on the same ? newest rows"]
    assert about("", lines) == ["✗ too few rows"]


SUSPICIOUS: Entry = {
    "event": "rows.suspicious",
    "model": "flights",
    "job_id": "flights-1",
    "on": "alert",
    "features": [{"feature": "dep_delay", "what": "scale", "words": "dep_delay: looks like a change upstream"}],
}


def test_rows_that_look_broken_are_told_and_summed_up() -> None:
    assert [line.strip() for line in about("rows", told(SUSPICIOUS))] == ["dep_delay: looks like a change upstream"]
    figures = summary(story_of(SUSPICIOUS, SUSPICIOUS), UPSTREAM_CHANGE, 1)
    assert figures["training rows"] == "dep_delay: looks like a change upstream"
    assert "training rows" not in summary(story_of({"event": "service.started"}), UPSTREAM_CHANGE, 1)


@pytest.mark.parametrize("features", [None, "dep_delay", ["dep_delay"], [{"feature": "dep_delay"}]])
def test_rows_that_nothing_is_said_of_are_not_told(features: object) -> None:
    assert told({**SUSPICIOUS, "features": features}) == []


def test_long_sentences_keep_clear_of_their_label() -> None:
    lines = told({"event": "job.failed", "job_id": "j", "error": "so many words " * 10}, width=60)

    assert len(lines) > 2
    assert all(line.startswith(" " * 19) for line in lines[1:])
    assert all(len(line) <= 60 for line in lines)


@pytest.mark.parametrize("entry", recorded(), ids=lambda entry: entry["event"])
def test_missing_facts_are_question_marks_and_never_errors(entry: Entry) -> None:
    for missing in entry.keys() - {"event"}:
        sentences({name: value for name, value in entry.items() if name != missing})
    told({"event": entry["event"]})
    told({name: None if name != "event" else value for name, value in entry.items()})


@pytest.mark.parametrize(
    ("value", "shown"), [(0.8206, ".821"), (1, "1.000"), (0, ".000"), (None, "?"), ("x", "?"), (True, "?")]
)
def test_numbers(value: object, shown: str) -> None:
    assert number(value) == shown


def test_the_summary_has_the_figures_of_the_joined_outcomes() -> None:
    output = io.StringIO()

    show(Console(file=output, width=80), "What happened", summary(story_of(), UPSTREAM_CHANGE, 38.4))

    text = output.getvalue()
    assert "accuracy before  .872 (.860 to .884), version 1, 3,001 outcomes up to 13 Apr 12:13" in text
    assert "at the breach    .821 (.807 to .834), version 1, 3,000 outcomes up to 17 Apr 22:30" in text
    assert "after            .913 (.903 to .923), version 2, 3,000 outcomes up to 30 Apr 10:27" in text
    assert "time             38 s" in text


def test_a_summary_of_nothing_says_so() -> None:
    figures = summary(story_of({"event": "service.started"}), UPSTREAM_CHANGE, 1)

    assert figures["accuracy before"] == figures["at the breach"] == figures["after"] == "not known"
    assert figures["jobs"] == "none"
