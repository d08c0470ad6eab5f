"""What the benchmarks read: predictions of about 450 bytes with twelve features, and their labels, in Kafka."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from benchmarks.harness import Failed, say

PARTITIONS: Final = 4
MODEL: Final = "flights"
BEGINS: Final = datetime(2025, 1, 1, tzinfo=UTC)
STEP: Final = timedelta(milliseconds=100)
"""Of event time, from one prediction to the next."""
Ends = Sequence[tuple[str, int, int]]
"""Topic, number and end of partitions."""
_VERSION: Final = "2"
"""Of the traffic: raised with every change of it, so that topics are made anew."""
_CARRIERS: Final = ("AA", "UA", "DL", "B6", "EV", "MQ", "US", "9E", "WN", "VX")


class Topics(NamedTuple):
    """A topic of predictions and one of labels."""

    predictions: str
    labels: str


def id_of(number: int) -> str:
    """A text like those that producers make: random digits and a counter."""
    return f"{(number * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF:016x}-{number:08d}"


def moment(number: int) -> datetime:
    """The event time of a prediction."""
    return BEGINS + number * STEP


def prediction(number: int, lots: random.Random) -> Mapping[str, Any]:
    """A prediction as a producer writes it."""
    when = moment(number)
    features = {
        "carrier": lots.choice(_CARRIERS),
        "origin": lots.choice(("JFK", "LGA", "EWR")),
        "destination_airport": "ATL",
        "distance": lots.randint(100, 2500),
        "departure_delay": round(lots.gauss(5, 20), 2),
        "scheduled_hour": when.hour,
        "day_of_week": when.weekday(),
        "month": when.month,
        "temperature": round(lots.gauss(15, 9), 3),
        "wind_speed_knots": round(lots.random() * 30, 3),
        "pressure": round(lots.gauss(1013, 8), 2),
        "visibility": round(lots.random() * 10, 4),
    }
    return {
        "prediction_id": id_of(number),
        "timestamp": when.isoformat(),
        "model": MODEL,
        "model_version": "3",
        "prediction": lots.choice(("late", "on_time", "on_time")),
        "score": round(lots.random(), 6),
        "features": features,
    }


def label(number: int, delay: timedelta, lots: random.Random) -> Mapping[str, Any]:
    """The label of a prediction, some time after it."""
    return {
        "prediction_id": id_of(number),
        "timestamp": (moment(number) + delay).isoformat(),
        "label": lots.choice(("late", "on_time", "on_time")),
    }


def stored(servers: str, records: int) -> Topics:
    """Topics that hold so many predictions and as many labels; they are made once and used again."""
    names = Topics(*(f"bench-{kind}-{records}-{PARTITIONS}-v{_VERSION}" for kind in ("predictions", "labels")))
    admin = KafkaAdminClient(bootstrap_servers=servers)
    try:
        held = set(names) & set(admin.list_topics())
        if held == set(names) and _held(servers, names) == 2 * records:
            return names
        if held:  # an interrupted run left them
            admin.delete_topics(sorted(held))
            _await_gone(admin, names)
        make(servers, names, PARTITIONS)
    finally:
        admin.close()
    _produce(servers, names, records)
    if _held(servers, names) != 2 * records:
        raise Failed(f"the topics {names} do not hold what was sent to them")
    return names


def make(servers: str, topics: Topics, partitions: int) -> None:
    """New topics, whose records stay."""
    admin = KafkaAdminClient(bootstrap_servers=servers)
    kept = {"retention.ms": "-1"}
    admin.create_topics([NewTopic(name, partitions, 1, topic_configs=kept) for name in topics])
    admin.close()


def remove(servers: str, topics: Topics) -> None:
    """Topics that nobody needs any more."""
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.delete_topics(list(topics))
    admin.close()


def ends(servers: str, topics: Topics) -> Ends:
    """Where each partition ends."""
    consumer = KafkaConsumer(bootstrap_servers=servers)
    try:
        at = [TopicPartition(name, number) for name in topics for number in consumer.partitions_for_topic(name)]
        return [(one.topic, one.partition, end) for one, end in consumer.end_offsets(at).items()]
    finally:
        consumer.close()


def _held(servers: str, topics: Topics) -> int:
    return sum(end for _, _, end in ends(servers, topics))


def values(records: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Id, prediction and label, again and again the same; labels come up to a minute of event time later."""
    lots = random.Random(1)
    for number in range(records):
        made = json.dumps(prediction(number, lots)).encode()
        named = json.dumps(label(number, timedelta(seconds=60 * lots.random()), lots)).encode()
        yield id_of(number).encode(), made, named


def _produce(servers: str, topics: Topics, records: int) -> None:
    say(f"producing {records:,} predictions and as many labels, once")
    producer = KafkaProducer(bootstrap_servers=servers, acks=1, linger_ms=50, batch_size=256 * 1024)
    size = 0
    for key, made, named in values(records):
        producer.send(topics.predictions, key=key, value=made)
        producer.send(topics.labels, key=key, value=named)
        size += len(made)
    producer.flush()
    producer.close()
    say(f"a prediction has {size / records:.0f} bytes on average")


def _await_gone(admin: KafkaAdminClient, topics: Topics) -> None:
    deadline = time.monotonic() + 30
    while set(topics) & set(admin.list_topics()):
        if time.monotonic() > deadline:
            raise Failed(f"the topics {topics} do not go away")
        time.sleep(0.2)
    time.sleep(1)  # the broker still cleans up behind the name
