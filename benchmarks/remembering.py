"""A model's join with a fixed number of ids remembered: half wait for their label, half have it and can be corrected.

Event time moves on with every prediction. A label comes at any time within the horizon after its prediction, so that
it asks for an id from anywhere in memory.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.traffic import BEGINS, MODEL, STEP, id_of, label, moment, prediction
from retrainer.adapters.decoding import TopicDecoders
from retrainer.adapters.this_process import collect_garbage_rarely
from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Partition
from retrainer.domain.join.columns import hashed
from retrainer.domain.join.event_columns import Events
from retrainer.domain.join.ingest import IngestPolicy, ModelIngest, Progress
from retrainer.domain.join.rules import JoinPolicy
from retrainer.domain.mapping.mapping import EventMapping, Field
from retrainer.domain.mapping.slices import SlicePolicy
from retrainer.domain.values import micros
from retrainer.service.intake import Intake

BATCH: Final = 5_000
"""Records of one partition that a poll brings."""
_STEP: Final = STEP // timedelta(microseconds=1)
_BEGINS: Final = micros(BEGINS)
_NOW: Final = _BEGINS // 1000 + 10**12
_PREDICTIONS: Final = Partition("predictions", 0)
_LABELS: Final = Partition("labels", 0)
_CHUNK: Final = 100_000
_TEMPLATES: Final = 1_000

Codes = NDArray[np.int32]
_Template = tuple[str, str, str]


class Pair(NamedTuple):
    """As many predictions as labels, as two polls bring them."""

    predictions: RecordBatch
    labels: RecordBatch


class Remembering:
    """A worker's intake with one model, and the traffic for it."""

    def __init__(self, remembered: int) -> None:
        self.remembered = remembered
        self.model = ModelIngest(_policy(remembered * _STEP), [_PREDICTIONS, _LABELS], Progress())
        self.intake = Intake(TopicDecoders(), (self.model,))
        self._next = 0
        self._labelling = _Labelling(remembered // 2)
        self._texts = _Texts()
        collect_garbage_rarely()  # as a worker's process does

    def fill(self) -> None:
        """Let as many predictions pass as are remembered, straight into the table."""
        table = self.model.table
        answers = np.array([table.values.of("late"), table.values.of("on_time")], np.int32)
        groups = np.array([table.groups.of(("3", (f"carrier={n:02d}",))) for n in range(10)], np.int32)
        while self._next < self.remembered:
            size = min(_CHUNK, self.remembered - self._next)
            made = np.arange(self._next, self._next + size)
            named = self._labelling.between(self._next, self._next + size)
            self._next += size
            times = np.arange(self._next - len(named), self._next)
            table.add_predictions(_events(made, made, answers[made % 2], groups[made % 10]))
            table.add_labels(_events(named, times, answers[named % 2], np.full(len(named), -1, np.int32)))
            table.drain()
        self.flush()

    def pairs(self, records: int) -> Iterator[Pair]:
        """What comes next, so many records in all."""
        for _ in range(0, records, 2 * BATCH):
            first = self._next
            self._next += BATCH
            made = range(first, self._next)
            named = self._labelling.between(first, self._next).tolist()
            yield Pair(self._texts.predictions(made, made), self._texts.labels(named, made))

    def take(self, pair: Pair) -> None:
        """What a worker does with two polls; nothing may have to be quarantined."""
        assert not self.intake.ingest(pair.predictions)
        assert not self.intake.ingest(pair.labels)

    def flush(self) -> None:
        """What a worker's commit asks of the model: close slots, forget ids, hand out the sums."""
        self.model.advance_to(_BEGINS + self._next * _STEP)
        self.model.take_delta()


class _Labelling:
    """Which prediction's label comes when: stretch by stretch, those of the stretch before in another order.

    At any time as many predictions wait for their label as a stretch is long.
    """

    def __init__(self, stretch: int) -> None:
        self._stretch = stretch
        factor = round(stretch * 0.618)
        while math.gcd(factor, stretch) != 1:
            factor += 1
        self._factor = factor

    def between(self, first: int, last: int) -> NDArray[np.int64]:
        """The numbers of the predictions whose labels come while these predictions are made."""
        at = np.arange(max(first, self._stretch), last)
        return (at // self._stretch - 1) * self._stretch + at % self._stretch * self._factor % self._stretch


class _Texts:
    """Records as a producer writes them, made quickly: features are used again, ids and times are not."""

    def __init__(self) -> None:
        lots = random.Random(1)
        self._predictions = [_around(prediction(number, lots)) for number in range(_TEMPLATES)]
        self._labels = [_around(label(number, timedelta(0), lots)) for number in range(_TEMPLATES)]

    def predictions(self, numbers: Sequence[int], times: range) -> RecordBatch:
        """Predictions of these numbers, made at the times of those."""
        return _batch(_PREDICTIONS, self._predictions, numbers, times)

    def labels(self, numbers: Sequence[int], times: range) -> RecordBatch:
        """Labels of these numbers, come at the times of those."""
        return _batch(_LABELS, self._labels, numbers, times)


def _batch(partition: Partition, templates: Sequence[_Template], numbers: Sequence[int], times: range) -> RecordBatch:
    values = []
    for number, time in zip(numbers, times, strict=True):
        head, middle, tail = templates[number % _TEMPLATES]
        values.append(f"{head}{id_of(number)}{middle}{moment(time).isoformat()}{tail}".encode())
    none = [None] * len(numbers)
    return RecordBatch(partition, times, [_NOW] * len(numbers), none, values)


def _around(document: Mapping[str, Any]) -> _Template:
    """The text before the id, between it and the time, and after that."""
    text = json.dumps({**document, "prediction_id": "ID", "timestamp": "TIME"})
    head, _, rest = text.partition("ID")
    middle, _, tail = rest.partition("TIME")
    return head, middle, tail


def _events(numbers: NDArray[np.int64], times: NDArray[np.int64], values: Codes, groups: Codes) -> Events:
    origins = numbers.astype(np.uint64)
    keys = hashed([id_of(number) for number in numbers.tolist()])
    return Events(*keys, _BEGINS + times * _STEP, origins, values, groups)


def _policy(horizon: int) -> IngestPolicy:
    """As a configuration with two slices makes it."""

    def field(name: str) -> Field:
        return Field(paths=(name,))

    slices = (SlicePolicy(name="carrier"), SlicePolicy(name="long_haul", when="distance > 1500"))
    return IngestPolicy(
        model=MODEL,
        predictions=EventMapping(
            topic=_PREDICTIONS.topic,
            id=(field("prediction_id"),),
            time=field("timestamp"),
            value=field("prediction"),
            version=field("model_version"),
            score=field("score"),
            where={"model": MODEL},
            features=field("features"),
            slices=slices,
        ),
        labels=EventMapping(
            topic=_LABELS.topic, id=(field("prediction_id"),), time=field("timestamp"), value=field("label")
        ),
        join=JoinPolicy(max_delay=horizon, lateness=0),
    )
