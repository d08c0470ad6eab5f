"""What the machine writes into the topics, and what each of its models has to make of it.

The meaning of a record is told here from how it was made, not from its bytes: no code of the mapping is asked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

from hypothesis import strategies as st

from retrainer.domain.events import Label, Origin, Partition, Prediction, Side
from retrainer.domain.join.ingest import IngestPolicy
from retrainer.domain.join.rules import Absent, JoinPolicy
from retrainer.domain.mapping.mapping import EventMapping, Field
from retrainer.domain.mapping.slices import SlicePolicy
from retrainer.domain.values import Micros
from tests.service.world import LABELS, MINUTE, PREDICTIONS, at

Fate = Literal["filtered", "quarantined"]

ZONE, FAR = SlicePolicy(name="zone"), SlicePolicy(name="far", when="distance > 5")
LAST_KEY: Final = 30
"""With `MINUTES_A_KEY` this bounds how long a story lasts: less than what the patient models remember."""
MINUTES_A_KEY: Final = 4
TOO_FAR: Final = 70 * 365 * 24 * 60
"""Minutes: a time that no clock has reached."""


def model(name: str, *, slices: tuple[SlicePolicy, ...] = (), where: str | None = None, **join: Any) -> IngestPolicy:
    """A model over the two topics; `where` is the kind of its records. Times of joining are in minutes."""
    wanted = {} if where is None else {"kind": where}
    times = {key: value * MINUTE if key in {"max_delay", "lateness"} else value for key, value in join.items()}
    predictions = EventMapping(
        topic=PREDICTIONS,
        id=(Field(paths=("id",)),),
        time=Field(paths=("time",), unit="us"),
        value=Field(paths=("prediction",)),
        version=Field(paths=("version",)),
        where=wanted,
        slices=slices,
    )
    labels = EventMapping(
        topic=LABELS,
        id=(Field(paths=("after.id", "id", "$key")),),
        time=Field(paths=("time",), unit="us"),
        value=Field(paths=("after.label", "label")),
        where=wanted,
    )
    return IngestPolicy(model=name, predictions=predictions, labels=labels, join=JoinPolicy(**times))


def absent(minutes: int) -> Absent:
    return Absent(after=minutes * MINUTE, value="none")


VARIANTS: Final = {
    # Patient: nothing is ever late, and no slot with an event in it closes before the end.
    "still": (
        model("still", max_delay=10, lateness=400, slices=(ZONE,)),
        model("still", max_delay=8, lateness=400, slices=(ZONE, FAR), corrections="first"),
    ),
    # Patient: nothing is forgotten, but slots close, and absence means something.
    "brisk": (
        model("brisk", max_delay=300, lateness=2, slices=(FAR,), absent=absent(5)),
        model("brisk", max_delay=300, lateness=3, where="a", absent=absent(5)),
    ),
    # Forgetful: much is late, and ids are soon forgotten.
    "hasty": (
        model("hasty", max_delay=4, lateness=1, slices=(ZONE,)),
        model("hasty", max_delay=5, lateness=1, where="a"),
    ),
    "terse": (
        model("terse", max_delay=5, lateness=2, corrections="first", absent=absent(3), where="a"),
        model("terse", max_delay=5, lateness=2, corrections="last", absent=absent(3), slices=(ZONE,)),
    ),
}
"""Each model as it may be configured, now or after a change."""

PATIENT: Final = frozenset({"still", "brisk"})
"""Models that forget nothing while a story lasts: the set of events alone says what they come to."""

_POISON: Final[dict[str, dict[str, Any]]] = {
    "no id": {"id": None},
    "no time": {"time": None},
    "no moment": {"time": "soon"},
    "no value": {"prediction": None, "label": None, "after": None},
    "too long": {"prediction": "x" * 300, "label": "x" * 300, "after": None},
    "far future": {"time": at(TOO_FAR)},
}
_SHAPES: Final = ("plain", "plain", "plain", "row", "delete", "tombstone", "bytes", "nameless", *_POISON)


@dataclass(frozen=True, kw_only=True, repr=False)
class Event:
    """One record. `shape` says how it is written and whether it can be used; `twice` the minute is its time."""

    topic: str
    number: int
    key: int
    twice: int
    value: str
    shape: str = "plain"
    kind: str = "a"
    zone: str | None = None
    distance: int | None = None
    version: str = "1"
    form: str = "text"

    def placed(self, newest: int, partitions: int) -> Event:
        """A draft made an event: of an id near the newest, on one of so many partitions."""
        key = max(0, newest - self.key)
        twice = self.twice + 2 * MINUTES_A_KEY * key
        return replace(self, key=key, twice=twice, number=self.number % partitions)

    def __repr__(self) -> str:
        told = (
            f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if getattr(self, one.name) != one.default
        )
        return f"Event({', '.join(told)})"

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(repr(self))  # else hypothesis spells every field out

    @property
    def partition(self) -> Partition:
        return Partition(self.topic, self.number)

    @property
    def side(self) -> Side:
        return Side(self.topic)

    @property
    def time(self) -> Micros:
        return at(self.twice / 2)

    @property
    def record(self) -> dict[str, Any]:
        """What is appended to the log: value, key and timestamp."""
        timestamp = self.time // 1000
        if self.shape in {"tombstone", "nameless"}:
            key = str(self.key).encode() if self.shape == "tombstone" else None
            return {"value": None, "key": key, "timestamp": timestamp}
        value = b"\xff{" if self.shape == "bytes" else json.dumps(self._document()).encode()
        return {"value": value, "key": b"some key", "timestamp": timestamp}

    def fact(self, policy: IngestPolicy, origin: Origin) -> Prediction | Label | Fate:
        """What it is to a model."""
        if self.shape == "tombstone" and self.side is Side.LABELS:
            return Label(str(self.key), self.time, origin, None)
        if self.shape in {"bytes", "nameless", "tombstone"}:
            return "quarantined"
        if policy.predictions.where and self.kind != policy.predictions.where["kind"]:
            return "filtered"
        if self.shape in _POISON:
            return "quarantined"
        if self.side is Side.LABELS:
            return Label(str(self.key), self.time, origin, None if self.shape == "delete" else self.value)
        slices = tuple(text for one in policy.predictions.slices if (text := self._slice(one)))
        return Prediction(str(self.key), self.time, origin, self.value, self.version, slices)

    @property
    def tells_time(self) -> bool:
        """Whether the event time stands in the record: the log's own time says nothing about how far events are."""
        return self.shape != "tombstone"

    def _slice(self, policy: SlicePolicy) -> str | None:
        if policy is ZONE:
            return self.zone and f"zone={self.zone}"
        return "far" if self.distance is not None and self.distance > 5 else None

    def _document(self) -> dict[str, Any]:
        forms = {"text": str(self.key), "number": self.key, "float": float(self.key)}
        document: dict[str, Any] = {"id": forms[self.form], "time": self.time, "kind": self.kind}
        if self.side is Side.PREDICTIONS:
            features = {"zone": self.zone, "distance": self.distance}
            return {**document, **features, "prediction": self.value, "version": self.version} | self._poison()
        if self.shape == "delete":
            return {**document, "op": "d", "before": {"id": document.pop("id"), "label": self.value}, "after": None}
        if self.shape == "row":
            return {**document, "op": "c", "before": None, "after": {"id": document.pop("id"), "label": self.value}}
        return {**document, "label": self.value} | self._poison()

    def _poison(self) -> dict[str, Any]:
        return _POISON.get(self.shape, {})


@st.composite
def drafts(draw: st.DrawFn) -> Event:
    """Early and late. The key says how far back from the newest it is, the time is counted from that of its key."""
    topic = draw(st.sampled_from([PREDICTIONS, LABELS, LABELS]))
    is_label = topic == LABELS
    shape = draw(st.sampled_from(_SHAPES)) if draw(st.integers(0, 3)) == 3 else "plain"
    if not is_label and shape in {"row", "delete"}:
        shape = "plain"
    if is_label and shape == "no id":
        shape = "no time"  # the record's key would be its id
    facts: dict[str, Any] = (
        {}
        if is_label
        else {
            "zone": draw(st.sampled_from(["n", "s", None])),
            "distance": draw(st.sampled_from([1, 9, None])),
            "version": draw(st.sampled_from("12")),
        }
    )
    return Event(
        topic=topic,
        number=draw(st.integers(0, 3)),
        key=draw(st.integers(0, 3)),
        twice=draw(st.integers(-24, 40) if is_label else st.integers(0, 8)),
        value=draw(st.sampled_from("ab")),
        shape=shape,
        kind=draw(st.sampled_from("aab")),
        form=draw(st.sampled_from(["text", "text", "number", "float"])),
        **facts,
    )
