"""Conditions over features: what they mean, what of missing and mismatched values, and what is no condition."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.mapping.predicates import parse
from tests.domain.making import thorough

FLIGHT = {"distance": 1600, "carrier": "AA", "night": True, "delay": -2.5, "gate": None, "legs": [1], "empty": ""}


@pytest.mark.parametrize(
    "text",
    [
        "distance > 1500",
        "1500 < distance <= 1600",
        "distance != 1500",
        "distance == 1600.0",
        "carrier in ('AA', 'UA')",
        "carrier not in ['B6']",
        "carrier == 'AA' and not distance < 100",
        "carrier == 'B6' or delay < -2",
        "carrier == 'B6' or delay == 0 or night",
        "night",
        "night == True",
        "carrier < 'B6'",
        "distance > delay",
        "(distance > 9000 or carrier == 'AA') and night",
        "'AA' == carrier",
        "1500 < distance",
        "not False",
    ],
)
def test_holds(text: str) -> None:
    assert parse(text).holds(FLIGHT)
    assert not parse(f"not ({text})").holds(FLIGHT)


@pytest.mark.parametrize(
    "text",
    [
        "distance > 1600",
        "1500 < distance < 1600",
        "2000 < distance > 1500",
        "carrier in ('B6',)",
        "carrier not in ('AA', 'UA')",
        "distance > 1500 and carrier == 'B6'",
        "night == False",
        "empty",
        "1 < 0",
    ],
)
def test_does_not_hold(text: str) -> None:
    assert not parse(text).holds(FLIGHT)
    assert parse(f"not ({text})").holds(FLIGHT)


OPERATORS = ("==", "!=", "<", "<=", ">", ">=")


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(
    ("features", "right"),
    [
        ({}, "1"),
        ({"x": None}, "1"),
        ({"x": nan}, "1"),
        ({"x": inf}, "1"),
        ({"x": "1"}, "1"),
        ({"x": 1}, "'1'"),
        ({"x": [1]}, "1"),
        ({"x": {"y": 1}}, "'y'"),
        ({"x": 1}, "other"),
        ({"x": 1, "other": "1"}, "other"),
        ({}, "other"),
        ({"x": [1], "other": [1]}, "other"),
    ],
)
def test_what_is_missing_or_does_not_compare_makes_every_comparison_false(
    operator: str, features: Mapping[str, object], right: str
) -> None:
    for comparison in (f"x {operator} {right}", f"{right} {operator} x"):
        assert not parse(comparison).holds(features)
        assert parse(f"not {comparison}").holds(features)


def test_what_is_missing_or_does_not_compare_is_neither_in_a_list_nor_out_of_it() -> None:
    for found in (None, nan, 1, [1], {"AA": 1}):
        assert not parse("x in ('AA', 'UA')").holds({"x": found})
        assert not parse("x not in ('AA', 'UA')").holds({"x": found})
    assert parse("x not in ('AA', 7)").holds({"x": 1})


@pytest.mark.parametrize("missing", [{}, {"x": None}, {"x": nan}, {"x": [1]}])
def test_none_asks_for_what_is_missing(missing: Mapping[str, object]) -> None:
    for text in ("x == None", "None == x", "x in (None, 'AA')", "x in (None,)"):
        assert parse(text).holds(missing)
        assert not parse(text).holds({"x": "B6"})
    for text in ("x != None", "x not in (None,)", "x not in (None, 'AA')"):
        assert parse(text).holds({"x": "B6"})
        assert not parse(text).holds(missing)
    for text in ("x < None", "x >= None", "None < x"):
        assert not parse(text).holds(missing)
        assert not parse(text).holds({"x": 1})


@pytest.mark.parametrize("absent", [{}, {"x": None}, {"x": 0}, {"x": False}, {"x": ""}, {"x": nan}, {"x": [1]}])
def test_a_feature_alone_holds_unless_it_is_missing_or_nothing(absent: Mapping[str, object]) -> None:
    assert not parse("x").holds(absent)
    assert all(parse("x").holds({"x": found}) for found in (True, 1, -0.5, "no"))


def test_numbers_of_any_size_compare() -> None:
    assert parse("x > 1500").holds({"x": 10**400})
    assert parse("x < 1e308").holds({"x": -(10**400)})


def test_the_features_it_looks_at() -> None:
    found = parse(" a > 1 and not (b in ('c', 'd') or e < f) ")
    assert found.names == {"a", "b", "e", "f"}
    assert str(found) == "a > 1 and not (b in ('c', 'd') or e < f)"
    assert found == parse("a > 1 and not (b in ('c', 'd') or e < f)")


NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, -1.5])
OPERANDS = st.sampled_from(["a", "b", "c"]) | NUMBERS.map(str)
COMPARISONS = st.tuples(OPERANDS, st.sampled_from(OPERATORS), OPERANDS).map(" ".join) | st.builds(
    lambda left, op, right, other, last: f"{left} {op} {right} {other} {last}",
    OPERANDS,
    st.sampled_from(OPERATORS),
    OPERANDS,
    st.sampled_from(OPERATORS),
    OPERANDS,
)
MEMBERS = st.builds(
    lambda name, word, items: f"{name} {word} {items}",
    OPERANDS,
    st.sampled_from(["in", "not in"]),
    st.lists(NUMBERS, min_size=1),
)
TEXTS = st.recursive(
    COMPARISONS | MEMBERS | st.sampled_from(["a", "b"]),
    lambda inner: (
        inner.map("not ({})".format)
        | st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(" + ") and (".join(parts) + ")")
        | st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(" + ") or (".join(parts) + ")")
    ),
)


@thorough
@given(text=TEXTS, features=st.fixed_dictionaries({"a": NUMBERS, "b": NUMBERS, "c": NUMBERS}))
def test_where_nothing_is_missing_it_means_what_it_means_in_python(text: str, features: dict[str, float]) -> None:
    assert parse(text).holds(features) is bool(eval(text, {}, features))


REFUSED = {
    "open('f')": "a call at character 1",
    "distance > len(x)": "a call at character 12",
    "carrier.code == 1": "an attribute at character 1",
    "x.__class__": "an attribute at character 1",
    "x[0] == 1": "a subscript at character 1",
    "x + 1 > 2": "arithmetic at character 1",
    "-x > 2": "arithmetic at character 1",
    "x == -True": "arithmetic at character 6",
    "ä == y.z": "an attribute at character 6",
    "x == 'ä' and f(y)": "a call at character 14",
    "x is None": "`is`, which should be ==, at character 6",
    "x in y": "`in` without a list of literals at character 6",
    "x in 'AAUA'": "`in` without a list of literals at character 6",
    "x in ()": "`in` without a list of literals at character 6",
    "x in (1, y)": "a feature within a list of literals at character 10",
    "x in [1, [2]]": "a list at character 10",
    "x == (1, 2)": "a list at character 6",
    "(x > 1) == y": "a comparison of a comparison at character 2",
    "(x and y) > 1": "a comparison of a condition at character 2",
    "x > 1e999": "no number and no text at character 5",
    "x == b'1'": "no number and no text at character 6",
    "x == 1j": "no number and no text at character 6",
    "x == ...": "no number and no text at character 6",
    "x == f'{y}'": "an f-string at character 6",
    "lambda: x": "a function at character 1",
    "x if y else z": "an if at character 1",
    "(x := 1) > 0": "an assignment at character 2",
    "[y for y in x]": "something else at character 1",
    "x >": "something else at character 1",
    "": "something else at character 1",
    "import os": "something else at character 1",
    "not " * 40 + "x": "too many conditions within each other at character 129",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_condition_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"^expected comparisons, and, or, not, in, literals and feature names, got "
    ) as e:
        parse(text)
    assert str(e.value).endswith(REFUSED[text])


@pytest.mark.parametrize("text", ["x > 1\nand y", "(" * 400 + "x" + ")" * 400, "x" + " and x" * 100_000 + " y", "x\0"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected "):
        parse(text)


def test_a_condition_calls_nothing_of_what_it_is_given() -> None:
    class Trap:
        def __eq__(self, other: object) -> Any:
            raise AssertionError

        __hash__ = None  # type: ignore[assignment]  # nor may it be hashed

    for text in ("x == 1", "x in (1, 2)", "x < 'a'", "x", "x == y"):
        assert not parse(text).holds({"x": Trap(), "y": Trap()})
