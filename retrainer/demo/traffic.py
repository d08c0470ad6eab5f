"""From flights to the records that the application sends, and in which order."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from retrainer.demo.flights import as_sent

_REPEATED: Final = 1000


class Event(NamedTuple):
    """One record to send. `time` is when it happened."""

    time: pd.Timestamp
    topic: str
    key: bytes
    value: bytes

    @property
    def repeated(self) -> bool:
        """Whether the network makes it two, as it does with one in a thousand; always the same ones."""
        return zlib.crc32(self.key, zlib.crc32(self.topic.encode())) % _REPEATED == 0


class VersionAnswers(NamedTuple):
    """What a version says about some flights: classes and the probability of the positive one, (flights,) each."""

    version: str
    classes: npt.NDArray[Any]
    scores: npt.NDArray[np.float64]


class Sky:
    """The flights as time passes: who takes off, who lands. Labels come only for flights that took off in here."""

    def __init__(self, flights: pd.DataFrame) -> None:
        self._by_takeoff = flights.sort_values("takeoff", kind="stable", ignore_index=True)
        self._by_landing = flights.sort_values("landing", kind="stable", ignore_index=True)

    def departures(self, since: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
        """The flights that took off from one moment on and before another, in that order."""
        return _between(self._by_takeoff, "takeoff", since, until)

    def arrivals(self, since: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
        """The flights that landed from one moment on and before another, in that order."""
        return _between(self._by_landing, "landing", since, until)


def _between(flights: pd.DataFrame, column: str, since: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
    first, end = flights[column].searchsorted([since, until])
    return flights.iloc[first:end]


def prediction_events(departed: pd.DataFrame, answers: VersionAnswers, topic: str) -> Iterator[Event]:
    """One event for each flight that took off, with the features as they were sent."""
    features = as_sent(departed).to_dict("records")
    rows = zip(departed["id"], departed["takeoff"], features, answers.classes, answers.scores, strict=True)
    for id_, time, sent, answer, score in rows:
        value = {
            "prediction_id": id_,
            "timestamp": _iso(time),
            "model_version": answers.version,
            "prediction": str(answer),
            "score": round(float(score), 6),
            "features": sent,
        }
        yield Event(time, topic, id_.encode(), _json(value))


def label_events(landed: pd.DataFrame, topic: str) -> Iterator[Event]:
    """One event for each flight that landed."""
    for id_, time, label in zip(landed["id"], landed["landing"], landed["label"], strict=True):
        value = {"prediction_id": id_, "timestamp": _iso(time), "label": label}
        yield Event(time, topic, id_.encode(), _json(value))


def in_order(*streams: Iterable[Event]) -> Iterator[Event]:
    """Streams that are each in order of time, as one; what happened at the same time keeps the streams' order."""
    return merge(*streams, key=lambda event: event.time)


def _iso(time: pd.Timestamp) -> str:
    return f"{time.isoformat()}Z"


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
