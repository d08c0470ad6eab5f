"""Slices of a prediction, and how many of them there may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.mapping.mapping import EventMapping, Field, prediction_of
from retrainer.domain.mapping.slices import SlicePolicy, SliceValues, by_slice, features_needed, slices_of
from retrainer.domain.metrics.registry import size, value
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from tests.domain.making import envelope, quick
from tests.domain.metrics.measuring import erring

CARRIER = SlicePolicy(name="carrier")
LONG = SlicePolicy(name="long_haul", when="distance > 1500 and not night")


def sliced(features: Mapping[str, object], *policies: SlicePolicy) -> tuple[str, ...]:
    return slices_of(policies or (CARRIER, LONG), features)


# A prediction's slices


def test_a_prediction_is_in_the_slice_of_its_value_and_of_each_condition_that_holds() -> None:
    assert sliced({"carrier": "AA", "distance": 1600}) == ("carrier=AA", "long_haul")
    assert sliced({"carrier": "AA", "distance": 1500}) == ("carrier=AA",)
    assert sliced({"distance": 1600}) == ("long_haul",)
    assert sliced({}) == ()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("AA", "carrier=AA"),
        ("", "carrier="),
        (1, "carrier=1"),
        (1.0, "carrier=1"),
        ("1", "carrier=1"),
        (2.5, "carrier=2.5"),
        (True, "carrier=true"),
        (0, "carrier=0"),
        ("a=b", "carrier=a=b"),
        ("ä" * 101, "carrier=" + "ä" * 100),
    ],
)
def test_values_are_told_apart_as_classes_are(value: object, text: str) -> None:
    assert sliced({"carrier": value}, CARRIER) == (text,)


@pytest.mark.parametrize("value", [None, nan, [1], {"code": "AA"}])
def test_what_is_no_plain_value_is_in_no_slice(value: object) -> None:
    assert sliced({"carrier": value}, CARRIER) == ()


def test_a_dotted_name_is_a_feature_of_that_name_or_one_within_another() -> None:
    city = SlicePolicy(name="address.city")
    assert sliced({"address": {"city": "Oslo"}}, city) == ("address.city=Oslo",)
    assert sliced({"address.city": "Rome", "address": {"city": "Oslo"}}, city) == ("address.city=Rome",)
    assert sliced({"address": "Oslo", "city": "Oslo"}, city) == ()
    assert sliced({"address": {}}, city) == ()
    assert sliced({"address": {"city": {"name": "Oslo"}}}, city) == ()


def test_the_features_that_slices_need() -> None:
    assert features_needed([CARRIER, LONG, SlicePolicy(name="address.city")]) == {
        "carrier", "distance", "night", "address.city",
    }  # fmt: skip
    assert features_needed([]) == frozenset()


@pytest.mark.parametrize("name", ["", "a=b", "="])
def test_a_name_that_could_be_taken_for_a_value_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected a name without ="):
        SlicePolicy(name=name, when="x > 1")


def test_policies_that_say_the_same_are_the_same() -> None:
    assert SlicePolicy(name="long_haul", when="distance > 1500 and not night") == LONG
    assert {CARRIER, SlicePolicy(name="carrier")} == {CARRIER}
    assert repr(LONG) == "SlicePolicy(name='long_haul', when='distance > 1500 and not night')"


# What is tallied


def test_beyond_the_bound_values_are_tallied_together() -> None:
    values = SliceValues(most=2)
    assert values.admit(("carrier=AA", "long_haul")) == ("carrier=AA", "long_haul")
    assert values.admit(("carrier=UA",)) == ("carrier=UA",)
    assert values.admit(("carrier=B6", "long_haul")) == ("carrier=other", "long_haul")
    assert values.admit(("carrier=AA",)) == ("carrier=AA",)
    assert values.admit(("carrier=other",)) == ("carrier=other",)
    assert values.admit(("origin=JFK", "night")) == ("origin=JFK", "night")


def test_what_was_admitted_before_keeps_its_place() -> None:
    values = SliceValues(["", "carrier=AA", "carrier=AA", "carrier=other", "carrier=UA", "long_haul"], most=3)
    assert values.admit(("carrier=B6",)) == ("carrier=B6",)
    assert values.admit(("carrier=DL",)) == ("carrier=other",)


@quick
@given(st.lists(st.sampled_from(["carrier=AA", "carrier=UA", "carrier=B6", "origin=AA", "long_haul"])))
def test_below_the_bound_the_order_does_not_matter(texts: list[str]) -> None:
    values = SliceValues(most=3)
    assert [values.admit((text,)) for text in texts] == [(text,) for text in texts]


# What is shown


def tally(text: str, n: int, *, slot: int = 1, answer: str = "late") -> tuple[TallyKey, int]:
    return TallyKey("1", text, slot, "late", answer), n


def test_slices_are_merged_over_slots_and_versions() -> None:
    found = by_slice(
        [
            tally(WHOLE, 9),
            tally("long_haul", 1),
            tally("long_haul", 2, slot=2),
            tally("long_haul", 4, answer="on_time"),
            (TallyKey("2", "long_haul", 1, "late", "late"), 8),
        ]
    )
    assert found == {"long_haul": Counter({("late", "late"): 11, ("late", "on_time"): 4})}


def test_the_commonest_values_are_kept_and_the_rest_is_other() -> None:
    tallies = [
        tally("carrier=rare", 1), tally("carrier=AA", 5), tally("carrier=B6", 2, answer="on_time"),
        tally("carrier=UA", 4), tally("carrier=other", 7), tally("origin=JFK", 1), tally("long_haul", 1),
    ]  # fmt: skip
    found = by_slice(tallies, most=2)
    assert {text: cells.total() for text, cells in found.items()} == {
        "carrier=AA": 5, "carrier=UA": 4, "carrier=other": 10, "origin=JFK": 1, "long_haul": 1,
    }  # fmt: skip
    assert found["carrier=other"] == Counter({("late", "late"): 8, ("late", "on_time"): 2})


def test_fifty_values_are_kept() -> None:
    found = by_slice([tally(f"carrier={number:02}", 1) for number in range(60)])
    assert len(found) == 51
    assert found["carrier=other"].total() == 10


def test_what_was_taken_back_is_no_outcome() -> None:
    assert by_slice([tally("long_haul", 2), tally("long_haul", -2, slot=2), tally("night", -1)]) == {}


def test_slices_of_a_regression_are_ranked_by_their_outcomes_and_keep_their_sums() -> None:
    many, few = erring([0.0] * 9, [0.0] * 9), erring([1e9], [-1e9])
    tallies = [
        (TallyKey("1", text, 1, *cell), n)
        for text, cells in (("zone=a", few), ("zone=b", many), ("zone=c", few))
        for cell, n in cells.items()
    ]
    found = by_slice(tallies, most=1)
    assert {text: size(cells) for text, cells in found.items()} == {"zone=b": 9, "zone=other": 2}
    assert value("mae", found["zone=b"]) == 0
    assert value("mae", found["zone=other"]) == pytest.approx(2e9)


@quick
@given(
    st.data(), st.lists(st.tuples(st.sampled_from(["a=1", "a=2", "a=3", "b=1", "c"]), st.integers(1, 3)), max_size=9)
)
def test_the_order_of_tallies_does_not_matter_and_none_is_lost(
    data: st.DataObject, given: list[tuple[str, int]]
) -> None:
    tallies = [tally(text, n) for text, n in given]
    found = by_slice(tallies, most=1)
    assert by_slice(data.draw(st.permutations(tallies)), most=1) == found
    assert sum(cells.total() for cells in found.values()) == sum(n for _, n in given)


# Records


def mapping(features: Field | tuple[str, ...] | None, *slices: SlicePolicy) -> EventMapping:
    at = {name: Field(paths=(name,)) for name in ("id", "time", "value")}
    return EventMapping(
        topic="events", id=(at["id"],), time=at["time"], value=at["value"], features=features, slices=slices
    )


def found_in(where: Field | tuple[str, ...] | None, name: str, **fields: object) -> tuple[str, ...]:
    record = envelope({"id": "1", "time": "2013-04-15T12:00:00Z", "value": "late", **fields})
    return prediction_of(mapping(where, SlicePolicy(name=name)), record).slices


def test_a_prediction_is_sliced_by_its_features_wherever_they_stand() -> None:
    held = {"carrier": "AA", "to": {"city": "Oslo"}}
    assert found_in(Field(paths=("features",)), "carrier", features=held) == ("carrier=AA",)
    assert found_in(Field(paths=("features",)), "to.city", features=held) == ("to.city=Oslo",)
    assert found_in(Field(paths=("features",)), "carrier", carrier="AA") == ()
    assert found_in(("row.carrier",), "row.carrier", row=held) == ("row.carrier=AA",)
    assert found_in(None, "carrier", carrier="AA") == ("carrier=AA",)
    assert found_in(None, "value", carrier="AA") == ()  # a field of another use is no feature


def test_a_prediction_of_a_model_without_slices_is_in_none() -> None:
    record = envelope({"id": "1", "time": "2013-04-15T12:00:00Z", "value": "late", "features": {"carrier": "AA"}})
    assert prediction_of(mapping(Field(paths=("features",))), record).slices == ()
