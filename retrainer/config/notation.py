"""The kinds of value that a configuration is written in: each type reads, prints and describes its notation.

A parser raises `ValueError("expected ...")`; what was found instead is added where errors are put into words. It
takes a value that is parsed already as it is, so that settings can be built in Python too.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema

from retrainer.config.metrics import METRICS
from retrainer.config.quantities import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from retrainer.domain.deciding.conditions import Condition
from retrainer.domain.deciding.conditions import parse as parse_condition
from retrainer.domain.judging.order import RowsPolicy
from retrainer.domain.values import canonical, duration

T = TypeVar("T")

NAME_PATTERN: Final = "^[a-z_][a-z0-9_]*$"
ALIAS_PATTERN: Final = "^[A-Za-z0-9_-]+$"
BREACHES_PATTERN: Final = "^[0-9]+ of [0-9]+$"
_DOTTED: Final = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)"
ENTRY_PATTERN: Final = _DOTTED + r"*:[A-Za-z_]\w*"
"""Something in a module, such as package.module:Class."""
_WEEKDAY: Final = "([0-7]|sun|mon|tue|wed|thu|fri|sat)"
_WEEKDAYS: Final = re.compile(rf"(\*|{_WEEKDAY}(-{_WEEKDAY})?)(/[1-7])?", re.IGNORECASE)
_HOST_PORT: Final = r"(\[[0-9A-Fa-f:.]+\]|[^\s:,/]+):[0-9]{1,5}"


class Breaches(NamedTuple):
    """How many of the newest evaluations must be beyond the line."""

    needed: int
    of: int


Start = timedelta | datetime | Literal["earliest", "latest"]


def _shaped(pattern: str, expected: str) -> AfterValidator:
    """Text must have this shape, all of it."""
    shape = re.compile(pattern)

    def check(text: str) -> str:
        if not shape.fullmatch(text):
            raise ValueError(f"expected {expected}")
        return text

    return AfterValidator(check)


def _written(parse: Callable[[str], T], kind: type[T]) -> Callable[[object], T]:
    """A parser that also takes what is parsed already."""

    def read(value: object) -> T:
        return value if isinstance(value, kind) else parse(str(value))

    return read


def as_text(value: object) -> str:
    """Text; whole numbers and booleans count as the text that they were written as.

    Raises:
        ValueError: for fractions too, whose digits may have changed in reading.
    """
    if isinstance(value, float):
        raise ValueError("expected text: put it in quotes")
    if isinstance(value, str | int):
        return canonical(value)
    raise ValueError("expected text")


def _text_of_class(value: object) -> str:
    try:
        return canonical(value)
    except ValueError:
        raise ValueError("expected text, a number or a boolean") from None


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


def _positive(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("expected a duration longer than nothing")
    return value


def _parse_window(value: object) -> int | timedelta:
    if isinstance(value, timedelta):
        return _positive(value)
    text = str(value)
    if text.isdecimal() and int(text) >= 10:
        return int(text)
    try:
        return _positive(parse_duration(text))
    except ValueError:
        raise ValueError("expected a count of at least 10, such as 2000, or a duration such as 1d") from None


def _format_window(window: int | timedelta) -> int | str:
    return window if isinstance(window, int) else format_duration(window)


def _parse_breaches(value: object) -> Breaches:
    if isinstance(value, Breaches):
        return value
    found = re.fullmatch("([0-9]+) of ([0-9]+)", str(value))
    breaches = Breaches(int(found[1]), int(found[2])) if found else Breaches(0, 0)
    if not 1 <= breaches.needed <= breaches.of:
        raise ValueError("expected N of M with N at most M, such as 2 of 3")
    return breaches


def _parse_start(value: object) -> Start:
    match value:
        case timedelta() | datetime() | "earliest" | "latest":
            return value
        case _:
            return _parse_start_in_time(str(value))


def _parse_start_in_time(text: str) -> timedelta | datetime:
    try:
        return parse_duration(text)
    except ValueError:
        return _parse_moment(text)


def _parse_moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("expected a duration such as 7d, earliest, latest or an ISO time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _format_start(start: Start) -> str:
    if isinstance(start, timedelta):
        return format_duration(start)
    return start.isoformat() if isinstance(start, datetime) else start


def _parse_age(value: object) -> timedelta:
    years = re.fullmatch("([0-9]{1,3})y", str(value))
    return timedelta(days=365 * int(years[1])) if years else _written(parse_duration, timedelta)(value)


def _parse_rows(value: object) -> RowsPolicy:
    match value:
        case RowsPolicy():
            return value
        case "auto" | "all" | "since_change":
            return RowsPolicy(kind=value)
        case {"last": last, **rest} if not rest:
            return _parse_last(last)
        case _:
            raise ValueError("expected {last: N or DURATION}, since_change, all or auto")


def _parse_last(value: object) -> RowsPolicy:
    text = str(value)
    if text.isdecimal() and int(text):
        return RowsPolicy(kind="last", count=int(text))
    try:
        return RowsPolicy(kind="last", span=duration(_positive(parse_duration(text))))
    except ValueError:
        raise ValueError("expected {last: N or DURATION} such as {last: 10000} or {last: 30d}") from None


def _format_rows(rows: RowsPolicy) -> Any:
    if rows.kind != "last":
        return rows.kind
    if rows.span is not None:
        return {"last": format_duration(timedelta(microseconds=rows.span))}
    return {"last": rows.count}


def _parse_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("expected a time zone such as Europe/Berlin") from None


def _check_cron(text: str) -> str:
    """Weekdays mean what they mean in cron, where 0 and 7 are Sunday; APScheduler counts them from Monday."""
    fields = text.split()
    try:
        *others, weekdays = fields
        CronTrigger.from_crontab(" ".join([*others, "*"]), timezone=UTC)
    except ValueError:
        weekdays = ""
    if not all(map(_WEEKDAYS.fullmatch, weekdays.split(","))):
        raise ValueError('expected five cron fields such as "0 3 1 * *"')
    return " ".join(fields)


def _check_name(text: str) -> str:
    if keyword.iskeyword(text):
        raise ValueError("expected a name that is not a word of the language, such as and or not")
    return text


def _check_alias(text: str) -> str:
    if re.fullmatch("latest|v[0-9]+", text, re.IGNORECASE):
        raise ValueError("expected an alias that MLflow does not reserve, as it does latest and v3")
    return text


def _check_tracking(text: str) -> str:
    if text.startswith("file:") or not re.match(r"[a-z][a-z0-9+-]*:/|databricks", text):
        raise ValueError(
            "expected a database or a server such as sqlite:///state/mlflow.db or https://mlflow.example.org"
        )
    return text


def _schema(**keywords: Any) -> WithJsonSchema:
    return WithJsonSchema(keywords)


_COUNT_SCHEMA: Final = {"type": "integer", "minimum": 1}
DURATION_SCHEMA: Final = {"type": "string", "pattern": DURATION_PATTERN, "examples": ["90s", "6h", "7d"]}


def only(key: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a mapping with one key."""
    return {"type": "object", "properties": {key: value}, "required": [key], "additionalProperties": False}


