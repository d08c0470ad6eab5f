"""Ids and classes that agree however they are written, and times in whatever form they come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.values import (
    SECOND,
    SLOT_WIDTH,
    Micros,
    TimeUnit,
    canonical,
    duration,
    iso,
    micros,
    moment,
    slot_of,
    slot_start,
    span_text,
    to_micros,
)
from tests.domain.making import thorough

HALF_PAST_SIX: Micros = 1_366_007_400 * SECOND
"""2013-04-15T06:30:00Z."""
YEAR_1 = micros(datetime(1, 1, 1, tzinfo=UTC))
YEAR_9999 = micros(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class TestCanonical:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1, "1"),
            ("1", "1"),
            (1.0, "1"),
            (-0.0, "0"),
            (-3.0, "-3"),
            (0.5, "0.5"),
            ("1.0", "1.0"),
            (True, "true"),
            (False, "false"),
            ("True", "True"),
            ("", ""),
            (2**53 + 1, "9007199254740993"),
            (2**64 + 1, "18446744073709551617"),
            (2.0**53, "9007199254740992"),
        ],
    )
    def test_values_compare_as_text(self, value: object, text: str) -> None:
        assert canonical(value) == text

    @given(st.integers())
    def test_a_whole_number_and_its_text_agree(self, number: int) -> None:
        assert canonical(number) == canonical(str(number))

    @given(st.integers(-(2**53), 2**53))
    def test_a_whole_number_agrees_with_its_float(self, number: int) -> None:
        assert canonical(float(number)) == canonical(number)

    @given(st.integers(), st.integers())
    def test_two_numbers_never_become_one(self, one: int, other: int) -> None:
        assert (canonical(one) == canonical(other)) is (one == other)

    @given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
    def test_nor_do_two_floats(self, one: float, other: float) -> None:
        assert (canonical(one) == canonical(other)) is (one == other)

    def test_a_float_that_may_stand_for_several_whole_numbers_is_none_of_them(self) -> None:
        assert canonical(2.0**53 + 2) != canonical(2**53 + 2)

    @pytest.mark.parametrize(
        ("value", "named"),
        [
            (None, "nothing"),
            ({}, "an object"),
            ([1], "a list"),
            (float("nan"), "nan"),
            (float("inf"), "inf"),
            (float("-inf"), "-inf"),
        ],
    )
    def test_what_is_no_value_is_refused_by_name(self, value: object, named: str) -> None:
        with pytest.raises(ValueError, match=f"got {named}$"):
            canonical(value)


class TestTimes:
    @pytest.mark.parametrize(
        "text",
        [
            "2013-04-15T06:30:00Z",
            "2013-04-15T06:30:00",
            "2013-04-15 06:30",
            "2013-04-15T06:30:00+00:00",
            "2013-04-15T02:30:00-04:00",
            "2013-04-15T08:30:00.000+02:00",
            "20130415T063000Z",
        ],
    )
    def test_iso_text_without_a_zone_is_utc(self, text: str) -> None:
        assert to_micros(text) == HALF_PAST_SIX

    def test_a_date_is_its_first_moment(self) -> None:
        assert to_micros("2013-04-15") == to_micros("20130415") == HALF_PAST_SIX - 6 * 3600 * SECOND - 1800 * SECOND

    def test_digits_beyond_microseconds_are_cut_off(self) -> None:
        assert to_micros("2013-04-15T06:30:00.123456789Z") == HALF_PAST_SIX + 123_456

    @pytest.mark.parametrize("per_second", PER_SECOND.values(), ids=PER_SECOND)
    def test_numbers_are_told_apart_by_size(self, per_second: int) -> None:
        assert to_micros(HALF_PAST_SIX // SECOND * per_second) == HALF_PAST_SIX
        assert to_micros(float(HALF_PAST_SIX // SECOND * per_second)) == HALF_PAST_SIX
        assert to_micros(str(HALF_PAST_SIX // SECOND * per_second)) == HALF_PAST_SIX

    @pytest.mark.parametrize(
        ("number", "time"),
        [
            (10**11 - 1, (10**11 - 1) * SECOND),
            (10**11, 10**11 * 1000),
            (10**14 - 1, (10**14 - 1) * 1000),
            (10**14, 10**14),
            (10**17 - 1, 10**17 - 1),
            (10**17, 10**14),
            (-(10**11), -(10**11) * 1000),
            (0, 0),
        ],
    )
    def test_the_size_at_which_a_number_becomes_another_unit(self, number: int, time: Micros) -> None:
        assert to_micros(number) == time

    @pytest.mark.parametrize(("unit", "time"), [("s", 1_500_000), ("ms", 1_500), ("us", 2), ("ns", 0)])
    def test_a_declared_unit_is_believed(self, unit: TimeUnit, time: Micros) -> None:
        assert to_micros(1.5, unit) == to_micros("1.5", unit) == time

    @pytest.mark.parametrize(("unit", "time"), [("s", 20_130_415 * SECOND), ("ms", 20_130_415_000), ("ns", 20_130)])
    def test_and_makes_a_number_of_what_else_would_be_a_date(self, unit: TimeUnit, time: Micros) -> None:
        assert to_micros("20130415", unit) == time

    @thorough
    @given(
        st.integers(micros(datetime(1990, 1, 1, tzinfo=UTC)), micros(datetime(2100, 1, 1, tzinfo=UTC))),
        st.sampled_from(["s", "ms", "us", "ns"]),
    )
    def test_a_time_of_our_age_is_the_same_in_every_form(self, time: Micros, unit: TimeUnit) -> None:
        number = time * PER_SECOND[unit] // SECOND
        whole = number * SECOND // PER_SECOND[unit]
        assert to_micros(number) == to_micros(str(number)) == to_micros(number, unit) == to_micros(str(number), unit)
        assert to_micros(number) == to_micros(iso(whole)) == whole

    def test_milliseconds_as_text_are_no_date_of_long_ago(self) -> None:
        # As ISO-8601 in its basic form these digits are the 12th of January 1712, a quarter to midnight.
        assert iso(to_micros("1712011202345")) == "2024-04-01T22:40:02.345000+00:00"

    @pytest.mark.parametrize(
        ("value", "named"),
        [
            (None, "nothing"),
            (True, "a boolean"),
            ({}, "an object"),
            ([], "a list"),
            (float("nan"), "nan"),
            (float("inf"), "inf"),
            ("nan", "nan"),
            ("soon", "'soon'"),
            ("", "''"),
            ("2013-04-31", "'2013-04-31'"),
            (10**20, "too large for nanoseconds"),
            (1e300, "too large for nanoseconds"),
        ],
    )
    def test_what_is_no_time_is_refused_by_name(self, value: object, named: str) -> None:
        with pytest.raises(ValueError, match=named):
            to_micros(value)

    @pytest.mark.parametrize(
        ("value", "unit"),
        [
            (YEAR_9999 + 1, "us"),
            (YEAR_1 - 1, "us"),
            (10**18, "ms"),
            (1e305, "s"),
            ("1e305", "s"),
            ("9999-12-31T23:59:59-23:00", None),
            ("0001-01-01T00:00:00+23:00", None),
        ],
    )
    def test_a_time_outside_the_years_1_to_9999_is_refused(self, value: object, unit: TimeUnit | None) -> None:
        with pytest.raises(ValueError, match="expected a time between the years 1 and 9999"):
            to_micros(value, unit)

    def test_the_first_and_last_time_are_taken(self) -> None:
        assert to_micros("0001-01-01T00:00:00Z") == to_micros(YEAR_1, "us") == YEAR_1
        assert to_micros("9999-12-31T23:59:59.999999Z") == to_micros(YEAR_9999, "us") == YEAR_9999

    @thorough
    @given(
        st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.from_regex(r"\d{4}-\d\d-\d\d.*")),
        st.sampled_from([None, "s", "ms", "us", "ns"]),
    )
    def test_anything_becomes_a_time_that_has_a_name_or_a_value_error(
        self, value: object, unit: TimeUnit | None
    ) -> None:
        try:
            time = to_micros(value, unit)
        except ValueError:
            return
        assert isinstance(time, int)
        assert to_micros(iso(time)) == time


class TestMoments:
    @given(st.integers(YEAR_1, YEAR_9999))
    def test_a_time_survives_the_way_through_a_moment(self, time: Micros) -> None:
        assert micros(moment(time)) == time

    def test_another_zone_is_the_same_moment(self) -> None:
        noon = datetime(2013, 4, 15, 12, tzinfo=timezone(timedelta(hours=2)))
        assert moment(micros(noon)) == noon

    @pytest.mark.parametrize(
        ("time", "named"),
        [(YEAR_1 - 60 * SECOND, "0001-01-01T00:00:00+00:00"), (YEAR_9999 + 1, "9999-12-31T23:59:59.999999+00:00")],
    )
    def test_a_watermark_just_before_the_first_year_can_still_be_told(self, time: Micros, named: str) -> None:
        assert iso(time) == named

    @pytest.mark.parametrize(
        ("span", "text"),
        [
            (5 * 86_400 * SECOND, "5d"),
            (36 * 3600 * SECOND, "36h"),
            (90 * 60 * SECOND, "90m"),
            (61 * SECOND, "61s"),
            (1_500_000, "1500ms"),
            (500, "0.5ms"),
        ],
    )
    def test_a_span_is_told_in_its_largest_whole_unit(self, span: Micros, text: str) -> None:
        assert span_text(span) == text

    def test_a_duration_is_in_microseconds(self) -> None:
        assert duration(timedelta(hours=1, microseconds=1)) == 3600 * SECOND + 1


class TestSlots:
    @pytest.mark.parametrize(
        ("time", "slot"), [(0, 0), (SLOT_WIDTH - 1, 0), (SLOT_WIDTH, 1), (-1, -1), (-SLOT_WIDTH, -1)]
    )
    def test_a_slot_holds_its_start_and_not_its_end(self, time: Micros, slot: int) -> None:
        assert slot_of(time) == slot

    @given(st.integers(YEAR_1, YEAR_9999))
    def test_every_time_lies_in_its_slot(self, time: Micros) -> None:
        assert slot_start(slot_of(time)) <= time < slot_start(slot_of(time) + 1)
