"""Conditions over triggers: the words that decide when a retraining is due."""

from __future__ import annotations

import pickle
from itertools import product

import pytest

from retrainer.domain.deciding.conditions import any_of, parse


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a or b",
        "a and b",
        "not a",
        "a and not b",
        "not (a or b)",
        "a or b and c",
        "(a or b) and c",
        "a or not not b",
    ],
)
def test_a_condition_means_what_the_words_mean(text: str) -> None:
    condition = parse(text)
    for values in product((False, True), repeat=3):
        fired = dict(zip("abc", values, strict=True))
        assert condition.holds(fired) is eval(text, {}, fired)
        assert condition.holds({name for name in fired if fired[name]}) is condition.holds(fired)


def test_a_trigger_that_is_not_mentioned_has_not_fired() -> None:
    assert not parse("shift").holds({})
    assert parse("not shift").holds(frozenset())


def test_a_condition_knows_the_names_in_it() -> None:
    assert parse("low and (shift or not low)").names == {"low", "shift"}


def test_conditions_written_alike_are_equal_whatever_the_spacing() -> None:
    assert parse("a  or\n (b)") == parse("a or b")
    assert parse("a or b") != parse("b or a")
    assert str(parse(" (a and b) or c ")) == "a and b or c"


def test_a_condition_survives_pickling() -> None:
    condition = pickle.loads(pickle.dumps(parse("a and not b")))
    assert condition == parse("a and not b")
    assert condition.holds({"a"})


def test_any_of_holds_when_one_fired() -> None:
    condition = any_of(["a", "b"])
    assert condition.holds({"b"})
    assert not condition.holds({"c"})


@pytest.mark.parametrize(
    "text",
    ["", "a or", "a b", "a | b", "a()", "a.b", "a > 1", "True", "1", "'a'", "a # or b", "a if b else c",
     "(a := b)", "lambda: a", "a) or (b", "\0", "not " * 10_000 + "a"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected trigger names joined by and, or, not and parentheses"):
        parse(text)
