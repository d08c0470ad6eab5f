"""An answer and its score in one text: both come out as they went in, and no class can be taken for a scored one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.answers import (
    LONGEST_CLASS,
    SEPARATOR,
    Score,
    Task,
    answer_of,
    class_text,
    confidence_of,
    score_of,
    with_score,
)
from tests.domain.making import thorough

CLASSES = st.text().filter(lambda text: SEPARATOR not in text)
CHANCES = st.floats(0, 1)


@thorough
@given(CLASSES, st.none() | CHANCES | st.dictionaries(st.text(), CHANCES, min_size=1))
def test_what_went_in_comes_out(answer: str, score: Score | None) -> None:
    value = with_score(answer, score)
    assert answer_of(value) == answer
    found = score_of(value)
    if isinstance(score, dict):
        assert isinstance(found, dict)
        assert found == pytest.approx(score, rel=1e-5)
    else:
        assert found == (None if score is None else pytest.approx(score, rel=1e-5))


def test_equal_scores_are_one_text() -> None:
    assert (
        with_score("a", {"b": 0.25, "a": 0.75}) == with_score("a", {"a": 0.75, "b": 0.25}) == 'a\x1f{"a":0.75,"b":0.25}'
    )
    assert with_score("a", 0.1 + 0.2) == with_score("a", 0.3) == "a\x1f0.3"
    assert with_score("a", 1) == with_score("a", 1.0) == "a\x1f1"


@pytest.mark.parametrize(
    ("value", "positive", "confidence"),
    [
        ("a\x1f0.75", None, 0.75),
        ("a\x1f0.75", "a", 0.75),
        ("b\x1f0.75", "a", 0.25),
        ("b\x1f0.75", None, 0.75),
        ('b\x1f{"a":0.25,"b":0.5}', "a", 0.5),
        ('c\x1f{"a":0.25,"b":0.5}', None, None),
        ("a", "a", None),
        ("3.5", None, None),
    ],
)
def test_the_confidence_is_that_in_the_answered_class(
    value: str, positive: str | None, confidence: float | None
) -> None:
    assert confidence_of(value, positive) == confidence


@pytest.mark.parametrize(
    ("text", "number"),
    [("3.5", "3.5"), ("3.50", "3.5"), ("3", "3"), ("-0.0", "0"), ("1e3", "1000"), (" 7", "7"), ("1e+16", "1e+16")],
)
def test_a_number_has_one_text(text: str, number: str) -> None:
    assert class_text(text, "regression", None) == number
    assert class_text(number, "regression", None) == number


@pytest.mark.parametrize(
    ("text", "task", "classes", "why"),
    [
        ("true", "regression", None, "expected a finite number, got 'true'"),
        ("nan", "regression", None, "expected a finite number, got 'nan'"),
        ("-inf", "regression", None, "expected a finite number, got '-inf'"),
        ("1" * 201, "regression", None, "expected at most 200 characters"),
        ("\x1fsum", "classification", None, "expected a class without the control character U\\+001F"),
        ("a\x1f0.5", "classification", None, "expected a class without the control character U\\+001F"),
        ("a\x1f0.5", "classification", {"a\x1f0.5"}, "expected a class without the control character U\\+001F"),
        ("x" * (LONGEST_CLASS + 1), "classification", None, "expected at most 200 characters"),
        ("c", "classification", {"a", "b"}, "'c' is none of the classes a, b"),
    ],
)
def test_what_is_no_answer_says_why(text: str, task: Task, classes: set[str] | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        class_text(text, task, classes)
