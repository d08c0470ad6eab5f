"""Durations and sizes as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.config.quantities import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("2s", timedelta(seconds=2)),
        ("500ms", timedelta(milliseconds=500)),
        ("7us", timedelta(microseconds=7)),
        ("90d", timedelta(days=90)),
        ("1h30m", timedelta(minutes=90)),
        ("0s", timedelta()),
    ],
)
def test_a_duration_is_a_count_and_a_unit(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "6", "6 h", "h", "-6h", "1.5h", "6H", "soon", "6h ", "6h\n", "9" * 30 + "d"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("duration", "text"),
    [(timedelta(hours=6), "6h"), (timedelta(hours=48), "2d"), (timedelta(minutes=90), "90m"), (timedelta(), "0s")],
)
def test_a_duration_is_printed_in_the_largest_unit_that_fits(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta.max))
def test_every_duration_survives_being_written(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "size"), [("64MiB", 64 * 2**20), ("2GiB", 2 * 2**30), ("2 GB", 2 * 10**9), ("1kB", 1000), ("5B", 5)]
)
def test_a_size_is_a_count_and_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "64", "64mib", "64M", "-1B", "1.5GiB", "64MiB "])
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size such as 64MiB"):
        parse_size(text)


@given(st.integers(min_value=0))
def test_every_size_survives_being_written(size: int) -> None:
    assert parse_size(format_size(size)) == size
