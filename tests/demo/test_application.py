"""What the application sends, and in which order."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from retrainer.demo import flights
from retrainer.demo.application import Application, ServedVersion
from retrainer.demo.traffic import Event, Sky, VersionAnswers, in_order, label_events, prediction_events

BEGIN = pd.Timestamp("2013-04-14T20:00")
END = pd.Timestamp("2013-04-16")


class Always:
    """A pipeline that gives every flight the same answer."""

    classes_ = np.array(["late", "on_time"])

    def __init__(self, late: float) -> None:
        self.late = late
        self.seen: list[pd.DataFrame] = []

    def predict_proba(self, features: pd.DataFrame) -> Any:
        self.seen.append(features)
        return np.tile([self.late, 1 - self.late], (len(features), 1))


@pytest.fixture(scope="module")
def two_days() -> pd.DataFrame:
    return flights.load(BEGIN, END)


def application(sky: Sky, loaded: list[ServedVersion], sent: list[Event]) -> Application:
    """One that starts at BEGIN and answers with the last of `loaded`."""
    return Application(sky, lambda: loaded[-1], sent.append, ("predictions", "labels"), BEGIN)


def value(event: Event) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event.value)
    return found


def test_a_prediction_event_says_who_answered_what_about_which_features(two_days: pd.DataFrame) -> None:
    flight = two_days[two_days["id"] == "2013-04-15-UA1545-EWR"]

    (event,) = prediction_events(flight, VersionAnswers("7", np.array(["late"]), np.array([0.8125])), "predictions")

    row = flight.iloc[0]
    assert event.topic == "predictions"
    assert event.key == b"2013-04-15-UA1545-EWR"
    assert value(event) == {
        "prediction_id": "2013-04-15-UA1545-EWR",
        "timestamp": f"{row['takeoff'].isoformat()}Z",
        "model_version": "7",
        "prediction": "late",
        "score": 0.8125,
        "features": {
            "dep_delay": row["dep_delay"] * 60,
            "distance": row["distance"],
            "hour": row["hour"],
            "carrier": "UA",
            "origin": "EWR",
        },
    }


def test_a_label_event_comes_at_landing(two_days: pd.DataFrame) -> None:
    flight = two_days.iloc[[0]]

    (event,) = label_events(flight, "labels")

    row = flight.iloc[0]
    assert value(event) == {
        "prediction_id": row["id"],
        "timestamp": f"{row['landing'].isoformat()}Z",
        "label": row["label"],
    }
    assert event.time == row["landing"]


def test_streams_are_merged_by_time() -> None:
    def at(minute: int, topic: str) -> Event:
        return Event(BEGIN + pd.Timedelta(minutes=minute), topic, b"", b"")

    merged = in_order([at(1, "a"), at(3, "a")], [at(1, "b"), at(2, "b")])

    assert [(event.time.minute, event.topic) for event in merged] == [(1, "a"), (1, "b"), (2, "b"), (3, "a")]


def test_one_in_a_thousand_is_sent_twice_and_always_the_same(two_days: pd.DataFrame) -> None:
    def repeated(topic: str) -> list[bytes]:
        keys = [f"{number}".encode() for number in range(100_000)]
        return [key for key in keys if Event(BEGIN, topic, key, b"").repeated]

    predictions, labels = repeated("predictions"), repeated("labels")

    assert 60 < len(predictions) < 140
    assert predictions == repeated("predictions")
    assert set(predictions) != set(labels)


def test_every_flight_is_predicted_once_and_labelled_once_however_time_is_cut(two_days: pd.DataFrame) -> None:
    streams = []
    for hours in (1, 5):
        sent: list[Event] = []
        running = application(Sky(two_days), [ServedVersion("1", Always(0.9))], sent)
        while running.time < END:
            running.run_once(min(running.time + pd.Timedelta(hours=hours), END))
        streams.append(sorted(sent))

    assert streams[0] == streams[1]
    once = Counter(event.topic for event in set(streams[0]))
    assert once == {"predictions": len(two_days), "labels": (two_days["landing"] < END).sum()}


def test_within_a_tick_everything_is_sent_in_the_order_it_happened(two_days: pd.DataFrame) -> None:
    sent: list[Event] = []

    application(Sky(two_days), [ServedVersion("1", Always(0.9))], sent).run_once(END)

    assert all(one.time <= other.time for one, other in pairwise(sent))
    assert {event.topic for event in sent[-50:]} == {"predictions", "labels"}


def test_repetitions_are_counted_apart(two_days: pd.DataFrame) -> None:
    sent: list[Event] = []
    running = application(Sky(two_days), [ServedVersion("1", Always(0.9))], sent)

    running.run_once(END)

    assert sum(running.sent.values()) == len(sent)
    assert running.sent["repeated"] == len(sent) - len(set(sent)) > 0


def test_a_new_champion_answers_from_the_next_tick_on(
    two_days: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[Event] = []
    loaded = [ServedVersion("1", Always(0.9))]
    running = application(Sky(two_days), loaded, sent)
    running.run_once(BEGIN + pd.Timedelta(hours=2))
    before = len(sent)
    loaded.append(ServedVersion("2", Always(0.1)))
    running.run_once(BEGIN + pd.Timedelta(hours=12))

    def answers(events: list[Event]) -> set[tuple[str, str]]:
        values = [value(event) for event in events if event.topic == "predictions"]
        return {(found["model_version"], found["prediction"]) for found in values}

    assert answers(sent[:before]) == {("1", "late")}
    assert answers(sent[before:]) == {("2", "on_time")}
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(entry["event"], entry["version"]) for entry in said] == [("application.champion", "2")]


def test_the_model_is_asked_about_features_as_they_were_sent(two_days: pd.DataFrame) -> None:
    pipeline = Always(0.9)

    application(Sky(two_days), [ServedVersion("1", pipeline)], []).run_once(END)

    pd.testing.assert_frame_equal(pipeline.seen[0], flights.as_sent(two_days))
