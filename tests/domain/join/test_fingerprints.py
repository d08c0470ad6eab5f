"""A fingerprint tells policies apart, and is the same for equal ones wherever it is made."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

from retrainer.domain.join.fingerprints import fingerprint
from retrainer.domain.join.ingest import IngestPolicy
from retrainer.domain.join.rules import Absent, JoinPolicy
from retrainer.domain.mapping.mapping import EventMapping, Field
from retrainer.domain.mapping.slices import SlicePolicy

LETTERS = frozenset("abcdefghijklmnop")

PREDICTIONS = EventMapping(
    topic="predictions",
    id=(Field(paths=("id",)),),
    time=Field(paths=("time",), unit="us"),
    value=Field(paths=("prediction", "answer")),
    where={"airline": "UA", "country": "US"},
    classes=LETTERS,
    slices=(SlicePolicy(name="carrier"), SlicePolicy(name="long_haul", when="distance > 1000")),
)
LABELS = EventMapping(
    topic="labels", id=(Field(paths=("id",)),), time=Field(paths=("time",), unit="us"), value=Field(paths=("label",))
)
JOIN = JoinPolicy(max_delay=3600, lateness=60)
POLICY = IngestPolicy(model="flights", predictions=PREDICTIONS, labels=LABELS, join=JOIN)


def with_predictions(**changes: Any) -> IngestPolicy:
    return replace(POLICY, predictions=replace(PREDICTIONS, **changes))


def with_join(**changes: Any) -> IngestPolicy:
    return replace(POLICY, join=replace(JOIN, **changes))


DIFFERENT = {
    "model": replace(POLICY, model="trains"),
    "labels": replace(POLICY, labels=replace(LABELS, topic="truth")),
    "labels for predictions": replace(POLICY, labels=PREDICTIONS, predictions=LABELS),
    "topic": with_predictions(topic="answers"),
    "path of the id": with_predictions(id=(Field(paths=("key",)),)),
    "id of two": with_predictions(id=(Field(paths=("id",)), Field(paths=("day",)))),
    "id of two, the other way round": with_predictions(id=(Field(paths=("day",)), Field(paths=("id",)))),
    "id at one of two": with_predictions(id=(Field(paths=("id", "day")),)),
    "path of the time": with_predictions(time=Field(paths=("at",), unit="us")),
    "unit": with_predictions(time=Field(paths=("time",), unit="ms")),
    "no unit": with_predictions(time=Field(paths=("time",))),
    "path of the value": with_predictions(value=Field(paths=("prediction",))),
    "order of paths": with_predictions(value=Field(paths=("answer", "prediction"))),
    "version": with_predictions(version=Field(paths=("version",))),
    "score in the version's place": with_predictions(score=Field(paths=("version",))),
    "scores in bins": with_predictions(score=Field(paths=("score",)), scores="binned"),
    "exact scores": with_predictions(score=Field(paths=("score",)), scores="exact"),
    "scores of a class": with_predictions(score=Field(paths=("score",)), scores="exact", positive="a"),
    "numbers": replace(
        POLICY, predictions=replace(PREDICTIONS, task="regression"), labels=replace(LABELS, task="regression")
    ),
    "where's text": with_predictions(where={"airline": "DL", "country": "US"}),
    "where's path": with_predictions(where={"carrier": "UA", "country": "US"}),
    "less where": with_predictions(where={"airline": "UA"}),
    "no where": with_predictions(where={}),
    "a class more": with_predictions(classes=LETTERS | {"z"}),
    "any class": with_predictions(classes=None),
    "no class": with_predictions(classes=frozenset()),
    "a slice less": with_predictions(slices=PREDICTIONS.slices[:1]),
    "a slice's condition": with_predictions(
        slices=(PREDICTIONS.slices[0], SlicePolicy(name="long_haul", when="distance > 2000"))
    ),
    "a slice without its condition": with_predictions(slices=(PREDICTIONS.slices[0], SlicePolicy(name="long_haul"))),
    "no slices": with_predictions(slices=()),
    "features in an object": with_predictions(features=Field(paths=("features",))),
    "features by name": with_predictions(features=("features",)),
    "no features": with_predictions(features=()),
    "max_delay": with_join(max_delay=3601),
    "lateness": with_join(lateness=61),
    "the two exchanged": with_join(max_delay=60, lateness=3600),
    "corrections": with_join(corrections="first"),
    "absent": with_join(absent=Absent(after=60, value="a")),
    "what absence means": with_join(absent=Absent(after=60, value="b")),
    "when absence means it": with_join(absent=Absent(after=61, value="a")),
}


@pytest.mark.parametrize("change", DIFFERENT)
def test_what_matters_changes_it(change: str) -> None:
    assert fingerprint(DIFFERENT[change]) != fingerprint(POLICY)


def test_no_two_are_alike() -> None:
    prints = {fingerprint(policy): change for change, policy in DIFFERENT.items()}
    assert sorted(prints.values()) == sorted(DIFFERENT)


@pytest.mark.parametrize("kind", [IngestPolicy, EventMapping, Field, JoinPolicy, Absent, SlicePolicy])
def test_no_field_is_forgotten_above(kind: type) -> None:
    known = {
        IngestPolicy: {"model", "predictions", "labels", "join"},
        EventMapping: {
            *("topic", "id", "time", "value", "version", "score", "where", "classes", "features", "slices"),
            *("scores", "positive", "task"),
        },
        Field: {"paths", "unit"},
        JoinPolicy: {"max_delay", "lateness", "corrections", "absent"},
        Absent: {"after", "value"},
        SlicePolicy: {"name", "when"},
    }
    assert {one.name for one in fields(kind) if one.compare} == known[kind]  # a new one belongs into DIFFERENT


def test_equal_policies_have_equal_ones_in_whatever_order_they_were_written() -> None:
    same = with_predictions(
        where={"country": "US", "airline": "UA"},
        classes=frozenset(sorted(LETTERS, reverse=True)),
        id=(Field(paths=("id",), unit=None),),
    )
    assert same == POLICY
    assert fingerprint(same) == fingerprint(POLICY)


_IN_ANOTHER_PROCESS = """
from tests.domain.join.test_fingerprints import DIFFERENT, POLICY, fingerprint
print(*(fingerprint(policy) for policy in (POLICY, *DIFFERENT.values())))
"""


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_it_is_the_same_in_every_process(seed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IN_ANOTHER_PROCESS],
        env={**os.environ, "PYTHONHASHSEED": seed},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == [fingerprint(policy) for policy in (POLICY, *DIFFERENT.values())]


def test_it_is_the_same_in_every_release() -> None:
    """It stands in manifests and snapshots: another one for the same policy has every model computed anew."""
    assert fingerprint(POLICY) == "46b44edc4f368b80"


@dataclass(frozen=True, kw_only=True)
class Older:
    name: str


@dataclass(frozen=True, kw_only=True)
class Newer:
    """The same a release later."""

    name: str
    added: int = 3
    also: tuple[str, ...] = ()


def test_a_setting_that_comes_new_changes_none_until_it_is_used() -> None:
    assert fingerprint(Newer(name="a")) == fingerprint(Older(name="a"))
    assert fingerprint(Newer(name="a", added=3, also=())) == fingerprint(Older(name="a"))
    assert fingerprint(Newer(name="a", added=4)) != fingerprint(Older(name="a"))
    assert fingerprint(Newer(name="a", also=("x",))) != fingerprint(Older(name="a"))
