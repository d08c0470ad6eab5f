"""Mappings and records of every kind, as they come and as they should not: what property tests of reading draw from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, timedelta, timezone
from typing import Any, Final

from hypothesis import strategies as st

from retrainer.domain.events import Partition, Record
from retrainer.domain.mapping.mapping import EventMapping, Field
from retrainer.domain.mapping.slices import SlicePolicy
from tests.domain.making import NOON

ONLY: Final = Partition("events", 0)


@dataclass(frozen=True)
class Literal:
    """JSON as it is to be written."""

    text: str


@dataclass(frozen=True)
class Pairs:
    """An object whose names may come twice."""

    fields: Sequence[tuple[str, object]]


def written(value: object) -> str:
    """As JSON."""
    if isinstance(value, Literal):
        return value.text
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, dict | Pairs):
        fields = value.items() if isinstance(value, dict) else value.fields
        return f"{{{','.join(f'{json.dumps(name)}:{written(one)}' for name, one in fields)}}}"
    return json.dumps(value)


RARELY: Final = st.sampled_from([False] * 15 + [True])

# Values

TEXTS: Final = [
    "",
    "a",
    "late",
    "carrier=AA",
    "ä",
    "\u6f22\U0001f600",
    "a\x1fb",
    "\\",
    "\n\x00",
    "1",
    "true",
    "x" * 201,
]
LITERALS: Final = [
    "1e400", "-1e400", "1e16", "10000000000000000", "-0", "-0.0", "1E2", '"\\u0061"', '"\\ud800"', '"\\ud83d\\ude00"',
    "NaN", "01", "[" * 1100 + "]" * 1100, "9" * 400, "9" * 5000, "-" + "9" * 5000,
]  # fmt: skip
NUMBERS: Final = [0, 1, -1, 2, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 2**64 + 1, 10**25, 1.0, 1.5, 1e300]
LEAVES: Final = st.one_of(
    st.sampled_from([*TEXTS, *NUMBERS, None, True, False, *map(Literal, LITERALS)]),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)
ODDITIES: Final = st.one_of(
    LEAVES, st.sampled_from([[], {}, ["a"], {"a": 1}, {"after": {"id": 1}}, Pairs([("id", 1), ("id", "b")])])
)
CLOCKS: Final = [
    "2013-04-15T12:00:00Z", "2013-04-15T12:00:00", "2013-04-15", "20130415", "20130415T120000", "2013-W16-1",
    "2013-105", "2013-04-15T12:00:00.123456+02:00", "2013-04-15 12:00:00,5", "2013-04-15T24:00:00", "2013-13-01",
    "2013-04-15T23:59:60Z", "2013-04-15T12:00:00.1234567891Z", "2013-04-15T12:00:00+00:00:01.5", "2013-04-15T12:60Z",
    "2013-02-29T00:00:00Z", "2012-02-29T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-23:59", "1969-12-31T23:59:59.999999Z", "1833-11-24T17:31:44Z",
    "2106-02-07T06:28:15.999999Z", "2106-02-07T06:28:16Z", "1366027200", "1366027200.5", "1366027200000", "1e9",
    " 1366027200", "1_366_027_200", "    -1", "123e-5", "\u0661\u0662", "2013-04-15\u202f12:00:00Z",
    "2013-04-15T12:00:00Z\x00", "2013-04-15T12:00:00z",
]  # fmt: skip
MOMENTS: Final = st.one_of(
    st.sampled_from(CLOCKS),
    st.datetimes().map(str),
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5, minutes=-30))])).map(
        lambda moment: moment.isoformat()
    ),
    st.integers(NOON - 10**9, NOON + 10**9),
    st.integers(-(10**20), 10**20),
    st.sampled_from([unit * sign for unit in (10**9, 10**11, 10**14, 10**17, 6 * 10**10, 2**63) for sign in (1, -1)]),
    st.floats(allow_nan=False, allow_infinity=False),
)


# Mappings

NAMES: Final = ["id", "key", "a.id", "a.b.id", "ä.id", 'a".id', "b\\.id", "a..id", "$value.id", "$value.a.key"]
WITHIN: Final = ["a", "a.b"]
"""Paths that lead on to others."""
ELSEWHERE: Final = [
    "$key",
    "$headers.id",
    "$headers.a.b",
    "$timestamp",
    "$key.id",
    "$value",
    "$value.$key",
    "$headers.id",
    "$key",
]
ROWS: Final = ["payload.after.id", "after.id", "payload.after.label", "$value.after.id"]
PATHS: Final = st.sampled_from([*NAMES * 5, *ROWS, *WITHIN, *ELSEWHERE])
FIELDS: Final = st.lists(PATHS, min_size=1, max_size=3, unique=True).map(lambda paths: Field(paths=tuple(paths)))
SLICES: Final = [
    SlicePolicy(name="carrier"),
    SlicePolicy(name="far", when="distance > 1500"),
    SlicePolicy(name="unknown", when="carrier == None or not distance"),
    SlicePolicy(name="id"),
    SlicePolicy(name="geo.country"),
]


@st.composite
def mappings(draw: st.DrawFn, topic: str = "events") -> EventMapping:
    paths, value = draw(FIELDS), draw(FIELDS)
    time = draw(st.sampled_from([("time",), ("time",), ("a.time",), ("$timestamp",), ("a.time", "$timestamp")]))
    return EventMapping(
        topic=topic,
        id=tuple(draw(st.lists(FIELDS, min_size=1, max_size=2))) if draw(st.booleans()) else (paths,),
        time=Field(paths=time, unit=draw(st.sampled_from([None, None, "s", "ms", "us", "ns"]))),
        value=draw(st.sampled_from([value, Field(paths=("label",)), Field(paths=("payload.after.label",))])),
        version=draw(st.sampled_from([None, Field(paths=("version",))]) | FIELDS),
        where=draw(st.just({}) | st.dictionaries(PATHS, st.sampled_from(["a", "1", "late", "true"]), max_size=1)),
        classes=draw(st.sampled_from([None, None, frozenset(["a", "1", "late", "x" * 201])])),
        features=draw(
            st.sampled_from([None, ("carrier", "a.distance", "$key"), *(Field(paths=(one,)) for one in FEATURES)])
        ),
        slices=tuple(draw(st.lists(st.sampled_from([*SLICES[:4] * 4, *SLICES]), max_size=3, unique_by=_name))),
        **draw(st.sampled_from([{}, {}, {"task": "regression"}]) | SCORED),
    )


SCORED: Final = st.fixed_dictionaries(
    {
        "score": st.just(Field(paths=("score",))) | FIELDS,
        "scores": st.sampled_from(["none", "binned", "exact"]),
        "positive": st.sampled_from([None, "a"]),
    }
)
CHANCES: Final = st.floats(0, 1) | st.sampled_from([0, 1, 0.5, 0.875, 0.005, 1e-9, None])
SCORES: Final = st.one_of(
    CHANCES, CHANCES, st.dictionaries(st.sampled_from(["a", "1", "late", "true", "\x1f\u00e4"]), CHANCES, max_size=4),
    st.sampled_from([-0.1, 1.1, True, "0.5", [0.5], {"a": "0.5"}, {f"class {n}": 0.01 for n in range(400)}]),
)  # fmt: skip


FEATURES: Final = ["features", "a", "a.b", "$value", "$value.features", "payload.after", "$key"]


def _name(policy: SlicePolicy) -> str:
    return policy.name


# Records


@dataclass
class Shape:
    """Where the documents of a mapping have values."""

    mapping: EventMapping
    paths: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        mapping = self.mapping
        fields = [*mapping.id, mapping.value, *([mapping.version] if mapping.version else [])]
        within = [f"{path}.{name}" for path in FEATURES for name in ("carrier", "distance")]
        named = [path for one in fields for path in one.paths]
        self.paths = [*named, *mapping.where, *within, "carrier", "distance", "a.distance"]


def _put(document: Any, path: str, value: object) -> None:
    """Where something else is in the way, it stays."""
    if path.startswith("$") and not path.startswith("$value."):
        return
    *above, last = path.removeprefix("$value.").split(".")
    for name in above:
        document = document.setdefault(name, {})
        if not isinstance(document, dict):
            return
    document[last] = value


_PER_UNIT: Final = {"s": 10**6, "ms": 10**3, "us": 1, "ns": 1}


def _itself(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return strategy


COMMON: Final[dict[str, list[st.SearchStrategy[object]]]] = {
    "classification": [st.sampled_from(["a", "1", "late"]), st.sampled_from(["a", "1", 1, 1.5, True, 7])],
    "regression": [st.sampled_from([1, 2.5, -3, "3.50", "1e3", "-0.0"]), st.sampled_from(["1", " 7", "nan", "x", 7])],
}


@st.composite
def documents(draw: st.DrawFn, mapping: EventMapping) -> object:
    """Mostly what the mapping looks for, sometimes something else."""
    shape = Shape(mapping)
    document: dict[str, Any] = {}
    odd = draw(st.sampled_from([(), (), shape.paths, mapping.time.paths]))
    if odd:
        _put(document, draw(st.sampled_from(odd)), draw(ODDITIES))
    common = draw(st.sampled_from(COMMON[mapping.task]))
    for path in shape.paths:
        _put(document, path, draw(common))
    for path in mapping.score.paths if mapping.score and draw(st.booleans()) else ():
        _put(document, path, draw(SCORES))
    usual = NOON if mapping.time.unit is None else NOON // _PER_UNIT[mapping.time.unit]
    for path in mapping.time.paths:
        _put(document, path, draw(st.sampled_from([st.just(usual), MOMENTS]).flatmap(_itself)))
    for path in draw(st.lists(st.sampled_from([*shape.paths, *mapping.time.paths]), max_size=2)) if odd else ():
        _put(document, path, draw(ODDITIES))
    if draw(RARELY):
        prefix = draw(st.sampled_from(["", "payload."]))
        row = {"id": draw(common), "label": "a", "carrier": "AA"}
        for path, value in (("op", "d"), ("after", None), ("before", row), ("ts_ms", NOON // 1000)):
            _put(document, prefix + path, value)
    if draw(RARELY):
        return Pairs([*document.items(), draw(st.tuples(st.sampled_from(["id", "a", "time", "label"]), ODDITIES))])
    return document


KEYS: Final = st.sampled_from([None, b"a", b"1", b"", b"\xff\xfe", "ä".encode()])
HEADERS: Final = st.lists(
    st.tuples(st.sampled_from(["id", "a", "a.b"]), st.sampled_from([b"a", b"1", b"\xff"])), max_size=2
)
STAMPS: Final = st.sampled_from([NOON // 1000] * 40 + [0, -1, 2**63 - 1, -(2**63), 10**14, NOON // 1000 - 3_600_000])
BYTES: Final = st.one_of(
    st.none(),
    st.sampled_from(
        [b"", b"null", b"1", b'"a"', b"[]", b"{}", b"{", b'\xef\xbb\xbf{"id":1}', b'{"z":"\xff"}', b'{"\xff":1}']
    ),
    st.binary(max_size=20),
)


@st.composite
def records(draw: st.DrawFn, mapping: EventMapping, *, most: int = 12) -> list[Record]:
    """Records of one partition."""
    found = []
    for offset in range(draw(st.integers(1, most) | st.integers(0, 2))):
        value = draw(BYTES) if draw(RARELY) else written(draw(documents(mapping))).encode()
        if value and draw(RARELY):
            value = value[:-1] + b',"z":"\xff"}'
        found.append(Record(ONLY, offset, draw(STAMPS), draw(KEYS), value, tuple(draw(HEADERS))))
    return found
