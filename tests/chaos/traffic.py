"""What applications send: deterministic from a seed, in a realistic mess that still has one right answer.

Whether an event is late depends on how far the worker has read, which no two runs share. So events keep clear of the
line: ordinary ones come within `LAG`, far less than the lateness; those beyond every horizon come in codas, after a
barrier at which everything before was committed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from random import Random
from typing import Final, NamedTuple
from zlib import crc32

from tests.chaos.plan import HOUR, LAG, LATENESS, MINUTE, MODELS, PARTITIONS, SECOND, START, STRAGGLER, Plan, Rules

_CLASSES: Final = ("yes", "no", "1")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DEEP: Final = 14 * HOUR
"""Older than this, relative to the newest event, an id is beyond every horizon at a barrier."""

Side = str
"""`predictions` or `labels`."""


class Sent(NamedTuple):
    """One record to send. `at` is the time of sending, in microseconds; also Kafka's timestamp."""

    at: int
    side: Side
    partition: int
    key: bytes | None
    value: bytes | None


class Known(NamedTuple):
    """A prediction that codas come back to."""

    model: str
    id: str
    time: int
    value: bytes


class Traffic:
    """The records of a run in the order of sending; None where the producer has to wait for the worker."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self._plan = plan
        self._chance = Random(seed)
        self._waiting: list[tuple[int, int, Sent]] = []
        self._count = 0
        self._known: deque[Known] = deque()
        self._now = START

    def __iter__(self) -> Iterator[Sent | None]:
        n = self._plan.predictions
        for i in range(n):
            self._now = START + i * self._plan.span // n
            self._one(i)
            yield from self._due(self._now)
            if i == n // 2:
                yield None
                self._coda(f"mid{i}")
        yield from self._due(self._now + 100 * HOUR)
        yield None
        self._coda("end")
        yield from self._due(self._now + 100 * HOUR)

    def _due(self, now: int) -> Iterator[Sent]:
        while self._waiting and self._waiting[0][0] <= now:
            self._now, _, sent = heappop(self._waiting)
            yield sent

    def _one(self, i: int) -> None:
        """One prediction with everything that follows from it, and at times something broken beside it."""
        chance = self._chance
        lot = chance.random()
        model = "a" if lot < 0.55 else "b" if lot < 0.8 else "c" if lot < 0.95 else "other"
        rules = MODELS.get(model, MODELS["a"])
        key = f"{model}-{i}"
        if i % 29 == 0:
            key = str(i)  # written as a number here and as text there
        elif i % 31 == 0:
            self._predict("b" if model == "a" else "a", f"both-{i}", self._now)
            key = f"both-{i}"
        if i % 97 == 0:
            self._straggle(model, key + "-old")
        if i % 211 == 0:
            self._broken(i)
        if lot < 0.02:
            self._label(model, f"nobody-{i}", self._now, self._truth())
        self._story(model, rules, key, i)

    def _story(self, model: str, rules: Rules, key: str, i: int) -> None:
        chance, time = self._chance, self._now
        lot = chance.random()
        if lot < 0.04:  # the label comes long before the prediction; beyond the horizon it is of no use
            time += int(rules.horizon * (chance.uniform(0, 0.95) if lot < 0.03 else chance.uniform(1.02, 1.3)))
            self._label(model, key, self._now, self._truth())
        value = self._predict(model, key, time)
        if i % 199 == 0 and model in MODELS and time == self._now:
            self._known.append(Known(model, key, time, value))
        if chance.random() < 0.06:
            self._again(model, key, time, value)
        if 0.04 <= lot < 0.09:
            return
        self._labels(model, rules, key, time)

    def _labels(self, model: str, rules: Rules, key: str, time: int) -> None:
        chance = self._chance
        lot = chance.random()
        delay = int(rules.max_delay * 0.95 * chance.random() ** 3)
        if lot < 0.08:
            delay = -int(chance.uniform(0, LAG))
        elif lot < 0.09:
            delay = rules.max_delay + chance.choice((0, 1000))  # on the line, and just beyond
        elif lot < 0.12:
            delay = rules.max_delay + int(chance.uniform(SECOND, LATENESS / 2))
        delay = delay // 1000 * 1000
        self._label(model, key, time + delay, self._truth())
        while chance.random() < 0.1 and delay < rules.max_delay:
            if chance.random() < 0.8:
                delay = (delay + int(chance.random() * (rules.max_delay - delay))) // 1000 * 1000
            self._label(model, key, time + delay, self._truth())  # else of the same time: the log's order decides
        # An id that two models share may be long forgotten by the other when this one's story begins late.
        if lot > 0.92 and not (key.startswith("both-") and time > self._now):
            self._retract(key, time)

    def _retract(self, key: str, time: int) -> None:
        """Take the label back by a tombstone, at times by two. It reaches every model that knows the id."""
        soonest = min(rules.max_delay for rules in MODELS.values())
        while True:
            at = time + int(self._chance.random() * (soonest + LATENESS / 3))
            self._send(Sent(at, "labels", self._anywhere(), key.encode(), None))
            if self._chance.random() < 0.8:
                return

    def _again(self, model: str, key: str, time: int, value: bytes) -> None:
        """The same prediction once more: the same bytes, of the same time, later, or a little earlier."""
        chance = self._chance
        lot = chance.random()
        if lot < 0.5:
            at = time + int(chance.uniform(0, LAG if lot < 0.3 else HOUR))
            self._send(Sent(at, "predictions", self._anywhere(), key.encode(), value))
        elif lot < 0.7:
            self._predict(model, key, time, self._anywhere())
        elif lot < 0.9:
            self._predict(model, key, time + int(chance.uniform(0, HOUR)))
        else:
            self._predict(model, key, time - int(chance.uniform(0, LAG / 2)))

    def _straggle(self, model: str, key: str) -> None:
        time = self._now - int(self._chance.uniform(LATENESS * 1.05, LATENESS * 1.2))
        self._predict(model, key, time, version=f'"{STRAGGLER}"')
        self._label(model, key, time + int(self._chance.uniform(0, 5 * MINUTE)), self._truth())

    def _coda(self, mark: str) -> None:
        """What comes when every horizon is over; none of it joins."""
        old = self._now - _DEEP
        for i in range(self._plan.codas):
            model = "ab"[i % 2]
            self._label(model, f"{mark}-unheard-{i}", old - i * SECOND, "yes")
            self._predict(model, f"{mark}-late-{i}", old - i * SECOND)
            self._label(model, f"{mark}-late-{i}", self._now, "no")
        for _ in range(4 * self._plan.codas):
            if self._known and self._known[0].time < old:
                self._come_back(self._known.popleft())

    def _come_back(self, one: Known) -> None:
        """A prediction that is forgotten by now is delivered again or labelled, of its own time or of now."""
        lot = self._chance.randrange(4)
        if lot == 0:
            self._send(Sent(self._now, "predictions", self._anywhere(), one.id.encode(), one.value))
        elif lot == 1:
            self._predict(one.model, one.id, self._now)
        else:
            self._label(one.model, one.id, self._now if lot == 2 else one.time + MINUTE, "yes")

    # Records

    def _predict(
        self, model: str, key: str, time: int, partition: int | None = None, version: str | None = None
    ) -> bytes:
        chance = self._chance
        if version is None:
            version = '"1"' if time < START + self._plan.span // 3 else chance.choice(("2", '"2"', "2.0", "null"))
        value = (
            f'{{"model":"{model}","prediction_id":{_id(key, chance)},"timestamp":{_time(time, chance)},'
            f'"prediction":{_class(self._truth(), chance)},"model_version":{version},'
            f'"features":{{"x":{chance.random():.6f},"kind":"k{chance.randrange(9)}"}}}}'
        ).encode()
        where = crc32(key.encode()) % PARTITIONS if partition is None else partition
        self._send(Sent(time + self._lag(), "predictions", where, key.encode(), value))
        return value

    def _label(self, model: str, key: str, time: int, truth: str) -> None:
        chance = self._chance
        value = (
            f'{{"model":"{model}","prediction_id":{_id(key, chance)},"timestamp":{_time(time, chance)},'
            f'"label":{_class(truth, chance)}}}'
        ).encode()
        self._send(Sent(time + self._lag(), "labels", self._anywhere(), key.encode(), value))

    def _broken(self, i: int) -> None:
        """A record that nobody can use, or that looks as if; the oracle finds out by itself."""
        chance = self._chance
        model, time = chance.choice(("a", "b", "other")), self._now // 1000
        head = f'"model":"{model}","prediction_id":"broken-{i}"'
        body = '"prediction":"yes","label":"yes"'
        text = chance.choice((
            "", "{", "nul", "42", '"text"', "[1,2]", "{}", "\ufeff{}", '{"model":"' + model + '"}',
            f"{{{head},{body}}}",
            f'{{{head},"timestamp":null,{body}}}',
            f'{{{head},"timestamp":true,{body}}}',
            f'{{{head},"timestamp":"yesterday",{body}}}',
            f'{{{head},"timestamp":1e300,{body}}}',
            f'{{{head},"timestamp":"2099-01-01T00:00:00Z",{body}}}',
            f'{{{head},"timestamp":4070908800000,{body}}}',
            f'{{{head},"timestamp":{time}}}',
            f'{{{head},"timestamp":{time},"prediction":[1],"label":{{"is":"yes"}}}}',
            f'{{{head},"timestamp":{time},"prediction":null,"label":null}}',
            f'{{"model":"{model}","timestamp":{time},{body}}}',
            f'{{"model":"{model}","prediction_id":NaN,"timestamp":{time},{body}}}',
            f'{{"model":"{model}","prediction_id":{{}},"timestamp":{time},{body}}}',
            f'{{"model":["{model}"],"prediction_id":"broken-{i}","timestamp":{time},{body}}}',
            f'{{"prediction_id":"broken-{i}","timestamp":{time},{body}}}',
            f'{{{head},"timestamp":{time},{body},"features":{{"pad":"{"x" * 300_000}"}}}}',
            "x" * 300_000,
        ))  # fmt: skip
        value = b"\xff\xfe" + text.encode() if chance.random() < 0.03 else text.encode()
        side = chance.choice(("predictions", "labels"))
        if chance.random() < 0.05:
            self._send(Sent(self._now, side, self._anywhere(), f"broken-{i}".encode(), None))
        else:
            self._send(Sent(self._now, side, self._anywhere(), None, value))

    def _send(self, sent: Sent) -> None:
        self._count += 1
        at = max(sent.at, self._now)
        heappush(self._waiting, (at, self._count, sent._replace(at=at)))

    def _lag(self) -> int:
        return int(self._chance.random() * LAG)

    def _anywhere(self) -> int:
        return self._chance.randrange(PARTITIONS)

    def _truth(self) -> str:
        return self._chance.choice(_CLASSES)


def _id(key: str, chance: Random) -> str:
    return chance.choice((key, f'"{key}"', f"{key}.0")) if key.isdigit() else f'"{key}"'


def _class(name: str, chance: Random) -> str:
    return chance.choice(("1", '"1"', "1.0")) if name == "1" else f'"{name}"'


def _time(time: int, chance: Random) -> str:
    if chance.random() < 0.1:
        return '"' + (_EPOCH + timedelta(milliseconds=time // 1000)).isoformat().replace("+00:00", "Z") + '"'
    return str(time // 1000)