_LAST_SCHEMA: Final = only("last", {"anyOf": [_COUNT_SCHEMA, DURATION_SCHEMA]})

Text = Annotated[str, Field(min_length=1), BeforeValidator(as_text)]
ClassName = Annotated[str, PlainValidator(_text_of_class), _schema(type=["string", "number", "boolean"])]
"""A class or another value that records are compared with, as canonical text."""

MetricName = Annotated[str, _schema(enum=list(METRICS))]
"""Whether a metric suits the task is a rule between settings."""

Count = Annotated[int, Field(ge=1), BeforeValidator(_no_boolean)]
Seed = Annotated[int, Field(ge=0, lt=2**32), BeforeValidator(_no_boolean)]
Number = Annotated[float, BeforeValidator(_no_boolean)]
Amount = Annotated[float, Field(ge=0), BeforeValidator(_no_boolean)]
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(_no_boolean)]
Between = Annotated[float, Field(gt=0, lt=1), BeforeValidator(_no_boolean)]
"""A fraction or a probability that is neither 0 nor 1."""

Duration = Annotated[
    timedelta,
    PlainValidator(_written(parse_duration, timedelta)),
    PlainSerializer(format_duration),
    WithJsonSchema(DURATION_SCHEMA),
]
Span = Annotated[Duration, AfterValidator(_positive)]
"""A duration that is longer than nothing."""

