"""The application whose model the service looks after: a process of its own that knows Kafka and MLflow only.

It scores flights at take-off with the champion of that moment, sends the prediction, and sends the label when the
flight lands. Event time runs faster than the clock. What it does it says in JSON lines on standard output.
Run it with `python -m retrainer.demo.application --help`.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import mlflow.sklearn
import numpy as np
import pandas as pd
from kafka import KafkaProducer
from mlflow.exceptions import MlflowException

from retrainer.adapters.clock import SystemClock
from retrainer.demo import flights
from retrainer.demo.children import say
from retrainer.demo.traffic import Event, Sky, VersionAnswers, in_order, label_events, prediction_events

TICK_SECONDS: Final = 0.1
"""Seconds between two looks at the sky; flights that took off in between are scored together."""

_LOOK_FOR_CHAMPION_EVERY_SECONDS: Final = 0.5
_REPORT_EVERY: Final = 3
_POSITIVE: Final = "late"


class ServedVersion(NamedTuple):
    """A version of the model, ready to answer."""

    version: str
    pipeline: Any

    def answers(self, departed: pd.DataFrame) -> VersionAnswers:
        """Its answers for the flights that just took off."""
        shares = self.pipeline.predict_proba(flights.as_sent(departed))
        classes = self.pipeline.classes_
        positive = list(classes).index(_POSITIVE)
        return VersionAnswers(self.version, classes[np.argmax(shares, axis=1)], shares[:, positive])


class ServingChampion:
    """The model that holds the alias. It is looked up in the background; answers never wait for MLflow."""

    def __init__(self, model: str, alias: str) -> None:
        self._model = model
        self._alias = alias
        self._loaded: ServedVersion | None = None

    @property
    def loaded(self) -> ServedVersion:
        """The one in use, once there is one."""
        assert self._loaded is not None
        return self._loaded

    def wait(self, stopped: threading.Event, every: float = _LOOK_FOR_CHAMPION_EVERY_SECONDS) -> None:
        """Until somebody has given a version the alias, or until stopped."""
        while self._loaded is None and not stopped.wait(every):
            with suppress(MlflowException):
                self.refresh()

    def watch(self, stopped: threading.Event, every: float = _LOOK_FOR_CHAMPION_EVERY_SECONDS) -> None:
        """Pick up each new champion until stopped; while MLflow cannot answer, the old one stays."""
        while not stopped.wait(every):
            try:
                self.refresh()
            except Exception as error:  # noqa: BLE001 - whatever MLflow raises, flights go on taking off
                say("application.champion_unknown", error=str(error))

    def refresh(self) -> None:
        """Load the champion if it is another version than the one in use."""
        version = self._version()
        if self._loaded is None or version != self._loaded.version:
            self._loaded = self._load(version)

    def _version(self) -> str:
        return str(mlflow.MlflowClient().get_model_version_by_alias(self._model, self._alias).version)

    def _load(self, version: str) -> ServedVersion:
        return ServedVersion(version, mlflow.sklearn.load_model(f"models:/{self._model}/{version}"))


class Application:
    """Turns the passing of event time into events."""

    def __init__(
        self,
        sky: Sky,
        champion: Callable[[], ServedVersion],
        send: Callable[[Event], None],
        topics: tuple[str, str],
        since: pd.Timestamp,
    ) -> None:
        self._sky = sky
        self._champion = champion
        self._send = send
        self._topics = topics
        self._version = ""
        self.time = since
        self.sent = Counter[str]()

    def run_once(self, until: pd.Timestamp) -> None:
        """Let event time pass up to a moment: score who took off, and send everything in the order it happened."""
        predictions, labels = self._topics
        departed = self._sky.departures(self.time, until)
        landed = self._sky.arrivals(self.time, until)
        scored = list(prediction_events(departed, self._scored(departed), predictions)) if len(departed) else []
        for event in in_order(scored, label_events(landed, labels)):
            self._send(event)
            self.sent["predictions" if event.topic == predictions else "labels"] += 1
            if event.repeated:
                self._send(event)
                self.sent["repeated"] += 1
        self.time = until

    def _scored(self, departed: pd.DataFrame) -> VersionAnswers:
        champion = self._champion()
        if self._version not in {"", champion.version}:
            say("application.champion", version=champion.version, event_time=departed["takeoff"].iloc[0].isoformat())
        self._version = champion.version
        return champion.answers(departed)


def run(
    application: Application,
    flush: Callable[[], object],
    pace: float,
    until: pd.Timestamp,
    stopped: threading.Event,
) -> None:
    """Event time passes at `pace` days a second until a moment is reached, or until stopped."""
    clock, begin, ticks = SystemClock(), application.time, 0
    started = clock.monotonic()
    while application.time < until and not stopped.wait(TICK_SECONDS):
        passed = pd.Timedelta(days=(clock.monotonic() - started) * pace)
        application.run_once(min(begin + passed.floor("s"), until))
        flush()
        ticks += 1
        if ticks % _REPORT_EVERY == 0:
            say("application.progress", event_time=application.time.isoformat(), **application.sent)
    say("application.stopped", event_time=application.time.isoformat(), **application.sent)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m retrainer.demo.application", description=__doc__)
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--predictions", default="predictions", help="the topic (default: %(default)s)")
    parser.add_argument("--labels", default="labels", help="the topic (default: %(default)s)")
    parser.add_argument("--tracking-uri", required=True, help="MLflow's")
    parser.add_argument("--model", default="flights", help="in MLflow's registry (default: %(default)s)")
    parser.add_argument("--alias", default="champion", help="(default: %(default)s)")
    parser.add_argument("--from", dest="since", type=pd.Timestamp, required=True, help="the first event time")
    parser.add_argument("--until", type=pd.Timestamp, default=flights.END, help="(default: %(default)s)")
    parser.add_argument("--days-per-second", type=float, default=1.0, help="(default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    """What a user's application would do."""
    arguments = _arguments()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(arguments.tracking_uri)
    sky = Sky(flights.load(arguments.since, arguments.until))
    producer = KafkaProducer(bootstrap_servers=arguments.bootstrap_servers, acks="all", linger_ms=20)
    champion = ServingChampion(arguments.model, arguments.alias)
    champion.wait(stopped)
    threading.Thread(target=champion.watch, args=(stopped,), name="champion", daemon=True).start()
    application = Application(
        sky,
        lambda: champion.loaded,
        lambda event: producer.send(event.topic, key=event.key, value=event.value),
        (arguments.predictions, arguments.labels),
        arguments.since,
    )
    if not stopped.is_set():
        say("application.started", version=champion.loaded.version, event_time=arguments.since.isoformat())
    run(application, producer.flush, arguments.days_per_second, arguments.until, stopped)
    stopped.set()
    producer.close()


if __name__ == "__main__":
    main()