Age = Annotated[
    timedelta,
    PlainValidator(_parse_age),
    PlainSerializer(format_duration),
    _schema(type="string", examples=["90d", "2y"]),
    AfterValidator(_positive),
]
"""A duration that may also be given in years, of 365 days each."""

Size = Annotated[
    int,
    PlainValidator(_written(parse_size, int)),
    PlainSerializer(format_size),
    Field(ge=1),
    BeforeValidator(_no_boolean),
    _schema(type=["string", "integer"], pattern=SIZE_PATTERN, examples=["64MiB"]),
]
Window = Annotated[
    int | timedelta,
    PlainValidator(_parse_window),
    PlainSerializer(_format_window),
    _schema(anyOf=[{"type": "integer", "minimum": 10}, DURATION_SCHEMA]),
]
BreachCount = Annotated[
    Breaches,
    PlainValidator(_parse_breaches),
    PlainSerializer(lambda breaches: f"{breaches.needed} of {breaches.of}"),
    _schema(type="string", pattern=BREACHES_PATTERN, examples=["2 of 3"]),
]
StartPoint = Annotated[
    Start,
    PlainValidator(_parse_start),
    PlainSerializer(_format_start),
    _schema(type="string", examples=["7d", "earliest", "latest", "2026-01-31T00:00:00Z"]),
]
Rows = Annotated[
    RowsPolicy,
    PlainValidator(_parse_rows),
    PlainSerializer(_format_rows),
    _schema(anyOf=[{"enum": ["auto", "all", "since_change"]}, _LAST_SCHEMA]),
]
TimeZone = Annotated[
    ZoneInfo,
    PlainValidator(_written(_parse_zone, ZoneInfo)),
    PlainSerializer(str),
    _schema(type="string", examples=["UTC", "Europe/Berlin"]),
]
RetrainWhen = Annotated[
    Condition,
    PlainValidator(_written(parse_condition, Condition)),
    PlainSerializer(str),
    _schema(type="string", examples=["low_accuracy or shift"]),
]

Name = Annotated[
    Text,
    _shaped(NAME_PATTERN, "a name of small letters, digits and underscores, such as low_accuracy"),
    AfterValidator(_check_name),
    _schema(type="string", pattern=NAME_PATTERN),
]
Alias = Annotated[Text, _shaped(ALIAS_PATTERN, "letters, digits, underscores and dashes"), AfterValidator(_check_alias)]
RegisteredName = Annotated[Text, _shaped(r"[^/:]*[^/:\s][^/:]*", "a name without / and :")]
Cron = Annotated[Text, AfterValidator(_check_cron)]
DottedPath = Annotated[Text, _shaped(_DOTTED + "+", "a dotted path such as sklearn.linear_model.LogisticRegression")]
Entrypoint = Annotated[Text, _shaped(ENTRY_PATTERN, "a function such as package.module:function")]
Address = Annotated[Text, _shaped(_HOST_PORT, "an address such as 127.0.0.1:8080")]
Servers = Annotated[Text, _shaped(rf"{_HOST_PORT}( *, *{_HOST_PORT})*", "host:port, several with commas between")]
Url = Annotated[Text, _shaped(r"https?://\S+", "a URL such as https://example.org/hook")]
Topic = Annotated[Text, _shaped("[A-Za-z0-9._-]{1,249}", "a topic's name")]
EventPattern = Annotated[Text, _shaped(r"[a-z_]+\.([a-z_]+|\*)", "an event such as model.promoted or model.*")]
DatabaseUrl = Annotated[
    Text,
    _shaped(
        r"sqlite:///(?!:memory:).+|postgresql\+psycopg://.+", "sqlite:///FILE or postgresql+psycopg://USER@HOST/DB"
    ),
]
TrackingUri = Annotated[Text, AfterValidator(_check_tracking)]
